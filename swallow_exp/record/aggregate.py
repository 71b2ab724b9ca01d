"""From item statistics to a score, vectorised over resamples.

mean   [x]                                      -> 100 * mean(x)            (x in 0..1: accuracy, F1, ...)
ratio  [numerator, denominator]                 -> sum / sum                (bits per byte)
bleu   [hyp_len, ref_len, 4 correct, 4 total]   -> corpus BLEU, exp smoothing as in sacrebleu
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
NUM_STATISTICS = {"mean": 2, "ratio": 2, "bleu": 10}


def score_of_sums(sums: FloatArray, aggregate: str) -> FloatArray:
    """Score from summed statistics.

    sums: (..., k); for `mean` k = 2: [sum of x, number of items]. Returns shape (...).
    """
    if aggregate == "mean":
        return np.asarray(100.0 * sums[..., 0] / sums[..., 1], dtype=np.float64)
    if aggregate == "ratio":
        return np.asarray(sums[..., 0] / sums[..., 1], dtype=np.float64)
    assert aggregate == "bleu", aggregate
    return _corpus_bleu(sums)


def summable(statistics: FloatArray, aggregate: str) -> FloatArray:
    """Per-item statistics in the form `score_of_sums` wants: a count column is added to `mean`. (n, k) -> (n, k')."""
    if aggregate == "mean":
        return np.concatenate([statistics[:, :1], np.ones((len(statistics), 1))], axis=1)
    return statistics


def score_of_items(statistics: FloatArray, aggregate: str) -> float:
    """Score of all items: (n, k) -> number."""
    return float(score_of_sums(summable(statistics, aggregate).sum(axis=0), aggregate))


def _corpus_bleu(sums: FloatArray) -> FloatArray:
    """BLEU with `exp` smoothing (sacrebleu's default): the k-th zero count counts as 1 / (2^k * total)."""
    hypothesis_length, reference_length = sums[..., 0], sums[..., 1]
    correct, total = sums[..., 2:6], sums[..., 6:10]
    logs = np.zeros(sums.shape[:-1], dtype=np.float64)
    smoothing = np.ones(sums.shape[:-1], dtype=np.float64)
    # sacrebleu gives 0 as soon as an order has no n-gram at all, or no unigram matches
    dead = (total <= 0).any(axis=-1) | (correct[..., 0] <= 0)
    for order in range(4):
        zero = correct[..., order] <= 0
        smoothing = np.where(zero, smoothing * 2, smoothing)
        matched = np.where(zero, 1.0 / smoothing, correct[..., order])
        logs += np.log(matched / np.maximum(total[..., order], 1e-12)) / 4
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        brevity = np.where(hypothesis_length < reference_length, np.exp(1 - reference_length / np.maximum(hypothesis_length, 1e-12)), 1.0)
    return np.asarray(np.where(dead, 0.0, 100.0 * brevity * np.exp(logs)), dtype=np.float64)
