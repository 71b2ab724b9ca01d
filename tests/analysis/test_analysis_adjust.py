"""Adjusted p-values against their definitions, worked out the long way round."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.claims.adjust import bh_adjusted, holm_adjusted, mcnemar_p

families = st.lists(st.floats(0, 1), min_size=1, max_size=7)


def closed_testing(p_values: list[float], i: int) -> float:
    """Holm is Bonferroni on every set of hypotheses that i is in: i falls when all those sets do."""
    others = [j for j in range(len(p_values)) if j != i]
    sets = [(i, *more) for size in range(len(p_values)) for more in combinations(others, size)]
    return max(min(1.0, len(members) * min(p_values[j] for j in members)) for members in sets)


def false_discovery(p_values: list[float], i: int) -> float:
    """The smallest level at which Benjamini and Hochberg's rule rejects i."""
    ordered, m = sorted(p_values), len(p_values)
    levels = sorted({min(1.0, p * m / rank) for rank, p in enumerate(ordered, start=1)} | {1.0})
    for level in levels:
        passing = [p for rank, p in enumerate(ordered, start=1) if p <= rank * level / m * (1 + 1e-12)]
        if passing and p_values[i] <= max(passing):
            return level
    return 1.0


@settings(max_examples=80, deadline=None)
@given(families)
def test_holm_is_closed_testing_with_bonferroni(p_values: list[float]) -> None:
    adjusted = holm_adjusted({str(i): p for i, p in enumerate(p_values)})
    assert [adjusted[str(i)] for i in range(len(p_values))] == pytest.approx([closed_testing(p_values, i) for i in range(len(p_values))])


@settings(max_examples=80, deadline=None)
@given(families)
def test_bh_is_the_smallest_level_that_rejects(p_values: list[float]) -> None:
    adjusted = bh_adjusted({str(i): p for i, p in enumerate(p_values)})
    assert [adjusted[str(i)] for i in range(len(p_values))] == pytest.approx([false_discovery(p_values, i) for i in range(len(p_values))])


def test_bh_by_hand_and_below_holm() -> None:
    named = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.2}
    assert bh_adjusted(named) == pytest.approx({"a": 0.04, "b": 0.16 / 3, "c": 0.16 / 3, "d": 0.2})
    assert all(bh_adjusted(named)[key] <= holm_adjusted(named)[key] for key in named)
    assert bh_adjusted({}) == holm_adjusted({}) == {}


def test_among_true_nulls_holm_errs_in_five_families_of_a_hundred_and_none_adjusted_in_most() -> None:
    world = np.random.default_rng(3)
    families = world.uniform(size=(2000, 20))
    wrong = np.mean([min(holm_adjusted({str(i): p for i, p in enumerate(row)}).values()) < 0.05 for row in families])
    assert 0.03 <= wrong <= 0.065
    assert np.mean(families.min(axis=1) < 0.05) > 0.5


@pytest.mark.parametrize(("b", "c"), [(0, 0), (3, 0), (5, 1), (4, 4), (2, 7)])
def test_mcnemar_counts_the_coin_tosses_that_are_as_uneven(b: int, c: int) -> None:
    tosses = list(product((0, 1), repeat=b + c))
    as_uneven = sum(abs(2 * sum(toss) - (b + c)) >= abs(b - c) for toss in tosses)
    assert mcnemar_p(b, c) == pytest.approx(as_uneven / len(tosses))
    assert mcnemar_p(b, c) == mcnemar_p(c, b)


def test_mcnemar_of_thousands_of_items_is_a_number() -> None:
    assert 0 < mcnemar_p(5000, 4500) < 1e-6 and mcnemar_p(5000, 4980) > 0.8
