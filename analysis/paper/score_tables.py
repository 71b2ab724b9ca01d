"""Tables 4, 5 and 9 as functions of rows: models in blocks of one size, a column a task, and the average.

The average is the mean over exactly the tasks of the table. A row without one of them has none.
Reads/Writes  nothing.  Source  paper Tables 4, 5 and 9.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from analysis.paper.published import PaperTask
from analysis.paper.rows import ScoreRow
from analysis.table import OTHER_TEST, Table
from analysis.wording import ABSENT, plain

DECIMALS = 1
OTHER_AVERAGE = "†"
AVERAGE = "Avg"


def scores_table(name: str, caption: str, rows: Sequence[ScoreRow], tasks: Sequence[PaperTask], *, bold: bool = True) -> Table:
    """Rows stay in their order; a block is a stretch of one size. bold: the best printed value of each column in each block."""
    names = [task.task for task in tasks]
    values = [[*(_finite(row.scores.get(task)) for task in names), _average(row, names)] for row in rows]
    texts = [
        (row.label, *(_text(value, OTHER_TEST * (task in row.odd)) for task, value in zip([*names, AVERAGE], line, strict=True)))
        for row, line in zip(rows, values, strict=True)
    ]
    remarks = []
    for i, row in enumerate(rows):
        if other := other_average(row, names):
            texts[i] = (*texts[i][:-1], texts[i][-1] + OTHER_AVERAGE)
            remarks.append(f"{OTHER_AVERAGE} {row.label}: {other}")
    if any(row.odd for row in rows):
        remarks.append(f"{OTHER_TEST} asked differently from the rest of its column: not to be compared with it, and in no average.")
    blocks = _blocks(rows)
    odd = {(i, j) for i, row in enumerate(rows) for j, task in enumerate(names) if task in row.odd}
    return Table(
        name=name,
        caption=" ".join([caption, *remarks]),
        columns=("Model", *(task.column for task in tasks), AVERAGE),
        rows=tuple(texts),
        values=tuple((None, *line) for line in values),
        best=_best(values, blocks, odd) if bold else frozenset(),
        rules=frozenset(block[0] for block in blocks[1:]),
    )


def other_average(row: ScoreRow, tasks: Sequence[str]) -> str:
    """What is odd about a published average: it is not the mean of the published scores. Empty when it is."""
    mean = row.average(tasks)
    if row.printed_average is None or mean is None or plain(mean, DECIMALS) == plain(row.printed_average, DECIMALS):
        return ""
    printed = plain(row.printed_average, DECIMALS)
    return f"the mean of the printed scores is {mean:.4f}, which rounds to {plain(mean, DECIMALS)}; the paper prints {printed}."


def _average(row: ScoreRow, tasks: Sequence[str]) -> float | None:
    return row.average(tasks) if row.printed_average is None else row.printed_average


def _finite(score: float | None) -> float | None:
    return score if score is not None and abs(score) < float("inf") else None


def _text(value: float | None, sign: str) -> str:
    return ABSENT if value is None else plain(value, DECIMALS) + sign


def _blocks(rows: Sequence[ScoreRow]) -> list[list[int]]:
    """Indices of the rows of each stretch of one size."""
    return [list(block) for _, block in groupby(range(len(rows)), key=lambda i: rows[i].size)]


def _best(
    values: Sequence[Sequence[float | None]], blocks: Sequence[Sequence[int]], odd: set[tuple[int, int]]
) -> frozenset[tuple[int, int]]:
    """(row, column of the table) of the best of each block; values that print alike share it. A block of one row has no best."""
    best = set()
    for block in blocks:
        for column in range(len(values[0]) if len(block) > 1 else 0):
            printed = {i: round(v, DECIMALS) for i in block if (v := values[i][column]) is not None and (i, column) not in odd}
            if len(set(printed.values())) > 1:
                best |= {(i, column + 1) for i, value in printed.items() if value == max(printed.values())}
    return frozenset(best)
