"""Two parts of uncertainty, one interval: what another run and what other items would change.

The estimand is the effect of a choice over runs and items. With S paired runs and m units of items

    difference(run, unit) = effect + run + unit + (run x unit)

the mean over runs and units has the variance  runs + items,  where

    runs    variance of one run's difference / S: run and (run x unit) together, as runs show them
    items   variance of the unit part alone: what the runs share, so that nothing counts twice

(1) items        influences of each run        -> covariance of the shared unit part of the arms (a, a)
(2) margin       both parts                    -> half width h:  h^2 = t(runs)^2 runs + t(items)^2 items
(3) two_sided_p  both parts and a difference   -> the p at which the interval would end at zero

Each part has a t quantile of its own degrees of freedom. Satterthwaite's single quantile for the sum
fails where few runs happen to agree (one degree of freedom, variance near 0): there it falls back to
the quantile of the items, and null comparisons pass. Here two runs cost their 12.7, and where the
degrees of freedom are many, both agree.

Reads/Writes  nothing.
Source  Graybill and Wang 1980 (sums of variance components); Satterthwaite 1946; Owen 2007 (rows and
        columns as two random factors); Miller 2024, arXiv 2411.00640; Bouthillier et al. 2021
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, hypot, inf, log, sqrt

import numpy as np
from scipy.optimize import brentq
from scipy.special import stdtr, stdtrit

from swallow_exp.record.aggregate import FloatArray

CONFIDENCE = 0.95
SMALLEST_P = 1e-300


@dataclass(frozen=True)
class Part:
    """One part of a variance: `variance` in squared units, and the degrees of freedom behind it."""

    variance: float
    freedom: float

    def reach(self, p: float) -> float:
        """Half width of this part alone at a two-sided p."""
        if self.variance <= 0.0:
            return 0.0
        return float(-stdtrit(self.freedom, p / 2.0)) * sqrt(self.variance)


NOTHING = Part(0.0, inf)


def seen_covariance(influences_SAM: FloatArray) -> FloatArray:
    """Covariance of the arms' mean scores over these very runs, if other items were drawn: (s, a, m) -> (a, a)."""
    mean_AM = influences_SAM.mean(axis=0)
    return np.asarray(mean_AM @ mean_AM.T) * _correction(influences_SAM)


def items_covariance(influences_SAM: FloatArray) -> FloatArray:
    """Covariance of the arms' scores that their runs share over units: (s, a, m) -> (a, a).

    For one run it is the whole covariance. For several it is the mean covariance of two different
    runs, because what differs from run to run is in the part of the runs. A combination of arms may
    come out below 0 by chance; `quadratic` then counts 0.
    """
    runs = len(influences_SAM)
    together_AA = seen_covariance(influences_SAM)
    if runs == 1:
        return together_AA
    alone_AA = np.einsum("sam,sbm->ab", influences_SAM, influences_SAM) / runs * _correction(influences_SAM)
    return np.asarray((runs * together_AA - alone_AA) / (runs - 1))


def quadratic(covariance_AA: FloatArray, weights_A: FloatArray) -> float:
    """Variance of a combination of arms."""
    return max(0.0, float(weights_A @ covariance_AA @ weights_A))


def pooled_variance(groups: Iterable[Sequence[float] | FloatArray]) -> Part | None:
    """Variance around each group's own mean, over all groups of at least two; None where there is none."""
    several = [np.asarray(of, dtype=np.float64) for of in groups if len(of) > 1]
    freedom = sum(len(of) - 1 for of in several)
    return Part(sum(float(np.square(of - of.mean()).sum()) for of in several) / freedom, freedom) if freedom else None


def _correction(influences_SAM: FloatArray) -> float:
    """m / (m - 1), and 0 for a single unit, of which nothing is known."""
    units = influences_SAM.shape[-1]
    return units / (units - 1) if units > 1 else 0.0


def margin(runs: Part, items: Part, *, p: float = 1.0 - CONFIDENCE) -> float:
    """Half width of the interval whose complement has the two-sided probability p."""
    return hypot(runs.reach(p), items.reach(p))


def two_sided_p(difference: float, runs: Part, items: Part) -> float:
    """The p at which the interval around `difference` just reaches zero; 1 where nothing varies and nothing differs."""
    size = abs(difference)
    parts = [part for part in (runs, items) if part.variance > 0.0]
    if size == 0.0:
        return 1.0
    if not parts:
        return 0.0
    alone = [min(1.0, 2.0 * float(stdtr(part.freedom, -size / sqrt(part.variance)))) for part in parts]
    if len(parts) == 1 or margin(runs, items, p=SMALLEST_P) <= size:
        return max(SMALLEST_P, max(alone))
    # Both parts together reach further than either alone, so p is above both of theirs.
    low = log(max(SMALLEST_P, max(alone)))
    if margin(runs, items, p=exp(low)) <= size:  # one of them is too small to count
        return exp(low)
    return exp(brentq(lambda exponent: margin(runs, items, p=exp(exponent)) - size, low, 0.0, xtol=1e-6))


def relative_interval(scores: tuple[float, float], runs: Part, items: FloatArray, units: int) -> tuple[float, float] | None:
    """Interval of (a - b) / b in %, or None where the baseline b cannot be told from zero.

    The set of ratios that a test of `a - ratio * b` does not reject, so it holds zero exactly when
    the interval of the difference does.

    Args:
        scores: a and b.
        runs: part of the runs in a - b; half of its variance falls to each side.
        items: covariance of the two arms over items, (2, 2).
        units: m.

    Source: Fieller 1954.
    """
    a, b = scores
    each = runs.reach(1.0 - CONFIDENCE) ** 2 / 2.0
    quantile = Part(1.0, units - 1).reach(1.0 - CONFIDENCE) ** 2 if units > 1 else 0.0
    if quadratic(items, np.array([1.0, -1.0])) == 0.0:
        quantile = 0.0
    aa, bb, ab = each + quantile * items[0, 0], each + quantile * items[1, 1], quantile * items[0, 1]
    denominator, middle = b * b - bb, a * b - ab
    if denominator <= 0.0:
        return None
    root = sqrt(max(0.0, middle * middle - denominator * (a * a - aa)))
    low, high = ((middle + sign * root) / denominator for sign in (-1.0, 1.0))
    return 100.0 * (low - 1.0), 100.0 * (high - 1.0)
