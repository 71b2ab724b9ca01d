"""One comparison on one measure, from aligned items to numbers: the one door for every claim.

(1) score      every arm in every run, and over all of them            -> (s, a), (a,)
(2) items      influence of every unit on every arm                    -> covariances (a, a)
(3) runs       differences of the seeds, or what else is known         -> RunNoise
(4) combine    both parts                                              -> intervals, p, detectable difference

Letters: s runs (paired by seed), a arms, m units, k statistics.
Reads/Writes  nothing.   Source  analysis.claims.variance (what the parts are)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from analysis.claims.align import Aligned
from analysis.claims.claim import FLOOR_POINTS, INCONCLUSIVE, ONE_RUN, SIGNIFICANCE, Claim, Interval
from analysis.claims.influence import influences
from analysis.claims.noise import RunNoise
from analysis.claims.variance import (
    NOTHING,
    Part,
    items_covariance,
    margin,
    quadratic,
    relative_interval,
    seen_covariance,
    two_sided_p,
)
from swallow_exp.record.aggregate import FloatArray, score_of_sums

CONTRAST_WEIGHTS = (1.0, -1.0)
INTERACTION_WEIGHTS = (1.0, -1.0, -1.0, 1.0)
MISSED_IN_FIVE = 0.4  # two-sided p of the quantile that a difference must exceed in four of five repetitions


def estimate(blank: Claim, aligned: Aligned, aggregate: str, weights: Sequence[float], noise_of: Callable[[FloatArray], RunNoise]) -> Claim:
    """Fill a claim with everything but its place in the family of comparisons.

    Args:
        blank: names and unit of the comparison.
        aligned: statistics of all arms, (s, a, m, k).
        weights: coefficient of every arm in the difference, (a,).
        noise_of: noise of one run's difference, given the difference of each seed (s,).
    """
    weights_A = np.asarray(weights)
    sums_SAK = aligned.units_SAMK.sum(axis=2)
    differences_S = score_of_sums(sums_SAK, aggregate) @ weights_A
    scores_A = score_of_sums(sums_SAK.sum(axis=0), aggregate)
    difference = float(scores_A @ weights_A)
    influences_SAM = influences(aligned.units_SAMK, aggregate)
    seen_AA, shared_AA = seen_covariance(influences_SAM), items_covariance(influences_SAM)
    num_runs, num_units = len(differences_S), aligned.units.num_units
    seen = Part(quadratic(seen_AA, weights_A), max(1, num_units - 1))
    items = Part(quadratic(shared_AA, weights_A), max(1, num_units - 1))
    differing = _differing_units(aligned, weights_A)
    smallest = min(1.0, 2.0 ** (1 - differing)) if differing else 1.0
    noise = noise_of(differences_S)
    claim = replace(
        blank,
        verdict=INCONCLUSIVE if noise.decides else ONE_RUN,
        num_items=aligned.units.num_items,
        num_units=num_units,
        num_differing_units=differing,
        score=float(scores_A[0]),
        baseline_score=float(scores_A[1]),
        difference=difference,
        items_interval=_around(difference, margin(NOTHING, seen)),
        p_items=max(smallest, two_sided_p(difference, NOTHING, seen)),
        smallest_p=smallest,
        seed_differences=tuple(map(float, differences_S)) if num_runs > 1 else (),
        noise_kind=noise.kind,
        noise_source=noise.words,
    )
    runs = noise.of_mean(num_runs)
    if np.isfinite(runs.variance):
        claim = replace(claim, run_noise=float(np.sqrt(runs.variance)), run_freedom=float(runs.freedom))
    if noise.decides:
        claim = replace(
            claim,
            difference_interval=_around(difference, margin(runs, items)),
            p=max(smallest, two_sided_p(difference, runs, items)),
            detectable_difference=margin(runs, items, p=SIGNIFICANCE) + margin(runs, items, p=MISSED_IN_FIVE),
        )
    if len(weights) > len(CONTRAST_WEIGHTS):
        return replace(claim, score=None, baseline_score=None)
    return _with_relative(claim, runs if noise.decides else None, shared_AA, seen_AA, aggregate)


def _with_relative(claim: Claim, runs: Part | None, shared_AA: FloatArray, seen_AA: FloatArray, aggregate: str) -> Claim:
    """Relative change and its intervals, where the baseline can be told from zero."""
    assert claim.score is not None and claim.baseline_score is not None and claim.num_units is not None
    if aggregate != "ratio" and claim.baseline_score <= FLOOR_POINTS:
        return claim
    scores = (claim.score, claim.baseline_score)
    over_items = relative_interval(scores, NOTHING, seen_AA, claim.num_units)
    over_both = relative_interval(scores, runs, shared_AA, claim.num_units) if runs else over_items
    if over_items is None or over_both is None:
        return claim
    return replace(
        claim,
        relative_change=100.0 * (scores[0] - scores[1]) / scores[1],
        relative_interval=over_both if runs else None,
        items_relative_interval=over_items,
    )


def _around(value: float, half: float) -> Interval:
    return value - half, value + half


def _differing_units(aligned: Aligned, weights_A: FloatArray) -> int:
    """Units whose statistics, seeds summed, do not cancel between the arms."""
    combined_MK = np.tensordot(weights_A, aligned.units_SAMK.sum(axis=0), axes=1)
    return int((np.abs(combined_MK) > 1e-9).any(axis=1).sum())
