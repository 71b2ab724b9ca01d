"""Panels of score curves: averages of Japanese and English tasks, summarization and question answering, on any axis of progress.

Reads  nothing but the study.  Writes  nothing.  Source  paper Figures 3, 6 and 7
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.figures.axes import TOKENS, Progress, progress_axis
from analysis.figures.curves import Curve, at_least_one_point_high, curves_of, draw_curve, largest_common, left_out, shared_measures
from analysis.figures.series import by_size, cell_series, legend_inches, line_legend
from analysis.figures.style import INK, figure_style, new_figure
from analysis.figures.tasks import (
    ENGLISH,
    JAPANESE,
    PROFILE_WORDS,
    QUESTION_ANSWERING,
    SUMMARIZATION,
    language_of,
    main_measure,
    scored_measures,
    short_name,
)
from analysis.frames import Cell
from analysis.load import Contrast, Measure, Study
from analysis.wording import listing, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Averaged:
    """One panel: what is averaged, and how it is called."""

    title: str
    measures: tuple[Measure, ...]


@dataclass(frozen=True)
class Drawn:
    """A figure of curves and what its words are made from."""

    figure: Figure
    panels: tuple[Averaged, ...]
    curves: Mapping[str, Mapping[str, Curve]]  # title of a panel -> cell -> curve


def language_panels(study: Study) -> list[Averaged]:
    """Figure 3: the average of the Japanese tasks, and of the English ones where there are any."""
    found = []
    for language in (JAPANESE, ENGLISH):
        measures = [m for m in scored_measures(study) if language_of(m.task) == language]
        shared = tuple(shared_measures(study, study.cells, measures))
        found += [Averaged(f"{language}, average of {len(shared)}", shared)] if shared else []
    return found


def task_panels(study: Study, tasks: Sequence[str], title: str) -> list[Averaged]:
    """Figures 6 and 7: the average of these tasks, one panel a profile in which all of them were asked."""
    found = []
    for profile in PROFILE_WORDS:
        measures = [m for task in tasks if (m := main_measure(study, task, (profile,)))]
        words = f", {PROFILE_WORDS[profile]}" if PROFILE_WORDS[profile] else ""
        found += [Averaged(f"{title}{words}", tuple(measures))] if len(measures) == len(tasks) else []
    return found


def summary_panels(study: Study) -> list[Averaged]:
    """Figure 6."""
    return task_panels(study, (SUMMARIZATION,), "XL-Sum")


def question_panels(study: Study) -> list[Averaged]:
    """Figure 7."""
    return task_panels(study, QUESTION_ANSWERING, "Question answering")


def curves_figure(
    study: Study, cells: Sequence[Cell], panels: Sequence[Averaged], contrasts: Sequence[Contrast], progress: Progress
) -> Drawn | None:
    """One panel each, side by side; None when no cell has two points. Upright line: as far as both cells of a contrast have come."""
    looks, ordered = cell_series(study), by_size(cells)
    curves = {panel.title: curves_of(study, ordered, panel.measures, progress=progress) for panel in panels}
    drawn = [cell.label for cell in ordered if any(len(of[cell.label].places) > 1 for of in curves.values())]
    if not drawn:
        return None
    with figure_style():
        figure = new_figure(2.9 + legend_inches(drawn))
        for index, panel in enumerate(panels):
            axes = figure.add_subplot(1, len(panels), index + 1)
            for label in drawn:
                draw_curve(axes, curves[panel.title][label], looks[label])
            for place in sorted({found[0] for c in contrasts if (found := largest_common(curves[panel.title], c))}):
                if progress != TOKENS:  # equal tokens end where the curves end
                    axes.axvline(place, color=INK, linewidth=0.7, linestyle=(0, (2, 2)), zorder=1)
            at_least_one_point_high(axes, "points")
            progress_axis(axes, progress)
            axes.set_title(panel.title)
            axes.set_xlabel(progress.label)
            axes.set_ylabel("score" if len(panel.measures) == 1 else "average score")
        line_legend(figure, [looks[label] for label in drawn])
    return Drawn(figure, tuple(panels), curves)


def ends_in_words(drawn: Drawn) -> str:
    """Where every line begins and ends, for readers who do not see the figure."""
    parts = []
    for title, curves in drawn.curves.items():
        ends = [f"{label} {plain(c.scores[0], 1)} to {plain(c.scores[-1], 1)}" for label, c in curves.items() if c.scores]
        parts.append(f"{title}: {', '.join(ends)}." if ends else "")
    return " ".join(part for part in parts if part)


def equal_in_words(drawn: Drawn, contrasts: Sequence[Contrast], progress: Progress) -> str:
    """Both scores of every contrast at the largest place both cells have reached."""
    parts = []
    for title, curves in drawn.curves.items():
        told = []
        for contrast in contrasts:
            found = largest_common(curves, contrast)
            if found is not None:
                place, first, baseline = found
                told.append(f"at {progress.text(place)} {contrast.cell} {plain(first, 1)}, {contrast.baseline_cell} {plain(baseline, 1)}")
        parts.append(f"{title}: {'; '.join(told)}." if told else "")
    words = " ".join(part for part in parts if part)
    return f"At {progress.same}, as far as both have come (on straight lines between checkpoints): {words}" if words else ""


def averaged_in_words(study: Study, cells: Sequence[Cell], drawn: Drawn) -> str:
    """What is averaged, and how many checkpoints are no points because something is missing there."""
    parts = []
    for panel in drawn.panels:
        if len(panel.measures) > 1:
            parts.append(f"{panel.title}: {listing([short_name(m.task) for m in panel.measures])}.")
        if missing := left_out(study, cells, panel.measures):
            parts.append(f"{missing} checkpoint{'s' * (missing > 1)} without all of these left out.")
    return " ".join(parts)
