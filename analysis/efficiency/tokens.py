"""Token efficiency as a table and a figure: each vocabulary on each held-out source and in what models write, beside the paper's numbers.

Reads  nothing but the study's token counts (measure.py).  Writes  figures/token_efficiency.* (style.save_figure).
Source  paper 1 and 5.1 (56.2%, 78%)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.claims.claim import Interval
from analysis.efficiency.measure import (
    GENERATED,
    HELD_OUT,
    OTHER_SCRIPT,
    PAPER,
    SavedText,
    gain_of,
    measure_study,
    measure_vocabulary,
    paper_rows,
)
from analysis.figures.style import DASHES, INK, MUTED, PageFigure, figure_style, new_figure, save_figure, series_style
from analysis.figures.style import PAPER as BACKGROUND
from analysis.load import Study
from analysis.table import Table
from analysis.wording import ABSENT, interval, plain, signed
from swallow_exp.artefact.paths import ReportPaths
from swallow_exp.record.schema import FertilityRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Patch

NAME = "token_efficiency"
COLUMNS = (
    "text",
    "vocabulary",
    "source",
    "texts",
    "characters",
    "tokens",
    "tokens / character",
    "characters / token",
    "reduction (%)",
    "95% interval of reduction",
    "gain (%)",
    "95% interval of gain",
)
BAR_INCHES, GAP_INCHES, PANEL_INCHES = 0.2, 0.12, 0.85
LABEL_SHARE = 0.16  # of the axis, for the number behind the longest bar
DASHED, DOTTED = DASHES[1], DASHES[2]


def token_efficiency_table(study: Study) -> Table | None:
    """Vocabulary x text, and the paper. None when no document and no answer of the study was counted."""
    saved = measure_study(study)
    if not saved:
        return None
    return Table(
        name=NAME,
        caption=_caption(saved),
        columns=COLUMNS,
        rows=tuple(_texts(row) for row in saved),
        values=tuple(_values(row) for row in saved),
    )


def _texts(row: SavedText) -> tuple[str, ...]:
    return (
        row.text,
        row.vocabulary,
        row.source,
        *(ABSENT if count is None else f"{count:,}" for count in (row.documents, row.characters, row.tokens)),
        *(ABSENT if ratio is None else plain(ratio, 3) for ratio in (row.tokens_per_character, row.characters_per_token)),
        ABSENT if row.reduction is None else plain(row.reduction, 1),
        ABSENT if row.reduction_interval is None else interval(row.reduction_interval, 1),
        ABSENT if row.gain is None else signed(row.gain, 1),
        ABSENT if row.gain_interval is None else interval(row.gain_interval, 1),
    )


def _values(row: SavedText) -> tuple[float | None, ...]:
    counts = (None if count is None else float(count) for count in (row.documents, row.characters, row.tokens))
    return (None, None, None, *counts, row.tokens_per_character, row.characters_per_token, row.reduction, None, row.gain, None)


def _caption(saved: Sequence[SavedText]) -> str:
    parts = [
        "Held out: the same documents under every vocabulary, without begin and end tokens. Reduction: fewer tokens for the same text "
        "than with the base model's own vocabulary; gain: more text a token. Intervals: over documents, paired."
    ]
    if any(row.source == GENERATED for row in saved):
        parts.append(
            "Generated: what the models themselves wrote at their last checkpoint, before anything was cut off, against the baseline of "
            "the contrast, paired over items. Each wrote its own text; where their scripts differ (share of non-ASCII characters, by more "
            f"than {100 * OTHER_SCRIPT:.0f} points) no gain is given."
        )
    if any(row.source == PAPER for row in saved):
        printed, read = paper_rows()
        assert printed.reduction is not None and printed.gain is not None and read.reduction is not None and read.gain is not None
        number = plain(printed.reduction, 1)
        parts.append(
            f"Paper: {number}% fewer tokens would be {signed(gain_of(printed.reduction), 0)}% text a token, not the printed "
            f"{signed(printed.gain, 0)}%; if {number}% of the tokens is what is left, both follow: {plain(read.reduction, 1)}% fewer "
            f"tokens, {signed(read.gain, 0)}%."
        )
    return " ".join(parts)


def interval_lines(records: Sequence[FertilityRecord]) -> list[str]:
    """A line a text for `swallow vocabulary`: reduction and gain with their intervals. Empty without a base to compare with."""
    rows = [row for row in measure_vocabulary(records) if row.reduction is not None]
    if not rows:
        return []
    lines = ["  fewer tokens than the base, and more text a token, with 95% intervals over held-out documents:"]
    for row in rows:
        reduction, reduction_ends, gain, gain_ends = _texts(row)[-4:]
        counted = f"{row.documents:,} documents, {row.tokens_per_character or 0.0:.3f} tokens a character"
        lines.append(f"  {row.text:<24} {reduction}% {reduction_ends}, {gain}% {gain_ends} ({counted})")
    return lines


def draw_token_efficiency(study: Study, paths: ReportPaths) -> PageFigure | None:
    """Bars with intervals: reduction on each held-out text, gain in each task's answers. None when there is nothing to compare."""
    compared = [row for row in measure_study(study) if row.reduction is not None and row.source != PAPER]
    panels = [rows for source in (HELD_OUT, GENERATED) if (rows := [row for row in compared if row.source == source])]
    if not panels:
        return None
    vocabularies = list(dict.fromkeys(row.vocabulary for row in compared))
    heights = [PANEL_INCHES + BAR_INCHES * len(rows) + GAP_INCHES * len(_texts_of(rows)) for rows in panels]
    with figure_style():
        figure = new_figure(sum(heights) + 0.45)
        grid = figure.add_gridspec(len(panels), 1, height_ratios=heights)
        for index, rows in enumerate(panels):
            _draw_panel(figure.add_subplot(grid[index]), rows, vocabularies)
        handles = [_patch(index, name) for index, name in enumerate(vocabularies)]
        figure.legend(handles=handles, loc="outside upper left", ncols=min(3, len(vocabularies)))
    told = "; ".join(f"{row.text}, {row.vocabulary}: {_told(row)}" for row in compared)
    return PageFigure(
        NAME,
        "What the vocabulary saves",
        save_figure(figure, NAME, paths),
        f"Bars: fewer tokens for the same held-out text, and more text in each generated token, with 95% intervals. {told}.",
        "Lines are paired 95% intervals over documents (held out) or items (generated; only tasks whose answers are in the same script). "
        "Dotted: the paper as printed, 56.2% fewer tokens. Dashed: 56.2% as what is left of the tokens, so that its 78% follows.",
    )


def _told(row: SavedText) -> str:
    return f"{_number(row)} {'fewer tokens' if row.source == HELD_OUT else 'more text a token'}"


def _number(row: SavedText) -> str:
    value, ends = _drawn(row)
    return f"{plain(value, 1)}%" + ("" if ends is None else f" {interval(ends, 1)}")


def _drawn(row: SavedText) -> tuple[float, Interval | None]:
    """The number its panel shows: reduction of held-out text, gain of generated text."""
    value, ends = (row.reduction, row.reduction_interval) if row.source == HELD_OUT else (row.gain, row.gain_interval)
    assert value is not None
    return value, ends


def _texts_of(rows: Sequence[SavedText]) -> list[str]:
    return list(dict.fromkeys(row.text for row in rows))


def _patch(index: int, label: str) -> Patch:
    from matplotlib.patches import Patch

    return Patch(facecolor=series_style(index)[0], label=label)


def _draw_panel(axes: Axes, rows: Sequence[SavedText], vocabularies: Sequence[str]) -> None:
    held_out = rows[0].source == HELD_OUT
    places: dict[str, list[float]] = {}
    position = 0.0
    for text in _texts_of(rows):
        for row in (row for row in rows if row.text == text):
            _draw_bar(axes, row, position, series_style(vocabularies.index(row.vocabulary))[0])
            places.setdefault(text, []).append(position)
            position += BAR_INCHES
        position += GAP_INCHES
    axes.set_yticks([sum(at) / len(at) for at in places.values()], list(places))
    axes.set_ylim(position - GAP_INCHES - BAR_INCHES * 0.3, -BAR_INCHES * 0.7)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.axvline(0, color=INK, linewidth=0.9)
    printed, read = paper_rows()
    for value, dashes in ((printed.reduction, DOTTED), (read.reduction, DASHED)) if held_out else ((printed.gain, DASHED),):
        assert value is not None
        axes.axvline(value, color=MUTED, linewidth=1.0, linestyle=dashes)
        label = axes.text(
            value, 1.0, f" paper {value:.1f}", transform=axes.get_xaxis_transform(), color=MUTED, fontsize=7, va="bottom", ha="center"
        )
        label.set_in_layout(False)
    low, high = axes.get_xlim()
    axes.set_xlim(low, high + LABEL_SHARE * (high - low))
    axes.set_title("Held-out text" if held_out else "Generated text", pad=12)
    axes.set_xlabel("fewer tokens for the same text (%)" if held_out else "more text in each token (%)")


def _draw_bar(axes: Axes, row: SavedText, position: float, color: str) -> None:
    """A bar, its interval, and its number behind both."""
    value, ends = _drawn(row)
    axes.barh(position, value, height=BAR_INCHES * 0.85, color=color, zorder=2)
    if ends is not None:
        axes.plot(ends, [position, position], color=INK, linewidth=1.2, solid_capstyle="butt", zorder=3)
    behind = max(0.0, value, *(ends or ()))
    text = axes.annotate(_number(row), (behind, position), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7, zorder=4)
    text.set_bbox({"facecolor": BACKGROUND, "edgecolor": "none", "pad": 0.8})
