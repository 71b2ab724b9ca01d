"""Two figures of every study: what each choice changed, and how scores grew with tokens.

changes   relative change per measure and contrast, paired 95% intervals, a line at zero. Filled: verdict after Holm's adjustment;
          hollow: inconclusive. Panels of their own: changes too large for the common axis, bits per byte, and measures whose
          baseline is at the floor (in points)
learning  score vs trained tokens, one panel a measure, one line a cell from token 0 on, 95% band over items

Reads  nothing but the study and its claims.  Writes  nothing (style.save_figure does).  Source  paper Figures 1, 3, 4, 5 (shape).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.claims.claim import Claim
from analysis.figures.axes import TOKENS, progress_axis
from analysis.figures.bars import PANEL_INCHES, ROW_GAP_INCHES, ROW_INCHES, changes_legend, draw_panel, panels_of
from analysis.figures.curves import at_least_one_point_high, curves_of, draw_curve
from analysis.figures.series import cell_series, contrast_series, legend_inches, line_legend
from analysis.figures.style import figure_style, new_figure, wrapped
from analysis.load import Study
from swallow_exp.artefact.progress import track

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["changes_figure", "learning_figure", "panels_of"]

SMALL_MULTIPLE_COLUMNS = 3


def changes_figure(study: Study, claims: Sequence[Claim]) -> Figure | None:
    """What each choice changed. None when nothing could be compared."""
    panels = panels_of(claims)
    if not panels:
        return None
    compared = {claim.contrast for claim in claims if claim.drawn_interval is not None}
    looks = contrast_series(study, [contrast for contrast in study.contrasts if contrast.label in compared])
    row = ROW_INCHES * len(looks) + ROW_GAP_INCHES
    heights = [row * len(panel.measures) for panel in panels]
    with figure_style():
        figure = new_figure(sum(heights) + PANEL_INCHES * len(panels) + 0.25 + legend_inches(list(looks)))
        grid = figure.add_gridspec(len(panels), 1, height_ratios=heights)
        for index, panel in enumerate(panels):
            draw_panel(figure.add_subplot(grid[index]), panel, claims, looks)
        changes_legend(figure, list(looks.values()))
    return figure


def learning_figure(study: Study) -> Figure:
    """Small multiples of score vs trained tokens."""
    columns = min(SMALL_MULTIPLE_COLUMNS, len(study.measures))
    rows = -(-len(study.measures) // columns)
    looks = cell_series(study)
    with figure_style():
        figure = new_figure(1.75 * rows + 0.3 + legend_inches(list(looks)))
        drawn: set[str] = set()
        for index, measure in track(list(enumerate(study.measures)), "learning curves"):
            axes = figure.add_subplot(rows, columns, index + 1)
            axes.set_title(wrapped(study.label_of(measure)), fontsize=8.5)
            axes.set_ylabel(measure.unit if measure.unit == "points" else f"{measure.unit} (lower is better)", fontsize=7.5)
            curves = curves_of(study, study.cells, [measure])
            for cell in study.cells:
                curve = curves[cell.label]
                if curve.places:
                    drawn.add(cell.label)
                    draw_curve(axes, curve, looks[cell.label])
            at_least_one_point_high(axes, measure.unit)
            progress_axis(axes, TOKENS)
            if index >= len(study.measures) - columns:
                axes.set_xlabel("trained tokens", fontsize=7.5)
        line_legend(figure, [looks[cell.label] for cell in study.cells if cell.label in drawn])
    return figure
