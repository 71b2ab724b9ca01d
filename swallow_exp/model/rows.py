"""Rows of added pieces, from the rows of their base subwords. Everything is computed in float32 and stored as the base is.

subword_mean               mean of the subwords' rows (the paper's)
subword_mean_with_prefix   the same, the piece segmented as if a word began with it
subword_mean_norm_matched  subword_mean, each row scaled to the median norm of the base rows
global_mean                mean of all base rows, for every piece
normal                     drawn from N(0, deviation), by seed and table
first_subword, last_subword    a copy of one subword's row

Means do not know the order of subwords: pieces of the same characters get the same row, to the bit.

Source  paper 3.3 and E.1 (embedding and output layer start from the average over the subwords of the base tokenizer)
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

# Legend: V rows of the base, N added rows, B rows of a block, D width.
BLOCK_NUMBERS = 1 << 20  # float32 numbers of a block: 4 MiB beside the table


@dataclass(frozen=True)
class AddedPieces:
    """Base subwords of each added piece, and how its rows start."""

    segments: Sequence[Sequence[int]]
    init: str
    seed: int = 0  # normal only
    deviation: float = 0.02  # normal only


@dataclass(frozen=True)
class RowFacts:
    """What became of one table: median L2 norms, and how many added pieces have a row that another one has too."""

    base_norm: float
    added_norm: float
    sharing: int


def added_rows(table_VD: torch.Tensor, added: AddedPieces, *, name: str) -> torch.Tensor:
    """Rows of the added pieces in the table's dtype, (N, D). `name` of the table parts the random draws of two tables."""
    import torch

    rows_ND = torch.empty(len(added.segments), table_VD.shape[1], dtype=table_VD.dtype)
    start = 0
    for block_BD in _blocks_of(table_VD, added, name):
        rows_ND[start : start + len(block_BD)] = block_BD.to(table_VD.dtype)
        start += len(block_BD)
    assert start == len(rows_ND)
    return rows_ND


def _blocks_of(table_VD: torch.Tensor, added: AddedPieces, name: str) -> Iterator[torch.Tensor]:
    """Blocks of float32 rows, (B, D)."""
    import torch

    width = table_VD.shape[1]
    if added.init == "normal":
        drawn_for = hashlib.sha256(f"rows of added pieces, {name}, {added.seed}".encode()).digest()[:16]
        # the same numbers however they are cut into blocks
        draws = np.random.Generator(np.random.PCG64(int.from_bytes(drawn_for, "little")))
    if added.init == "global_mean":
        mean_D = _mean_of(table_VD)
    norm = median_norm(table_VD) if added.init == "subword_mean_norm_matched" else None
    segments = [_chosen(segment, added.init) for segment in added.segments]
    size = max(BLOCK_NUMBERS // width, 1)
    for start in range(0, len(segments), size):
        block = segments[start : start + size]
        if added.init == "normal":
            yield torch.from_numpy(draws.standard_normal((len(block), width), dtype=np.float32)) * added.deviation
        elif added.init == "global_mean":
            yield mean_D.expand(len(block), width)
        else:
            mean_BD = subword_mean(table_VD, block)
            yield mean_BD if norm is None else mean_BD * (norm / mean_BD.norm(dim=1, keepdim=True).clamp_min(1e-30))


def _chosen(segment: Sequence[int], init: str) -> list[int]:
    """The subwords whose mean is taken, in one order and in lowest terms: equal means are computed alike."""
    assert len(segment), "an added piece without base subwords"
    if init == "first_subword":
        return [segment[0]]
    if init == "last_subword":
        return [segment[-1]]
    counts = Counter(segment)
    divisor = math.gcd(*counts.values())
    return [subword for subword in sorted(counts) for _ in range(counts[subword] // divisor)]


def subword_mean(table_VD: torch.Tensor, segments: Sequence[Sequence[int]]) -> torch.Tensor:
    """Mean of each segment's rows, float32, (B, D). A subword that occurs twice in a piece counts twice.

    Only the rows that are needed are converted to float32.
    """
    import torch

    starts = np.concatenate([[0], np.cumsum([len(segment) for segment in segments])[:-1]]).astype(np.int64)
    used, flat = np.unique(np.concatenate([np.asarray(segment, dtype=np.int64) for segment in segments]), return_inverse=True)
    needed_UD = table_VD[torch.from_numpy(used)].float()
    return torch.nn.functional.embedding_bag(torch.from_numpy(flat.astype(np.int64)), needed_UD, torch.from_numpy(starts), mode="mean")


def _float_blocks(table_VD: torch.Tensor) -> Iterator[torch.Tensor]:
    """The table in float32, some rows at a time; a block is overwritten by the next."""
    import torch

    size = max(BLOCK_NUMBERS // table_VD.shape[1], 1)
    buffer_BD = torch.empty(min(size, len(table_VD)), table_VD.shape[1])
    for start in range(0, len(table_VD), size):
        rows_BD = table_VD[start : start + size]
        yield buffer_BD[: len(rows_BD)].copy_(rows_BD)


def _mean_of(table_VD: torch.Tensor) -> torch.Tensor:
    """Mean row, float32, (D,)."""
    import torch

    sum_D = torch.zeros(table_VD.shape[1], dtype=torch.float64)
    for block_BD in _float_blocks(table_VD):
        sum_D += block_BD.sum(0, dtype=torch.float64)
    return (sum_D / len(table_VD)).float()


def median_norm(table_VD: torch.Tensor) -> float:
    """Median L2 norm of the rows."""
    import torch

    norms_V, start = torch.empty(len(table_VD)), 0
    for block_BD in _float_blocks(table_VD):
        norms_V[start : start + len(block_BD)] = torch.linalg.vector_norm(block_BD, dim=1)
        start += len(block_BD)
    return float(norms_V.median())


def row_facts(table_VD: torch.Tensor, rows_ND: torch.Tensor) -> RowFacts:
    """Norms of base and added rows; added pieces that share a vector."""
    import torch

    digests = Counter(hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows_ND.contiguous().view(torch.uint8).numpy())
    sharing = sum(number for number in digests.values() if number > 1)
    return RowFacts(median_norm(table_VD), median_norm(rows_ND), sharing)
