"""Items of several results side by side: the ones they share, in units, run by run.

(1) share    ids that every side of every run has, in one order     -> ids (n,), and a note when some were left out
(2) units    items of one cluster are one unit                      -> Units: (n,) -> m
(3) mix      a side is one checkpoint, or several with shares       -> (n, k) per run and arm
(4) sum      statistics over the units                              -> (s, a, m, k), in the form `score_of_sums` wants

An arm is one of the cells that are compared: two for a contrast, four for an interaction. A side is
what one run contributes to an arm: one checkpoint, several averaged, or a place between two.

Letters: s runs (paired by seed), a arms, n items, m units, k statistics.
Reads  items of evaluations, through the study.  Writes  nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from analysis.load import Study
from swallow_exp.record.aggregate import FloatArray, score_of_sums, summable
from swallow_exp.record.schema import EvaluationRecord, ItemStatistics

Side = tuple[tuple[float, EvaluationRecord], ...]  # checkpoints with shares that sum to 1
Arms = tuple[Side, ...]  # the sides of one seed, in the order of the arms


def one(record: EvaluationRecord) -> Side:
    """The side of a single checkpoint."""
    return ((1.0, record),)


def score_of(side: Side) -> float:
    """Score of a side as its records state it."""
    return sum(share * record.score for share, record in side)


@dataclass(frozen=True, eq=False)
class Units:
    """index_N[i] is the unit of item i."""

    index_N: npt.NDArray[np.int64]
    num_units: int

    @property
    def num_items(self) -> int:
        """Items in all units."""
        return len(self.index_N)

    def sums(self, statistics_NK: FloatArray) -> FloatArray:
        """Sum the items of each unit: (n, k) -> (m, k)."""
        if self.num_units == self.num_items:
            return statistics_NK
        columns = [np.bincount(self.index_N, weights=column_N, minlength=self.num_units) for column_N in statistics_NK.T]
        return np.stack(columns, axis=1)


@lru_cache(maxsize=256)
def units_by_cluster(item_ids: tuple[str, ...], clusters: tuple[str, ...]) -> Units:
    """Items of one cluster are one unit, in the order they are met. An item without a cluster is a unit of its own."""
    return unit_index(f"cluster {c}" if c else f"item {i}" for i, c in zip(item_ids, clusters, strict=True))


def unit_index(names: Iterable[str]) -> Units:
    """Items with one name are one unit, numbered in the order their names are met."""
    place: dict[str, int] = {}
    index_N = np.array([place.setdefault(name, len(place)) for name in names], dtype=np.int64)
    return Units(index_N, len(place))


@dataclass(frozen=True)
class Aligned:
    """All arms of a comparison on the items that all their runs have."""

    units: Units
    units_SAMK: FloatArray
    notes: tuple[str, ...] = ()


def align(study: Study, seeds: Sequence[Arms]) -> Aligned | str:
    """Statistics of the items that every run of the comparison has; or why that is impossible.

    Args:
        seeds: the arms of every seed, all of one measure.

    Returns:
        Aligned; or a reason in words, which is empty where item files are simply not there.
    """
    records = list(dict.fromkeys(record for arms in seeds for side in arms for _, record in side))
    found = {record: study.items_of(record) for record in records}
    lost = [record for record, items in found.items() if items is None]
    if lost:
        problem = study.problem_of(lost[0])
        return f"items of {lost[0].run_id} cannot be used: {problem.reason}" if problem else ""
    items_of = {record: items for record, items in found.items() if items is not None}
    everyone = list(items_of.values())
    ids = _shared_ids(everyone)
    if not ids:
        return "the two sides share no item"
    notes: tuple[str, ...] = ()
    if any(len(items.item_ids) != len(ids) for items in everyone):
        notes = (f"only the {len(ids)} items that all runs have are compared",)
    units = _units_of(everyone[0], ids)
    aggregate = everyone[0].aggregate
    rows = {record: units.sums(summable(_rows(items, ids), aggregate)) for record, items in items_of.items()}
    stacked = np.stack([np.stack([_mixed(side, rows) for side in arms]) for arms in seeds])
    return Aligned(units, stacked, notes)


def _mixed(side: Side, rows: Mapping[EvaluationRecord, FloatArray]) -> FloatArray:
    """The statistics of a side: its checkpoints, weighted by their shares."""
    if len(side) == 1:
        return rows[side[0][1]]
    return np.asarray(sum(share * rows[record] for share, record in side), dtype=np.float64)


def _shared_ids(sides: Sequence[ItemStatistics]) -> tuple[str, ...]:
    """Ids that all sides have, sorted. Equal ids are one object (analysis.items), so the usual case costs nothing."""
    first = sides[0].item_ids
    if all(side.item_ids is first for side in sides):
        return first
    return tuple(sorted(set.intersection(*(set(side.item_ids) for side in sides))))


def _units_of(items: ItemStatistics, ids: tuple[str, ...]) -> Units:
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


def arm_score(aligned: Aligned, aggregate: str) -> float:
    """Score of a single arm over all its runs and units."""
    return float(score_of_sums(aligned.units_SAMK.sum(axis=(0, 2)), aggregate)[0])
