"""Longer tables in a folder of safetensors files, file by file, bytes as they are: no more than one table is ever in memory.

(1) header    shapes and offsets with the added rows
(2) tensors   copied in blocks, in the order of the source file
(3) tables    behind the base rows' own bytes come the added rows

Reads/Writes  safetensors files: 8 bytes of length, a JSON header, the tensors one after the other
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.progress import progress_bar
from swallow_exp.model.folder import blocks_of, weight_files
from swallow_exp.model.headers import StoredTensor, read_header

if TYPE_CHECKING:
    import torch

HEADER_ALIGNMENT = 8
FLOATS = {"F32": "float32", "BF16": "bfloat16", "F16": "float16", "F64": "float64"}

MakeRows = Callable[[str, "torch.Tensor"], "torch.Tensor"]  # name and base table (V, D) -> added rows (N, D), same dtype


def expand_files(source: Path, target: Path, *, tables: Collection[str], num_rows: int, make_rows: MakeRows) -> None:
    """Copy the weight files of the folder `source` to the folder `target`; the named tables get `num_rows` rows behind theirs."""
    files = weight_files(source)
    with progress_bar("weights, MB", sum(file.stat().st_size for file in files) // 10**6) as advance:
        for file in files:
            header = read_header(file)
            if num_rows and any(name in tables for name in header):
                _grow_file(header, target / file.name, tables=tables, num_rows=num_rows, make_rows=make_rows, advance=advance)
            else:
                shutil.copyfile(file, target / file.name)
                advance(file.stat().st_size / 1e6)


def _grow_file(
    header: Mapping[str, StoredTensor],
    target: Path,
    *,
    tables: Collection[str],
    num_rows: int,
    make_rows: MakeRows,
    advance: Callable[[float], None],
) -> None:
    """One file whose tables grow. Rows of one table at a time are in memory."""
    import torch

    ordered = sorted(header.items(), key=lambda item: item[1].start)
    text = _grown_header(ordered, tables, num_rows)
    with target.open("wb") as handle:
        handle.write(len(text).to_bytes(8, "little") + text)
        for name, tensor in ordered:
            for block in blocks_of(tensor):
                handle.write(block)
                advance(len(block) / 1e6)
            if name in tables:
                rows_ND = make_rows(name, read_table(tensor))
                assert len(rows_ND) == num_rows
                handle.write(rows_ND.contiguous().view(torch.uint8).numpy().tobytes())


def _grown_header(ordered: Sequence[tuple[str, StoredTensor]], tables: Collection[str], num_rows: int) -> bytes:
    """The JSON header, filled up with blanks so that the tensors begin at a multiple of eight bytes."""
    facts: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, tensor in ordered:
        shape, size = list(tensor.shape), tensor.end - tensor.start
        if name in tables:
            size += size // shape[0] * num_rows
            shape[0] += num_rows
        facts[name] = {"dtype": tensor.dtype, "shape": shape, "data_offsets": [position, position + size]}
        position += size
    text = json.dumps(facts, separators=(",", ":")).encode()
    return text.ljust(len(text) + -len(text) % HEADER_ALIGNMENT)


def read_table(tensor: StoredTensor) -> torch.Tensor:
    """One stored matrix in memory, once. Raises RequestError for numbers that are no plain floats."""
    import torch

    if tensor.dtype not in FLOATS:
        raise RequestError(
            f"a table of {tensor.file} holds {tensor.dtype} numbers",
            expected=f"one of {', '.join(FLOATS)}",
            remedy="give the model's unquantised weights",
        )
    data, filled = np.empty(tensor.end - tensor.start, dtype=np.uint8), 0
    for block in blocks_of(tensor):
        data[filled : filled + len(block)] = block
        filled += len(block)
    return torch.from_numpy(data).view(getattr(torch, FLOATS[tensor.dtype])).reshape(tensor.shape)
