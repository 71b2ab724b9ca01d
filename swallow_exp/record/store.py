"""Read run folders into records, and write the one thing that is not an event: a task's result with its items.

<run>/evaluations/tokens_<n>/<task>/result.json   written last; without it the task is not evaluated
<run>/evaluations/tokens_<n>/<task>/items.parquet one row an item (columns: ITEM_TYPES), and one list<double>
                                                  column `stat:<metric>:<profile>` for each metric
<run>/evaluations/absent.json                     tasks of the suite that could not be asked, and why
<run>/evaluations/overlap.json                    share of items in the training text, one entry a task; overlap/<task>.parquet: by item

A task that is asked once for each profile has the folders <task>-paper and <task>-fair; `task` in result.json is its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import is_plain_name, make_folder, read_json, user_disk, write_json_atomic
from swallow_exp.artefact.paths import MODELS, RunPaths, models_folder, runs_folder, sweep_file, user_path
from swallow_exp.record.events import read_events
from swallow_exp.record.identity import IDENTITY_GROUPS, read_identity
from swallow_exp.record.schema import CurveRecord, EvaluationRecord, HealthRecord, ItemStatistics, RunRecord
from swallow_exp.record.status import read_status

RESULT_NAME = "result.json"
ITEMS_NAME = "items.parquet"
STATISTICS = "stat:"
# Columns of items.parquet and their types in Arrow; a file may lack some (results of other versions have fewer).
ITEM_TYPES = {
    "task": "string",
    "item_id": "string",
    "cluster": "string",
    "prompt_digest": "string",
    "prompt": "string",  # as it was asked
    "prediction": "string",  # raw
    "normalised": "string",  # as the metrics read it
    "reference": "string",  # the gold answer
    "answers": "list<string>",  # every acceptable one
    "choices": "list<string>",
    "choice_loglikelihoods": "list<double>",  # natural logarithm, in the order of the choices
    "gold_loglikelihood": "double",
    "gold_bits_per_byte": "double",
    "truncated": "bool",  # the prompt lost its start
    "fitted": "bool",  # the task's own rule shortened it
    "empty": "bool",
    "at_budget": "bool",
    "invalid": "bool",  # none of the task's labels
    "generated_tokens": "int64",  # of the answer before anything was cut off, without the end token; null where nothing is generated
    "generated_characters": "int64",  # of the same text
}


def statistics_column(metric: str, profile: str) -> str:
    """Column of items.parquet that holds the statistics of one metric."""
    return f"{STATISTICS}{metric}:{profile}"


def write_result(folder: Path, result: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> None:
    """Write items.parquet, then result.json (the mark that the task is done).

    result  {"task", "suite", "task_version", "num_fewshot", "prompt_digest", "checkpoint_digest", ...,
             "metrics": [{"metric", "profile", "aggregate", "higher_is_better", "score", "num_items"}]}
    items   dictionaries with the columns of the module docstring
    """
    import pyarrow.parquet as pq

    make_folder(folder)
    temporary = folder / f".{ITEMS_NAME}.tmp"
    with user_disk(folder):
        pq.write_table(_table(items), temporary, compression="zstd")
        temporary.replace(folder / ITEMS_NAME)
    write_json_atomic(folder / RESULT_NAME, dict(result))


def _table(items: Sequence[Mapping[str, Any]]) -> Any:
    import pyarrow as pa

    types = {"string": pa.string(), "bool": pa.bool_(), "double": pa.float64(), "int64": pa.int64()}
    types |= {"list<string>": pa.list_(pa.string()), "list<double>": pa.list_(pa.float64())}
    columns = {
        name: pa.array([item[name] for item in items], type=types[ITEM_TYPES[name] if name in ITEM_TYPES else "list<double>"])
        for name in items[0]
    }
    return pa.table(columns)


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result of one task at one checkpoint, or None."""
    result = read_json(folder / RESULT_NAME)
    return result if isinstance(result, dict) and isinstance(result.get("metrics"), list) else None


def list_run_ids(out: Path) -> list[str]:
    """Every run folder that has an identity."""
    root = runs_folder(out)
    return sorted(p.name for p in root.iterdir() if (p / "identity.json").exists()) if root.is_dir() else []


def list_model_ids(out: Path) -> list[str]:
    """Every model that no run made and that was evaluated, as models/<name>: read_evaluations and read_items take it as a run_id."""
    return sorted(f"{MODELS}/{p.parent.name}" for p in models_folder(out).glob("*/model.json"))


def read_sweep(out: Path, name: str) -> dict[str, Any] | None:
    """The expanded grid written by the sweep room: {"name", "question", "cells": [...], "contrasts": [...]} or None."""
    sweep = read_json(sweep_file(out, name)) if is_plain_name(name) else None
    cells = sweep.get("cells") if isinstance(sweep, dict) else None
    shaped = isinstance(cells, list) and all(isinstance(cell, dict) and is_plain_name(cell.get("run_id")) for cell in cells)
    return sweep if isinstance(sweep, dict) and shaped else None


def sweeps_of(out: Path, run_id: str) -> list[dict[str, Any]]:
    """The expanded grids that have this run as a cell, by name."""
    sweeps = (read_sweep(out, path.stem) for path in sorted(sweep_file(out, "any").parent.glob("*.json")))
    return [sweep for sweep in sweeps if sweep and any(cell["run_id"] == run_id for cell in sweep["cells"])]


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
    identity = read_identity(paths.identity)
    if identity is None:
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


@dataclass(frozen=True)
class RunResults:
    """All that the results of one run say. broken: (trained tokens, folder of the task, what is wrong) of those that cannot be used."""

    evaluations: tuple[EvaluationRecord, ...]
    health: tuple[HealthRecord, ...]
    broken: tuple[tuple[int, str, str], ...]


def read_run_results(out: Path, run_id: str) -> RunResults:
    """Every result of a run in one pass, in order of tokens and task; a result that cannot be read is named, not skipped in silence."""
    evaluations: list[EvaluationRecord] = []
    health: list[HealthRecord] = []
    broken: list[tuple[int, str, str]] = []
    for trained_tokens, folder in _task_folders(out, run_id):
        if not (folder / RESULT_NAME).exists():
            continue
        result = read_result(folder)
        if result is None:
            broken.append((trained_tokens, folder.name, f"{RESULT_NAME} cannot be read"))
            continue
        try:
            found = list(_evaluations_of(run_id, trained_tokens, folder, result))
            health += _health_of(run_id, trained_tokens, result)
        except (KeyError, TypeError) as error:
            broken.append((trained_tokens, folder.name, f"{RESULT_NAME} is not that of a task ({error!r})"))
            continue
        evaluations += found
    return RunResults(tuple(evaluations), tuple(health), tuple(broken))


def read_evaluations(out: Path, run_id: str) -> Iterator[EvaluationRecord]:
    """Every metric of every task of every evaluated checkpoint, in order of tokens and task."""
    for trained_tokens, task_folder, result in _results(out, run_id):
        yield from _evaluations_of(run_id, trained_tokens, task_folder, result)


def _evaluations_of(run_id: str, trained_tokens: int, task_folder: Path, result: Mapping[str, Any]) -> Iterator[EvaluationRecord]:
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
            folder="" if task_folder.name == result["task"] else task_folder.name,
            fraction=result.get("fraction"),
            settings_digest=str(result.get("settings_digest") or ""),
        )


def _task_folders(out: Path, run_id: str, at: int | None = None) -> Iterator[tuple[int, Path]]:
    """(trained tokens, folder) of every task of every checkpoint (of one with `at`), in order of tokens and folder."""
    root = RunPaths.of(out, run_id).folder / "evaluations"
    marks = sorted((int(m.group(1)), p) for p in root.glob("tokens_*/") if (m := re.fullmatch(r"tokens_(\d+)", p.name)))
    for trained_tokens, folder in marks if at is None else [mark for mark in marks if mark[0] == at]:
        yield from ((trained_tokens, task_folder) for task_folder in sorted(p for p in folder.iterdir() if p.is_dir()))


def _results(out: Path, run_id: str, at: int | None = None) -> Iterator[tuple[int, Path, dict[str, Any]]]:
    """(trained tokens, folder, result.json) of every finished task (of one checkpoint with `at`), in order of tokens and folder."""
    for trained_tokens, task_folder in _task_folders(out, run_id, at):
        result = read_result(task_folder)
        if result is not None:
            yield trained_tokens, task_folder, result


def read_health(out: Path, run_id: str, at: int | None = None) -> Iterator[HealthRecord]:
    """Health of every task of every evaluated checkpoint, or of the one at `at` trained tokens, in order of tokens and task."""
    for trained_tokens, _, result in _results(out, run_id, at):
        yield from _health_of(run_id, trained_tokens, result)


def _health_of(run_id: str, trained_tokens: int, result: Mapping[str, Any]) -> Iterator[HealthRecord]:
    if isinstance(health := result.get("health"), dict) and result["metrics"]:
        profile, num_items = result.get("profile", "both"), result["metrics"][0]["num_items"]
        remarks = tuple(result.get("remarks", ()))
        yield HealthRecord(run_id, trained_tokens, result["task"], profile, num_items, health, remarks, result.get("fraction"))


def read_absent(run: RunPaths) -> dict[str, str]:
    """Tasks that the last evaluation could not ask: name -> what is missing."""
    absent = read_json(run.absent_tasks)
    return {str(name): str(reason) for name, reason in absent.items()} if isinstance(absent, dict) else {}


def write_absent(run: RunPaths, absent: Mapping[str, str]) -> None:
    """Note what could not be asked; nothing absent: no file."""
    if read_absent(run) == dict(absent):
        return
    if absent:
        write_json_atomic(run.absent_tasks, dict(absent))
    else:
        run.absent_tasks.unlink(missing_ok=True)


def read_items(out: Path, record: EvaluationRecord) -> ItemStatistics:
    """Statistics of every item behind one evaluation record, sorted by item id.

    Raises FileNotFoundError when the items are gone, ValueError when they are not a whole table with statistics of this metric.
    """
    folder = RunPaths.of(out, record.run_id).evaluation(record.trained_tokens, record.folder or record.task)
    column = statistics_column(record.metric, record.profile)
    by_column = read_statistics(folder, aggregate=record.aggregate)
    if column not in by_column:
        raise ValueError(f"{ITEMS_NAME} has no column {column}")
    return by_column[column]


def read_statistics(folder: Path, *, aggregate: str = "mean") -> dict[str, ItemStatistics]:
    """Statistics of every metric of one task, by their columns, sorted by item id; no other column is read. Raises as read_items."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    path = folder / ITEMS_NAME
    if not path.exists():
        raise FileNotFoundError(path)
    try:
        with pa.OSFile(str(path)) as source, pq.ParquetFile(source) as file:
            metrics = [name for name in file.schema_arrow.names if name.startswith(STATISTICS)]
            table = file.read(columns=["item_id", "cluster", *metrics], use_threads=False)
            absent = [name for name in ("item_id", "cluster") if name not in table.column_names]
            if not absent and table.num_rows:
                table = table.take(pc.sort_indices(table["item_id"]))
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{ITEMS_NAME} cannot be read ({str(error).splitlines()[0]})") from error
    if absent or not table.num_rows:
        raise ValueError(f"{ITEMS_NAME} has no column {absent[0]}" if absent else f"{ITEMS_NAME} has no row")
    ids, clusters = (tuple(table[name].to_pylist()) for name in ("item_id", "cluster"))
    return {name: ItemStatistics(ids, clusters, _as_matrix(table[name].combine_chunks()), aggregate) for name in metrics}


def _as_matrix(lists: Any) -> npt.NDArray[np.float64]:
    """A column of equally long lists -> (n, k)."""
    values = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    width = len(values) // len(lists)
    if lists.null_count or (np.diff(np.asarray(lists.offsets)) != width).any():
        raise ValueError(f"{ITEMS_NAME} has statistics of different lengths")
    return np.asarray(values.reshape(len(lists), width), dtype=np.float64)


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


def find_run(out: Path, given: str) -> RunPaths:
    """A run by its id, by an unambiguous beginning or end of it, or by its folder."""
    folder = user_path(given)
    if folder.is_dir() and (folder / "identity.json").is_file():
        return RunPaths(folder.resolve())
    known = list_run_ids(out)
    matches = [run_id for run_id in known if given and (run_id.startswith(given) or run_id.endswith(given))]
    matches = [given] if given in known else matches
    if len(matches) != 1:
        what = f"{len(matches)} runs match" if matches else "no run matches"
        shown = f"one of {', '.join(matches or known)}" if known else f"a run under {runs_folder(out)}, which has none"
        raise RequestError(f"{what} '{given}'", expected=shown, remedy="give the whole run_id, or check --out")
    return RunPaths.of(out, matches[0])
