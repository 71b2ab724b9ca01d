"""The end of an offline fragment (`run-<id>.wandb`): which whole records it holds by now.

The file is a LevelDB log: a header of 7 bytes, then blocks of 32 KiB with chunks
    crc32 (4 bytes, little endian) | length (2) | type (1: whole, 2: first, 3: middle, 4: last) | data
W&B's background process may still be writing when the client has returned, so a fragment counts only once its last record is there.

Reads  a fragment.  Writes  nothing.  Source  LevelDB's log format
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

FILE_HEADER_BYTES = 7
BLOCK_BYTES = 32 * 1024
CHUNK_HEADER = struct.Struct("<IHB")
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4
LAST_BLOCKS = 4  # the last records are small: where a run ended costs the same however long it was


def last_records(path: Path) -> Iterator[bytes]:
    """Whole records of the last blocks, in order; what is still being written is not there."""
    with path.open("rb") as handle:
        size = handle.seek(0, 2)
        start = max(size // BLOCK_BYTES - LAST_BLOCKS, 0) * BLOCK_BYTES
        handle.seek(start)
        data = handle.read()
    position = 0 if start else FILE_HEADER_BYTES
    parts: list[bytes] | None = None  # None: the beginning of this record lies before the blocks that were read
    while position + CHUNK_HEADER.size <= len(data):
        room = BLOCK_BYTES - position % BLOCK_BYTES
        if room < CHUNK_HEADER.size:
            position += room
            continue
        _, length, kind = CHUNK_HEADER.unpack_from(data, position)
        end = position + CHUNK_HEADER.size + length
        if not WHOLE <= kind <= LAST or end > len(data):
            return
        body, position = data[position + CHUNK_HEADER.size : end], end
        if kind in (WHOLE, FIRST):
            parts = []
        if parts is None:
            continue
        parts.append(body)
        if kind in (WHOLE, LAST):
            yield b"".join(parts)
            parts = None
