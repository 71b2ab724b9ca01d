"""Resampling of items: intervals and p-values for one score, or for two scores on the same items.

(1) units      items of one cluster (questions on one passage) are summed: the unit that is drawn   -> (m, k)
(2) draw       num_resamples times m units with replacement                                          -> sums (B, k)
               few different units (right and wrong answers): one multinomial over the different ones
               otherwise: all sides on the same units together, under the same draws
(3) score      swallow_exp.record.aggregate.score_of_sums on the sums: mean, ratio, BLEU alike       -> (B,)
(4) read off   percentile interval; two-sided p from the share of resamples on the other side of zero

Both sides of a comparison are resampled together (same weights), so what makes an item hard for both cancels.

Letters: B resamples, m units, u distinct units, k statistics.   Reads/Writes  nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import erfc, isfinite, sqrt

import numpy as np
import numpy.typing as npt

from swallow_exp.record.aggregate import score_of_sums

FloatArray = npt.NDArray[np.float64]
Interval = tuple[float, float]

CONFIDENCE = 0.95
FLOOR_POINTS = 5.0  # assumed: at or below five points of 100 a ratio of scores says more about the floor than about the model
DRAWN_AT_ONCE = 2_000_000  # units; keeps a block of weights near 16 MB
FEWER = 40  # a multinomial over u different units costs about as much as drawing 40 u units one by one
COLUMNS = 8  # products are padded to whole groups of columns: a column's sums then do not depend on its neighbours


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


def sums_by_unit(statistics_NK: FloatArray, index_N: npt.NDArray[np.int64], num_units: int) -> FloatArray:
    """Sum the items of each unit: (n, k) -> (m, k)."""
    if num_units == len(index_N):
        return statistics_NK
    columns = [np.bincount(index_N, weights=column_N, minlength=num_units) for column_N in statistics_NK.T]
    return np.stack(columns, axis=1)


def units_of(statistics_NK: FloatArray, clusters: Sequence[str]) -> FloatArray:
    """Sum the items of each cluster: (n, k) -> (m, k). Items without a cluster of their own kind stay as they are."""
    index_N, num_units = unit_index(clusters)
    return sums_by_unit(statistics_NK, index_N, num_units)


def unit_index(names: Iterable[str]) -> tuple[npt.NDArray[np.int64], int]:
    """The unit of every item, numbered in the order their names are met, and how many units there are."""
    place: dict[str, int] = {}
    index_N = np.array([place.setdefault(name, len(place)) for name in names], dtype=np.int64)
    return index_N, len(place)


def distinct_rows(units_MK: FloatArray) -> tuple[FloatArray, npt.NDArray[np.int64]] | None:
    """Different units and how often each occurs: (u, k), (u,); None as soon as they are too many for a multinomial to pay."""
    most = max(1, len(units_MK) // FEWER)
    codes_M, num_codes = np.zeros(len(units_MK), dtype=np.int64), 1
    for column_M in units_MK.T:
        values, inverse_M = np.unique(column_M, return_inverse=True)
        if len(values) > most:
            return None
        if len(values) > 1:
            kept, codes_M = np.unique(codes_M * len(values) + inverse_M, return_inverse=True)
            num_codes = len(kept)
        if num_codes > most:
            return None
    _, first_U, counts_U = np.unique(codes_M, return_index=True, return_counts=True)
    return units_MK[first_U], counts_U


def multinomial_sums(distinct_UK: FloatArray, counts_U: npt.NDArray[np.int64], num_resamples: int, rng: np.random.Generator) -> FloatArray:
    """Sums over as many units as there are, drawn with replacement: (u, k) -> (B, k)."""
    num_units = int(counts_U.sum())
    weights_BU = rng.multinomial(num_units, counts_U / num_units, size=num_resamples)
    return np.asarray(weights_BU.astype(np.float64) @ distinct_UK, dtype=np.float64)


def drawn_sums(sides: Sequence[FloatArray], num_resamples: int, rng: np.random.Generator) -> list[FloatArray]:
    """Sums of several sides over the same m units drawn with replacement: [(m, k)] -> [(B, k)]. What a side gets does not
    depend on the others that are there."""
    num_units = len(sides[0])
    widths = [side.shape[1] for side in sides]
    total = -(-sum(widths) // COLUMNS) * COLUMNS
    stacked_MC = np.concatenate([*sides, np.zeros((num_units, total - sum(widths)))], axis=1)
    block = max(1, DRAWN_AT_ONCE // num_units)
    sums = []
    for start in range(0, num_resamples, block):
        size = min(block, num_resamples - start)
        # drawing indices and counting them is the same distribution as m binomials, and faster
        drawn = rng.integers(num_units, size=(size, num_units)) + num_units * np.arange(size)[:, None]
        weights_BM = np.bincount(drawn.ravel(), minlength=size * num_units).reshape(size, num_units)
        sums.append(weights_BM.astype(np.float64) @ stacked_MC)
    return np.split(np.concatenate(sums), np.cumsum(widths), axis=1)[: len(sides)]


def resampled_sums(units_MK: FloatArray, num_resamples: int, rng: np.random.Generator) -> FloatArray:
    """Sums over m units drawn with replacement, num_resamples times: (m, k) -> (B, k)."""
    distinct = distinct_rows(units_MK)
    if distinct is not None:
        return multinomial_sums(*distinct, num_resamples, rng)
    return drawn_sums([units_MK], num_resamples, rng)[0]


def percentile_interval(values_B: FloatArray) -> Interval:
    """Central 95% of the resampled values."""
    low, high = np.quantile(values_B, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def score_interval(
    statistics_NK: FloatArray, clusters: Sequence[str], aggregate: str, *, num_resamples: int, rng: np.random.Generator
) -> Interval:
    """95% interval of one score over its items (statistics in the form of `summable`)."""
    return percentile_interval(score_of_sums(resampled_sums(units_of(statistics_NK, clusters), num_resamples, rng), aggregate))


def band_scores(scores_units: Sequence[FloatArray | None], aggregate: str, *, num_resamples: int, seed: int) -> list[FloatArray | None]:
    """Resampled values (B,) of each of several scores over its units, [(m, k)]; None where there are none.

    Unlike score_interval, all scores over as many units share one set of draws: fast for the hundreds of points of learning curves.
    """
    drawn: list[FloatArray | None] = [None] * len(scores_units)
    together: dict[int, list[int]] = {}
    for i, units_MK in enumerate(scores_units):
        if units_MK is None:
            continue
        distinct = distinct_rows(units_MK)
        if distinct is None:
            together.setdefault(len(units_MK), []).append(i)
            continue
        sums_BK = multinomial_sums(*distinct, num_resamples, np.random.default_rng([seed, len(units_MK)]))
        drawn[i] = score_of_sums(sums_BK, aggregate)
    for num_units, group in together.items():
        sides = [side for i in group if (side := scores_units[i]) is not None]
        stacked_BC = _weights(num_units, num_resamples, seed) @ np.concatenate(sides, axis=1)
        for i, sums_BK in zip(group, np.split(stacked_BC, len(group), axis=1), strict=True):
            drawn[i] = score_of_sums(sums_BK, aggregate)
    return drawn


@lru_cache(maxsize=2)
def _weights(num_units: int, num_resamples: int, seed: int) -> FloatArray:
    """How often each unit is drawn, for every resample: (B, m). The last few are kept; 1,000 resamples of 1,000 units are 8 MB."""
    rng = np.random.default_rng([seed, num_units])
    drawn = rng.integers(num_units, size=(num_resamples, num_units)) + num_units * np.arange(num_resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=num_resamples * num_units)
    return counts.reshape(num_resamples, num_units).astype(np.float64)


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
    sums_BK = resampled_sums(units_MK, num_resamples, rng)
    scores_B, baselines_B = score_of_sums(sums_BK[:, :k], aggregate), score_of_sums(sums_BK[:, k:], aggregate)
    return paired_result(units_MK[:, :k], units_MK[:, k:], scores_B, baselines_B, aggregate)


def shared_bootstrap(
    first_NK: FloatArray, baseline_NK: FloatArray, clusters: Sequence[str], aggregate: str, *, num_resamples: int, seed: int
) -> PairedResult:
    """`paired_bootstrap` for many comparisons in a row: those over as many units share one set of draws, which is kept for the next."""
    k = first_NK.shape[1]
    units_MK = units_of(np.concatenate([first_NK, baseline_NK], axis=1), clusters)
    distinct = distinct_rows(units_MK)
    if distinct is None:
        sums_BK = _weights(len(units_MK), num_resamples, seed) @ units_MK
    else:
        sums_BK = multinomial_sums(*distinct, num_resamples, np.random.default_rng([seed, len(units_MK)]))
    scores_B, baselines_B = score_of_sums(sums_BK[:, :k], aggregate), score_of_sums(sums_BK[:, k:], aggregate)
    return paired_result(units_MK[:, :k], units_MK[:, k:], scores_B, baselines_B, aggregate)


def paired_result(
    first_MK: FloatArray, baseline_MK: FloatArray, scores_B: FloatArray, baselines_B: FloatArray, aggregate: str
) -> PairedResult:
    """Read difference, intervals and p off the resampled scores of both sides."""
    score = float(score_of_sums(first_MK.sum(axis=0), aggregate))
    baseline = float(score_of_sums(baseline_MK.sum(axis=0), aggregate))
    differences_B = scores_B - baselines_B
    differing = int((first_MK != baseline_MK).any(axis=1).sum())
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
        num_units=len(first_MK),
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
