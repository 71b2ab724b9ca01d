"""Read run folders into records, and write the one thing that is not an event: a task's result with its items.

<run>/evaluations/tokens_<n>/<task>/result.json   written last; without it the task is not evaluated
<run>/evaluations/tokens_<n>/<task>/items.parquet one row an item: item_id, cluster, prompt_digest, prompt,
                                                  prediction, reference, truncated, and one list<double>
                                                  column `stat:<metric>:<profile>` for each metric
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import make_folder, read_json, user_disk, write_json_atomic
from swallow_exp.artefact.paths import RunPaths, runs_folder, sweep_file
from swallow_exp.record.events import read_events
from swallow_exp.record.identity import IDENTITY_GROUPS
from swallow_exp.record.schema import CurveRecord, EvaluationRecord, ItemStatistics, RunRecord
from swallow_exp.record.status import read_status

RESULT_NAME = "result.json"
ITEMS_NAME = "items.parquet"


def statistics_column(metric: str, profile: str) -> str:
    """Column of items.parquet that holds the statistics of one metric."""
    return f"stat:{metric}:{profile}"


def write_result(folder: Path, result: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> None:
    """Write items.parquet, then result.json (the mark that the task is done).

    result  {"task", "suite", "task_version", "num_fewshot", "prompt_digest", "checkpoint_digest", ...,
             "metrics": [{"metric", "profile", "aggregate", "higher_is_better", "score", "num_items"}]}
    items   dictionaries with the columns of the module docstring
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    make_folder(folder)
    temporary = folder / f".{ITEMS_NAME}.tmp"
    with user_disk(folder):
        pq.write_table(pa.Table.from_pylist([dict(item) for item in items]), temporary, compression="zstd")
        temporary.replace(folder / ITEMS_NAME)
    write_json_atomic(folder / RESULT_NAME, dict(result))


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result of one task at one checkpoint, or None."""
    result = read_json(folder / RESULT_NAME)
    return result if isinstance(result, dict) and isinstance(result.get("metrics"), list) else None


def list_run_ids(out: Path) -> list[str]:
    """Every run folder that has an identity."""
    root = runs_folder(out)
    return sorted(p.name for p in root.iterdir() if (p / "identity.json").exists()) if root.is_dir() else []


def read_sweep(out: Path, name: str) -> dict[str, Any] | None:
    """The expanded grid written by the sweep room: {"name", "question", "cells": [...], "contrasts": [...]} or None."""
    sweep = read_json(sweep_file(out, name))
    return sweep if isinstance(sweep, dict) and isinstance(sweep.get("cells"), list) else None


def read_config(run: RunPaths) -> dict[str, Any]:
    """The resolved config of a run as a plain dict. Raises RequestError when it is missing or torn."""
    import yaml

    try:
        plain = yaml.safe_load(run.config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        plain = None
    if not isinstance(plain, dict) or "tracking" not in plain:
        raise RequestError(
            f"run '{run.run_id}' has no readable {run.config.name}",
            expected=f"a whole {run.config}",
            remedy="the `swallow train` command of this run writes it again; `swallow status` lists the runs",
        )
    return {str(key): value for key, value in plain.items()}


def read_run(out: Path, run_id: str) -> RunRecord | None:
    """One run, or None when the folder has no readable identity."""
    paths = RunPaths.of(out, run_id)
    identity = read_json(paths.identity)
    if not isinstance(identity, dict) or not {*IDENTITY_GROUPS, "seed"} <= identity.keys():
        return None
    status = read_status(paths.status)
    return RunRecord(
        run_id=run_id,
        choices={group: str(identity[group]["name"]) for group in IDENTITY_GROUPS},
        seed=int(identity["seed"]),
        state=str(status["state"]),
        trained_tokens=status.get("trained_tokens"),
        budget_tokens=identity["budget"].get("tokens"),
    )


def read_evaluations(out: Path, run_id: str) -> Iterator[EvaluationRecord]:
    """Every metric of every task of every evaluated checkpoint, in order of tokens and task."""
    root = RunPaths.of(out, run_id).folder / "evaluations"
    marks = sorted((int(m.group(1)), p) for p in root.glob("tokens_*/") if (m := re.fullmatch(r"tokens_(\d+)", p.name)))
    for trained_tokens, folder in marks:
        for task_folder in sorted(p for p in folder.iterdir() if p.is_dir()):
            result = read_result(task_folder)
            if result is None:
                continue
            for metric in result["metrics"]:
                yield EvaluationRecord(
                    run_id=run_id,
                    trained_tokens=trained_tokens,
                    suite=result["suite"],
                    task=result["task"],
                    task_version=str(result["task_version"]),
                    profile=metric["profile"],
                    metric=metric["metric"],
                    aggregate=metric["aggregate"],
                    higher_is_better=metric["higher_is_better"],
                    num_fewshot=result["num_fewshot"],
                    num_items=metric["num_items"],
                    score=metric["score"],
                    prompt_digest=result["prompt_digest"],
                    checkpoint_digest=result["checkpoint_digest"],
                )


def read_items(out: Path, record: EvaluationRecord) -> ItemStatistics:
    """Statistics of every item behind one evaluation record, sorted by item id."""
    import pyarrow.parquet as pq

    folder = RunPaths.of(out, record.run_id).evaluation(record.trained_tokens, record.task)
    column = statistics_column(record.metric, record.profile)
    table = pq.read_table(folder / ITEMS_NAME, columns=["item_id", "cluster", column]).to_pydict()
    order = sorted(range(len(table["item_id"])), key=lambda i: table["item_id"][i])
    return ItemStatistics(
        item_ids=tuple(table["item_id"][i] for i in order),
        clusters=tuple(table["cluster"][i] for i in order),
        statistics=np.array([table[column][i] for i in order], dtype=np.float64),
        aggregate=record.aggregate,
    )


def read_curve(out: Path, run_id: str) -> list[CurveRecord]:
    """Training curve, one row a trained_tokens value (a resumed run repeats rows: the last one counts)."""
    rows: dict[int, CurveRecord] = {}
    for row in read_events(RunPaths.of(out, run_id).events, "train"):
        rows[int(row["trained_tokens"])] = CurveRecord(
            run_id=run_id,
            trained_tokens=int(row["trained_tokens"]),
            step=int(row["step"]),
            loss=float(row["loss"]),
            learning_rate=float(row["learning_rate"]),
            text_bytes=row.get("text_bytes"),
            flops=row.get("flops"),
            grad_norm=row.get("grad_norm"),
            tokens_per_second=row.get("tokens_per_second"),
        )
    return [rows[tokens] for tokens in sorted(rows)]
