"""How often each answer was given and was right: the classes of one task with a closed set of labels, at one checkpoint.

Reads   runs/<run_id>/evaluations/tokens_<n>/<task>/items.parquet.  Writes  nothing.
Source  paper appendix F, Figure 9
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.schema import EvaluationRecord
from swallow_exp.record.store import ITEMS_NAME


@dataclass(frozen=True)
class ClassCounts:
    """Items by gold label and by answer, commonest first. `invalid`: answers that are none of the labels, not in `predicted`."""

    gold: Mapping[str, int]
    predicted: Mapping[str, int]
    invalid: int

    @property
    def num_items(self) -> int:
        """All items."""
        return sum(self.gold.values())

    @property
    def commonest(self) -> str | None:
        """The label that is answered most often; None when no answer is a label."""
        return next(iter(self.predicted), None)


def read_classes(out: Path, record: EvaluationRecord) -> ClassCounts:
    """Counts behind one evaluation record. Raises FileNotFoundError when its items are gone, KeyError when they have no such columns."""
    import pyarrow.parquet as pq

    path = RunPaths.of(out, record.run_id).evaluation(record.trained_tokens, record.folder or record.task) / ITEMS_NAME
    missing = {"normalised", "reference", "invalid"} - set(pq.read_schema(path).names)
    if missing:
        raise KeyError(f"{path} has no {', '.join(sorted(missing))}")
    table = pq.read_table(path, columns=["normalised", "reference", "invalid"]).to_pydict()
    valid = [answer for answer, invalid in zip(table["normalised"], table["invalid"], strict=True) if not invalid]
    return ClassCounts(_counted(table["reference"]), _counted(valid), len(table["reference"]) - len(valid))


def _counted(labels: list[str]) -> dict[str, int]:
    """Commonest first; of equals, in alphabetical order."""
    return dict(sorted(Counter(labels).items(), key=lambda pair: (-pair[1], pair[0])))
