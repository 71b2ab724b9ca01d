"""What the runs of a sweep have cost, as a table and in words.

Reads   the runs (swallow_exp.record.cost).  Writes  nothing.  Source  paper Table 7 and Appendix D.4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from analysis.load import Study
from analysis.table import Table
from analysis.wording import ABSENT
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.cost import RunCost, read_cost

CAPTION = (
    "What every run has cost, from its own rows. Device-hours: of training, without checkpoints, work done again after an interruption "
    "counted again. FLOPs: the model's (forward and backward, nothing recomputed). Tokens/s of all devices, TFLOPS per device and MFU: "
    "medians; there is no MFU where no peak is known for the device and its precision. Stalls: training stood still for checkpoints. "
    "Evaluation: seconds of asking, by whatever devices did it."
)
# heading -> (the number of a run, how it is printed, whether runs can be summed)
Column = tuple[Callable[[RunCost], float | None], Callable[[float], str], bool]
COLUMNS: dict[str, Column] = {
    "devices": (lambda c: c.num_devices, lambda n: f"{n:.0f}", False),
    "device-hours": (lambda c: c.device_hours, lambda n: hours_text(n), True),
    "FLOPs": (lambda c: c.flops, lambda n: f"{n:.2e}", True),
    "tokens/s": (lambda c: c.tokens_per_second, lambda n: f"{n:,.0f}", False),
    "TFLOPS per device": (lambda c: c.tflops_per_device, lambda n: f"{n:.3g}", False),
    "MFU": (lambda c: c.mfu, lambda n: f"{n:.1%}", False),
    "peak memory (GiB)": (lambda c: None if c.peak_memory_bytes is None else c.peak_memory_bytes / 2**30, lambda n: f"{n:.2f}", False),
    "stalls (s)": (lambda c: c.stall_seconds, lambda n: f"{n:,.1f}", True),
    "evaluation (s)": (lambda c: c.evaluation_seconds, lambda n: f"{n:,.0f}", True),
}


def hours_text(hours: float) -> str:
    """Three digits that matter, thousands apart."""
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"


def read_costs(study: Study) -> list[RunCost]:
    """One for every run of the sweep that has a folder, in the order of the cells."""
    runs = [RunPaths.of(study.out, run_id) for cell in study.cells for run_id in cell.run_ids]
    return [read_cost(run) for run in runs if run.folder.is_dir()]


def cost_table(study: Study, costs: Sequence[RunCost]) -> Table:
    """One row a run, in the columns that any of them has; the last line adds up what can be added."""
    cell_of = {run_id: (cell, seed) for cell in study.cells for run_id, seed in zip(cell.run_ids, cell.seeds, strict=True)}
    rows, values = [], []
    for cost in costs:
        cell, seed = cell_of[cost.run_id]
        label = f"{cell.label} (seed {seed})" if len(cell.run_ids) > 1 else cell.label
        line = [number(cost) for number, _, _ in COLUMNS.values()]
        texts = [ABSENT if value is None else text(value) for value, (_, text, _) in zip(line, COLUMNS.values(), strict=True)]
        rows.append((label, cost.device or ABSENT, *texts))
        values.append((None, None, *line))
    totals = ["" if not adds or (n := total(costs, of)) is None else text(n) for of, text, adds in COLUMNS.values()]
    columns, foot = ("cell", "device", *COLUMNS), ("all runs", "", *totals)
    used = [j for j in range(len(columns)) if j == 0 or any(row[j] != ABSENT for row in rows)]
    return Table(
        name="cost",
        caption=CAPTION,
        columns=tuple(columns[j] for j in used),
        rows=tuple(tuple(row[j] for j in used) for row in rows),
        values=tuple(tuple(line[j] for j in used) for line in values),
        footer=(tuple(foot[j] for j in used),) if len(costs) > 1 else (),
    )


def total(costs: Sequence[RunCost], number: Callable[[RunCost], float | None]) -> float | None:
    """Sum over the runs that have it; None when none has."""
    known = [value for cost in costs if (value := number(cost)) is not None]
    return sum(known) if known else None


def cost_words(costs: Sequence[RunCost]) -> str:
    """The sum in one sentence (html), and what it leaves out."""
    if not any(cost.flops for cost in costs):
        return "<p>No run has logged its compute, so there is no cost to show.</p>"
    hours, flops = total(costs, lambda c: c.device_hours), total(costs, lambda c: c.flops)
    seconds, reused = total(costs, lambda c: c.evaluation_seconds), sum(cost.num_reused for cost in costs)
    devices = sorted({cost.device for cost in costs if cost.device})
    parts = [f"<strong>{hours_text(hours)} device-hours</strong> of training" if hours is not None else "An unknown time of training"]
    parts += [f"<strong>{flops:.2e} FLOPs</strong>"] if flops is not None else []
    parts += [f"<strong>{seconds:,.0f} s</strong> of evaluation"] if seconds is not None else []
    named = f" on {escape(' and '.join(devices))}" if devices else " (no GPU is named in the records: a device is a process)"
    unknown = sum(cost.device_hours is None for cost in costs)
    notes = [f"{unknown} of {len(costs)} runs logged no rates: their hours are not in the sum."] if unknown and hours is not None else []
    notes += [f"{reused} results were taken over from a run with the same weights and cost nothing."] if reused else []
    notes += [] if any(cost.mfu for cost in costs) else ["MFU is not known: the records have no peak for these devices and this precision."]
    notes.append("Making the data, and models that were only evaluated, are not in it; energy and carbon were not measured.")
    return f'<p>{", ".join(parts)}{named}.</p><p class="note">{" ".join(notes)}</p>'
