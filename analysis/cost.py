"""What the runs of a sweep have cost, as a table and in words.

Reads   the runs (swallow_exp.record.cost).  Writes  nothing.  Source  paper Table 7 and Appendix D.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from statistics import median
from typing import Any

from analysis.load import Study
from analysis.table import Table
from analysis.wording import ABSENT
from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.efficiency import efficiency_of
from swallow_exp.record.events import read_events
from swallow_exp.record.store import RESULT_NAME, read_result

CAPTION = (
    "What every run has cost, from its own rows. Device-hours: of training, without checkpoints, work done again after an interruption "
    "counted again. FLOPs: the model's (forward and backward, nothing recomputed). Tokens/s of all devices, TFLOPS per device and MFU: "
    "medians; there is no MFU where no peak is known for the device and its precision. Stalls: training stood still for checkpoints. "
    "Evaluation: seconds of asking, by whatever devices did it."
)


@dataclass(frozen=True)
class RunCost:
    """Cost of one run. None: nothing on record says it."""

    run_id: str
    device: str | None  # as the driver names it; None without a driver (a CPU, mostly)
    num_devices: int | None  # in the last stretch
    device_hours: float | None  # of training, without checkpoints
    flops: float | None  # the model's, without what was done again
    tokens_per_second: float | None  # of all devices, median
    tflops_per_device: float | None  # median
    mfu: float | None  # median, a share of 1
    peak_memory_bytes: float | None  # of the first process
    stall_seconds: float | None  # training stood still for checkpoints
    evaluation_seconds: float | None  # of every result asked here
    num_reused: int = 0  # results taken over from a run with the same weights


def read_cost(run: RunPaths) -> RunCost:
    """Everything the files of one run say about its cost."""
    events = list(read_events(run.events))
    train = [row for row in events if row.get("kind") == "train"]
    stretches = list(stretches_of(train))
    speed = efficiency_of(train, model=run.run_id)
    stalls = [float(row["checkpoint_stall_seconds"]) for row in events if row.get("checkpoint_stall_seconds") is not None]
    memory = [float(row["peak_memory_bytes"]) for row in train if row.get("peak_memory_bytes")]
    flops = [float(row["flops"]) for row in train if row.get("flops")]
    results = list(_results(run))
    asked = [float(result["seconds"]) for result in results if "reused_from" not in result and "seconds" in result]
    return RunCost(
        run_id=run.run_id,
        device=_device_of(run),
        num_devices=_num_devices(train, stretches),
        device_hours=sum(seconds for _, seconds in stretches) / 3600 if stretches else None,
        flops=max(flops, default=None),
        tokens_per_second=speed.tokens_per_second,
        tflops_per_device=speed.tflops_per_device,
        mfu=speed.execution_efficiency,
        peak_memory_bytes=max(memory, default=None),
        stall_seconds=sum(stalls) if stalls else None,
        evaluation_seconds=sum(asked) if asked else None,
        num_reused=sum("reused_from" in result for result in results),
    )


def stretches_of(rows: Iterable[Mapping[str, Any]]) -> Iterable[tuple[Mapping[str, Any], float]]:
    """(row, device-seconds since the row before) of every train row that has FLOPs and a rate.

    After an interruption the outbox goes back: such a row starts from the last row before it in tokens, not in the file.
    """
    ends: list[float] = [0.0]
    for row in rows:
        flops, rate = row.get("flops"), row.get("tflops_per_device")
        if not flops:
            continue
        start = ends[-1] if ends[-1] < flops else max(end for end in ends if end < flops)
        ends.append(float(flops))
        if rate:
            yield row, (float(flops) - start) / (float(rate) * TERA)


def _num_devices(train: Sequence[Mapping[str, Any]], stretches: list[tuple[Mapping[str, Any], float]]) -> int | None:
    """Device-seconds / seconds, where seconds are tokens / tokens per second: the median over the stretches at the end."""
    before = {id(row): previous for previous, row in pairwise(train)}
    counts = []
    for row, device_seconds in stretches[-50:]:
        tokens = float(row["trained_tokens"]) - float(before.get(id(row), {}).get("trained_tokens", 0))
        speed = row.get("tokens_per_second")
        if speed and tokens > 0:
            counts.append(device_seconds / (tokens / float(speed)))
    return round(median(counts)) if counts else None


def _results(run: RunPaths) -> list[dict[str, Any]]:
    folders = (path.parent for path in sorted((run.folder / "evaluations").glob(f"tokens_*/*/{RESULT_NAME}")))
    return [result for folder in folders if (result := read_result(folder)) is not None]


def _device_of(run: RunPaths) -> str | None:
    """The name of the devices, when they all have one name."""
    facts = read_json(run.provenance)
    devices = facts.get("cuda_devices") if isinstance(facts, dict) else None
    names = {str(device.get("name")) for device in devices or () if isinstance(device, dict)}
    return names.pop() if len(names) == 1 else None


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


TERA = 1e12
