"""Cells x checkpoints x tasks, from files.

State: planned, running, stopped (by Ctrl-C), preempted (by a scheduler), trained, done (and evaluated), failed, or lost (a running one
fell silent, or its process is gone).

(1) runs      of one sweep, or all                    -> state, tokens, attempts, cause
(2) progress  files of each run (sweep/progress.py)   -> checkpoints, tasks done at each, ETA, GPU-hours, publish lag
(3) health    results of the last checkpoint          -> what to know of its scores

Reads  sweeps/*.json, runs/*, models/*
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import UNEXPECTED_SHAPE, RequestError, SwallowError
from swallow_exp.artefact.paths import RunPaths, cell_lease
from swallow_exp.checkpoint.index import read_checkpoints
from swallow_exp.record.health import overlap_worries_of, read_overlap, worries_of
from swallow_exp.record.status import is_stale, read_status
from swallow_exp.record.store import list_model_ids, list_run_ids, read_absent, read_health, read_sweep
from swallow_exp.sweep.lease import find_holder, has_died
from swallow_exp.sweep.progress import (
    budget_of,
    evaluated_tasks,
    evaluation_eta,
    is_on_cpu,
    num_marks_of,
    pace_of,
    publish_lag,
    shown_state,
)

COLUMNS = {"tokens": 22, "checkpoints": 11, "results": 9, "ETA": 8, "hours": 8, "tries": 5, "unsent": 6}
UNKNOWN_OF_MODELS = (
    "trained_tokens", "budget_tokens", "checkpoints_planned", "results_planned", "eta_seconds", "gpu_hours", "cpu_hours", "attempts",
    "heartbeat", "publish_lag", "cause", "held_by",
)  # fmt: skip


def status_rows(out: Path, name: str | None = None) -> list[dict[str, Any]]:
    """One row a run: state (lost when a running one fell silent), tokens, checkpoints, evaluated tasks, ETA, GPU-hours, cause."""
    if out.exists() and not out.is_dir():
        raise RequestError(f"{out} is a file", expected="an output root", remedy="check --out and SWALLOW_OUT")
    if name is None:
        run_ids = list_run_ids(out)
    else:
        sweep = read_sweep(out, name)
        if sweep is None:
            known = sorted(path.stem for path in (out / "sweeps").glob("*.json"))
            raise RequestError(
                f"no sweep {name} under {out}",
                expected=f"one of {', '.join(known) or 'none yet'}",
                remedy="check --out, or start it with -m +sweep=",
            )
        run_ids = [cell["run_id"] for cell in sweep["cells"]]
    asked = _asked(out)
    rows = [_row_of(_run_row, out, run_id, asked.get(run_id, {})) for run_id in run_ids]
    if name is None:
        rows += [_row_of(_model_row, out, model_id) for model_id in list_model_ids(out)]
    return rows


def _row_of(describe: Callable[..., dict[str, Any]], out: Path, run_id: str, *more: Any) -> dict[str, Any]:
    """One row, whatever lies in the run's folder: files of another shape make this row `unreadable`, and no other."""
    try:
        return describe(out, run_id, *more)
    except (SwallowError, OSError, *UNEXPECTED_SHAPE) as error:
        cause = f"its files cannot be read: {repr(error).splitlines()[0][:200]}; `swallow verify` says which"
        facts = {"results": 0, "evaluated": {}, "absent": {}, "health": [], "results_planned": None, "checkpoints_planned": None}
        return {"run_id": run_id, "state": "unreadable", "checkpoints": 0, **dict.fromkeys(UNKNOWN_OF_MODELS), **facts, "cause": cause}


def _asked(out: Path) -> dict[str, Mapping[str, Any]]:
    """run_id -> its entry in the sweeps there are, which know how many marks and tasks it will have."""
    sweeps = [read_sweep(out, path.stem) for path in sorted((out / "sweeps").glob("*.json"))]
    cells = [cell for sweep in sweeps if sweep for cell in sweep["cells"] if isinstance(cell, dict)]
    return {str(cell["run_id"]): cell for cell in cells if isinstance(cell.get("tasks"), int)}


def _run_row(out: Path, run_id: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    run = RunPaths.of(out, run_id)
    status, budget, evaluated = read_status(run.status), budget_of(run), evaluated_tasks(run)
    marks, lease = num_marks_of(run, budget) or asked.get("marks"), cell_lease(out, run_id)
    state = "lost" if is_stale(status) or has_died(lease, status) else shown_state(status)
    results = sum(map(len, evaluated.values()))
    planned = marks * asked["tasks"] if marks is not None and "tasks" in asked else None
    pace = pace_of(run, state, int(status.get("trained_tokens") or 0), budget)
    on_cpu, holder = is_on_cpu(run), find_holder(lease)
    if state == "trained" and holder is not None and planned is not None and results < planned:
        pace["eta_seconds"] = evaluation_eta(run, evaluated, planned - results)
    return {
        "run_id": run_id,
        "state": state,
        "held_by": holder,
        "trained_tokens": status.get("trained_tokens"),
        "budget_tokens": budget,
        "checkpoints": len(read_checkpoints(run)),
        "checkpoints_planned": marks,
        "results": results,
        "results_planned": planned,
        "evaluated": {str(tokens): tasks for tokens, tasks in evaluated.items()},
        "eta_seconds": pace["eta_seconds"],
        "gpu_hours": None if on_cpu else pace["device_hours"],
        "cpu_hours": pace["device_hours"] if on_cpu else None,
        "attempts": status.get("attempts"),
        "heartbeat": status.get("heartbeat"),
        "publish_lag": publish_lag(run),
        "cause": status.get("cause"),
        "absent": read_absent(run),
        "health": _worries(out, run_id, max(evaluated, default=None)),
    }


def _model_row(out: Path, model_id: str) -> dict[str, Any]:
    """A model that no run made, in the columns of a run."""
    run = RunPaths.of(out, model_id)
    evaluated = evaluated_tasks(run)
    facts = {"results": sum(map(len, evaluated.values())), "evaluated": {str(tokens): tasks for tokens, tasks in evaluated.items()}}
    facts |= {"absent": read_absent(run), "health": _worries(out, model_id, max(evaluated, default=None))}
    return {"run_id": model_id, "state": "model", "checkpoints": 1, **dict.fromkeys(UNKNOWN_OF_MODELS), **facts}


def _worries(out: Path, run_id: str, last: int | None) -> list[dict[str, Any]]:
    """What to know of the scores of the last evaluated checkpoint: {"task", "profile", "worry", "share"}."""
    found = [worry for record in (read_health(out, run_id, last) if last is not None else ()) for worry in worries_of(record)]
    found += [worry for record in read_overlap(out, run_id) for worry in overlap_worries_of(record)]
    return [{"task": w.task, "profile": w.profile, "worry": w.words, "share": round(w.share, 4)} for w in found]


def status_table(rows: list[dict[str, Any]], *, as_json: bool) -> str:
    """The rows as JSON, or as a table for reading."""
    if as_json:
        return json.dumps(rows, indent=1)
    if not rows:
        return "no runs yet: `swallow demo` makes some, and --out or SWALLOW_OUT says where to look"
    width = max(len(row["run_id"]) for row in rows)
    heads = "".join(f" {_hours_head(rows) if head == 'hours' else head:>{size}}" for head, size in COLUMNS.items())
    lines = [f"{'run':<{width}}  {'state':<9}{heads}  tasks at each checkpoint"]
    for row in rows:
        cells = "".join(f" {cell:>{size}}" for cell, size in zip(_columns(row), COLUMNS.values(), strict=True))
        marks = _marks(row)
        cause = f"  {row['cause']}" if row["cause"] else ""
        state = "done" if row["state"] == "trained" and row["results"] >= (row["results_planned"] or math.inf) else row["state"]
        lines.append(f"{row['run_id']:<{width}}  {state:<9}{cells}  {marks}{cause}".rstrip())
    lines += [line for row in rows for line in _remarks(row)]
    return "\n".join(lines)


def _hours_head(rows: list[dict[str, Any]]) -> str:
    """What the hours are of."""
    devices = [name for name in ("GPU-h", "CPU-h") if any(row[name.lower().replace("-h", "_hours")] is not None for row in rows)]
    return devices[0] if len(devices) == 1 else "device-h"


def _marks(row: Mapping[str, Any]) -> str:
    """Results of each checkpoint in order: `6 6 2/6 . .`, a dot for one without any."""
    marks, results = row["checkpoints_planned"], row["results_planned"]
    each = results // marks if marks and results else None
    shown = [f"{len(tasks)}" + (f"/{each}" if each is not None and len(tasks) < each else "") for tasks in row["evaluated"].values()]
    return " ".join([*shown, *["."] * ((marks or 0) - len(shown) if each else 0)])


def _columns(row: Mapping[str, Any]) -> list[str]:
    """One cell of text a column of COLUMNS; `-` where nobody knows."""
    tokens, budget, eta = (row[name] for name in ("trained_tokens", "budget_tokens", "eta_seconds"))
    hours = row["gpu_hours"] if row["gpu_hours"] is not None else row["cpu_hours"]
    share = f" {min(tokens / budget, 1):4.0%}" if tokens is not None and budget else ""
    return [
        f"{tokens:,}{share}" if tokens is not None else "-",
        *(f"{row[name]}" + (f"/{row[f'{name}_planned']}" if row[f"{name}_planned"] else "") for name in ("checkpoints", "results")),
        "-" if eta is None else _duration(eta),
        "-" if hours is None else f"{hours:,.1f}" if hours >= 1 else f"{hours:.2g}",
        f"{row['attempts']}" if row["attempts"] is not None else "-",
        f"{row['publish_lag']:,}" if row["publish_lag"] is not None else "-",
    ]


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 60:.1f} min"


def _remarks(row: dict[str, Any]) -> list[str]:
    """Below the table: tasks without data, and scores to be read with care."""
    lines = [f"{row['run_id']}: absent: {name}: {reason}" for name, reason in row["absent"].items()]
    found: dict[str, list[str]] = {}
    for worry in row["health"]:
        profile = "" if worry["profile"] == "both" else f" ({worry['profile']})"
        found.setdefault(worry["worry"], []).append(f"{worry['task']}{profile} {worry['share']:.0%}")
    return [*lines, *(f"{row['run_id']}: {words}: {', '.join(tasks)}" for words, tasks in found.items())]
