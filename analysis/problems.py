"""What is wrong with the records of a study: results that cannot be read, that are no numbers, or that contradict each other.

A record with a problem is in no table, figure, average or claim; the report names it and `swallow report` ends with exit code 1. What was
not run yet is no problem: that is `Missing` (load.py).

Reads   claims.json of a report.  Writes  nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.paths import ReportPaths
from swallow_exp.record.aggregate import NUM_STATISTICS, score_of_items
from swallow_exp.record.schema import EvaluationRecord, ItemStatistics

RUN_FILES = ("events.jsonl", "overlap.json")
ROUNDING = 1e-6  # relative: a score written with fewer digits than it was computed with is no contradiction


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong. task: the folder of the result, or the task; the name of a file when it concerns the whole run."""

    run_id: str
    trained_tokens: int
    task: str
    reason: str

    def __str__(self) -> str:
        """`run at 2,000,000 tokens, task: reason`; no tokens where it concerns the whole run."""
        at = "" if self.of_run else f" at {self.trained_tokens:,} tokens"
        return f"{self.run_id}{at}, {self.task}: {self.reason}"

    @property
    def of_run(self) -> bool:
        """A file of the run, not a result."""
        return self.task in RUN_FILES


def reported_problems(report: ReportPaths) -> tuple[Problem, ...]:
    """The problems of a report that was built, from its claims.json; none when there is no such file."""
    document = read_json(report.claims)
    entries = document.get("problems", []) if isinstance(document, dict) else []
    return tuple(Problem(**entry) for entry in entries)


def usable_records(records: Sequence[EvaluationRecord]) -> tuple[tuple[EvaluationRecord, ...], list[Problem]]:
    """Records whose score is a number and that are the only result of their measure at their checkpoint; and what is wrong with the rest.

    Two results for one (run, tokens, task, metric, profile) that agree in everything but their folder count once; that disagree: neither.
    """
    problems: list[Problem] = []
    groups: dict[tuple[str, int, str, str, str], list[EvaluationRecord]] = {}
    for record in records:
        if reason := _unusable(record):
            problems.append(Problem(record.run_id, record.trained_tokens, record.folder or record.task, reason))
            continue
        key = (record.run_id, record.trained_tokens, record.task, record.metric, record.profile)
        groups.setdefault(key, []).append(record)
    kept = []
    for (run_id, tokens, task, metric, profile), group in groups.items():
        if len(group) > 1:
            folders = ", ".join(record.folder or record.task for record in group)
            scores = " and ".join(f"{record.score:g}" for record in group)
            alike = len({_content(record) for record in group}) == 1
            what = f"alike, {group[0].folder or task} is used" if alike else f"scores {scores}; none is used"
            problems.append(Problem(run_id, tokens, task, f"{len(group)} results of {metric} ({profile}) in {folders}: {what}"))
            if not alike:
                continue
        kept.append(group[0])
    return tuple(kept), problems


def _unusable(record: EvaluationRecord) -> str:
    number = isinstance(record.score, (int, float)) and not isinstance(record.score, bool)
    if not number or not isfinite(record.score):
        return f"the score of {record.metric} ({record.profile}) is {record.score}, no number"
    if record.aggregate not in NUM_STATISTICS:
        return f"{record.metric} ({record.profile}) has aggregate {record.aggregate}, expected one of {', '.join(NUM_STATISTICS)}"
    return ""


def _content(record: EvaluationRecord) -> tuple[object, ...]:
    return (record.score, record.num_items, record.prompt_digest, record.task_version, record.checkpoint_digest, record.fraction)


def wrong_ids(item_ids: Sequence[str | None]) -> str:
    """Why these cannot name items, in words; empty when they can."""
    if None in item_ids:
        return "an item has no id"
    return "" if len(set(item_ids)) == len(item_ids) else "two items have one id"


def wrong_items(items: ItemStatistics, record: EvaluationRecord) -> str:
    """Why the items cannot be those of the record, in words; empty when they can."""
    if len(items.item_ids) != record.num_items:
        return f"{len(items.item_ids)} items on disk, {record.num_items} in the result"
    width = 1 if record.aggregate == "mean" else NUM_STATISTICS[record.aggregate]
    if items.statistics.shape[1] != width:
        return f"{items.statistics.shape[1]} statistics an item, {record.aggregate} has {width}"
    if not np.isfinite(items.statistics).all():
        return "a statistic of an item is no finite number"
    with np.errstate(divide="ignore", invalid="ignore"):
        score = score_of_items(items.statistics, record.aggregate)
    if not abs(score - record.score) <= ROUNDING * max(1.0, abs(record.score)):
        return f"the items give {score:g}, the result says {record.score:g}"
    return ""
