"""What a grid will take before it runs: a line a cell, totals, what each number rests on, what cannot fit or contradicts itself.

(1) cells      what exists of each (state, plan, vocabulary)          -> estimate_cell
(2) totals     of all cells, and of those that are not trained yet
(3) say        table, basis of every number, flags                    -> page, or a plain dict for --json

Reads   runs/*, artefacts/mixture/*/plan.json
Source  paper Tables 6 and 7, Appendix D.4
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.manifest import find_artefact
from swallow_exp.artefact.paths import RunPaths, user_path
from swallow_exp.artefact.units import format_bytes, format_count
from swallow_exp.config import Config
from swallow_exp.inspect.estimate import EVALUATION_ASSUMPTION, SLACK_GIB, Estimate, estimate_cell
from swallow_exp.inspect.speed import StatedSpeed, read_measured
from swallow_exp.mixture.build_plan import PLAN_NAME
from swallow_exp.model.describe import GIB
from swallow_exp.record.contrast import in_words
from swallow_exp.record.inputs import read_inputs
from swallow_exp.record.status import read_status
from swallow_exp.sweep.expand import Cell, find_contrasts
from swallow_exp.sweep.preflight import missing_text, pairs_past_budget, sample_source, tokenizer_at_hand
from swallow_exp.sweep.prepare import output_root
from swallow_exp.sweep.progress import shown_state
from swallow_exp.sweep.question import Question
from swallow_exp.sweep.why import undeclared_differences

FORMULA = "12 h^2 L (1 + k/a + s/h + 1.5 f/h + V/(2 L h)) a position, forward and backward (swallow_exp/model/flops.py)"
MEMORY_PARTS = {
    "parameters": "parameter", "gradients": "gradient", "optimizer": "optimizer", "activations": "activation",
    "communication": "communication", "loss": "loss", "working": "working",
}  # fmt: skip


@dataclass(frozen=True)
class PlannedCell:
    """A cell, how far it is, and what it will take."""

    cell: Cell
    state: str
    estimate: Estimate


def plan_cells(cells: Sequence[Cell], stated: StatedSpeed) -> list[PlannedCell]:
    """Estimate every cell; what is the same for several cells is read once. Raises RequestError when pairs exceed a budget."""
    out = output_root(cells[0].composed.config)
    measured = read_measured(out, {cell.composed.config.base_model.name for cell in cells})
    planned = []
    for cell in cells:
        run = RunPaths.of(out, cell.run_id)
        inputs = read_inputs(run) if run.folder.is_dir() else None
        plan = read_json(run.out / inputs["mixture"]["folder"] / PLAN_NAME) if inputs else None
        vocabulary = find_artefact(run.out / inputs["vocabulary"]["folder"]) if inputs else None
        config = cell.composed.config
        if inputs is None and (error := pairs_past_budget(config)) is not None:
            raise RequestError(f"{cell.label}: {error.given}", expected=error.expected, remedy=error.remedy)
        missing = missing_text(config)
        estimate = estimate_cell(
            config,
            plan=plan if isinstance(plan, dict) else None,
            vocabulary_size=int(vocabulary.counts["size"]) if vocabulary is not None else None,
            stated=stated,
            measured=measured,
            bytes_per_token={} if missing or plan else _bytes_per_token(config),
        )
        if missing is not None:
            estimate = replace(estimate, flags=(*estimate.flags, f"training refuses: {missing}"))
        planned.append(PlannedCell(cell, shown_state(read_status(run.status)), estimate))
    return planned


def _bytes_per_token(config: Config) -> dict[str, float]:
    """Of every source whose text and tokenizer are at hand."""
    tokenizer = tokenizer_at_hand(config.base_model)
    if tokenizer is None:
        return {}
    data = user_path(config.paths.data)
    found = {name: sample_source(source, data, tokenizer) for name, source in config.mixture.sources.items()}
    return {name: sample.bytes_per_token for name, sample in found.items() if sample is not None}


def _total(planned: Sequence[PlannedCell], value: Callable[[Estimate], float | None]) -> float | None:
    """Sum; None when nobody knows one of them."""
    values = [value(item.estimate) for item in planned]
    return None if any(one is None for one in values) else sum(one for one in values if one is not None)


TOTALS: dict[str, Callable[[Estimate], float | None]] = {
    "steps": lambda e: e.steps,
    "trained_tokens": lambda e: e.trained_tokens,
    "text_bytes": lambda e: e.text_bytes,
    "flops": lambda e: e.flops,
    "gpu_hours": lambda e: 0.0 if e.on_cpu else e.device_hours,
    "cpu_hours": lambda e: e.device_hours if e.on_cpu else 0.0,
    "disk_bytes": lambda e: e.disk_bytes,
    "evaluation_hours": lambda e: e.evaluation_hours,
    "days": lambda e: e.days,
    "price": lambda e: e.price,
}


def grid_flags(question: Question, planned: Sequence[PlannedCell]) -> list[str]:
    """What is wrong with the grid as a whole: contrasts of two factors, a disk that is too small."""
    flags = [
        f"{contrast['label']} differs in more than {contrast['factor']}: {in_words(undeclared)}; training refuses this sweep"
        for contrast, undeclared in undeclared_differences(question, [item.cell for item in planned])
    ]
    todo = [item for item in planned if item.state != "trained"]
    need, out = _total(todo, TOTALS["disk_bytes"]), output_root(planned[0].cell.composed.config)
    there = next((folder for folder in (out.resolve(), *out.resolve().parents) if folder.is_dir()), Path("/"))
    free = shutil.disk_usage(there).free
    if need is not None and need > free:
        flags.append(f"CANNOT FIT: {format_bytes(need)} of checkpoints, {format_bytes(free)} free under {out} on this machine")
    return flags


def plan_plain(question: Question, planned: Sequence[PlannedCell], remarks: Sequence[str] = ()) -> dict[str, Any]:
    """Everything, for --json; null where nobody knows."""
    cells = []
    for item in planned:
        estimate = item.estimate
        facts = asdict(estimate) | {name: getattr(estimate, name) for name in ("gpu_hours", "cpu_hours", "days", "disk_bytes")}
        facts["gib_per_gpu"] = estimate.gib
        cells.append({"run_id": item.cell.run_id, "label": item.cell.label, "state": item.state, **facts})
    todo = [item for item in planned if item.state != "trained"]
    return {
        "name": question.name,
        "question": question.question,
        "remarks": list(remarks),
        "formula": FORMULA,
        "cells": cells,
        "total": {name: _total(planned, value) for name, value in TOTALS.items()},
        "to_do": {"cells": len(todo), **{name: _total(todo, value) for name, value in TOTALS.items()}},
        "contrasts": find_contrasts(question, [item.cell for item in planned]),
        "flags": grid_flags(question, planned),
    }


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _paper(estimate: Estimate) -> str:
    if estimate.flops is None or estimate.paper_flops is None:
        return "-"
    return f"{estimate.flops / estimate.paper_flops - 1:+.1%}"


# heading, width, what stands there
COLUMNS: tuple[tuple[str, int, Callable[[Estimate], str]], ...] = (
    ("steps", 7, lambda e: f"{e.steps:,}"),
    ("tokens", 8, lambda e: format_count(e.trained_tokens)),
    ("text", 9, lambda e: "-" if e.text_bytes is None else ("" if e.text_is_counted else "~") + format_bytes(e.text_bytes)),
    ("FLOPs", 8, lambda e: _number(e.flops, ".2e").replace("e+", "e")),
    ("to D.4", 6, _paper),
    ("devices", 7, lambda e: f"{e.gpus}"),
    ("GPU-h", 8, lambda e: _hours(e.gpu_hours)),
    ("CPU-h", 8, lambda e: _hours(e.cpu_hours)),
    ("GiB each", 8, lambda e: _number(e.gib, ".1f") if e.gib is None or e.gib >= 0.95 else f"{e.gib:.2g}"),
    ("disk", 8, lambda e: "-" if e.disk_bytes is None else format_bytes(e.disk_bytes)),
    ("eval h", 7, lambda e: _hours(e.evaluation_hours)),
    ("days", 6, lambda e: _hours(e.days)),
    ("price", 9, lambda e: _number(e.price, ",.0f")),
)


def _columns(estimates: Sequence[Estimate]) -> list[tuple[str, int, Callable[[Estimate], str]]]:
    """Those that say something of these cells."""
    shown = {
        "to D.4": any(estimate.paper_flops for estimate in estimates),
        "GPU-h": not all(estimate.on_cpu for estimate in estimates),
        "CPU-h": any(estimate.on_cpu for estimate in estimates),
        "price": any(estimate.price is not None for estimate in estimates),
    }
    return [column for column in COLUMNS if shown.get(column[0], True)]


def _hours(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 0.95 else f"{value:.2g}"


def plan_page(question: Question, planned: Sequence[PlannedCell], remarks: Sequence[str] = ()) -> str:
    """The page `swallow plan` prints; `remarks` say what is not as the question's file says."""
    lines = [f"{question.name}: {question.question}", *(f"  * {remark}" for remark in remarks)]
    for word, text in (("", question.section), ("expected: ", question.expects), ("outcome: ", question.outcome)):
        lines += [f"  {word}{text}"] if text else []
    width = max(len(item.cell.run_id) for item in planned)
    columns = _columns([item.estimate for item in planned])
    head = " ".join(f"{name:>{size}}" for name, size, _ in columns)
    lines += ["", f"  {'run':<{width}}  {'state':<9} {head}"]
    for item in planned:
        row = " ".join(f"{show(item.estimate):>{size}}" for _, size, show in columns)
        lines.append(f"  {item.cell.run_id:<{width}}  {item.state:<9} {row}")
    todo = [item for item in planned if item.state != "trained"]
    tokens = sum(item.estimate.trained_tokens for item in todo)
    cells = f"{len(planned)} {'cell' if len(planned) == 1 else 'cells'}"
    lines += ["", f"  {cells}, {tokens:,} tokens to train; {len(planned) - len(todo)} trained already"]
    lines += [f"  {name}: {_totals(part)}" for name, part in (("all", planned), ("to do", todo)) if part]
    lines += ["", *_bases(planned)]
    labels = dict.fromkeys(contrast["label"] for contrast in find_contrasts(question, [item.cell for item in planned]))
    each = f", each for {len(question.seeds)} seeds" if labels and len(question.seeds) > 1 else ""
    lines.append(f"  contrasts{each}: " + ("; ".join(labels) or "none: no two cells differ in one factor"))
    flags = [f"  ! {flag}" for flag in grid_flags(question, planned)]
    by_flag: dict[str, list[str]] = {}
    for item in planned:
        for flag in item.estimate.flags:
            by_flag.setdefault(flag, []).append(item.cell.label)
    flags += [f"  ! {', '.join(dict.fromkeys(labels))}: {flag}" for flag, labels in by_flag.items()]
    return "\n".join([*lines, *([""] if flags else []), *flags])


def _devices(planned: Sequence[PlannedCell]) -> list[str]:
    """GPU and CPU, as the cells use them."""
    return list(dict.fromkeys("CPU" if item.estimate.on_cpu else "GPU" for item in planned))


def _totals(planned: Sequence[PlannedCell]) -> str:
    total = {name: _total(planned, value) for name, value in TOTALS.items()}
    shown = [
        f"{_number(total['flops'], '.2e')} FLOPs",
        *(f"{_hours(total[f'{name}_hours'.lower()])} {name}-hours" for name in _devices(planned)),
        "- of checkpoints" if total["disk_bytes"] is None else f"{format_bytes(total['disk_bytes'])} of checkpoints",
        f"{_hours(total['evaluation_hours'])} hours of evaluation",
        f"{_hours(total['days'])} days one after the other",
    ]
    return ", ".join([*shown, *([f"price {total['price']:,.0f}"] if total["price"] is not None else [])])


def _bases(planned: Sequence[PlannedCell]) -> list[str]:
    """What the numbers rest on; each said once."""
    estimates = [item.estimate for item in planned]
    lines = [f"  FLOPs: {FORMULA}"]
    if any(estimate.paper_flops for estimate in estimates):
        lines.append(
            "    beside Appendix D.4 (5.0e21, 9.4e21, 5.0e22), whose formula is not printed; its 70B is met by counting keys and values at "
            "full width, which Llama 2 70b does not have"
        )
    lines += [
        f"  {'/'.join(_devices(planned))}-hours: {basis}" for basis in dict.fromkeys(e.speed_basis for e in estimates if e.speed_basis)
    ]
    each = " or ".join({"GPU": "a GPU", "CPU": "a process"}[name] for name in _devices(planned))
    memories: dict[str, str] = {}
    for item, estimate in zip(planned, estimates, strict=True):
        if estimate.memory is not None:
            parts = [f"{word} {getattr(estimate.memory, f'{part}_bytes') / GIB:.2g}" for word, part in MEMORY_PARTS.items()]
            config = item.cell.composed.config
            memories.setdefault(f"{config.base_model.name}, strategy {config.strategy.name}", ", ".join(parts))
    lines += [f"  GiB {each}, {name}: {parts} (+{SLACK_GIB:g} slack; loss and working take turns)" for name, parts in memories.items()]
    if any(not estimate.text_is_counted and estimate.text_bytes for estimate in estimates):
        lines.append(
            "  text ~: estimated, shards are not there: by the first text of a source where the base tokenizer is at hand, else 2.3 bytes "
            "per token of Japanese and 3.9 of English; added pieces make 2.3 bytes of Japanese 3.7"
        )
    if any(estimate.evaluation_hours and not estimate.evaluation_is_measured for estimate in estimates):
        lines.append(f"  evaluation: {EVALUATION_ASSUMPTION}")
    if any(estimate.evaluation_is_measured for estimate in estimates):
        lines.append("  evaluation: seconds a task that finished runs of the same model took on this device")
    lines.append(
        "  disk: states kept at a time and exports of all marks; days: training, then evaluation on one device, cells one after the other"
    )
    return lines
