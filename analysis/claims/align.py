"""Items of several results side by side: the ones they share, their clusters, and seeds summed item by item.

(1) share    ids that every side has, in one order                   -> ids (n,), said when some were left out
(2) units    items of one cluster are one unit, the thing that is drawn  -> Units: (n,) -> m
(3) sum      statistics over the seeds of a side, then over the unit  -> (m, k) a side, in the form `score_of_sums` wants

Letters: n items, m units, k statistics.   Reads  items of evaluations, through the study.  Writes  nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from analysis.claims.bootstrap import FloatArray, sums_by_unit, unit_index
from analysis.load import Study
from swallow_exp.record.aggregate import score_of_items, score_of_sums, summable
from swallow_exp.record.schema import EvaluationRecord, ItemStatistics

RecordPair = tuple[EvaluationRecord, EvaluationRecord]


@dataclass(frozen=True, eq=False)
class Units:
    """What is drawn with replacement: index_N[i] is the unit of item i."""

    index_N: npt.NDArray[np.int64]
    num_units: int

    @property
    def num_items(self) -> int:
        """Items in all units."""
        return len(self.index_N)

    def sums(self, statistics_NK: FloatArray) -> FloatArray:
        """(n, k) -> (m, k)."""
        return sums_by_unit(statistics_NK, self.index_N, self.num_units)


@lru_cache(maxsize=256)
def units_by_cluster(item_ids: tuple[str, ...], clusters: tuple[str, ...]) -> Units:
    """Items of one cluster are one unit, in the order they are met; an item without a cluster is a unit of its own."""
    return Units(*unit_index(f"cluster {c}" if c else f"item {i}" for i, c in zip(item_ids, clusters, strict=True)))


@dataclass(frozen=True)
class Aligned:
    """Both sides of a contrast on the items all their runs have: per unit, seeds summed."""

    units: Units
    first_MK: FloatArray
    baseline_MK: FloatArray
    seed_differences: tuple[float, ...]
    right_or_wrong: tuple[int, int] | None  # items only the first side has right, only the baseline; None where that is not all there is
    notes: tuple[str, ...]


def align(study: Study, pairs: Sequence[RecordPair]) -> Aligned | str:
    """Statistics of the items that every run of the comparison has; or why that is impossible."""
    sides = [(study.items_of(a), study.items_of(b)) for a, b in pairs]
    everyone = [side for pair in sides for side in pair if side is not None]
    if len(everyone) < 2 * len(pairs):
        lost = next(record for pair, items in zip(pairs, sides, strict=True) for record, i in zip(pair, items, strict=True) if i is None)
        problem = study.problem_of(lost)
        return f"items of {lost.run_id} cannot be used: {problem.reason}" if problem else ""
    ids = _shared_ids(everyone)
    if not ids:
        return "the two sides share no item"
    notes: tuple[str, ...] = ()
    if any(len(side.item_ids) != len(ids) for side in everyone):
        notes = (f"only the {len(ids)} items that all runs have are compared",)
    aggregate = everyone[0].aggregate
    rows = [_rows(side, ids) for side in everyone]
    first, baseline = rows[::2], rows[1::2]
    differences = tuple(score_of_items(a, aggregate) - score_of_items(b, aggregate) for a, b in zip(first, baseline, strict=True))
    units = units_of_ids(everyone[0], ids)
    return Aligned(
        units=units,
        first_MK=units.sums(summed(first, aggregate)),
        baseline_MK=units.sums(summed(baseline, aggregate)),
        seed_differences=differences if len(differences) > 1 else (),
        right_or_wrong=_discordant(first[0], baseline[0]) if len(pairs) == 1 and aggregate == "mean" else None,
        notes=notes,
    )


def _discordant(first_N1: FloatArray, baseline_N1: FloatArray) -> tuple[int, int] | None:
    """(only the first right, only the baseline right) where every item is right or wrong."""
    a, b = first_N1[:, 0], baseline_N1[:, 0]
    if not all(bool(((side == 0) | (side == 1)).all()) for side in (a, b)):
        return None
    return int((a > b).sum()), int((b > a).sum())


def _shared_ids(sides: Sequence[ItemStatistics]) -> tuple[str, ...]:
    """Ids that all sides have, sorted. Equal ids are one object (analysis.items), so the usual case costs nothing."""
    first = sides[0].item_ids
    if all(side.item_ids is first for side in sides):
        return first
    return tuple(sorted(set.intersection(*(set(side.item_ids) for side in sides))))


def units_of_ids(items: ItemStatistics, ids: tuple[str, ...]) -> Units:
    """Units of some of the items of one side."""
    if ids is items.item_ids:
        return units_by_cluster(ids, items.clusters)
    cluster_of = dict(zip(items.item_ids, items.clusters, strict=True))
    return units_by_cluster(ids, tuple(cluster_of[i] for i in ids))


def _rows(items: ItemStatistics, ids: tuple[str, ...]) -> FloatArray:
    if ids is items.item_ids:
        return items.statistics
    index: Mapping[str, int] = {item_id: row for row, item_id in enumerate(items.item_ids)}
    return items.statistics[[index[item_id] for item_id in ids]]


def summed(by_seed: Sequence[FloatArray], aggregate: str) -> FloatArray:
    """Statistics of aligned items summed over seeds, in the form `score_of_sums` wants: a mean over seeds and items."""
    return np.asarray(sum(summable(rows, aggregate) for rows in by_seed), dtype=np.float64)


@dataclass(frozen=True)
class Pooled:
    """One measure at one checkpoint of a cell, over its seeds: statistics in the form `score_of_sums` wants."""

    statistics_NK: FloatArray
    units: Units
    score: float

    @property
    def units_MK(self) -> FloatArray:
        """Sums of each unit: what is resampled."""
        return self.units.sums(self.statistics_NK)

    @property
    def clusters(self) -> tuple[str, ...]:
        """A name for the unit of every item."""
        return tuple(str(unit) for unit in self.units.index_N.tolist())


def pooled(study: Study, records: Sequence[EvaluationRecord]) -> Pooled | None:
    """The items that all these records (one a seed) share, summed over seeds; None when some statistics are gone or unusable."""
    items = [study.items_of(record) for record in records]
    present = [side for side in items if side is not None]
    if not present or len(present) < len(items):
        return None
    ids = _shared_ids(present)
    if not ids:
        return None
    aggregate = present[0].aggregate
    statistics_NK = summed([_rows(side, ids) for side in present], aggregate)
    score = float(score_of_sums(statistics_NK.sum(axis=0), aggregate))
    return Pooled(statistics_NK, units_of_ids(present[0], ids), score)


def clusters_of(items: ItemStatistics) -> Mapping[str, str]:
    """Cluster of every item; an item without one is a cluster of its own."""
    return {i: f"cluster {c}" if c else f"item {i}" for i, c in zip(items.item_ids, items.clusters, strict=True)}
