"""Rows of added pieces: the mean of the rows of their base subwords, in float32.

Source  paper 3.3 and E.1 (embedding and output layer start from the average over the subwords of the base tokenizer)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

# Legend: V rows of the base, N added rows, D width.


def subword_mean(table_VD: torch.Tensor, segments: Sequence[Sequence[int]]) -> torch.Tensor:
    """Mean of each segment's rows, float32, (N, D). A subword that occurs twice in a piece counts twice."""
    import torch

    lengths = np.array([len(segment) for segment in segments], dtype=np.int64)
    assert (lengths > 0).all(), "an added piece without base subwords"
    flat = torch.from_numpy(np.concatenate([np.asarray(segment, dtype=np.int64) for segment in segments]))
    starts = torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)[:-1]]))
    return torch.nn.functional.embedding_bag(flat, table_VD.float(), starts, mode="mean")


def expand_table(table_VD: torch.Tensor, segments: Sequence[Sequence[int]]) -> torch.Tensor:
    """The table with one row for each segment appended, in the table's own dtype, (V + N, D)."""
    import torch

    if not segments:
        return table_VD
    # differs from nothing in the paper, which does not say: means are taken in float32, stored in the dtype of the base weights
    return torch.cat([table_VD, subword_mean(table_VD, segments).to(table_VD.dtype)])
