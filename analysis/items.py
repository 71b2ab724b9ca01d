"""The items behind evaluation records: read when asked for, checked, and kept while there is room.

(1) read    the statistics of all metrics of one task at one checkpoint  -> ItemStatistics by metric
(2) check   readable, whole, finite, in agreement with the score           -> or a Problem, and None from then on
(3) share   equal ids and clusters of many checkpoints are one object       -> comparing two sets of ids is one pointer
(4) keep    the latest, up to LIMIT_BYTES of statistics                     -> memory does not grow with the study

Reads  items.parquet of evaluations.  Writes  nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

from analysis.problems import Problem, wrong_ids, wrong_items
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.schema import EvaluationRecord, ItemStatistics
from swallow_exp.record.store import read_statistics, statistics_column

LIMIT_BYTES = 512 << 20
Place = tuple[str, int, str]  # run_id, trained tokens, folder of the task
Names = tuple[str, ...]


class ItemReader:
    """Items of records under one output root."""

    def __init__(self, out: Path, *, limit_bytes: int = LIMIT_BYTES) -> None:
        """limit_bytes: of statistics that are kept; ids are shared and come on top."""
        self.out = out
        self.problems: dict[EvaluationRecord, Problem] = {}
        self._limit, self._bytes = limit_bytes, 0
        self._kept: OrderedDict[Place, dict[str, ItemStatistics] | str | None] = OrderedDict()
        self._sound: set[EvaluationRecord] = set()
        self._names: dict[Names, tuple[Names, str]] = {}  # ids or clusters -> the one object for them, and what is wrong with ids

    def of(self, record: EvaluationRecord) -> ItemStatistics | None:
        """The items of one record; None when they are gone, or unusable (then `problems` says why)."""
        place = (record.run_id, record.trained_tokens, record.folder or record.task)
        if place not in self._kept:
            self._keep(place, self._read(place))
        self._kept.move_to_end(place)
        found = self._kept[place]
        if found is None or record in self.problems:
            return None
        items = found if isinstance(found, str) else found.get(statistics_column(record.metric, record.profile))
        if isinstance(items, ItemStatistics):
            items = replace(items, aggregate=record.aggregate)
        if record in self._sound and isinstance(items, ItemStatistics):
            return items
        reason = self._wrong(items, record)
        if not reason and isinstance(items, ItemStatistics):
            self._sound.add(record)
            return items
        task = f"{record.folder or record.task}, {record.metric} ({record.profile})"
        self.problems[record] = Problem(record.run_id, record.trained_tokens, task, reason)
        return None

    def _wrong(self, items: ItemStatistics | str | None, record: EvaluationRecord) -> str:
        if isinstance(items, str):
            return items
        if items is None:
            return "items.parquet has no statistics of this metric"
        return self._names[items.item_ids][1] or wrong_items(items, record)

    def _read(self, place: Place) -> dict[str, ItemStatistics] | str | None:
        """Statistics by column; in words what is wrong with the file; or None when it is gone."""
        run_id, tokens, folder = place
        try:
            by_column = read_statistics(RunPaths.of(self.out, run_id).evaluation(tokens, folder))
        except FileNotFoundError:
            return None
        except ValueError as error:
            return str(error)
        if not by_column:
            return {}
        ids, clusters = next((items.item_ids, items.clusters) for items in by_column.values())
        if ids not in self._names:
            self._names[ids] = (ids, wrong_ids(ids))
        ids, clusters = self._names[ids][0], self._names.setdefault(clusters, (clusters, ""))[0]
        return {column: ItemStatistics(ids, clusters, items.statistics) for column, items in by_column.items()}

    def _keep(self, place: Place, found: dict[str, ItemStatistics] | str | None) -> None:
        self._kept[place] = found
        self._bytes += _num_bytes(found)
        while self._bytes > self._limit and len(self._kept) > 1:
            self._bytes -= _num_bytes(self._kept.popitem(last=False)[1])


def _num_bytes(found: dict[str, ItemStatistics] | str | None) -> int:
    return sum(items.statistics.nbytes for items in found.values()) if isinstance(found, dict) else 0
