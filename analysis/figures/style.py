"""How figures look and how they are saved: one style, no clock, no chance, so that equal records give equal bytes.

Colours are Okabe and Ito's palette, told apart by readers with any common form of colour blindness; every series also has a
marker or dash pattern of its own. The page swaps each of these colours for a CSS variable, so figures follow light and dark mode.
Reads  the fonts of the machine.  Writes  svg, pdf and png of a figure.
"""

from __future__ import annotations

import io
import multiprocessing
import pickle
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from swallow_exp.artefact.files import write_bytes_atomic
from swallow_exp.artefact.paths import ReportPaths

if TYPE_CHECKING:
    from multiprocessing.pool import AsyncResult, Pool

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#1c2026", "#5f6773", "#e2e5e9", "#ffffff"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f6a00")
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
Dashes = tuple[int, tuple[float, ...]]
DASHES: tuple[Dashes, ...] = ((0, ()), (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2)), (0, (3, 1.2, 1, 1.2, 1, 1.2)))
Style = tuple[str, str, Dashes]  # colour, marker, dashes
# lines only: a hatch of dots or rings takes 400 to 800 kB of an svg
HATCHES = ("", "/////", "-----", "xxxxx", "\\\\\\\\\\", "|||||", "+++++", "//--", "\\\\||")
WIDTH_INCHES = 7.2
TITLE_LETTERS = 26  # in a line above one of three panels
JAPANESE_FONTS = ("Noto Sans CJK JP", "Noto Sans JP", "IPAexGothic", "IPAGothic", "Hiragino Sans", "Yu Gothic")


@cache
def font_families() -> tuple[str, ...]:
    """DejaVu Sans (comes with matplotlib) and the first installed font that has Japanese letters."""
    from matplotlib import font_manager

    installed = set(font_manager.fontManager.get_font_names())
    return ("DejaVu Sans", *[name for name in JAPANESE_FONTS if name in installed][:1])


@contextmanager
def figure_style() -> Iterator[None]:
    """Style and reproducibility settings; no warnings about letters that no installed font has."""
    import matplotlib

    settings = {
        "font.family": list(font_families()),
        "font.size": 8.5,
        "axes.titlesize": 9,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.facecolor": PAPER,
        "axes.unicode_minus": True,
        "figure.facecolor": PAPER,
        "hatch.linewidth": 0.5,
        "grid.color": GRID,
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "legend.labelcolor": INK,
        "text.color": INK,
        "text.parse_math": False,  # a task may have a dollar sign in its name
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "svg.hashsalt": "swallow_exp",
        "svg.fonttype": "path",
        "pdf.fonttype": 42,
        "savefig.dpi": 200,
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def new_figure(height_inches: float) -> Figure:
    """An empty figure of page width, without pyplot and its global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def series_style(index: int) -> Style:
    """Colour, marker and dash pattern of the index-th series; seven markers and six patterns: no pair comes twice in 42."""
    return SERIES[index % len(SERIES)], MARKERS[index % len(MARKERS)], DASHES[index % len(DASHES)]


def amount_axis(axes: Axes, words: Callable[[float], str]) -> None:
    """Few tick labels on the x-axis, as `words` writes amounts."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(partial(_tick, words)))


def _tick(words: Callable[[float], str], amount: float, _: int | None) -> str:
    return words(amount)


def font_words(texts: Iterable[str]) -> str:
    """One sentence on the font of letters that DejaVu Sans lacks, empty when there are none among `texts`."""
    if not any(unicodedata.east_asian_width(letter) in "WF" for text in texts for letter in text):
        return ""
    families = font_families()[1:]
    if families:
        return f"Japanese letters: {families[0]}."
    return f"No Japanese font is installed, so Japanese letters are boxes (any of {', '.join(JAPANESE_FONTS)} will do)."


def wrapped(label: str, letters: int = TITLE_LETTERS) -> str:
    """A label in lines that fit above a small panel, broken after underscores and spaces."""
    lines = [""]
    for part in re.findall(r"[^_ ]+[_ ]?", label):
        if len(lines[-1]) + len(part) > letters and lines[-1]:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.strip() for line in lines)


def fix_layout(figure: Figure) -> None:
    """Solve the layout once and round it: the solver's last digits differ from run to run, and ids in the svg are made from them."""
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        x, y, width, height = (round(float(value), 4) for value in axes.get_position().bounds)
        axes.set_position(Bbox.from_bounds(x, y, width, height))


# Formats and what they would say of the moment they were made in.
METADATA: dict[str, dict[str, None]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}
_beside: ContextVar[tuple[Pool, list[AsyncResult[bytes]]] | None] = ContextVar("beside", default=None)


def save_figure(figure: Figure, name: str, paths: ReportPaths) -> str:
    """Write svg, pdf and png without dates or program names; returns the svg's text. Within `rendering_beside`, pdf and png come later."""
    with figure_style():
        fix_layout(figure)
    beside = _beside.get()
    if beside is None:
        _write_formats(figure, name, paths, ("pdf", "png"))
    else:
        pool, pending = beside
        # pickled here and now: the pool does it later, in a thread, while the figure is being drawn
        pending.append(pool.apply_async(_write_pickled, (pickle.dumps(figure), name, paths)))
    return _write_formats(figure, name, paths, ("svg",)).decode("utf-8")


def _write_formats(figure: Figure, name: str, paths: ReportPaths, suffixes: Sequence[str]) -> bytes:
    """Write some formats of a figure whose layout is fixed; returns the last one."""
    content = b""
    for suffix in suffixes:
        buffer = io.BytesIO()
        with figure_style():
            figure.savefig(buffer, format=suffix, metadata=METADATA[suffix])
        content = buffer.getvalue()
        write_bytes_atomic(paths.figure(name, suffix), content)
    return content


def _write_pickled(figure: bytes, name: str, paths: ReportPaths) -> bytes:
    return _write_formats(pickle.loads(figure), name, paths, ("pdf", "png"))


@contextmanager
def rendering_beside(*, processes: int) -> Iterator[None]:
    """With two processes or more, another one writes pdf and png of the figures saved here; they are there when this ends."""
    if processes < 2:
        yield
        return
    # spawn: a fork of a process with threads (Arrow, BLAS) can deadlock
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pending: list[AsyncResult[bytes]] = []
        token = _beside.set((pool, pending))
        try:
            yield
            for written in pending:
                written.get()
        finally:
            _beside.reset(token)


@dataclass(frozen=True)
class PageFigure:
    """A rendered figure with its words."""

    name: str
    title: str
    svg: str
    alt: str
    caption: str
