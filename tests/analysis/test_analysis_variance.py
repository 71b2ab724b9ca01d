"""Standard errors from derivatives, the two parts of a variance, and the interval they make."""

from math import inf

import numpy as np
import pytest
from scipy.special import stdtrit

from analysis.claims.influence import influences, slopes
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
from swallow_exp.record.aggregate import score_of_sums

CONTRAST = np.array([1.0, -1.0])


def statistics(aggregate: str, n: int = 200, *, short: bool = False, zero_order: bool = False) -> np.ndarray:
    rng = np.random.default_rng(0)
    if aggregate == "mean":
        return np.stack([rng.uniform(size=n), np.ones(n)], axis=1)
    if aggregate == "ratio":
        size = rng.integers(50, 400, size=n).astype(float)
        return np.stack([size * rng.gamma(3.0, 0.3, size=n), size], axis=1)
    length = rng.integers(8, 40, size=n)
    totals = np.stack([length - order for order in range(4)], axis=1)
    correct = np.stack([rng.binomial(totals[:, o], 0.5 ** (1 + 0.6 * o)) for o in range(4)], axis=1)
    correct[:, 3] *= not zero_order
    hypothesis = length * (0.9 if short else 1.0)
    return np.concatenate([np.stack([hypothesis, length], axis=1), correct, totals], axis=1).astype(float)


@pytest.mark.parametrize(
    ("aggregate", "changes"),
    [("mean", {}), ("ratio", {}), ("bleu", {"short": True}), ("bleu", {}), ("bleu", {"zero_order": True, "short": True})],
)
def test_slopes_are_the_derivatives_of_the_score(aggregate: str, changes: dict[str, bool]) -> None:
    sums = statistics(aggregate, **changes).sum(axis=0)
    found = slopes(sums, aggregate)
    for k, value in enumerate(sums):
        if value == 0 or (aggregate == "bleu" and k < 2 and not changes.get("short")):
            continue  # smoothing is a step, and so is the brevity penalty where both lengths are equal
        step = np.zeros_like(sums)
        step[k] = value * 1e-5
        both = [float(score_of_sums(sums + sign * step, aggregate)) for sign in (1, -1)]
        assert found[k] == pytest.approx((both[0] - both[1]) / (2 * step[k]), rel=1e-5)


@pytest.mark.parametrize(("aggregate", "changes"), [("mean", {}), ("ratio", {}), ("bleu", {"short": True})])
def test_the_variance_of_influences_is_that_of_other_items(aggregate: str, changes: dict[str, bool]) -> None:
    units_MK, rng = statistics(aggregate, **changes), np.random.default_rng(1)
    drawn = [float(score_of_sums(units_MK[rng.integers(len(units_MK), size=len(units_MK))].sum(axis=0), aggregate)) for _ in range(3000)]
    of_units = influences(units_MK, aggregate)
    assert of_units.sum() == pytest.approx(0.0, abs=1e-9)
    assert np.sqrt(seen_covariance(of_units[None, None])[0, 0]) == pytest.approx(np.std(drawn), rel=0.06)


def test_what_runs_share_over_items_is_told_from_what_each_has_of_its_own() -> None:
    """d = item + own: the items' part is the variance of `item`, whatever the variance of `own`."""
    rng = np.random.default_rng(3)
    runs, units, item, own = 5, 4000, 2.0, 3.0
    shared = rng.normal(size=units) * item
    values_SM = shared + rng.normal(size=(runs, units)) * own
    influences_SAM = ((values_SM - values_SM.mean(axis=1, keepdims=True)) / units)[:, None, :]
    one = np.array([1.0])
    assert quadratic(items_covariance(influences_SAM), one) == pytest.approx(item**2 / units, rel=0.15)
    assert quadratic(seen_covariance(influences_SAM), one) == pytest.approx((item**2 + own**2 / runs) / units, rel=0.1)
    alone = influences_SAM[:1]
    assert quadratic(items_covariance(alone), one) == quadratic(seen_covariance(alone), one)


def test_two_runs_cost_their_quantile_and_many_do_not() -> None:
    few, many = margin(Part(1.0, 1), NOTHING), margin(Part(1.0, 200), NOTHING)
    assert few == pytest.approx(12.706, rel=1e-3) and many == pytest.approx(1.97, rel=1e-2)
    assert margin(NOTHING, NOTHING) == 0.0
    both = margin(Part(1.0, 5), Part(4.0, 99))
    assert both**2 == pytest.approx(float(stdtrit(5, 0.975)) ** 2 + 4 * float(stdtrit(99, 0.975)) ** 2)


@pytest.mark.parametrize("runs", [NOTHING, Part(0.5, 1), Part(2.0, 2), Part(1.0, 40)])
@pytest.mark.parametrize("items", [NOTHING, Part(1.0, 149)])
@pytest.mark.parametrize("difference", [-30.0, -1.5, 0.3, 4.0])
def test_p_is_where_the_interval_reaches_zero(runs: Part, items: Part, difference: float) -> None:
    p = two_sided_p(difference, runs, items)
    if runs is NOTHING and items is NOTHING:
        assert p == 0.0
        return
    assert 0.0 < p < 1.0
    assert margin(runs, items, p=p) == pytest.approx(abs(difference), rel=1e-4)
    assert (p < 0.05) == (margin(runs, items) < abs(difference))
    assert two_sided_p(0.0, runs, items) == 1.0


def test_a_relative_interval_holds_zero_exactly_when_the_difference_does() -> None:
    rng = np.random.default_rng(5)
    for _ in range(300):
        b = float(rng.uniform(5, 80))
        a = b + float(rng.normal()) * 4
        root = rng.normal(size=(2, 2))
        items, runs = root @ root.T, Part(float(rng.gamma(1.0, 2.0)), 3)
        ends = relative_interval((a, b), runs, items, 150)
        half = margin(runs, Part(quadratic(items, CONTRAST), 149))
        if ends is not None:
            assert (ends[0] <= 0 <= ends[1]) == (abs(a - b) <= half)
            assert ends[0] <= 100 * (a - b) / b <= ends[1]


def test_a_baseline_that_cannot_be_told_from_zero_has_no_relative_interval() -> None:
    assert relative_interval((5.0, 1.0), Part(0.0, inf), np.eye(2), 100) is None
    assert relative_interval((5.0, 1.0), Part(8.0, 3), np.zeros((2, 2)), 100) is None
    assert relative_interval((50.0, 40.0), NOTHING, np.zeros((2, 2)), 100) == (pytest.approx(25.0), pytest.approx(25.0))
