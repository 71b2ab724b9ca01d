"""Scores along training: one measure, or the average of several, against tokens, bytes of text or FLOPs.

(1) choose   checkpoints that have every averaged measure, asked as usual: nothing is averaged over what is missing
(2) score    mean of the measures; band: 95% over runs and items, or over items alone for a single run
(3) place    on the axis: trained tokens, or bytes and FLOPs from the training log
(4) compare  where two curves have both been: values at the largest common place, on straight lines between checkpoints

Reads  nothing but the study.  Writes  nothing.  Source  paper Figures 3, 6, 7 and 10 (shape).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.claims.align import align, arm_score, one
from analysis.claims.asked import test_of, usual_test
from analysis.claims.compare import SAME_TOKENS
from analysis.claims.influence import influences
from analysis.claims.variance import NOTHING, Part, items_covariance, margin, pooled_variance
from analysis.figures.axes import TOKENS, Progress, reached
from analysis.figures.series import Series
from analysis.frames import Cell
from analysis.load import Contrast, Measure, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from swallow_exp.record.schema import EvaluationRecord


@dataclass(frozen=True)
class Curve:
    """Score of one cell along its checkpoints; low and high are NaN where items are gone.

    places: on the axis it was asked for. num_runs: runs behind the last point.
    """

    cell: str
    places: tuple[float, ...]
    scores: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    num_runs: int = 1

    def at(self, place: float) -> float:
        """Score at a place, on a straight line between checkpoints."""
        return float(np.interp(place, self.places, self.scores))


@dataclass(frozen=True)
class _Point:
    """The average of some measures at one checkpoint of a cell: its score, items part, and the average of every run (s,)."""

    place: float
    score: float
    items: Part | None
    runs_S: tuple[float, ...]


def curves_of(study: Study, cells: Sequence[Cell], measures: Sequence[Measure], *, progress: Progress = TOKENS) -> dict[str, Curve]:
    """The average of `measures` along every cell, at the checkpoints that have all of them.

    Only results of the test that most checkpoints of all cells were asked count. Others (a part of the items, other prompts) are no
    points. Checkpoints of several seeds are one point when they are within 5% of the same tokens. The spread between runs is pooled
    over the cells at each checkpoint, counted from the first.
    """
    points = {cell.label: _points_of(study, cell, measures, progress) for cell in cells}
    longest = max((len(of) for of in points.values()), default=0)
    spreads = [pooled_variance([of[i].runs_S for of in points.values() if i < len(of)]) for i in range(longest)]
    return {label: _curve(label, of, spreads) for label, of in points.items()}


def _curve(label: str, points: Sequence[_Point], spreads: Sequence[Part | None]) -> Curve:
    halves = []
    for point, spread in zip(points, spreads, strict=False):
        runs = Part(spread.variance / len(point.runs_S), spread.freedom) if spread else NOTHING
        halves.append(float("nan") if point.items is None else margin(runs, point.items))
    return Curve(
        label,
        tuple(point.place for point in points),
        tuple(point.score for point in points),
        tuple(point.score - half for point, half in zip(points, halves, strict=True)),
        tuple(point.score + half for point, half in zip(points, halves, strict=True)),
        len(points[-1].runs_S) if points else 0,
    )


def _points_of(study: Study, cell: Cell, measures: Sequence[Measure], progress: Progress) -> list[_Point]:
    usual = {m: usual_test(study.records_of(m)) for m in measures}
    marks: dict[str, list[int]] = {}
    for run_id in cell.run_ids:
        have = study.checkpoints_of(run_id)
        marks[run_id] = [t for t in have if all((r := study.record_of(run_id, t, m)) and test_of(r) == usual[m] for m in measures)]
    points = []
    for group in _together(marks):
        places = [reached(study, run_id, t, progress) for run_id, t in group]
        known = [place for place in places if place is not None]
        if len(known) == len(places):
            records = [[r for run_id, t in group if (r := study.record_of(run_id, t, m)) is not None] for m in measures]
            points.append(_point(study, sum(known) / len(known), records, measures))
    return points


def _point(study: Study, place: float, records: Sequence[Sequence[EvaluationRecord]], measures: Sequence[Measure]) -> _Point:
    """Average over the measures, whose items are independent of each other."""
    scores, variances, units = [], [], []
    for of_measure, measure in zip(records, measures, strict=True):
        aligned = align(study, [(one(record),) for record in of_measure])
        if isinstance(aligned, str):
            scores.append(sum(record.score for record in of_measure) / len(of_measure))
            continue
        scores.append(arm_score(aligned, measure.aggregate))
        variances.append(max(0.0, float(items_covariance(influences(aligned.units_SAMK, measure.aggregate))[0, 0])))
        units.append(aligned.units.num_units)
    runs_S = tuple(float(np.mean([of_measure[s].score for of_measure in records])) for s in range(len(records[0])))
    whole = len(variances) == len(measures)
    items = Part(sum(variances) / len(measures) ** 2, max(1, min(units) - 1)) if whole else None
    return _Point(place, sum(scores) / len(scores), items, runs_S)


def _together(marks: Mapping[str, Sequence[int]]) -> list[list[tuple[str, int]]]:
    """Checkpoints of several runs that are at the same tokens, ascending."""
    groups: list[list[tuple[str, int]]] = []
    for tokens, run_id in sorted((t, run_id) for run_id, of_run in marks.items() for t in of_run):
        last = groups[-1] if groups else []
        if last and all(run_id != other for other, _ in last) and tokens - last[0][1] <= SAME_TOKENS * tokens:
            last.append((run_id, tokens))
        else:
            groups.append([(run_id, tokens)])
    return groups


def shared_measures(study: Study, cells: Sequence[Cell], measures: Sequence[Measure]) -> list[Measure]:
    """Those of `measures` that at least half of all evaluated checkpoints of the cells have: what the rest lacks is left out as points."""
    checkpoints = [(run_id, t) for cell in cells for run_id in cell.run_ids for t in study.checkpoints_of(run_id)]
    return [m for m in measures if 2 * sum(study.record_of(run_id, t, m) is not None for run_id, t in checkpoints) >= len(checkpoints)]


def left_out(study: Study, cells: Sequence[Cell], measures: Sequence[Measure]) -> int:
    """How many evaluated checkpoints of the cells lack one of `measures`, so that they are no points of an average."""
    checkpoints = [(run_id, t) for cell in cells for run_id in cell.run_ids for t in study.checkpoints_of(run_id)]
    return sum(any(study.record_of(run_id, t, m) is None for m in measures) for run_id, t in checkpoints)


def draw_curve(axes: Axes, curve: Curve, series: Series, *, band: float = 0.14) -> None:
    """Line, markers and band (its opacity)."""
    axes.fill_between(curve.places, curve.low, curve.high, color=series.color, alpha=band, linewidth=0)
    axes.plot(curve.places, curve.scores, color=series.color, marker=series.marker, markersize=3, linewidth=1.2, linestyle=series.dashes)


def at_least_one_point_high(axes: Axes, unit: str) -> None:
    """At least one point of height: an axis that zooms in on nothing makes noise look like a trend."""
    low, high = axes.get_ylim()
    if unit == "points" and high - low < 1:
        axes.set_ylim(max(low, -0.05), low + 1)


def largest_common(curves: Mapping[str, Curve], contrast: Contrast) -> tuple[float, float, float] | None:
    """(place, score of the cell, score of its baseline) at the largest place both have reached; None when there is none past 0."""
    first, baseline = curves.get(contrast.cell), curves.get(contrast.baseline_cell)
    if first is None or baseline is None or not first.places or not baseline.places:
        return None
    place = min(first.places[-1], baseline.places[-1])
    if place <= max(first.places[0], baseline.places[0]):
        return None
    return place, first.at(place), baseline.at(place)
