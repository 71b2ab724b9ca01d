"""Give an exported checkpoint away: a plain Hugging Face folder that owes nothing to the run it came from.

Reads   runs/<run_id>/checkpoints.json and the export it names        Writes  the asked folder, whole or not at all
"""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import make_folder, read_json, remove_folder, user_disk, write_json_atomic
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.checkpoint.index import CheckpointRecord, read_checkpoints, resolve_export

ORIGIN_NAME = "swallow_export.json"


def choose_checkpoint(run: RunPaths, mark_tokens: int | None) -> CheckpointRecord:
    """The checkpoint at a mark, or the last one. Raises RequestError naming the marks there are."""
    records = read_checkpoints(run)
    if not records:
        raise RequestError(f"run {run.run_id} has no checkpoint", expected="at least one", remedy="train it first")
    if mark_tokens is None:
        return records[-1]
    for record in records:
        if mark_tokens in (record.mark_tokens, record.trained_tokens):
            return record
    marks = ", ".join(str(record.mark_tokens) for record in records)
    raise RequestError(f"--tokens {mark_tokens}", expected=f"one of {marks}", remedy="choose one of these marks")


def copy_export(out: Path, run: RunPaths, *, to: Path, mark_tokens: int | None = None, replace: bool = False) -> Path:
    """Copy one export to the folder `to`. An equal copy is left alone; another folder is refused unless `replace`."""
    record = choose_checkpoint(run, mark_tokens)
    origin = {"run_id": run.run_id, "trained_tokens": record.trained_tokens, "digest": record.digest}
    if to.exists():
        if read_json(to / ORIGIN_NAME) == origin:
            return to
        if not replace and (not to.is_dir() or any(to.iterdir())):
            raise RequestError(f"--to {to} is there and is something else", expected="a new or empty folder", remedy="choose another")
    make_folder(to.parent)
    partial = to.with_name(f".{to.name}.partial-{uuid.uuid4().hex[:8]}")
    with user_disk(to):
        try:
            shutil.copytree(resolve_export(run, record), partial, ignore=shutil.ignore_patterns("manifest.json"))
            write_json_atomic(partial / ORIGIN_NAME, origin)
            remove_folder(to)
            partial.rename(to)
        finally:
            remove_folder(partial)
    return to
