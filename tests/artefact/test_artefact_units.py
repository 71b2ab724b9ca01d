from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swallow_exp.artefact.units import format_bytes, format_count, steps_to_reach, token_marks


@settings(deadline=None)
@given(st.integers(0, 10**15), st.integers(1, 10**8))
def test_steps_reach_the_tokens_and_one_fewer_does_not(tokens: int, per_step: int) -> None:
    steps = steps_to_reach(tokens, per_step)
    assert steps * per_step >= tokens
    assert steps == 0 or (steps - 1) * per_step < tokens


def test_the_papers_twenty_billion_is_no_whole_number_of_steps() -> None:
    assert steps_to_reach(20_000_000_000, 4096 * 1024) == 4769
    assert 4769 * 4096 * 1024 == 20_002_635_776


@settings(deadline=None)
@given(st.integers(1, 10**6), st.integers(1000, 10**6))
def test_marks_start_at_zero_end_at_the_budget_and_are_evenly_apart(budget: int, every: int) -> None:
    marks = token_marks(budget, every)
    assert marks[0] == 0 and marks[-1] == budget
    gaps = [later - earlier for earlier, later in pairwise(marks)]
    assert all(gap == every for gap in gaps[:-1]) and 0 < gaps[-1] <= every


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (999, "999"),
        (12_345, "12.3 K"),
        (999_949, "999.9 K"),
        (999_999, "1.0 M"),
        (104_857_600_000, "104.9 B"),
        (-2_500_000, "-2.5 M"),
        (1e15, "1000.0 T"),
    ],
)
def test_counts_are_short(value: float, shown: str) -> None:
    assert format_count(value) == shown


@pytest.mark.parametrize("call", [lambda: steps_to_reach(1, 0), lambda: token_marks(0, 1)])
def test_nonsense_is_a_defect(call: object) -> None:
    with pytest.raises(AssertionError):
        call()


@pytest.mark.parametrize(("value", "shown"), [(12, "12 B"), (5_300, "5.3 KB"), (80_861_000_000, "80.9 GB"), (2_500_000_000_000, "2.5 TB")])
def test_bytes_have_the_units_of_disks(value: int, shown: str) -> None:
    assert format_bytes(value) == shown
