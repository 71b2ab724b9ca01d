"""Items whose outcome differs between two results of one task: what a choice won and what it lost, with the texts.

(1) pair    items both results have, in the order of the first file                          -> two sets of columns
(2) judge   an item's own score: the first statistic of a `mean` metric, 0 to 1                -> two numbers
(3) keep    those on different sides of HALF: won (wrong -> right) and lost (right -> wrong)    -> Flip

Reads   items.parquet of two results.  Writes  nothing.  Source  paper Figure 2 (which questions moved).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.schema import EvaluationRecord
from swallow_exp.record.store import ITEMS_NAME, statistics_column

HALF = 0.5  # assumed: an item at or above half of the points counts as right (F1 and the like; accuracy is 0 or 1)
TEXT_COLUMNS = ("prompt", "reference", "prediction")


@dataclass(frozen=True)
class Flip:
    """One item that is right on one side only. Scores are 0 to 1; texts are as they were asked and answered."""

    item_id: str
    won: bool  # wrong in the baseline, right here
    prompt: str
    reference: str
    baseline_prediction: str
    prediction: str
    baseline_score: float
    score: float


def find_flips(out: Path, record: EvaluationRecord, baseline: EvaluationRecord) -> Iterator[Flip]:
    """Flips of `record` against `baseline`, the largest change of score first, won and lost alternating where both are there.

    Raises ValueError for metrics without a score per item (corpus BLEU, bits per byte), FileNotFoundError when items are gone.
    """
    import pyarrow as pa

    if record.aggregate != "mean" or baseline.aggregate != "mean":
        raise ValueError(f"{record.metric} has no score per item")
    (mine, scores), (theirs, baseline_scores) = _items_of(out, record), _items_of(out, baseline)
    place = {item_id: row for row, item_id in enumerate(theirs["item_id"].to_pylist())}
    pairs = [(row, place[item_id]) for row, item_id in enumerate(mine["item_id"].to_pylist()) if item_id in place]
    moved = [(row, other) for row, other in pairs if (scores[row] >= HALF) != (baseline_scores[other] >= HALF)]
    here, there = (table.take(pa.array(rows, pa.int64())).to_pylist() for table, rows in zip((mine, theirs), _sides(moved), strict=True))
    won: list[Flip] = []
    lost: list[Flip] = []
    for (row, other), item, before in zip(moved, here, there, strict=True):
        flip = Flip(
            item_id=item["item_id"],
            won=scores[row] >= HALF,
            prompt=item["prompt"] or "",
            reference=item["reference"] or "",
            baseline_prediction=before["prediction"] or "",
            prediction=item["prediction"] or "",
            baseline_score=baseline_scores[other],
            score=scores[row],
        )
        (won if flip.won else lost).append(flip)
    for side in (won, lost):
        side.sort(key=lambda flip: (-abs(flip.score - flip.baseline_score), flip.item_id))
    for position in range(max(len(won), len(lost))):
        yield from (side[position] for side in (won, lost) if position < len(side))


def _sides(pairs: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    return [first for first, _ in pairs], [second for _, second in pairs]


def _items_of(out: Path, record: EvaluationRecord) -> tuple[Any, list[float]]:
    """The table of texts (an Arrow table: only the rows that are needed become Python), and every item's score in its order."""
    import pyarrow.parquet as pq

    path = RunPaths.of(out, record.run_id).evaluation(record.trained_tokens, record.folder or record.task) / ITEMS_NAME
    column = statistics_column(record.metric, record.profile)
    table = pq.read_table(path, columns=["item_id", *TEXT_COLUMNS, column])
    return table.drop_columns([column]), [float(statistics[0]) for statistics in table[column].to_pylist()]
