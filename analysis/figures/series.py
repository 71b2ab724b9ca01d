"""Which look a cell and a contrast have, in every figure the same, and the legend that says so.

One model size       colour, marker and dashes by cell; cells that are only a baseline are grey and leave the colours to the others
several sizes        the factor with more levels has colours and markers, the other one dashes (lines) or hatches (bars)

No two series share marker and dashes, nor marker and hatch: figures are read in print and without colour.
Reads  nothing but the study.  Writes  nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from analysis.figures.style import DASHES, HATCHES, INK, MARKERS, MUTED, SERIES, WIDTH_INCHES, Dashes, series_style
from analysis.frames import Cell
from analysis.load import Contrast, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE = "base_model"


@dataclass(frozen=True)
class Series:
    """The look of one line or one kind of bar."""

    label: str
    color: str
    marker: str
    dashes: Dashes = DASHES[0]
    hatch: str = ""


def nth_series(index: int, label: str = "") -> Series:
    """The index-th look."""
    return Series(label, *series_style(index), HATCHES[index % len(HATCHES)])


def cell_series(study: Study) -> dict[str, Series]:
    """Label of a cell -> its look."""
    sizes = list(dict.fromkeys(cell.choices.get(SIZE, "") for cell in study.cells))
    treatments = list(dict.fromkeys(_treatment(study, cell) for cell in study.cells))
    crossed = len(sizes) > 1 and len(treatments) > 1 and len({(c.choices.get(SIZE), _treatment(study, c)) for c in study.cells})
    if crossed == len(study.cells) and min(len(sizes), len(treatments)) <= len(DASHES) and max(len(sizes), len(treatments)) <= len(MARKERS):
        return {c.label: _crossed(c.label, sizes, c.choices.get(SIZE, ""), treatments, _treatment(study, c)) for c in study.cells}
    contrasted = {contrast.cell for contrast in study.contrasts} or {cell.label for cell in study.cells}
    baselines = [cell.label for cell in study.cells if cell.label not in contrasted]
    others = [cell.label for cell in study.cells if cell.label in contrasted]
    found = {label: replace(nth_series(i, label), color=MUTED) for i, label in enumerate(baselines)}
    for i, label in enumerate(others):
        found[label] = replace(nth_series(i + len(baselines), label), color=SERIES[i % len(SERIES)])
    return found


def _treatment(study: Study, cell: Cell) -> tuple[str, ...]:
    return tuple(cell.choices.get(factor, "") for factor in study.axes if factor != SIZE)


def _crossed(label: str, sizes: Sequence[str], size: str, treatments: Sequence[tuple[str, ...]], treatment: tuple[str, ...]) -> Series:
    major, minor = sizes.index(size), treatments.index(treatment)
    if len(treatments) > len(sizes):
        major, minor = minor, major
    return Series(label, SERIES[major], MARKERS[major], DASHES[minor], HATCHES[minor])


def contrast_series(study: Study, contrasts: Sequence[Contrast]) -> dict[str, Series]:
    """Label of a contrast -> its look: that of its cell, unless a cell is in several of the study's contrasts."""
    cells = [contrast.cell for contrast in study.contrasts]
    if len(set(cells)) == len(cells):
        looks = cell_series(study)
        return {contrast.label: replace(looks[contrast.cell], label=contrast.label) for contrast in contrasts}
    return {contrast.label: nth_series(i, contrast.label) for i, contrast in enumerate(study.contrasts) if contrast in contrasts}


def by_size(cells: Sequence[Cell]) -> list[Cell]:
    """Cells of one size together, sizes in the order of the study."""
    sizes = list(dict.fromkeys(cell.choices.get(SIZE, "") for cell in cells))
    return sorted(cells, key=lambda cell: sizes.index(cell.choices.get(SIZE, "")))


def legend_columns(labels: Sequence[str]) -> int:
    """As many columns as fit the width at about 0.07 inches a letter, and no more than its rows need."""
    fit = max(1, int((WIDTH_INCHES - 0.2) / (0.6 + 0.07 * max(len(label) for label in labels))))
    return -(-len(labels) // -(-len(labels) // fit))


def legend_inches(labels: Sequence[str]) -> float:
    """Height that a legend takes."""
    return 0.2 * -(-len(labels) // legend_columns(labels)) if labels else 0.0


def line_legend(figure: Figure, series: Sequence[Series]) -> None:
    """Markers and dashes above the panels; a series without a marker is a line alone."""
    from matplotlib.lines import Line2D

    _legend(
        figure,
        [Line2D([], [], color=s.color, marker=s.marker, markersize=4.8, linewidth=1.3, linestyle=s.dashes, label=s.label) for s in series],
        [s.label for s in series],
    )


def bar_legend(figure: Figure, series: Sequence[Series]) -> None:
    """A piece of bar with the marker on it."""
    from matplotlib.legend_handler import HandlerTuple
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    pieces = [
        (
            Patch(**bar_look(s)),
            Line2D([], [], color=s.color, marker=s.marker, markersize=4.8, linestyle="none"),
        )
        for s in series
    ]
    _legend(figure, pieces, [s.label for s in series], handler_map={tuple: HandlerTuple(ndivide=1)})


def patch_legend(figure: Figure, looks: Mapping[str, Mapping[str, Any]]) -> None:
    """Filled pieces: label -> keywords of a patch."""
    from matplotlib.patches import Patch

    _legend(figure, [Patch(**look) for look in looks.values()], list(looks))


def bar_look(series: Series) -> dict[str, Any]:
    """Keywords of a bar of one series: pale, with its hatch."""
    return {"facecolor": (series.color, 0.22), "edgecolor": series.color, "linewidth": 0.5, "hatch": series.hatch or None}


def _legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str], **more: Any) -> None:
    if handles:
        columns = legend_columns(labels)
        figure.legend(
            handles=handles, labels=labels, loc="outside upper left", ncols=columns, handlelength=2.6, labelcolor=INK, fontsize=8, **more
        )
