"""The items behind evaluation records: read when asked for, checked, and kept while there is room.

(1) read    the columns of one measure                              -> ItemStatistics
(2) check   readable, whole, finite, in agreement with the score       -> or a Problem, and None from then on
(3) share   equal ids and clusters of many checkpoints are one object   -> comparing two sets of ids is one pointer
(4) keep    the latest, up to LIMIT_BYTES of statistics                 -> memory does not grow with the study

Reads  items.parquet of evaluations.  Writes  nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from analysis.problems import Problem, wrong_items
from swallow_exp.record.schema import EvaluationRecord, ItemStatistics
from swallow_exp.record.store import read_items

LIMIT_BYTES = 512 << 20


class ItemReader:
    """Items of records under one output root."""

    def __init__(self, out: Path, *, limit_bytes: int = LIMIT_BYTES) -> None:
        """limit_bytes: of statistics that are kept; ids are shared and come on top."""
        self.out = out
        self.problems: dict[EvaluationRecord, Problem] = {}
        self._limit, self._bytes = limit_bytes, 0
        self._kept: OrderedDict[EvaluationRecord, ItemStatistics] = OrderedDict()
        self._gone: set[EvaluationRecord] = set()
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}

    def of(self, record: EvaluationRecord) -> ItemStatistics | None:
        """The items of one record; None when they are gone, or unusable (then `problems` says why)."""
        if record in self._kept:
            self._kept.move_to_end(record)
            return self._kept[record]
        if record in self._gone or record in self.problems:
            return None
        try:
            items = read_items(self.out, record)
            reason = wrong_items(items, record)
        except FileNotFoundError:
            self._gone.add(record)
            return None
        except ValueError as error:
            reason = str(error)
        if reason:
            task = f"{record.folder or record.task}, {record.metric} ({record.profile})"
            self.problems[record] = Problem(record.run_id, record.trained_tokens, task, reason)
            return None
        return self._keep(record, items)

    def _keep(self, record: EvaluationRecord, items: ItemStatistics) -> ItemStatistics:
        ids, clusters = (self._names.setdefault(names, names) for names in (items.item_ids, items.clusters))
        shared = ItemStatistics(ids, clusters, items.statistics, items.aggregate)
        self._kept[record] = shared
        self._bytes += shared.statistics.nbytes
        while self._bytes > self._limit and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].statistics.nbytes
        return shared
