"""Scores along training: one measure, or the average of several, against tokens, bytes of text or FLOPs.

(1) choose   checkpoints that have every averaged measure, asked as usual: nothing is averaged over what is missing
(2) score    mean of the measures; band: 95% over the items of all of them
(3) place    on the axis: trained tokens, or bytes and FLOPs from the training log
(4) compare  where two curves have both been: values at the largest common place, on straight lines between checkpoints

Reads  nothing but the study.  Writes  nothing.  Source  paper Figures 3, 6, 7 and 10 (shape).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.claims.asked import test_of, usual_test
from analysis.claims.bootstrap import Interval, band_scores, percentile_interval
from analysis.claims.compare import SAME_TOKENS, pooled
from analysis.figures.axes import TOKENS, Progress, reached
from analysis.figures.series import Series
from analysis.load import Cell, Contrast, Measure, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from swallow_exp.record.schema import EvaluationRecord

BAND_RESAMPLES = 1_000


@dataclass(frozen=True)
class Curve:
    """Score of one cell along its checkpoints; low and high are NaN where items are gone. `places`: on the axis it was asked for."""

    cell: str
    places: tuple[float, ...]
    scores: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def at(self, place: float) -> float:
        """Score at a place, on a straight line between checkpoints."""
        return float(np.interp(place, self.places, self.scores))


def curve_of(study: Study, cell: Cell, measures: Sequence[Measure], *, seed: int, progress: Progress = TOKENS) -> Curve:
    """The average of `measures` at every checkpoint of a cell that has all of them.

    Only results of the test that most checkpoints of all cells were asked count: others (a part of the items, other prompts) are no
    points of it. Checkpoints of several seeds are one point when they are within 5% of the same tokens.
    """
    usual = {m: usual_test(study.records_of(m)) for m in measures}
    marks: dict[str, list[int]] = {}
    for run_id in cell.run_ids:
        have = study.checkpoints_of(run_id)
        marks[run_id] = [t for t in have if all((r := study.record_of(run_id, t, m)) and test_of(r) == usual[m] for m in measures)]
    groups = [(group, [reached(study, run_id, t, progress) for run_id, t in group]) for group in _together(marks)]
    known = [(group, [place for place in places if place is not None]) for group, places in groups if None not in places]
    points = [[[r for run_id, t in group if (r := study.record_of(run_id, t, m)) is not None] for m in measures] for group, _ in known]
    scores, bands = _averages(study, points, measures, seed)
    where = tuple(sum(places) / len(places) for _, places in known)
    return Curve(cell.label, where, tuple(scores), tuple(low for low, _ in bands), tuple(high for _, high in bands))


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


def _averages(
    study: Study, points: Sequence[Sequence[Sequence[EvaluationRecord]]], measures: Sequence[Measure], seed: int
) -> tuple[list[float], list[Interval]]:
    """Mean of the measures at every point and its interval over items; NaN ends where some items are gone.

    points: of each point, of each measure, one record a seed of the cell.
    """
    over_items = [[pooled(study, records) for records in point] for point in points]
    resampled = [
        band_scores(
            [found.units_MK if (found := of_point[j]) else None for of_point in over_items],
            measure.aggregate,
            num_resamples=BAND_RESAMPLES,
            seed=zlib.crc32(f"{seed}|{measure}".encode()),  # tasks are independent, whatever the number of their items
        )
        for j, measure in enumerate(measures)
    ]
    scores, bands = [], []
    for i, point in enumerate(points):
        of_measures = [
            found.score if found else sum(r.score for r in records) / len(records)
            for found, records in zip(over_items[i], point, strict=True)
        ]
        scores.append(sum(of_measures) / len(of_measures))
        present = [drawn_B for of_measure in resampled if (drawn_B := of_measure[i]) is not None]
        whole = len(present) == len(measures)
        bands.append(percentile_interval(np.mean(present, axis=0)) if whole else (float("nan"), float("nan")))
    return scores, bands


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


def no_magnifying_glass(axes: Axes, unit: str) -> None:
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
