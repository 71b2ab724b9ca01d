"""The shuffle is a permutation, depends on the seed alone, and never changes."""

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swallow_exp.tokens.shard import shuffled_order


@given(count=st.integers(0, 3_000), seed=st.integers(0, 2**70))
@settings(derandomize=True, max_examples=100, deadline=None)
def test_every_number_once(count: int, seed: int) -> None:
    order = shuffled_order(count, seed=seed)
    assert order.dtype == numpy.int64
    assert sorted(order.tolist()) == list(range(count))


def test_it_is_written_down() -> None:
    assert shuffled_order(8, seed=0).tolist() == [2, 4, 6, 5, 1, 7, 0, 3]


@pytest.mark.parametrize("seeds", [(0, 1), (1, 2), (0, 2**63)])
def test_seeds_give_other_orders(seeds: tuple[int, int]) -> None:
    first, second = (shuffled_order(1_000, seed=seed) for seed in seeds)
    assert (first == second).sum() < 10  # expected: one number in place


def test_neighbours_are_torn_apart() -> None:
    order = shuffled_order(20_000, seed=3)
    place = numpy.argsort(order)
    distance = numpy.abs(place[0::2] - place[1::2])  # the two directions of a pair
    assert abs(distance.mean() / (20_000 / 3) - 1) < 0.05  # independent places lie a third of the length apart
    assert (distance < 3).mean() < 0.001
