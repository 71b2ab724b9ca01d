"""Scores of the same items before and after training: where they were, where they went.

One panel a cell. Item scores (0 to 1) of token 0 to the right, of the trained cell upwards, in squares whose shade and number say how many
items are there; marginal counts above and to the right. Above the diagonal: items that training made better.

Reads  items of two evaluations of a cell.  Writes  nothing.  Source  paper Figure 2 (NIILC, character F1)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from analysis.figures.axes import TOKENS
from analysis.figures.gains import Results
from analysis.figures.series import by_size
from analysis.figures.style import INK, MUTED, PAPER, SERIES, TITLE_LETTERS, WIDTH_INCHES, figure_style, new_figure, wrapped
from analysis.figures.tasks import JOINT_FIRST, scored_measures
from analysis.load import Measure, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 10
COLUMNS = 3
MOST_PANELS = 6
DARKEST, PAPER_FROM = 0.9, 0.55  # opacity of the fullest square; from which opacity on numbers are in the colour of the paper
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Joint:
    """Items of one cell: `counts` has shape (BINS or 2, same), first index the score at token 0, second the trained one."""

    cell: str
    counts: Counts
    better: int
    worse: int

    @property
    def num_items(self) -> int:
        """All items."""
        return int(self.counts.sum())


def joint_measure(study: Study) -> Measure | None:
    """Answers in words first, then any task that has a score for every item."""
    measures = [measure for measure in scored_measures(study) if measure.aggregate == "mean"]
    by_task = {measure.task: measure for measure in measures}
    return next((by_task[task] for task in JOINT_FIRST if task in by_task), measures[0] if measures else None)


def joints_of(study: Study, measure: Measure) -> list[Joint]:
    """Cells that were asked at token 0 and after training; of several seeds the first one that was."""
    results, found = Results(study, TOKENS), []
    for cell in by_size(study.cells):
        for run_id in cell.run_ids:
            start, end = results.start(run_id, measure), results.end(cell, run_id, measure)
            first, last = (study.items_of(side[0][1]) if side else None for side in (start, end))
            if first is None or last is None:
                continue
            before = dict(zip(first.item_ids, first.statistics[:, 0], strict=True))
            after = dict(zip(last.item_ids, last.statistics[:, 0], strict=True))
            ids = sorted(before.keys() & after.keys())
            if ids:
                found.append(_joint(cell.label, np.array([[before[i], after[i]] for i in ids], dtype=np.float64)))
                break
    return found


def _joint(cell: str, scores_N2: npt.NDArray[np.float64]) -> Joint:
    bins = 2 if np.isin(scores_N2, (0.0, 1.0)).all() else BINS
    places = np.minimum((scores_N2 * bins).astype(int), bins - 1)  # a score of 1 belongs to the last square
    counts = np.zeros((bins, bins), dtype=np.int64)
    np.add.at(counts, (places[:, 0], places[:, 1]), 1)
    before, after = scores_N2[:, 0], scores_N2[:, 1]
    return Joint(cell, counts, int((after > before).sum()), int((after < before).sum()))


def joint_figure(joints: Sequence[Joint]) -> Figure | None:
    """One panel a cell, at most MOST_PANELS."""
    shown = joints[:MOST_PANELS]
    if not shown:
        return None
    most = COLUMNS if any(len(joint.counts) > 2 for joint in shown) else COLUMNS + 1
    rows = -(-len(shown) // most)
    columns = -(-len(shown) // rows)
    with figure_style():
        figure = new_figure((min(WIDTH_INCHES / columns, 3.4) + 0.45) * rows)
        for index, joint in enumerate(shown):
            axes = figure.add_subplot(rows, columns, index + 1)
            _draw_joint(axes, joint, TITLE_LETTERS * COLUMNS // max(COLUMNS, columns))
            axes.set_ylabel("after training" if index % columns == 0 else "")
    return figure


def _draw_joint(axes: Axes, joint: Joint, letters: int) -> None:
    bins, places = len(joint.counts), (np.arange(len(joint.counts)) + 0.5) / len(joint.counts)
    _draw_squares(axes, joint.counts)
    if bins > 2:
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.7, linestyle=(0, (2, 2)), zorder=0.5)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="token 0", box_aspect=1)
    ticks, words = ([0.25, 0.75], ["wrong", "right"]) if bins == 2 else ([0.0, 0.5, 1.0], ["0", "0.5", "1"])
    axes.set_xticks(ticks, words)
    axes.set_yticks(ticks, words, rotation=90 if bins == 2 else 0, va="center")
    axes.grid(visible=False)
    above, right = axes.inset_axes((0.0, 1.03, 1.0, 0.18)), axes.inset_axes((1.03, 0.0, 0.18, 1.0))
    above.bar(places, joint.counts.sum(axis=1), width=0.86 / bins, color=MUTED)
    right.barh(places, joint.counts.sum(axis=0), height=0.86 / bins, color=MUTED)
    above.set(xlim=(0, 1), xticks=[])
    right.set(ylim=(0, 1), yticks=[])
    for counted, marginal in ((above.yaxis, above), (right.xaxis, right)):
        counted.set_ticks([int(joint.counts.sum(axis=1 if marginal is above else 0).max())])
        marginal.tick_params(labelsize=6, length=2)
        marginal.grid(visible=False)
    n = joint.num_items
    told = f"better {joint.better / n:.0%}, worse {joint.worse / n:.0%} of {n:,}"
    axes.text(0, 1.24, told, transform=axes.transAxes, fontsize=7, color=INK)
    axes.set_title(wrapped(joint.cell, letters), fontsize=8.5, y=1.34, pad=0)


def _draw_squares(axes: Axes, counts: Counts) -> None:
    """Shade by the square root of the count: a few items beside many stay visible."""
    from matplotlib.patches import Rectangle

    bins, most = len(counts), max(int(counts.max()), 1)
    for (i, j), count in np.ndenumerate(counts):
        if not count:
            continue
        shade = DARKEST * float(np.sqrt(count / most))
        axes.add_patch(Rectangle((i / bins, j / bins), 1 / bins, 1 / bins, facecolor=(SERIES[0], shade), edgecolor=PAPER, linewidth=0.3))
        ink = PAPER if shade >= PAPER_FROM else INK
        middle = ((i + 0.5) / bins, (j + 0.5) / bins)
        axes.text(*middle, f"{count}", ha="center", va="center", fontsize=9 if bins == 2 else 5, color=ink)
