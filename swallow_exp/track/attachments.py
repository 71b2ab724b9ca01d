"""What a run shows beside its rows: checkpoints by their place, results of evaluations, and a few items of each task.

(1) checkpoints   checkpoints.json                          -> one Artifact a mark: place, digest, step; no weight is read or sent
(2) results       evaluations/tokens_<n>/<task>             -> one Artifact a mark: result.json and items.parquet of every task
(3) items         the newest mark against token 0           -> one ItemTable a task: items that changed sides first, then others

Reads   runs/<run_id>/{checkpoints.json, evaluations}.  Writes  nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path

from swallow_exp.artefact.files import digest_of, sha256_file
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.checkpoint.index import read_checkpoints, resolve_export
from swallow_exp.record.flips import TEXT_COLUMNS, find_flips
from swallow_exp.record.schema import EvaluationRecord
from swallow_exp.record.store import ITEMS_NAME, RESULT_NAME, read_evaluations, read_result
from swallow_exp.track.sinks import Artifact, ItemTable

MAX_ITEMS = 200  # of a task; all of them are in items.parquet
TABLE_PREFIX = "items/"
COLUMNS = ["item_id", "changed", "prompt", "reference", "prediction", "prediction_at_start"]
WON, LOST, SAME = "won", "lost", ""
Row = list[str | float | bool | None]


def artifacts_of(run: RunPaths) -> list[Artifact]:
    """Checkpoints and evaluation results of a run, in order of tokens."""
    return [*_checkpoints(run), *_results(run)]


def _checkpoints(run: RunPaths) -> Iterator[Artifact]:
    for record in read_checkpoints(run):
        export, state = resolve_export(run, record), run.checkpoint_state(record.trained_tokens)
        places = {"export": export, **({"state": state} if record.resumable else {})}
        facts = {name: value for name, value in asdict(record).items() if name not in ("seconds", "resumable")}
        yield Artifact(
            key=f"checkpoint/{record.trained_tokens}",
            fingerprint=digest_of(facts)[:16],  # a state that retention removed later is no other checkpoint
            kind="checkpoint",
            name=f"checkpoint-{run.run_id}",
            alias=f"tokens-{record.trained_tokens}",
            metadata={**facts, "path": str(export.absolute())},
            references={name: place for name, place in places.items() if place.exists()},  # retention may have removed one
        )


def _results(run: RunPaths) -> Iterator[Artifact]:
    for tokens, folder in _marks(run):
        tasks = sorted(path for path in folder.iterdir() if path.is_dir() and read_result(path) is not None)
        if not tasks:
            continue
        names = [(task, name) for task in tasks for name in (RESULT_NAME, ITEMS_NAME) if (task / name).is_file()]
        yield Artifact(
            key=f"eval-results/{tokens}",
            fingerprint=digest_of([(task.name, sha256_file(task / RESULT_NAME)) for task in tasks])[:16],  # written after the items
            kind="eval-results",
            name=f"eval-{run.run_id}",
            alias=f"tokens-{tokens}",
            metadata={"trained_tokens": tokens, "num_tasks": len(tasks)},
            files={f"{task.name}/{name}": task / name for task, name in names},
        )


def _marks(run: RunPaths) -> list[tuple[int, Path]]:
    folders = (run.folder / "evaluations").glob("tokens_*/")
    return sorted((int(found.group(1)), path) for path in folders if (found := re.fullmatch(r"tokens_(\d+)", path.name)))


def tables_of(run: RunPaths) -> list[ItemTable]:
    """One table for each task that has a score per item, at its newest mark."""
    by_task: dict[str, list[EvaluationRecord]] = {}
    for record in read_evaluations(run.out, run.run_id):
        if record.aggregate == "mean":
            by_task.setdefault(record.folder or record.task, []).append(record)
    tables = []
    for task, records in sorted(by_task.items()):
        last = max(record.trained_tokens for record in records)
        newest = next(record for record in records if record.trained_tokens == last)  # its first metric decides what changed
        of_metric = (record for record in records if (record.metric, record.profile) == (newest.metric, newest.profile))
        start = next((record for record in of_metric if record.trained_tokens == 0 < last), None)
        behind = [newest, *([start] if start is not None else [])]
        fingerprint = digest_of([sha256_file(_folder(run, record) / RESULT_NAME) for record in behind])[:16]
        load = partial(_load, run, newest, start)
        tables.append(ItemTable(key=TABLE_PREFIX + task, fingerprint=fingerprint, name=TABLE_PREFIX + task, load=load))
    return tables


def _folder(run: RunPaths, record: EvaluationRecord) -> Path:
    return run.evaluation(record.trained_tokens, record.folder or record.task)


def _load(run: RunPaths, record: EvaluationRecord, start: EvaluationRecord | None) -> tuple[list[str], list[Row]]:
    """Columns, and at most MAX_ITEMS rows: flips against token 0, the largest change first, then other items in the file's order."""
    flips = find_flips(run.out, record, start) if start is not None else iter(())
    rows: list[Row] = [
        [flip.item_id, WON if flip.won else LOST, flip.prompt, flip.reference, flip.prediction, flip.baseline_prediction]
        for flip in islice(flips, MAX_ITEMS)
    ]
    shown = {row[0] for row in rows}
    for item in _items(run, record):
        if len(rows) >= MAX_ITEMS:
            break
        if item["item_id"] not in shown:
            rows.append([item["item_id"], SAME, *(item[name] for name in TEXT_COLUMNS), None])
    return COLUMNS, rows


def _items(run: RunPaths, record: EvaluationRecord) -> list[dict[str, str]]:
    import pyarrow.parquet as pq

    table = pq.read_table(_folder(run, record) / ITEMS_NAME, columns=["item_id", *TEXT_COLUMNS])
    return [{name: value or "" for name, value in row.items()} for row in table.slice(0, 2 * MAX_ITEMS).to_pylist()]
