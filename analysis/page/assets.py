"""Style sheet and script of the report page, from page.css and page.js beside this file. Nothing from elsewhere is asked for.

Reads   page.css, page.js.  Writes  nothing.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from analysis.figures.style import GRID, INK, MUTED, PAPER, SERIES

# Each colour of the figures -> the variable that replaces it on the page.
FIGURE_COLOURS = {INK: "--ink", MUTED: "--muted", GRID: "--grid", PAPER: "--card", **{colour: f"--s{i}" for i, colour in enumerate(SERIES)}}
DARK_SERIES = ("#56b1e8", "#ff9350", "#35c79f", "#e6a0c8", "#a6dcfa", "#f2bd4b", "#cdb652")


def _variables(names: dict[str, str]) -> str:
    return "".join(f"{name}:{value};" for name, value in names.items())


_LIGHT = (
    _variables({variable: colour for colour, variable in FIGURE_COLOURS.items()})
    + "--page:#f6f7f8;--good:#005f95;--bad:#a84400;--soft:#eef0f2;--edge:#868e98;"
)
_DARK = (
    _variables({f"--s{i}": colour for i, colour in enumerate(DARK_SERIES)})
    + "--ink:#e7eaee;--muted:#a5aeb9;--grid:#343b44;--card:#1b2026;--page:#12151a;"
    + "--good:#7cc4f0;--bad:#ffa56b;--soft:#262c34;--edge:#7a838e;"
)


@cache
def style() -> str:
    """The style sheet: colours for light and dark, then page.css."""
    head = f":root{{color-scheme:light dark;{_LIGHT}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{_DARK}}}}}\n"
    return head + files(__package__).joinpath("page.css").read_text(encoding="utf-8")


@cache
def script() -> str:
    """The script; the page can be read without it."""
    return files(__package__).joinpath("page.js").read_text(encoding="utf-8")
