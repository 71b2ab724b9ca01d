"""The one door for safetensors files: a header is read, checked whole, and only then believed.

A file is 8 bytes of length, a JSON header, and the tensors one after the other without holes. Whatever does not fit (cut off, another
kind of file, a header of another shape, tensors that overlap or lie outside) is one RequestError that names the file; nothing larger
than MAX_HEADER_BYTES is read to find out.

Reads   the header of a safetensors file
Source  the format's own rules: github.com/huggingface/safetensors, "Format"
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 100_000_000  # the format's own limit
METADATA = "__metadata__"
DTYPE_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    **{"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6},
}


@dataclass(frozen=True)
class StoredTensor:
    """Where one tensor lies in a safetensors file."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def damaged_weights(file: Path, what: str) -> RequestError:
    """The one line about a file that is no whole safetensors file."""
    return RequestError(f"{file}{what}", expected="a whole safetensors file", remedy="export or download it again")


def read_header(file: Path) -> dict[str, StoredTensor]:
    """Every tensor of one safetensors file by name. Raises RequestError when the file is not whole."""
    try:
        size = file.stat().st_size
        with file.open("rb") as handle:
            length = int.from_bytes(handle.read(LENGTH_BYTES), "little")
            whole = LENGTH_BYTES < LENGTH_BYTES + length <= size and length <= MAX_HEADER_BYTES
            text = handle.read(length) if whole else b""
    except OSError as error:
        raise damaged_weights(file, f" cannot be read: {error.strerror}") from error
    if not whole:
        raise damaged_weights(file, f" ({size:,} bytes) has no whole header")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged_weights(file, f" ({size:,} bytes) has no readable header") from error
    if not isinstance(header, dict):
        raise damaged_weights(file, f" ({size:,} bytes) has no readable header")
    begin = LENGTH_BYTES + length
    tensors = {name: _tensor(file, str(name), facts, begin) for name, facts in header.items() if name != METADATA}
    end = _check_places(file, tensors, begin)
    if size != end:
        raise damaged_weights(file, f" has {size:,} bytes where its header says {end:,}")
    return tensors


def _tensor(file: Path, name: str, facts: Any, begin: int) -> StoredTensor:
    """One entry of the header. Offsets in it count from the end of the header."""
    facts = facts if isinstance(facts, dict) else {}
    dtype, shape, offsets = facts.get("dtype"), facts.get("shape"), facts.get("data_offsets")
    numbers = [*shape, *offsets] if isinstance(shape, list) and isinstance(offsets, list) and len(offsets) == 2 else [None]
    if not isinstance(dtype, str) or not all(type(number) is int and number >= 0 for number in numbers):
        raise damaged_weights(file, f": its header says nothing usable about {name!r:.80}")
    assert isinstance(shape, list) and isinstance(offsets, list)
    start, end = offsets
    bits = DTYPE_BITS.get(dtype)
    if bits is None:
        raise damaged_weights(file, f": {name!r:.80} holds numbers of an unknown kind ({dtype!r:.40})")
    if (end - start) * 8 != math.prod(shape) * bits:
        raise damaged_weights(file, f": {name!r:.80} has {end - start:,} bytes, which is not what {shape!s:.60} of {dtype} takes")
    return StoredTensor(file, dtype, tuple(shape), begin + start, begin + end)


def _check_places(file: Path, tensors: dict[str, StoredTensor], begin: int) -> int:
    """Where the last tensor ends, once they lie one after the other."""
    position = begin
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if tensor.start != position:
            raise damaged_weights(file, f": {name!r:.80} {'overlaps another tensor' if tensor.start < position else 'lies behind a hole'}")
        position = tensor.end
    return position
