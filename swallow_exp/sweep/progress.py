"""How far one run is, read from its files in well under a millisecond a file: no config is composed, no outbox is read whole.

    ETA           of a running run its training: tokens left / tokens per second of the last rows; of a trained one that somebody evaluates
                  its results: those left x seconds a result at the last evaluated checkpoint
    device-hours  model FLOPs so far / FLOP/s of a device in the last rows: of training, at its present speed
    publish lag   rows of the outbox that the furthest publisher has not sent; None where nobody publishes

Reads  runs/<run_id>/{status.json, identity.json, config.yaml, checkpoints.json, events.jsonl, published/*.json, evaluations}
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.artefact.processes import INTERRUPTED
from swallow_exp.artefact.units import token_marks
from swallow_exp.model.devices import TERA
from swallow_exp.record.events import last_events
from swallow_exp.record.store import RESULT_NAME, read_result
from swallow_exp.track.lag import publish_lags

ACCELERATOR = re.compile(r"^  accelerator: cpu$", re.MULTILINE)
MARKS = re.compile(r"^  (checkpoint_every_tokens|final_checkpoints|final_checkpoint_every_tokens): (\d+)$", re.MULTILINE)


def shown_state(status: Mapping[str, Any]) -> str:
    """The state of status.json in one word: a run that was preempted by Ctrl-C is `stopped`."""
    stopped = status["state"] == "preempted" and status.get("cause") == INTERRUPTED
    return "stopped" if stopped else str(status["state"])


def is_on_cpu(run: RunPaths) -> bool:
    """Whether the run's config asks for CPUs."""
    try:
        return ACCELERATOR.search(run.config.read_text(encoding="utf-8")) is not None
    except (OSError, UnicodeDecodeError):
        return False


def evaluated_tasks(run: RunPaths) -> dict[int, list[str]]:
    """Trained tokens of every evaluated checkpoint -> folders of its finished tasks."""
    found: dict[int, list[str]] = {}
    for mark in _folders(run.folder / "evaluations"):
        tokens = mark.name.removeprefix("tokens_")
        if tokens.isdigit() and mark.name != tokens:
            done = [task.name for task in _folders(Path(mark.path)) if os.path.exists(os.path.join(task.path, RESULT_NAME))]
            if done:
                found[int(tokens)] = sorted(done)
    return dict(sorted(found.items()))


def _folders(root: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(root) as entries:
            return [entry for entry in entries if entry.is_dir()]
    except OSError:
        return []


def budget_of(run: RunPaths) -> int | None:
    """Tokens the run is trained for."""
    identity = read_json(run.identity)
    budget = identity.get("budget") if isinstance(identity, dict) else None
    tokens = budget.get("tokens") if isinstance(budget, dict) else None
    return tokens if isinstance(tokens, int) and tokens > 0 else None


def num_marks_of(run: RunPaths, budget: int | None) -> int | None:
    """Checkpoints the run will have, token 0 among them; from three lines of its config."""
    try:
        found = {name: int(value) for name, value in MARKS.findall(run.config.read_text(encoding="utf-8"))}
    except (OSError, UnicodeDecodeError):
        return None
    every, final = found.get("checkpoint_every_tokens", 0), found.get("final_checkpoint_every_tokens")
    return len(token_marks(budget, every, found.get("final_checkpoints", 0), final)) if budget and every > 0 else None


def pace_of(run: RunPaths, state: str, done: int, budget: int | None) -> dict[str, float | None]:
    """{"eta_seconds", "device_hours"} of training; None where the last rows do not say. The ETA is of a running run only."""
    rows = last_events(run.events, "train")
    speeds = [float(row["tokens_per_second"]) for row in rows if row.get("tokens_per_second")]
    rates = [float(row["tflops_per_device"]) for row in rows if row.get("tflops_per_device")]
    flops = rows[-1].get("flops") if rows else None
    eta = max(budget - done, 0) / median(speeds) if state == "running" and speeds and budget is not None else None
    return {"eta_seconds": eta, "device_hours": float(flops) / (median(rates) * TERA) / 3600 if flops and rates else None}


def evaluation_eta(run: RunPaths, evaluated: Mapping[int, list[str]], left: int) -> float | None:
    """Seconds that `left` results will take, by those of the last evaluated checkpoint; None where they do not say."""
    last = max(evaluated, default=None)
    results = [read_result(run.evaluation(last, task)) for task in evaluated[last]] if last is not None else []
    seconds = [float(result["seconds"]) for result in results if result and isinstance(result.get("seconds"), float | int)]
    return left * sum(seconds) / len(seconds) if seconds else None


def publish_lag(run: RunPaths) -> int | None:
    """Rows of the outbox behind the furthest cursor; None when there is none. A dashboard on this machine is no place to send them to."""
    return min((lag for place, lag in publish_lags(run).items() if not place.startswith("trackio-")), default=None)


def count_results(run: RunPaths) -> int:
    """Tasks at checkpoints that have a result."""
    return sum(map(len, evaluated_tasks(run).values()))
