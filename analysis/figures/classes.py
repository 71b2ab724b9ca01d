"""Natural language inference: which classes there are, which are answered, and what that does to the score.

classes   gold labels and answers at the last checkpoint, one panel a dataset, one stacked bar for the gold labels and one a cell
curves    accuracy along training, one panel a cell, one line a dataset; ringed where another class has become the commonest answer
majority  share of the commonest answer at the last checkpoint (filled) and at token 0 (hollow), with that of the gold labels

Reads  items of evaluations (labels and answers), health records.  Writes  nothing.  Source  paper appendix F, Figures 9, 10 and 11
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.figures.axes import TOKENS, progress_axis
from analysis.figures.curves import curves_of, draw_curve
from analysis.figures.series import Series, by_size, cell_series, legend_inches, line_legend, nth_series, patch_legend
from analysis.figures.style import HATCHES, INK, MARKERS, MUTED, PAPER, SERIES, figure_style, new_figure
from analysis.figures.tasks import INFERENCE, is_inference, main_measure, short_name
from analysis.frames import Cell
from analysis.load import Measure, Study
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.schema import EvaluationRecord
from swallow_exp.record.store import ITEMS_NAME

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from swallow_exp.record.schema import EvaluationRecord

GOLD, NO_LABEL = "gold", "no label"
MOST_CELLS = 8  # of a figure of classes


@dataclass(frozen=True)
class AnswerShares:
    """One dataset at the last checkpoint of every cell."""

    task: str
    gold: Mapping[str, int]
    of_cell: Mapping[str, ClassCounts]


def inference_measures(study: Study) -> list[Measure]:
    """The score of every labelled task: the five sets as they are, else their other forms, else labelled tasks of one's own."""
    labelled = list(dict.fromkeys(record.task for record in study.health if "num_gold" in record.health))
    found = [task for task in INFERENCE if task in labelled] or [t for t in labelled if is_inference(t)] or labelled
    return [measure for task in found if (measure := main_measure(study, task)) is not None]


def _classes(study: Study, record: EvaluationRecord | None) -> ClassCounts | None:
    try:
        return None if record is None else read_classes(study.out, record)
    except (FileNotFoundError, KeyError):
        return None


def _result(study: Study, cell: Cell, measure: Measure, *, last: bool) -> EvaluationRecord | None:
    """The last result past token 0, or the one at token 0; of several seeds the first that has one."""
    for run_id in cell.run_ids:
        marks = [t for t in study.checkpoints_of(run_id) if (t > 0) == last and study.record_of(run_id, t, measure)]
        if marks:
            return study.record_of(run_id, marks[-1], measure)
    return None


def answers_of(study: Study, measures: Sequence[Measure]) -> list[AnswerShares]:
    """Labels and answers of every dataset that any cell has answered after training."""
    found = []
    for measure in measures:
        of_cell = {
            cell.label: counts for cell in by_size(study.cells) if (counts := _classes(study, _result(study, cell, measure, last=True)))
        }
        if of_cell:
            found.append(AnswerShares(measure.task, next(iter(of_cell.values())).gold, of_cell))
    return found


def class_looks(answers: Sequence[AnswerShares]) -> dict[str, dict[str, Any]]:
    """Label -> keywords of a patch, the same in every panel; answers that are no label last."""
    labels = list(dict.fromkeys(label for one in answers for label in (*one.gold, *(p for c in one.of_cell.values() for p in c.predicted))))
    looks = {
        label: {
            "facecolor": (SERIES[i % len(SERIES)], 0.55),
            "edgecolor": INK,
            "linewidth": 0.4,
            "hatch": HATCHES[i % len(HATCHES)] or None,
        }
        for i, label in enumerate(labels)
    }
    if any(counts.invalid for one in answers for counts in one.of_cell.values()):
        looks[NO_LABEL] = {"facecolor": PAPER, "edgecolor": MUTED, "linewidth": 0.4, "hatch": None}
    return looks


def classes_figure(answers: Sequence[AnswerShares]) -> Figure | None:
    """Figure 9."""
    if not answers:
        return None
    looks = class_looks(answers)
    cells = list(dict.fromkeys(label for one in answers for label in one.of_cell))[:MOST_CELLS]
    columns = 1 if len(answers) == 1 else 2
    rows = -(-len(answers) // columns)
    with figure_style():
        figure = new_figure(rows * (0.55 + 0.2 * (len(cells) + 1)) + legend_inches(list(looks)) + 0.15)
        for index, one in enumerate(answers):
            axes = figure.add_subplot(rows, columns, index + 1)
            answered = {label: one.of_cell[label] for label in cells if label in one.of_cell}
            bars: dict[str, Mapping[str, int]] = {GOLD: one.gold} | {
                label: {} for label in cells
            }  # every panel has the rows of its neighbours
            bars |= {label: {**c.predicted, NO_LABEL: c.invalid} for label, c in answered.items()}
            for row, shares in enumerate(bars.values()):
                _draw_shares(axes, row, shares, looks)
            axes.set_yticks(range(len(bars)), list(bars) if index % columns == 0 else [""] * len(bars))
            axes.set_ylim(len(cells) + 0.5, -0.5)
            axes.set_title(f"{short_name(one.task)} ({len(one.gold)} classes, {sum(one.gold.values()):,} items)")
            _share_axis(axes, "share of the items (%)" if index >= len(answers) - columns else "")
        patch_legend(figure, looks)
    return figure


def _draw_shares(axes: Axes, row: int, counts: Mapping[str, int], looks: Mapping[str, Mapping[str, Any]]) -> None:
    total, left = max(1, sum(counts.values())), 0.0
    for label, look in looks.items():
        share = 100 * counts.get(label, 0) / total
        if share:
            axes.barh(row, share, left=left, height=0.74, **look)
            left += share


def _share_axis(axes: Axes, label: str) -> None:
    axes.set_xlim(0, 100)
    axes.set_xlabel(label)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


def inference_looks(measures: Sequence[Measure]) -> dict[str, Series]:
    """Task -> its look."""
    return {measure.task: nth_series(i, short_name(measure.task)) for i, measure in enumerate(measures)}


def inference_curves(study: Study, measures: Sequence[Measure]) -> Figure | None:
    """Figure 10. None when no cell has two points of any task."""
    looks = inference_looks(measures)
    of_task = {m.task: curves_of(study, study.cells, [m]) for m in measures}
    curves = {cell.label: {task: of[cell.label] for task, of in of_task.items()} for cell in by_size(study.cells)}
    shown = [cell for cell in by_size(study.cells) if any(len(curve.places) > 1 for curve in curves[cell.label].values())]
    if not shown:
        return None
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    with figure_style():
        figure = new_figure(2.3 * rows + 0.2 + legend_inches([look.label for look in looks.values()]))
        first: Axes | None = None
        for index, cell in enumerate(shown):
            axes = figure.add_subplot(rows, columns, index + 1, sharey=first)
            first = first or axes
            for measure in measures:
                draw_curve(axes, curves[cell.label][measure.task], looks[measure.task], band=0.06)
                for tokens, score in flips_of_majority(study, cell, measure):
                    axes.plot([tokens], [score], color=INK, marker="o", markersize=8, markerfacecolor="none", markeredgewidth=0.8)
            progress_axis(axes, TOKENS)
            axes.set_title(cell.label)
            axes.set_ylabel("score")
            axes.set_xlabel(TOKENS.label if index >= len(shown) - columns else "")
        line_legend(figure, list(looks.values()))
    return figure


def flips_of_majority(study: Study, cell: Cell, measure: Measure) -> list[tuple[float, float]]:
    """(tokens, score) of the checkpoints whose commonest answer is another than at the one before; cells with one seed only."""
    if len(cell.run_ids) != 1:
        return []
    found, before = [], None
    for tokens in study.checkpoints_of(cell.run_ids[0]):
        record = study.record_of(cell.run_ids[0], tokens, measure)
        counts = _classes(study, record)
        if record is None or counts is None:
            continue
        if before is not None and counts.commonest not in (None, before):
            found.append((float(tokens), record.score))
        before = counts.commonest or before
    return found


def majority_shares(study: Study, measures: Sequence[Measure], *, last: bool) -> dict[str, dict[str, float]]:
    """Cell -> task -> share (%) of its commonest answer at the last checkpoint or at token 0."""
    found: dict[str, dict[str, float]] = {}
    for cell in by_size(study.cells):
        for measure in measures:
            record = _result(study, cell, measure, last=last)
            health = record and study.health_of(record.run_id, record.trained_tokens, measure)
            if health and "majority_share" in health.health:
                found.setdefault(cell.label, {})[measure.task] = 100 * health.health["majority_share"]
    return found


def _by_marker(study: Study, labels: Sequence[str]) -> dict[str, Series]:
    """The looks of cells, with a marker for each: without lines, markers alone tell cells apart."""
    looks = [cell_series(study)[label] for label in labels]
    if len({look.marker for look in looks}) < len(looks):
        looks = [replace(look, marker=MARKERS[i % len(MARKERS)]) for i, look in enumerate(looks)]
    return {look.label: look for look in looks}


def majority_figure(study: Study, measures: Sequence[Measure], answers: Sequence[AnswerShares]) -> Figure | None:
    """Figure 11. None when no cell has answered anything after training."""
    ends, starts = (majority_shares(study, measures, last=last) for last in (True, False))
    if not ends:
        return None
    looks = _by_marker(study, list(ends))
    tasks = [m.task for m in measures if any(m.task in of for of in ends.values())]
    step = min(0.16, 0.8 / len(looks))
    gold = {one.task: 100 * max(one.gold.values()) / sum(one.gold.values()) for one in answers}
    with figure_style():
        figure = new_figure(0.6 + len(tasks) * max(0.34, 0.13 * len(looks) + 0.1) + legend_inches(list(looks)))
        axes = figure.add_subplot()
        for row, task in enumerate(tasks):
            if task in gold:
                axes.plot([gold[task]] * 2, [row - 0.45, row + 0.45], color=INK, linewidth=1.2)
            for index, (label, look) in enumerate(looks.items()):
                y = row + step * (index - (len(looks) - 1) / 2)
                ends_of, starts_of = ends[label].get(task), starts.get(label, {}).get(task)
                if ends_of is not None and starts_of is not None:
                    axes.plot([starts_of, ends_of], [y, y], color=look.color, linewidth=0.8, linestyle=look.dashes)
                for share, face in ((starts_of, PAPER), (ends_of, look.color)):
                    if share is not None:
                        axes.plot(
                            [share], [y], color=look.color, marker=look.marker, markersize=4.5, markerfacecolor=face, markeredgewidth=1
                        )
        axes.set_yticks(range(len(tasks)), [short_name(task) for task in tasks])
        axes.set_ylim(len(tasks) - 0.5, -0.5)
        _share_axis(axes, "share of the commonest answer (%)")
        axes.set_xlim(0, 102)
        line_legend(figure, list(looks.values()))
    return figure


@dataclass(frozen=True)
class ClassCounts:
    """Items by gold label and by answer, commonest first. `invalid`: answers that are none of the labels, not in `predicted`."""

    gold: Mapping[str, int]
    predicted: Mapping[str, int]
    invalid: int

    @property
    def num_items(self) -> int:
        """All items."""
        return sum(self.gold.values())

    @property
    def commonest(self) -> str | None:
        """The label that is answered most often; None when no answer is a label."""
        return next(iter(self.predicted), None)


def read_classes(out: Path, record: EvaluationRecord) -> ClassCounts:
    """Counts behind one evaluation record. Raises FileNotFoundError when its items are gone, KeyError when they have no such columns."""
    import pyarrow.parquet as pq

    path = RunPaths.of(out, record.run_id).evaluation(record.trained_tokens, record.folder or record.task) / ITEMS_NAME
    missing = {"normalised", "reference", "invalid"} - set(pq.read_schema(path).names)
    if missing:
        raise KeyError(f"{path} has no {', '.join(sorted(missing))}")
    table = pq.read_table(path, columns=["normalised", "reference", "invalid"]).to_pydict()
    valid = [answer for answer, invalid in zip(table["normalised"], table["invalid"], strict=True) if not invalid]
    return ClassCounts(_counted(table["reference"]), _counted(valid), len(table["reference"]) - len(valid))


def _counted(labels: list[str]) -> dict[str, int]:
    """Commonest first; of equals, in alphabetical order."""
    return dict(sorted(Counter(labels).items(), key=lambda pair: (-pair[1], pair[0])))
