"""Three figures: what each choice changed, how scores grew with tokens, and the training loss.

changes   relative change per measure and contrast, paired 95% intervals, a line at zero. Filled: verdict after Holm's adjustment;
          hollow: inconclusive. Panels of their own: changes too large for the common axis, bits per byte, and measures whose
          baseline is at the floor (in points)
learning  score vs trained tokens, one panel a measure, one line a cell from token 0 on, 95% band over items
loss      training loss vs trained tokens, smoothed, one line a run

Reads  nothing but the study and its claims.  Writes  nothing (style.save_figure does).  Source  paper Figures 1, 3, 4, 5 (shape).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.claims.asked import test_of, usual_test
from analysis.claims.bootstrap import FloatArray, Interval, band_intervals
from analysis.claims.compare import INCONCLUSIVE, Claim, pooled
from analysis.figures.style import INK, MUTED, PAPER, Style, figure_style, new_figure, series_style, token_axis
from analysis.load import Cell, Measure, Study
from swallow_exp.artefact.progress import track

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BAND_RESAMPLES = 1_000
LARGE_CHANGE = 100.0  # %
ROW_INCHES, ROW_GAP_INCHES, PANEL_INCHES = 0.17, 0.13, 0.62
SMALL_MULTIPLE_COLUMNS = 3
TITLE_LETTERS = 26
SMOOTHING_WINDOWS = 60
MOST_POINTS = 600  # of a loss curve; more would only make the files larger


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
    value, ends = (claim.difference, claim.difference_interval) if in_points else (claim.relative_change, claim.relative_interval)
    return None if value is None or ends is None else (value, ends)


def panels_of(claims: Sequence[Claim]) -> list[Panel]:
    """Split the compared measures into panels with one honest axis each."""
    compared = [claim for claim in claims if claim.difference is not None]
    order = list(dict.fromkeys(claim.measure for claim in compared))
    ratio = {claim.measure for claim in compared if claim.unit != "points"}
    floor = {claim.measure for claim in compared if claim.at_floor}
    extents: dict[str, float] = {}
    for claim in compared:
        if claim.relative_interval and claim.measure not in ratio | floor:
            extents[claim.measure] = max(extents.get(claim.measure, 0.0), *(abs(end) for end in claim.relative_interval))
    usual = float(np.median(list(extents.values()))) if extents else 0.0
    large = {name for name, extent in extents.items() if extent > max(LARGE_CHANGE, 3 * usual)}
    relative = "relative change (%)"
    panels = (
        Panel("Scores", f"{relative}, higher is better", False, False, _in_order(order, set(extents) - large)),
        Panel("Scores with very large changes", f"{relative}, higher is better; axis of its own", False, False, _in_order(order, large)),
        Panel("Held-out text", f"{relative} in bits per byte, lower is better", False, True, _in_order(order, ratio - floor)),
        Panel("Baseline at the floor", "difference in points, higher is better", True, False, _in_order(order, floor - ratio)),
        Panel("Held-out text, baseline at the floor", "difference, lower is better", True, True, _in_order(order, ratio & floor)),
    )
    return [panel for panel in panels if panel.measures]


def _in_order(order: Sequence[str], names: set[str]) -> tuple[str, ...]:
    return tuple(name for name in order if name in names)


def changes_figure(study: Study, claims: Sequence[Claim]) -> Figure | None:
    """Figure 1. None when nothing could be compared."""
    panels = panels_of(claims)
    if not panels:
        return None
    compared = {claim.contrast for claim in claims if claim.difference is not None}
    contrasts = [contrast.label for contrast in study.contrasts if contrast.label in compared]
    row = ROW_INCHES * len(contrasts) + ROW_GAP_INCHES
    heights = [PANEL_INCHES + row * len(panel.measures) for panel in panels]
    with figure_style():
        figure = new_figure(sum(heights) + 0.25 + 0.2 * _legend_rows(contrasts))
        grid = figure.add_gridspec(len(panels), 1, height_ratios=heights)
        for index, panel in enumerate(panels):
            _draw_changes(figure.add_subplot(grid[index]), panel, claims, study, contrasts)
        _legend(figure, [(label, *_contrast_style(study, label)) for label in contrasts])
    return figure


def _contrast_style(study: Study, label: str) -> tuple[str, str]:
    """A contrast has the colour of its cell in the curves, unless a cell is in several contrasts."""
    cells = [contrast.cell for contrast in study.contrasts]
    position = next(i for i, contrast in enumerate(study.contrasts) if contrast.label == label)
    color, marker, _ = _cell_style(study, cells[position]) if len(set(cells)) == len(cells) else series_style(position)
    return color, marker


def _cell_style(study: Study, label: str) -> Style:
    """Cells that are only a baseline are grey and leave the colours to the cells that are compared with them."""
    contrasted = {contrast.cell for contrast in study.contrasts} or {cell.label for cell in study.cells}
    alike = [cell.label for cell in study.cells if (cell.label in contrasted) == (label in contrasted)]
    color, marker, dashes = series_style(alike.index(label))
    return (color, marker, dashes) if label in contrasted else (MUTED, marker, dashes)


def _draw_changes(axes: Axes, panel: Panel, claims: Sequence[Claim], study: Study, contrasts: Sequence[str]) -> None:
    step = ROW_INCHES / (ROW_INCHES * len(contrasts) + ROW_GAP_INCHES)
    axes.axvline(0, color=INK, linewidth=0.9, zorder=1)
    for claim in claims:
        change = change_of(claim, panel.in_points)
        if claim.measure not in panel.measures or change is None:
            continue
        value, (low, high) = change
        color, marker = _contrast_style(study, claim.contrast)
        y = panel.measures.index(claim.measure) + step * (contrasts.index(claim.contrast) - (len(contrasts) - 1) / 2)
        axes.plot([low, high], [y, y], color=color, linewidth=1.3, solid_capstyle="butt", zorder=2)
        face = PAPER if claim.verdict == INCONCLUSIVE else color
        axes.plot(
            [value],
            [y],
            color=color,
            marker=marker,
            markersize=4.8,
            markerfacecolor=face,
            markeredgecolor=color,
            markeredgewidth=1.1,
            zorder=3,
        )
    for boundary in range(1, len(panel.measures)):
        axes.axhline(boundary - 0.5, color=MUTED, linewidth=0.3)
    axes.set_ylim(len(panel.measures) - 0.5, -0.5)
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


def _legend_rows(labels: Sequence[str]) -> int:
    return -(-len(labels) // _legend_columns(labels))


def _legend_columns(labels: Sequence[str]) -> int:
    """As many columns as fit the width at about 0.075 inches a letter."""
    return max(1, min(len(labels), int(7.0 / (0.45 + 0.075 * max(len(label) for label in labels)))))


def _legend(figure: Figure, entries: Sequence[tuple[str, str, str]]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=c, marker=m, markersize=4.8, linewidth=1.3, label=label) for label, c, m in entries]
    if handles:
        figure.legend(handles=handles, loc="outside upper left", ncols=_legend_columns([e[0] for e in entries]), handlelength=2.2)


@dataclass(frozen=True)
class Curve:
    """Score of one cell on one measure along its checkpoints; low and high are NaN where items are gone."""

    cell: str
    tokens: tuple[float, ...]
    scores: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def learning_curve(study: Study, cell: Cell, measure: Measure, *, seed: int) -> Curve:
    """Checkpoints of the seeds are matched by their order; where only some seeds have one, those are shown.

    Only those of the test that most checkpoints of all cells were asked: others (a part of the items, other prompts) are no points of it.
    """
    usual = usual_test(study.records_of(measure))
    runs = [
        [t for t in study.checkpoints_of(run_id) if (r := study.record_of(run_id, t, measure)) and test_of(r) == usual]
        for run_id in cell.run_ids
    ]
    points: list[tuple[float, float]] = []
    units: list[FloatArray | None] = []
    for position in range(max((len(tokens) for tokens in runs), default=0)):
        have = [(run_id, tokens[position]) for run_id, tokens in zip(cell.run_ids, runs, strict=True) if position < len(tokens)]
        records = [record for run_id, t in have if (record := study.record_of(run_id, t, measure))]
        over_items = pooled(study, records)
        score = over_items.score if over_items else sum(record.score for record in records) / len(records)
        points.append((sum(t for _, t in have) / len(have), score))
        units.append(over_items.units_MK if over_items else None)
    tokens, scores = zip(*points, strict=True) if points else ((), ())
    bands = band_intervals(units, measure.aggregate, num_resamples=BAND_RESAMPLES, seed=seed)
    lows, highs = zip(*bands, strict=True) if bands else ((), ())
    return Curve(cell.label, tokens, scores, lows, highs)


def wrapped(label: str) -> str:
    """A label in lines that fit above a small panel, broken after underscores and spaces."""
    lines = [""]
    for part in re.findall(r"[^_ ]+[_ ]?", label):
        if len(lines[-1]) + len(part) > TITLE_LETTERS and lines[-1]:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.strip() for line in lines)


def learning_figure(study: Study, *, seed: int) -> Figure:
    """Figure 2: small multiples of score vs trained tokens."""
    columns = min(SMALL_MULTIPLE_COLUMNS, len(study.measures))
    rows = -(-len(study.measures) // columns)
    labels = [cell.label for cell in study.cells]
    with figure_style():
        figure = new_figure(1.75 * rows + 0.3 + 0.2 * _legend_rows(labels))
        drawn: set[str] = set()
        for index, measure in track(list(enumerate(study.measures)), "learning curves"):
            axes = figure.add_subplot(rows, columns, index + 1)
            axes.set_title(wrapped(study.label_of(measure)), fontsize=8.5)
            axes.set_ylabel(measure.unit if measure.unit == "points" else f"{measure.unit} (lower is better)", fontsize=7.5)
            for cell in study.cells:
                curve = learning_curve(study, cell, measure, seed=seed)
                if curve.tokens:
                    drawn.add(cell.label)
                    _draw_curve(axes, curve, _cell_style(study, cell.label))
            low, high = axes.get_ylim()
            if measure.unit == "points" and high - low < 1:
                axes.set_ylim(max(low, -0.05), low + 1)
            token_axis(axes)
            if index >= len(study.measures) - columns:
                axes.set_xlabel("trained tokens", fontsize=7.5)
        _legend(figure, [(label, *_cell_style(study, label)[:2]) for label in labels if label in drawn])
    return figure


def _draw_curve(axes: Axes, curve: Curve, style: Style) -> None:
    color, marker, dashes = style
    axes.fill_between(curve.tokens, curve.low, curve.high, color=color, alpha=0.14, linewidth=0)
    axes.plot(curve.tokens, curve.scores, color=color, marker=marker, markersize=3, linewidth=1.2, linestyle=dashes)


def loss_figure(study: Study) -> Figure | None:
    """Figure 3: training loss. None when no run has logged any."""
    if study.curves.empty:
        return None
    with figure_style():
        figure = new_figure(2.9)
        axes = figure.add_subplot()
        for run_id, rows in study.curves.groupby("run_id", sort=False):
            color, _, dashes = _cell_style(study, str(rows["cell"].iloc[0]))
            tokens, loss = rows["trained_tokens"].to_numpy(dtype=np.float64), rows["loss"].to_numpy(dtype=np.float64)
            shown = np.unique(np.linspace(0, len(tokens) - 1, num=min(len(tokens), MOST_POINTS)).astype(int))
            axes.plot(tokens[shown], loss[shown], color=color, alpha=0.22, linewidth=0.6)
            axes.plot(tokens[shown], smoothed(loss)[shown], color=color, linewidth=1.4, linestyle=dashes, gid=f"loss_{run_id}")
        axes.set_xlabel("trained tokens")
        axes.set_ylabel("training loss (nats per token)")
        token_axis(axes)
        drawn = [cell.label for cell in study.cells if cell.label in set(study.curves["cell"])]
        _legend(figure, [(label, _cell_style(study, label)[0], "") for label in drawn])
    return figure


def smoothed(values_S: FloatArray) -> FloatArray:
    """Mean over a centred window of about 1/60 of the curve (at least one step); the ends use what is there."""
    half = len(values_S) // (2 * SMOOTHING_WINDOWS)
    padded = np.concatenate([[0.0], np.cumsum(values_S)])
    ends = np.minimum(np.arange(len(values_S)) + half + 1, len(values_S))
    starts = np.maximum(np.arange(len(values_S)) - half, 0)
    return np.asarray((padded[ends] - padded[starts]) / (ends - starts), dtype=np.float64)
