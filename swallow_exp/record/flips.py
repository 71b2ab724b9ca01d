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
    if record.aggregate != "mean" or baseline.aggregate != "mean":
        raise ValueError(f"{record.metric} has no score per item")
    mine, theirs = _items_by_id(out, record), _items_by_id(out, baseline)
    won: list[Flip] = []
    lost: list[Flip] = []
    for item_id, item in mine.items():
        other = theirs.get(item_id)
        if other is None or (item["score"] >= HALF) == (other["score"] >= HALF):
            continue
        flip = Flip(
            item_id=item_id,
            won=item["score"] >= HALF,
            prompt=item["prompt"],
            reference=item["reference"],
            baseline_prediction=other["prediction"],
            prediction=item["prediction"],
            baseline_score=other["score"],
            score=item["score"],
        )
        (won if flip.won else lost).append(flip)
    for side in (won, lost):
        side.sort(key=lambda flip: (-abs(flip.score - flip.baseline_score), flip.item_id))
    for position in range(max(len(won), len(lost))):
        yield from (side[position] for side in (won, lost) if position < len(side))


def _items_by_id(out: Path, record: EvaluationRecord) -> dict[str, dict[str, Any]]:
    import pyarrow.parquet as pq

    path = RunPaths.of(out, record.run_id).evaluation(record.trained_tokens, record.folder or record.task) / ITEMS_NAME
    column = statistics_column(record.metric, record.profile)
    table = pq.read_table(path, columns=["item_id", *TEXT_COLUMNS, column]).to_pylist()
    return {row["item_id"]: {"score": float(row[column][0]), **{name: row[name] or "" for name in TEXT_COLUMNS}} for row in table}
