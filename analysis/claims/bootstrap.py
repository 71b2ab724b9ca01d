"""Resampling of items: intervals and p-values for one score, or for two scores on the same items.

(1) units      items of one cluster (questions on one passage) are summed: the unit that is drawn   -> (m, k)
(2) distinct   units with equal statistics are counted once                                          -> (u, k), counts (u,)
(3) draw       num_resamples times m units with replacement, as multinomial weights                  -> sums (B, k)
(4) score      swallow_exp.record.aggregate.score_of_sums on the sums: mean, ratio, BLEU alike       -> (B,)
(5) read off   percentile interval; two-sided p from the share of resamples on the other side of zero

Both sides of a comparison are resampled together (same weights), so what makes an item hard for both cancels.

Letters: B resamples, m units, u distinct units, k statistics.   Reads/Writes  nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import erfc, isfinite, sqrt

import numpy as np
import numpy.typing as npt

from swallow_exp.record.aggregate import score_of_sums

FloatArray = npt.NDArray[np.float64]
Interval = tuple[float, float]

CONFIDENCE = 0.95
FLOOR_POINTS = 5.0  # assumed: at or below five points of 100 a ratio of scores says more about the floor than about the model
DRAWN_AT_ONCE = 4_000_000  # units; keeps a block of weights near 32 MB


@dataclass(frozen=True)
class PairedResult:
    """Two scores on the same items. `relative_change` (%) is None when the baseline is at the floor."""

    score: float
    baseline_score: float
    difference: float
    difference_interval: Interval
    relative_change: float | None
    relative_interval: Interval | None
    p: float
    standard_error: float
    num_units: int
    num_differing_units: int


def relative_change(score: float, baseline: float) -> float:
    """(a - b) / b in %."""
    return 100.0 * (score - baseline) / baseline


def units_of(statistics_NK: FloatArray, clusters: Sequence[str]) -> FloatArray:
    """Sum the items of each cluster: (n, k) -> (m, k). Items without a cluster of their own kind stay as they are."""
    _, index_N = np.unique(np.asarray(clusters), return_inverse=True)
    sums_MK = np.zeros((int(index_N.max()) + 1, statistics_NK.shape[1]), dtype=np.float64)
    np.add.at(sums_MK, index_N, statistics_NK)
    return sums_MK


def resampled_sums(units_MK: FloatArray, num_resamples: int, rng: np.random.Generator) -> FloatArray:
    """Sums over m units drawn with replacement, num_resamples times: (m, k) -> (B, k)."""
    num_units = len(units_MK)
    distinct_UK, counts_U = np.unique(units_MK, axis=0, return_counts=True)
    block = max(1, DRAWN_AT_ONCE // num_units)
    sums = []
    for start in range(0, num_resamples, block):
        size = min(block, num_resamples - start)
        if len(distinct_UK) * 4 < num_units:
            weights_BU = rng.multinomial(num_units, counts_U / num_units, size=size)
            sums.append(weights_BU.astype(np.float64) @ distinct_UK)
            continue
        # Few ties: drawing indices and counting them is the same distribution, and faster than m binomials.
        drawn = rng.integers(num_units, size=(size, num_units)) + num_units * np.arange(size)[:, None]
        weights_BM = np.bincount(drawn.ravel(), minlength=size * num_units).reshape(size, num_units)
        sums.append(weights_BM.astype(np.float64) @ units_MK)
    return np.concatenate(sums)


def percentile_interval(values_B: FloatArray) -> Interval:
    """Central 95% of the resampled values."""
    low, high = np.quantile(values_B, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def score_interval(
    statistics_NK: FloatArray, clusters: Sequence[str], aggregate: str, *, num_resamples: int, rng: np.random.Generator
) -> Interval:
    """95% interval of one score over its items (statistics in the form of `summable`)."""
    return percentile_interval(score_of_sums(resampled_sums(units_of(statistics_NK, clusters), num_resamples, rng), aggregate))


def paired_bootstrap(
    first_NK: FloatArray,
    baseline_NK: FloatArray,
    clusters: Sequence[str],
    aggregate: str,
    *,
    num_resamples: int,
    rng: np.random.Generator,
) -> PairedResult:
    """Compare two scores on the same n items (statistics in the form of `summable`, rows aligned)."""
    k = first_NK.shape[1]
    units_MK = units_of(np.concatenate([first_NK, baseline_NK], axis=1), clusters)
    total = units_MK.sum(axis=0)
    score = float(score_of_sums(total[:k], aggregate))
    baseline = float(score_of_sums(total[k:], aggregate))
    sums_BK = resampled_sums(units_MK, num_resamples, rng)
    scores_B, baselines_B = score_of_sums(sums_BK[:, :k], aggregate), score_of_sums(sums_BK[:, k:], aggregate)
    differences_B = scores_B - baselines_B
    differing = int((units_MK[:, :k] != units_MK[:, k:]).any(axis=1).sum())
    at_floor = percentile_interval(baselines_B)[0] <= 0 or (aggregate != "ratio" and baseline <= FLOOR_POINTS)
    relative: Interval | None = None
    if not at_floor:
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = percentile_interval(100.0 * differences_B / baselines_B)
        if not all(isfinite(end) for end in relative):
            relative = None
    return PairedResult(
        score=score,
        baseline_score=baseline,
        difference=score - baseline,
        difference_interval=percentile_interval(differences_B),
        relative_change=None if relative is None else relative_change(score, baseline),
        relative_interval=relative,
        p=_two_sided_p(score - baseline, differences_B, differing),
        standard_error=float(differences_B.std()),
        num_units=len(units_MK),
        num_differing_units=differing,
    )


def _two_sided_p(difference: float, differences_B: FloatArray, num_differing_units: int) -> float:
    """Twice the smaller tail of the resampled differences.

    When no resample crosses zero the tail is read off a normal curve of the same spread: B resamples cannot tell p-values below
    2 / (B + 1) apart, and Holm's adjustment over many comparisons needs them. Never below 2 * 2^-d, the smallest p-value of a
    sign-flip test when d units differ at all: five better items out of five are not proof.
    """
    if num_differing_units == 0:
        return 1.0
    num_resamples = len(differences_B)
    tail = int(min((differences_B <= 0).sum(), (differences_B >= 0).sum()))
    p = 2.0 * (tail + 1) / (num_resamples + 1)
    spread = float(differences_B.std())
    if tail == 0:
        p = min(p, erfc(abs(difference) / spread / sqrt(2.0)) if spread > 0 else 0.0)
    return float(min(1.0, max(p, 2.0 ** (1 - num_differing_units))))


def holm_adjusted(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down adjustment: multiply the i-th smallest of m by (m - i + 1), keep the order, cap at 1."""
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, (key, p) in enumerate(sorted(p_values.items(), key=lambda pair: pair[1])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p))
        adjusted[key] = largest
    return adjusted
