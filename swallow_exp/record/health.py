"""What a reader of a score should know of the questions behind it: worries, from the health and the overlap of tasks.

A worry is a share above a limit: of the items, of the answers, or of the training text's part in the items. `swallow status` and the report
show the same ones.

Reads   evaluations/overlap.json (store.py reads the other records)
Writes  evaluations/overlap.json, overlap/<task>.parquet
Source        paper appendix F (constant predictions, chance level)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from swallow_exp.artefact.files import make_folder, read_json, user_disk, write_json_atomic
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.schema import HealthRecord, OverlapRecord

SHARES = ("majority_share",)  # the other entries of `health` below are counts of items
# entry of `health` -> (what to call it, from which share on)
LIMITS = {
    "truncated": ("prompts lost their start", 0.0),
    "empty": ("answers empty", 0.05),
    "at_budget": ("answers cut at the budget", 0.5),
    "invalid": ("answers are no label", 0.05),
    "majority_share": ("one answer to everything", 0.9),
}
CHANCE = "balanced accuracy no better than chance"
PART = "only a part of the items asked"
QUESTION_SEEN, GOLD_SEEN = "questions half or more in the training text", "answers half or more in the training text"
SEEN_LIMIT = 0.01  # assumed: of the items; what one item in a hundred adds is below the noise of every task
STANDARD_ERRORS = 2.0


@dataclass(frozen=True)
class Worry:
    """One thing to know of one task: `share` (0..1) of what `words` says."""

    task: str
    profile: str
    words: str
    share: float


def last_checkpoint(records: Sequence[HealthRecord]) -> list[HealthRecord]:
    """Those of the last evaluated checkpoint."""
    last = max((record.trained_tokens for record in records), default=0)
    return [record for record in records if record.trained_tokens == last]


def worries_of(record: HealthRecord) -> Iterator[Worry]:
    """What to know of one task at one checkpoint."""
    for key, (words, above) in LIMITS.items():
        share = record.health.get(key, 0) / (1 if key in SHARES else record.num_items)
        wanted = key != "at_budget" or record.profile != "paper"  # published budgets of a few tokens are always used up
        if wanted and share > above:
            yield Worry(record.task, record.profile, words, share)
    if is_chance(record):
        yield Worry(record.task, record.profile, CHANCE, record.health["balanced_accuracy"] / 100)
    if record.fraction is not None and record.fraction < 1:
        yield Worry(record.task, record.profile, PART, record.fraction)


def chance_level(record: HealthRecord) -> float | None:
    """Balanced accuracy (0..100) of an answer that does not depend on the question; None for tasks without labels."""
    return 100 / record.health["num_gold"] if record.health.get("num_gold") else None


def is_chance(record: HealthRecord) -> bool:
    """Whether a labelled task is answered no better than by chance: not above it by two standard errors."""
    chance = chance_level(record)
    if chance is None or "balanced_accuracy" not in record.health:
        return False
    error = 100 * math.sqrt(chance / 100 * (1 - chance / 100) / record.num_items)
    return record.health["balanced_accuracy"] <= chance + STANDARD_ERRORS * error


def overlap_worries_of(record: OverlapRecord) -> Iterator[Worry]:
    """What to know of one task's items."""
    for words, seen in ((QUESTION_SEEN, record.question_half), (GOLD_SEEN, record.gold_half)):
        if record.num_items and seen / record.num_items > SEEN_LIMIT:
            yield Worry(record.task, record.profile, words, seen / record.num_items)


def read_overlap_entries(run: RunPaths) -> dict[str, dict[str, Any]]:
    """The entries of overlap.json: folder of a task -> what was found."""
    entries = read_json(run.overlap)
    return {str(folder): dict(entry) for folder, entry in entries.items()} if isinstance(entries, dict) else {}


def read_overlap(out: Path, run_id: str) -> Iterator[OverlapRecord]:
    """Overlap of every task that was measured, in order of their folders."""
    for _, entry in sorted(read_overlap_entries(RunPaths.of(out, run_id)).items()):
        known = {field.name: entry[field.name] for field in fields(OverlapRecord) if field.name in entry}
        yield OverlapRecord(**{**known, "run_id": run_id, "corpora": tuple(entry["corpora"])})


def write_overlap(run: RunPaths, folder: str, entry: Mapping[str, Any], items: Mapping[str, Sequence[Any]]) -> None:
    """Write the overlap of one task: its items (columns of equal length), then its entry. Callers hold `run.evaluation_lock`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = run.overlap_items(folder)
    temporary = make_folder(path.parent) / f".{path.name}.tmp"
    with user_disk(path):
        pq.write_table(pa.table({name: pa.array(column) for name, column in items.items()}), temporary, compression="zstd")
        temporary.replace(path)
    write_json_atomic(run.overlap, {**read_overlap_entries(run), folder: dict(entry)})
