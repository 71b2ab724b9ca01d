"""Changes as bars: one row a measure, one bar a series, its 95% interval, a line at zero; panels that share one honest axis each.

Filled marker: improved or degraded after adjustment; hollow: inconclusive or one run; half filled with a wavy sign: equivalent. Dotted
interval: over items alone (one run), or one side is between two of its checkpoints (analysis.figures.gains).

Reads  nothing but claims.  Writes  nothing.  Source  paper Figures 1, 4 and 5 (shape; there without intervals).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.claims.claim import EQUIVALENT, INCONCLUSIVE, ONE_RUN, Claim, Interval
from analysis.figures.gains import BETWEEN
from analysis.figures.series import Series, bar_legend, bar_look, legend_inches, line_legend
from analysis.figures.style import DASHES, INK, MUTED, PAPER, figure_style, new_figure
from analysis.figures.tasks import ENGLISH, JAPANESE, OTHER, language_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGE_CHANGE = 100.0  # %
ROW_INCHES, ROW_GAP_INCHES, PANEL_INCHES = 0.17, 0.13, 0.62
MOST_INCHES = 9.6  # of one figure: a page of paper
SCORES, LARGE, HELDOUT = "Scores", "Scores with very large changes", "Held-out text"
FLOOR, HELDOUT_FLOOR = "Baseline at the floor", "Held-out text, baseline at the floor"
VERDICT_MARK = "≈"


@dataclass(frozen=True)
class Panel:
    """Measures that share an axis. `in_points`: absolute differences instead of relative changes."""

    title: str
    axis: str
    in_points: bool
    lower_is_better: bool
    measures: tuple[str, ...]


def change_of(claim: Claim, in_points: bool) -> tuple[float, Interval] | None:
    """The number to draw and its interval."""
    value = claim.difference if in_points else claim.relative_change
    ends = claim.drawn_interval if in_points else claim.drawn_relative_interval
    return None if value is None or ends is None else (value, ends)


def panels_of(claims: Sequence[Claim]) -> list[Panel]:
    """Split the compared measures into panels with one honest axis each."""
    compared = [claim for claim in claims if claim.drawn_interval is not None]
    order = list(dict.fromkeys(claim.measure for claim in compared))
    ratio = {claim.measure for claim in compared if claim.unit != "points"}
    floor = {claim.measure for claim in compared if claim.at_floor}
    extents: dict[str, float] = {}
    for claim in compared:
        if (ends := claim.drawn_relative_interval) and claim.measure not in ratio | floor:
            extents[claim.measure] = max(extents.get(claim.measure, 0.0), *(abs(end) for end in ends))
    usual = float(np.median(list(extents.values()))) if extents else 0.0
    large = {name for name, extent in extents.items() if extent > max(LARGE_CHANGE, 3 * usual)}
    relative = "relative change (%)"
    panels = (
        Panel(SCORES, f"{relative}, higher is better", False, False, _in_order(order, set(extents) - large)),
        Panel(LARGE, f"{relative}, higher is better; axis of its own", False, False, _in_order(order, large)),
        Panel(HELDOUT, f"{relative} in bits per byte, lower is better", False, True, _in_order(order, ratio - floor)),
        Panel(FLOOR, "difference in points, higher is better", True, False, _in_order(order, floor - ratio)),
        Panel(HELDOUT_FLOOR, "difference, lower is better", True, True, _in_order(order, ratio & floor)),
    )
    return [panel for panel in panels if panel.measures]


def _in_order(order: Sequence[str], names: set[str]) -> tuple[str, ...]:
    return tuple(name for name in order if name in names)


def draw_panel(
    axes: Axes,
    panel: Panel,
    claims: Sequence[Claim],
    looks: Mapping[str, Series],
    *,
    bars: bool = False,
    row_inches: float = ROW_INCHES,
    num_rows: int = 0,
) -> None:
    """Every claim of the panel's measures. looks: contrast -> series, in drawing order; num_rows: of the tallest panel beside this one."""
    order = list(looks)
    step = row_inches / (row_inches * len(order) + ROW_GAP_INCHES)
    axes.axvline(0, color=INK, linewidth=0.9, zorder=3)
    for claim in claims:
        change = change_of(claim, panel.in_points)
        if claim.measure in panel.measures and change is not None:
            y = panel.measures.index(claim.measure) + step * (order.index(claim.contrast) - (len(order) - 1) / 2)
            if bars:
                axes.barh(y, change[0], height=0.8 * step, zorder=1, **bar_look(looks[claim.contrast]))
            _draw_change(axes, y, *change, looks[claim.contrast], claim, size=4.8 if row_inches == ROW_INCHES else 3.8)
    for boundary in range(1, len(panel.measures)):
        axes.axhline(boundary - 0.5, color=MUTED, linewidth=0.3)
    axes.set_ylim(max(num_rows, len(panel.measures)) - 0.5, -0.5)
    axes.set_yticks(range(len(panel.measures)), list(panel.measures))
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.06)
    low, high = axes.get_xlim()
    smallest = 1.0 if panel.in_points and not panel.lower_is_better else 0.01
    axes.set_xlim(min(low, -smallest), max(high, smallest))  # no magnifying glass on nothing
    axes.set_title(panel.title)
    axes.set_xlabel(panel.axis)


def _draw_change(axes: Axes, y: float, value: float, ends: Interval, look: Series, claim: Claim, *, size: float) -> None:
    dashes = DASHES[2] if BETWEEN in claim.notes or claim.verdict == ONE_RUN else DASHES[0]
    axes.plot(list(ends), [y, y], color=look.color, linewidth=1.3, linestyle=dashes, solid_capstyle="butt", zorder=3)
    axes.plot(
        [value],
        [y],
        color=look.color,
        marker=look.marker,
        markersize=size,
        fillstyle="bottom" if claim.verdict == EQUIVALENT else "full",
        markerfacecolor=PAPER if claim.verdict in (INCONCLUSIVE, ONE_RUN) else look.color,
        markerfacecoloralt=PAPER,
        markeredgecolor=look.color,
        markeredgewidth=1.1 if size > 4 else 0.9,
        zorder=4,
    )
    if claim.verdict == EQUIVALENT:
        axes.annotate(
            VERDICT_MARK,
            (max(*ends, value, 0.0), y),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=INK,
            zorder=4,
        )


def language_figure(claims: Sequence[Claim], looks: Mapping[str, Series]) -> Figure | None:
    """Japanese tasks left, English ones right, tasks of one's own below; None when nothing could be compared.

    claims: `contrast` is a key of `looks`, whose order is the order of the bars within a row.
    """
    panels = {
        language: panels_of([c for c in claims if language_of(c.task) == language and c.contrast in looks])
        for language in (JAPANESE, ENGLISH, OTHER)
    }
    rows: list[dict[str, Panel]] = []
    for languages in ((JAPANESE, ENGLISH), (OTHER,)):
        for index in range(max(len(panels[language]) for language in languages)):
            rows.append({language: panels[language][index] for language in languages if index < len(panels[language])})
    if not rows:
        return None
    columns = [language for language in (JAPANESE, ENGLISH) if panels[language]]
    tallest = [max(len(panel.measures) for panel in row.values()) for row in rows]
    drawn = {c.contrast for c in claims if c.drawn_interval is not None}
    shown = {label: look for label, look in looks.items() if label in drawn}
    legend = legend_inches([look.label for look in shown.values()]) + 0.25
    free = MOST_INCHES - legend - PANEL_INCHES * len(rows) - ROW_GAP_INCHES * sum(tallest)
    row_inches = max(0.085, min(ROW_INCHES, free / (len(shown) * sum(tallest))))
    heights = [(row_inches * len(shown) + ROW_GAP_INCHES) * count for count in tallest]
    with figure_style():
        figure = new_figure(sum(heights) + PANEL_INCHES * len(rows) + legend)
        grid = figure.add_gridspec(len(rows), max(len(columns), 1), height_ratios=heights)
        for index, row in enumerate(rows):
            for language, panel in row.items():
                column = columns.index(language) if language in columns else slice(None)
                axes = figure.add_subplot(grid[index, column])
                mine = [claim for claim in claims if language_of(claim.task) == language]
                draw_panel(axes, panel, mine, shown, bars=True, row_inches=row_inches, num_rows=tallest[index])
                axes.set_title(_title(language, panel, first=panel is panels[language][0]))
                axes.set_xlabel(panel.axis.removesuffix("; axis of its own").removesuffix(", higher is better"))
        bar_legend(figure, list(shown.values()))
    return figure


def _title(language: str, panel: Panel, *, first: bool) -> str:
    """The language above its column, what is special about a panel above that panel: two columns leave room for few words."""
    if panel.title == SCORES:
        return language
    words = "very large changes" if panel.title == LARGE else panel.title.lower()
    return f"{language}: {words}" if first else words.capitalize()


def changes_legend(figure: Figure, looks: Sequence[Series]) -> None:
    """Markers on solid lines: intervals have no dashes of their own."""
    line_legend(figure, [Series(look.label, look.color, look.marker) for look in looks])
