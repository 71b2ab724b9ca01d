"""The outbox: every metric row of a run, append-only, one JSON object a line.

A row has at least {"kind", "trained_tokens"}; kinds are
  train       step, loss, learning_rate, grad_norm, text_bytes, positions, flops (the model's, so far); since the row before:
              tokens_per_second, text_bytes_per_second, tflops_per_device, mfu, hfu, data_wait_share; peak_memory_bytes;
              skipped_updates (of the run, when there are any)
  guard       step, action (update | skip | stop), cause, sequences ([first, last] stream positions), sources, loss, grad_norm
  checkpoint  step; of a mark digest; of a save bytes, checkpoint_stall_seconds (training stood still), checkpoint_background_seconds
  evaluation  suite, task, profile, metric, score, num_items, checkpoint_digest
A torn last line (a killed writer) is ignored by readers and closed by the next writer. Several processes may append.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from swallow_exp.artefact.files import make_folder, user_disk


def append_events(path: Path, rows: list[Mapping[str, Any]]) -> None:
    """Append rows in one locked write and flush them to disk."""
    if not rows:
        return
    for row in rows:
        assert "kind" in row and "trained_tokens" in row, row
    text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    make_folder(path.parent)
    with user_disk(path), path.open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        # the file may have grown while this process waited for the lock: tell() would still say where it was opened
        if os.fstat(handle.fileno()).st_size > 0 and not _ends_with_newline(path):
            text = "\n" + text  # close the torn line of a killed writer; readers skip it
        handle.write(text.encode("utf-8"))
        handle.flush()
        os.fsync(handle.fileno())


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as handle:
        handle.seek(-1, os.SEEK_END)
        return handle.read(1) == b"\n"


def read_events(path: Path, kind: str | None = None) -> Iterator[dict[str, Any]]:
    """Rows in the order they were written; torn lines are skipped."""
    if not path.exists():
        return
    with path.open("rb") as handle:
        for line in handle:
            if not line.endswith(b"\n"):
                return
            try:
                row = json.loads(line)
            except (json.JSONDecodeError, UnicodeDecodeError):
                continue
            if isinstance(row, dict) and (kind is None or row.get("kind") == kind):
                yield row


def last_events(path: Path, kind: str, *, num_bytes: int = 16_384) -> list[dict[str, Any]]:
    """Rows of one kind among the last bytes of an outbox, in order; further back where there are none, as behind a long evaluation."""
    rows: list[dict[str, Any]] = []
    try:
        with path.open("rb") as handle:
            size = handle.seek(0, os.SEEK_END)
            while not rows:
                handle.seek(max(size - num_bytes, 0))
                rows = _rows_of(
                    handle.read(min(num_bytes, size)).split(b"\n")[(1 if size > num_bytes else 0) : -1], kind
                )  # whole lines only
                if num_bytes >= size:
                    break
                num_bytes *= 4
    except OSError:
        return []
    return rows


def _rows_of(lines: list[bytes], kind: str) -> list[dict[str, Any]]:
    mark = f'"kind": "{kind}"'.encode()
    rows = []
    for line in lines:
        if mark in line:
            try:
                row = json.loads(line)
            except (json.JSONDecodeError, UnicodeDecodeError):
                continue
            if isinstance(row, dict) and row.get("kind") == kind:
                rows.append(row)
    return rows
