"""How much each unit of items moves a score: the derivative that standard errors are made from.

(1) slope       derivative of the score by each summed statistic              -> (..., k)
(2) influence   slope times the unit's distance from the average unit         -> (..., m)

The variance of a score over the items it was measured on is the sum of the squared influences
of its units, times m / (m - 1). Influences of two scores over the same units subtract, which is
what makes a comparison on the same items a paired one.

Letters: m units, k statistics.   Reads/Writes  nothing.
Source  Efron and Stein 1981 (infinitesimal jackknife); Miller 2024, arXiv 2411.00640 (paired and
        clustered standard errors of evaluations)
"""

from __future__ import annotations

import numpy as np

from swallow_exp.record.aggregate import FloatArray, score_of_sums


def slopes(sums: FloatArray, aggregate: str) -> FloatArray:
    """Derivative of the score by each summed statistic: (..., k) -> (..., k).

    The matches of an order of n-grams without any have slope 0: smoothing stands in for them.
    """
    score = score_of_sums(sums, aggregate)
    if aggregate in ("mean", "ratio"):
        factor = 100.0 if aggregate == "mean" else 1.0
        size = sums[..., 1]
        return np.stack([factor / size, -score / size], axis=-1)
    assert aggregate == "bleu", aggregate
    hypothesis, reference = sums[..., 0], sums[..., 1]
    counts = sums[..., 2:]
    found = np.zeros_like(sums)
    with np.errstate(divide="ignore", invalid="ignore"):
        per_count = np.where(counts > 0, score[..., None] / (4.0 * counts), 0.0)
        short = hypothesis < reference
        found[..., 0] = np.where(short, score * reference / np.square(hypothesis), 0.0)
        found[..., 1] = np.where(short, -score / hypothesis, 0.0)
    found[..., 2:6] = per_count[..., :4]
    found[..., 6:10] = -per_count[..., 4:]
    return np.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0)


def influences(units_MK: FloatArray, aggregate: str) -> FloatArray:
    """Influence of every unit on the score of all of them: (..., m, k) -> (..., m), each row sums to 0."""
    sums = units_MK.sum(axis=-2)
    centred = units_MK - (sums / units_MK.shape[-2])[..., None, :]
    return np.asarray(np.einsum("...mk,...k->...m", centred, slopes(sums, aggregate)))
