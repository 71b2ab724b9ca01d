"""Read an offline W&B run file (`run-<id>.wandb`) without wandb's own reader: what did our publisher really write?

The file is a LevelDB log: a 7-byte header, then 32 KiB blocks of chunks
    crc32 (4 bytes, little endian, over type and data) | length (2) | type (1: whole, 2: first, 3: middle, 4: last) | data
and each reassembled chunk is one protobuf `Record` (wandb.proto, the public schema shipped in the package).
"""

from __future__ import annotations

import json
import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE_HEADER = struct.Struct("<4sHB")
CHUNK_HEADER = struct.Struct("<IHB")
BLOCK_BYTES = 32 * 1024
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


@dataclass
class WandbLog:
    """The parts of one offline run that the tests look at."""

    run: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    rows: list[tuple[int, dict[str, Any]]] = field(default_factory=list)  # (step, values), wandb's own _keys left out
    summary: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, str] = field(default_factory=dict)  # exact name -> step metric
    globs: list[str] = field(default_factory=list)
    num_artifacts: int = 0
    preempting: bool = False
    exit_code: int | None = None  # None: never closed


def payloads(data: bytes) -> Iterator[bytes]:
    """Reassembled records; stops quietly at a torn end, loudly at a wrong checksum."""
    magic, number, _version = FILE_HEADER.unpack_from(data)
    assert (magic, number) == (b":W&B", 0xBEE1), "not a W&B run file"
    position, parts = FILE_HEADER.size, []
    while position + CHUNK_HEADER.size <= len(data):
        room = BLOCK_BYTES - position % BLOCK_BYTES
        if room < CHUNK_HEADER.size:  # too small for a header: the block's end is padding
            position += room
            continue
        checksum, length, kind = CHUNK_HEADER.unpack_from(data, position)
        body = data[position + CHUNK_HEADER.size : position + CHUNK_HEADER.size + length]
        if (checksum, length, kind) == (0, 0, 0) or (len(body) < length and CHUNK_HEADER.size + length <= room):
            return
        assert zlib.crc32(bytes([kind]) + body) == checksum, f"wrong checksum at byte {position}"
        position += CHUNK_HEADER.size + length
        if kind in (WHOLE, FIRST):
            parts = []
        parts.append(body)
        if kind in (WHOLE, LAST):
            yield b"".join(parts)


def _items(items: Any) -> Iterator[tuple[list[str], Any]]:
    for item in items:
        yield list(item.nested_key) or [item.key], json.loads(item.value_json)


def _put(tree: dict[str, Any], path: list[str], value: Any) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = value


def _facts(run: Any) -> dict[str, Any]:
    return {
        "id": run.run_id,
        "name": run.display_name,
        "project": run.project,
        "entity": run.entity,
        "group": run.run_group,
        "job_type": run.job_type,
        "tags": list(run.tags),
        "notes": run.notes,
    }


def read_wandb_log(path: Path) -> WandbLog:
    """Everything in one run file, later records over earlier ones."""
    from wandb.proto.wandb_internal_pb2 import Record

    log = WandbLog()
    for payload in payloads(path.read_bytes()):
        record = Record.FromString(payload)
        kind = record.WhichOneof("record_type")
        log.preempting |= kind == "preempting"
        log.num_artifacts += kind == "artifact"
        if kind == "run":
            log.run = _facts(record.run)
            for key, value in _items(record.run.config.update):
                _put(log.config, key, value)
        elif kind == "config":
            for key, value in _items(record.config.update):
                _put(log.config, key, value)
        elif kind == "history":
            values = {key[0]: value for key, value in _items(record.history.item) if not key[0].startswith("_")}
            log.rows.append((record.history.step.num, values))
        elif kind == "summary":
            for key, value in _items(record.summary.update):
                _put(log.summary, key, value)
        elif kind == "metric" and record.metric.glob_name:
            log.globs.append(record.metric.glob_name)
        elif kind == "metric":
            log.metrics[record.metric.name] = record.metric.step_metric
        elif kind == "exit":
            log.exit_code = record.exit.exit_code
    return log


def read_fragments(folder: Path) -> list[WandbLog]:
    """All offline runs directly under `folder`, in the order of their first step; those without rows last."""
    logs = [read_wandb_log(path) for path in folder.glob("offline-run-*/run-*.wandb")]
    return sorted(logs, key=lambda log: log.rows[0][0] if log.rows else sys.maxsize)
