"""The compact set of texts: the same answers as Python's set."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from swallow_exp.corpus.seen import START_SLOTS, SeenTexts


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["", "a", "ab", "日本"]), st.sampled_from(["", "b", "c", "bc"]))))
def test_answers_like_a_set(rows: list[tuple[str, str]]) -> None:
    seen, model = SeenTexts(), set[tuple[str, str]]()
    for row in rows:
        assert seen.add(*row) == (row not in model)
        model.add(row)
    assert len(seen) == len(model)


def test_growing_forgets_nothing() -> None:
    seen = SeenTexts()
    count = 4 * START_SLOTS
    assert all(seen.add(f"text {number}") for number in range(count))
    assert not any(seen.add(f"text {number}") for number in range(count))
    assert len(seen) == count
