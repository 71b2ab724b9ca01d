"""Which rows of an outbox a dashboard gets when training or an evaluation said the same thing twice. Pure functions.

A run that resumes repeats the steps since its last state, so rows of the same tokens lie in the outbox twice. A dashboard cannot
take back what it was sent, so the outbox is cut into stretches, one each time a publisher looks at it (it writes the cut down before
it sends anything), and a row is left out when

(1) the same stretch has a later row of the same key             -> the earlier one was never sent and is superseded
(2) an earlier stretch has sent a row of the key with its result -> it is a replay (speeds may differ, results do not)

What is left out and what is sent depends on the outbox and the cuts alone: a killed publisher, repeated, decides the same again.
A replay with another result (training was not deterministic) is sent and counted.

Source  record/store.read_curve, which keeps the last row of a key as well.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from swallow_exp.track.rows import MEASUREMENTS, MetricRow


@dataclass(frozen=True)
class Selection:
    """Rows to send in order; rows left out; rows sent although an earlier one of the same key said otherwise."""

    rows: tuple[MetricRow, ...]
    num_replayed: int
    num_differing: int


def select_rows(rows: Sequence[MetricRow], cuts: Sequence[int]) -> Selection:
    """Rows of every stretch [0, cuts[0]), [cuts[0], cuts[1]) ...; rows behind the last cut are not looked at."""
    sequences = [row.sequence for row in rows]
    chosen: list[MetricRow] = []
    results: dict[tuple[str, float], Mapping[str, float]] = {}
    replayed, differing, first = 0, 0, 0
    for cut in cuts:
        end = bisect_left(sequences, cut)
        newest = {rows[place].key: place for place in range(first, end)}
        for place in range(first, end):
            row = rows[place]
            result, known = result_of(row), results.get(row.key)
            if newest[row.key] != place or result == known:
                replayed += 1
                continue
            differing += known is not None
            results[row.key] = result
            chosen.append(row)
        first = max(first, end)
    return Selection(tuple(chosen), replayed, differing)


def result_of(row: MetricRow) -> dict[str, float]:
    """The values that a repetition must reproduce: not speeds, not memory, not how long a save took."""
    return {name: value for name, value in row.values.items() if name not in MEASUREMENTS}
