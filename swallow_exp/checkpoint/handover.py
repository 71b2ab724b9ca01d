"""Give a checkpoint away: a plain Hugging Face folder that owes nothing to the run it came from.

(1) choose   a mark of the run, or its last
(2) check    the export is what was written: weights, config, tokenizer
(3) copy     or convert, file by file, when another dtype is asked for
(4) name     rename, and say in swallow_export.json what it is

Reads   runs/<run_id>/checkpoints.json and the export it names        Writes  the asked folder, whole or not at all
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import make_folder, read_json, remove_folder, user_disk, write_json_atomic
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.artefact.progress import progress_bar
from swallow_exp.checkpoint.check_states import require_export
from swallow_exp.checkpoint.index import CheckpointRecord, read_checkpoints
from swallow_exp.model.folder import CONFIG_NAME, WEIGHTS_INDEX_NAME, read_index, save_tensors, stored_tensors, weight_files, weights_digest

ORIGIN_NAME = "swallow_export.json"
STILL_SECONDS = 3600.0  # assumed: a copy that nothing has touched for so long has no process any more
DTYPES = ("float32", "bfloat16")


def choose_checkpoint(run: RunPaths, mark_tokens: int | None) -> CheckpointRecord:
    """The checkpoint at a mark, or the last one that has an export. Raises RequestError naming the marks there are."""
    records = [record for record in read_checkpoints(run) if record.export]
    if not records:
        raise RequestError(f"run {run.run_id} has no checkpoint", expected="at least one", remedy="train it first")
    if mark_tokens is None:
        return records[-1]
    for record in records:
        if mark_tokens in (record.mark_tokens, record.trained_tokens):
            return record
    marks = ", ".join(str(record.mark_tokens) for record in records)
    raise RequestError(f"--tokens {mark_tokens}", expected=f"one of {marks}", remedy="choose one of these marks")


def copy_export(
    out: Path, run: RunPaths, *, to: Path | None, mark_tokens: int | None = None, replace: bool = False, dtype: str | None = None
) -> Path:
    """Copy one export to the folder `to` (None: below <out>/exports). An equal copy is left alone; another folder is refused unless
    `replace`. `dtype` converts the weights. Raises RequestError for an unknown mark, RunFailed for a damaged export.
    """
    if dtype not in (None, *DTYPES):
        raise RequestError(f"--dtype {dtype}", expected=f"one of {', '.join(DTYPES)}", remedy=f"write --dtype {DTYPES[0]}")
    record = choose_checkpoint(run, mark_tokens)
    source = require_export(run, record)
    stored = str(read_json(source / CONFIG_NAME).get("dtype"))
    wanted = dtype if dtype != stored else None
    to = to or out / "exports" / f"{run.run_id}-{record.mark_tokens}{f'-{wanted}' if wanted else ''}"
    origin: dict[str, Any] = {"run_id": run.run_id, "trained_tokens": record.trained_tokens, "digest": record.digest}
    origin |= {"dtype": wanted} if wanted else {}
    if to.exists():
        known = read_json(to / ORIGIN_NAME) if to.is_dir() else None
        if isinstance(known, dict) and {name: known.get(name) for name in origin} == origin and known.get("dtype") == wanted:
            return to
        if not replace and (not to.is_dir() or any(to.iterdir())):
            raise RequestError(f"--to {to} is there and is something else", expected="a new or empty folder", remedy="choose another")
    make_folder(to.parent)
    partial = to.with_name(f".{to.name}.partial-{uuid.uuid4().hex[:8]}")
    with user_disk(to), _only_copy(partial, to):
        try:
            _copy(source, partial, wanted)
            if wanted:
                origin["weights_digest"] = weights_digest(partial)
            write_json_atomic(partial / ORIGIN_NAME, origin)
            remove_folder(to)
            partial.rename(to)
        finally:
            remove_folder(partial)
    return to


@contextlib.contextmanager
def _only_copy(partial: Path, to: Path) -> Iterator[None]:
    """Make the folder `partial` and hold it; copies to the same place whose process was killed are removed first.

    A folder is held by a lock on itself, which the system frees when the process dies. Where the disk has no such locks, a copy that
    nothing has touched for an hour counts as left behind.
    """
    for leftover in to.parent.glob(f".{glob.escape(to.name)}.partial-*"):
        with contextlib.suppress(OSError):
            if not leftover.is_symlink() and _is_left_behind(leftover):
                remove_folder(leftover)
    make_folder(partial)
    handle = os.open(partial, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _is_left_behind(folder: Path) -> bool:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except OSError:
        return time.time() - max(one.stat().st_mtime for one in (folder, *folder.iterdir())) > STILL_SECONDS
    finally:
        os.close(handle)


def _copy(source: Path, target: Path, dtype: str | None) -> None:
    """All of a Hugging Face folder into the folder `target`; its weights in `dtype`, if one is given."""
    weights = weight_files(source)
    with progress_bar("export", sum(file.stat().st_size for file in source.iterdir()), unit="bytes") as advance:
        for file in sorted(source.iterdir()):
            if file.name == "manifest.json":  # the start weights are an artefact
                continue
            if dtype is not None and file in weights:
                _convert(file, target / file.name, dtype)
            else:
                shutil.copyfile(file, target / file.name)
            advance(file.stat().st_size)
    if dtype is not None:
        write_json_atomic(target / CONFIG_NAME, {**read_json(source / CONFIG_NAME), "dtype": dtype})
        index = read_index(source)
        if index is not None:
            total = sum(tensor.end - tensor.start for tensor in stored_tensors(target).values())
            write_json_atomic(target / WEIGHTS_INDEX_NAME, {**index, "metadata": {**index["metadata"], "total_size": total}})


def _convert(source: Path, target: Path, dtype: str) -> None:
    """One file of weights at a time; float32 from bfloat16 is exact, the other way rounds."""
    import torch
    from safetensors.torch import load_file

    tensors = {name: tensor.to(getattr(torch, dtype)) for name, tensor in load_file(source).items()}
    save_tensors(tensors, target)
