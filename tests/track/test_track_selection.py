"""What a dashboard gets of an outbox in which things are said twice, whatever a kill left undone."""

import random
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from outbox_events import evaluation_event, train_events

from swallow_exp.track.rows import MetricRow, family_of, metric_values
from swallow_exp.track.selection import result_of, select_rows


def rows_of(events: list[dict[str, Any]]) -> list[MetricRow]:
    found = ((place, event, metric_values(event)) for place, event in enumerate(events))
    return [MetricRow(place, values, family_of(event)) for place, event, values in found if values is not None]


def replayed(first: int, last: int, **other: float) -> list[dict[str, Any]]:
    """The same steps again: the same numbers at another speed."""
    return [{**event, "tokens_per_second": 9.0 + event["step"], **other} for event in train_events(first, last)]


def places(rows: tuple[MetricRow, ...]) -> list[int]:
    return [row.sequence for row in rows]


def test_in_one_stretch_the_last_of_a_step_is_sent() -> None:
    rows = rows_of([*train_events(0, 6), *replayed(3, 8)])
    selection = select_rows(rows, [11])
    assert places(selection.rows) == [0, 1, 2, 6, 7, 8, 9, 10]
    assert (selection.num_replayed, selection.num_differing) == (3, 0)
    assert selection.rows[3].values["train/tokens_per_second"] == 9.0 + 3  # as read_curve: what was written last


def test_what_was_sent_is_not_sent_again_unless_the_result_differs() -> None:
    rows = rows_of([*train_events(0, 6), *replayed(3, 8)])
    assert places(select_rows(rows, [6, 11]).rows) == [0, 1, 2, 3, 4, 5, 9, 10]
    other = rows_of([*train_events(0, 6), *replayed(3, 5), *replayed(5, 8, loss=7.0)])
    selection = select_rows(other, [6, 11])
    assert places(selection.rows) == [0, 1, 2, 3, 4, 5, 8, 9, 10]
    assert (selection.num_replayed, selection.num_differing) == (2, 1)
    third = rows_of([*train_events(0, 6), *replayed(3, 5), *replayed(5, 8, loss=7.0), *replayed(4, 7, loss=7.0)])
    assert places(select_rows(third, [6, 11, 14]).rows) == [0, 1, 2, 3, 4, 5, 8, 9, 10, 11]  # of these only step 4 is news


def test_kinds_do_not_supersede_each_other() -> None:
    checkpoint = {"kind": "checkpoint", "trained_tokens": 4096, "step": 1, "bytes": 100, "checkpoint_stall_seconds": 0.5}
    again = {**checkpoint, "digest": "ab", "checkpoint_stall_seconds": 0.7}
    events = [*train_events(1, 2), checkpoint, again, evaluation_event(4096, 10.0), evaluation_event(4096, 11.0, "fair")]
    assert places(select_rows(rows_of(events), [5]).rows) == [0, 1, 2, 3, 4]
    repeated = rows_of([*events, {**again, "checkpoint_stall_seconds": 0.9}, evaluation_event(4096, 10.0)])
    assert places(select_rows(repeated, [5, 7]).rows) == [0, 1, 2, 3, 4]


EVENTS = st.lists(st.tuples(st.integers(0, 6), st.sampled_from([1.0, 2.0])), max_size=40)


@settings(deadline=None)
@given(EVENTS, st.randoms())
def test_a_killed_publisher_decides_as_before_and_every_result_is_there(steps: list[tuple[int, float]], chance: random.Random) -> None:
    rows = rows_of(
        [{"kind": "train", "trained_tokens": tokens, "loss": loss, "tokens_per_second": i} for i, (tokens, loss) in enumerate(steps)]
    )
    cuts = sorted({chance.randint(1, len(rows)) for _ in range(3)} | {len(rows)}) if rows else []
    server: list[MetricRow] = []
    for number in range(1, len(cuts) + 1):
        chosen = select_rows(rows[: cuts[number - 1]], cuts[:number]).rows
        step = server[-1].sequence + 1 if server else 0
        missing = [row for row in chosen if row.sequence >= step]
        server += missing[: chance.randint(0, len(missing))]  # killed half way
    step = server[-1].sequence + 1 if server else 0
    server += [row for row in select_rows(rows, cuts).rows if row.sequence >= step]
    assert server == list(select_rows(rows, cuts).rows)
    assert places(tuple(server)) == sorted(set(places(tuple(server))))
    newest = {row.key: result_of(row) for row in rows}
    assert {row.key: result_of(row) for row in server} == newest
    for earlier, later in pairwise(server):
        assert earlier.key != later.key or result_of(earlier) != result_of(later)
