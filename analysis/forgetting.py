"""What training made a model forget, and what it gained, item by item against its own token 0.

(1) pair      every run's items at token 0 and at its last checkpoint              -> right before, right after
(2) count     lost: right, then wrong; gained: wrong, then right                   -> shares of the items
(3) correct   for guessing, on tasks with labels                                   -> shares of what was known
(4) table, figure                                                                  -> one row per cell and task

An average can stay while half of the items change. With k labels a guess is right one time in k, so
some items change sides although nothing was learnt or forgotten. If an item is either known or
guessed at random, the share that is wrong both times (P00) tells the share that is guessed both
times, u = P00 (k / (k - 1))^2, and with it

    forgotten = k / (k - 1) (P10 - P00 / (k - 1)),    learnt = k / (k - 1) (P01 - P00 / (k - 1))

Both are means over items, so they have the same intervals over runs and items as every score.

Reads  items of evaluations.  Writes  nothing.
Source  Harmon et al. 2025, arXiv 2510.17776 (sample-wise forgetting, chance-adjusted)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.claims.align import Aligned, Arms, align, one
from analysis.claims.asked import test_of
from analysis.claims.claim import Interval
from analysis.claims.influence import influences
from analysis.claims.variance import NOTHING, Part, items_covariance, margin, pooled_variance
from analysis.frames import Cell
from analysis.load import Measure, Study
from analysis.table import Table
from analysis.wording import ABSENT, interval, plain
from swallow_exp.record.health import chance_level

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RIGHT_FROM = 0.5  # of an item's points
CAPTION = (
    "Items against the same cell at token 0, in % of the items, averaged over seeds. Forgotten and learnt are lost and gained items "
    "corrected for guessing where the task has labels, with 95% intervals over runs and items (over items alone for a single run)."
)


@dataclass(frozen=True)
class Share:
    """A share of the items in %, and its interval."""

    value: float
    ends: Interval


@dataclass(frozen=True)
class Moved:
    """One task of one cell. num_labels: k of the correction; None where nothing can be guessed."""

    cell: str
    task: str
    num_items: int
    num_runs: int
    num_labels: int | None
    before: float
    after: float
    lost: float
    gained: float
    forgotten: Share
    learnt: Share


def moved_items(study: Study) -> list[Moved]:
    """Every task whose items are right or wrong, in every cell that has token 0 and a later checkpoint."""
    found = []
    for measure in study.measures:
        if measure.aggregate == "mean":
            pairs = {cell.label: _pairs(study, cell, measure) for cell in study.cells}
            aligned = {label: both for label, of in pairs.items() if of and isinstance(both := align(study, of), Aligned)}
            labels = _num_labels(study, measure)
            found += _of_measure(study.label_of(measure), aligned, labels)
    return found


def _pairs(study: Study, cell: Cell, measure: Measure) -> list[Arms]:
    """(token 0, last checkpoint) of every run that was asked the same at both."""
    pairs: list[Arms] = []
    for run_id in cell.run_ids:
        marks = study.checkpoints_of(run_id)
        if len(marks) < 2 or marks[0] != 0:
            continue
        start, end = (study.record_of(run_id, t, measure) for t in (0, marks[-1]))
        if start and end and test_of(start) == test_of(end):
            pairs.append((one(start), one(end)))
    return pairs


def _num_labels(study: Study, measure: Measure) -> int | None:
    for record in study.records_of(measure):
        health = study.health_of(record.run_id, record.trained_tokens, measure)
        if health is not None and (chance := chance_level(health)):
            return round(100 / chance)
    return None


def _of_measure(task: str, aligned: dict[str, Aligned], labels: int | None) -> list[Moved]:
    """Every cell of one measure; the spread between runs is pooled over the cells."""
    shares = {}
    for label, both in aligned.items():
        points_SAM = both.units_SAMK[..., 0] / both.units_SAMK[..., 1]
        right_SAM = points_SAM >= RIGHT_FROM
        lost_SM, gained_SM = right_SAM[:, 0] & ~right_SAM[:, 1], ~right_SAM[:, 0] & right_SAM[:, 1]
        wrong_SM = ~right_SAM[:, 0] & ~right_SAM[:, 1]
        shares[label] = (right_SAM, lost_SM, gained_SM, wrong_SM)
    found = []
    corrected = {label: [_corrected(s[1], s[3], labels), _corrected(s[2], s[3], labels)] for label, s in shares.items()}
    spreads = [pooled_variance([100.0 * of[i].mean(axis=1) for of in corrected.values()]) for i in (0, 1)]
    for label, (right_SAM, lost_SM, gained_SM, _) in shares.items():
        forgotten, learnt = (_share(values, spread) for values, spread in zip(corrected[label], spreads, strict=True))
        before, after, lost, gained = (100.0 * float(part.mean()) for part in (right_SAM[:, 0], right_SAM[:, 1], lost_SM, gained_SM))
        counts = (right_SAM.shape[2], len(right_SAM), labels)
        found.append(Moved(label, task, *counts, before, after, lost, gained, forgotten, learnt))
    return found


def _corrected(changed_SM: np.ndarray, wrong_SM: np.ndarray, labels: int | None) -> np.ndarray:
    """What each item adds to the corrected share; the change itself where nothing can be guessed."""
    if not labels or labels < 2:
        return changed_SM.astype(float)
    return labels / (labels - 1) * (changed_SM - wrong_SM / (labels - 1))


def _share(values_SM: np.ndarray, spread: Part | None) -> Share:
    statistics = np.stack([values_SM, np.ones_like(values_SM)], axis=-1)[:, None]
    items = Part(max(0.0, float(items_covariance(influences(statistics, "mean"))[0, 0])), max(1, values_SM.shape[1] - 1))
    runs = Part(spread.variance / len(values_SM), spread.freedom) if spread and len(values_SM) > 1 else NOTHING
    value = 100.0 * float(values_SM.mean())
    half = margin(runs, items)
    return Share(value, (value - half, value + half))


def forgetting_table(moved: Sequence[Moved]) -> Table | None:
    """One row per task and cell; None where token 0 was not evaluated."""
    if not moved:
        return None
    columns = ("task", "cell", "right before", "right after", "lost", "gained", "forgotten", "learnt", "labels", "runs", "items")
    rows, values = [], []
    for m in moved:
        numbers = (m.before, m.after, m.lost, m.gained)
        shares = tuple(f"{plain(s.value, 1)} {interval(s.ends, 1)}" for s in (m.forgotten, m.learnt))
        labels = ABSENT if m.num_labels is None else str(m.num_labels)
        rows.append((m.task, m.cell, *(plain(n, 1) for n in numbers), *shares, labels, str(m.num_runs), str(m.num_items)))
        counts = (None if m.num_labels is None else float(m.num_labels), float(m.num_runs), float(m.num_items))
        values.append((None, None, *numbers, m.forgotten.value, m.learnt.value, *counts))
    return Table("forgetting", CAPTION, columns, tuple(rows), tuple(values))


def forgetting_figure(study: Study, moved: Sequence[Moved]) -> Figure | None:
    """Forgotten to the left and learnt to the right of zero, one row per cell in a panel per task; None where nothing was paired."""
    from analysis.figures.series import bar_legend, bar_look, cell_series, legend_inches
    from analysis.figures.style import INK, figure_style, new_figure, wrapped

    tasks = list(dict.fromkeys(m.task for m in moved))
    if not tasks:
        return None
    looks = cell_series(study)
    columns = min(3, len(tasks))
    rows = -(-len(tasks) // columns)
    tallest = max(sum(m.task == task for m in moved) for task in tasks)
    with figure_style():
        shown = {m.cell: looks[m.cell] for m in moved}
        figure = new_figure(rows * (0.62 + 0.16 * tallest) + legend_inches([look.label for look in shown.values()]) + 0.25)
        for index, task in enumerate(tasks):
            axes = figure.add_subplot(rows, columns, index + 1)
            mine = [m for m in moved if m.task == task]
            for y, m in enumerate(mine):
                for sign, share in ((-1, m.forgotten), (1, m.learnt)):
                    low, high = sorted(sign * end for end in share.ends)
                    axes.barh(y, sign * share.value, height=0.7, zorder=1, **bar_look(looks[m.cell]))
                    axes.plot([low, high], [y, y], color=INK, linewidth=0.9)
            axes.axvline(0, color=INK, linewidth=0.9)
            axes.set_title(wrapped(task), fontsize=8.5)
            axes.set_yticks([])
            axes.set_ylim(len(mine) - 0.4, -0.6)
            if index >= len(tasks) - columns:
                axes.set_xlabel("forgotten | learnt (% of items)", fontsize=7.5)
        bar_legend(figure, list(shown.values()))
    return figure
