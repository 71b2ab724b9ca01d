"""Building blocks of the page: sections, tables with their filter and files, figures, embedded data.

Reads/Writes  nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import quote

from analysis.figures.style import PageFigure
from analysis.page.assets import FIGURE_COLOURS
from analysis.table import Table, as_html
from swallow_exp.record.schema import EvaluationRecord

Numbers = Mapping[EvaluationRecord, int]  # evaluation -> its place in the page's list of sources
MANY_ROWS = 6  # from here on a table can be filtered
TALL_ROWS = 15  # from here on it scrolls under its heading
OPEN_FIGURES = 3
LONGEST_TITLE = 90
FOLDED = {"health": "every task of every run", "overlap": "overlap with the training text"}


@dataclass(frozen=True)
class Section:
    """One part of the page and its place in the contents."""

    name: str
    title: str
    content: str

    def html(self) -> str:
        """With its heading."""
        return f'<section aria-labelledby="h-{self.name}"><h2 id="h-{self.name}">{escape(self.title)}</h2>\n{self.content}</section>\n'


def embedded(name: str, value: Any) -> str:
    """Data for the script; nothing in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>\n'


def number_sources(tables: Iterable[Table]) -> dict[EvaluationRecord, int]:
    """Every evaluation behind any number of these tables, numbered in the order they are met."""
    found: dict[EvaluationRecord, int] = {}
    for table in tables:
        for place in sorted(table.sources):
            for record in table.sources[place]:
                found.setdefault(record, len(found))
    return found


def table_card(table: Table, numbers: Numbers, *, columns: bool = False) -> str:
    """A table in its own region, with its files; long ones with a filter. columns: that hides columns too."""
    name = table.name
    files = ", ".join(f'<a href="tables/{name}.{suffix}">{suffix}</a>' for suffix in ("csv", "md", "tex", "html"))
    html = as_html(table, caption=False, source_numbers=numbers)
    scroll = "scroll tall" if len(table.rows) >= TALL_ROWS else "scroll"
    return (
        f'<div class="card" id="t-{name}"><p class="note">{escape(table.caption)}</p>{_filters(table, columns)}'
        f'<div class="{scroll}" tabindex="0" role="region" aria-label="Table: {name}">{html}</div>'
        f'<p class="note">Files: {files}.</p></div>\n'
    )


def _filters(table: Table, columns: bool) -> str:
    """Shown by the script, which does the work."""
    if len(table.rows) < MANY_ROWS and not columns:
        return ""
    fields = [("rows", "Filter rows")] + [("columns", "Filter tasks")] * columns
    inputs = "".join(
        f'<label class="field" for="f-{table.name}-{kind}">{escape(label)}'
        f'<input type="search" id="f-{table.name}-{kind}" data-filter="{kind}" autocomplete="off"></label>'
        for kind, label in fields
    )
    return f'<div class="filters" data-table="t-{table.name}" hidden>{inputs}<p class="told" role="status"></p></div>'


def folded(title: str, content: str) -> str:
    """Behind one line until it is asked for."""
    return f"<details><summary>{escape(title)}</summary>{content}</details>\n"


def folded_table(table: Table, numbers: Numbers) -> str:
    """A table that few readers need, behind its title: what FOLDED says, or its name and the start of its caption."""
    number = re.fullmatch(r"table(\d+)(?:_(\w+))?", table.name)
    name = f"Table {number[1]}{f' ({number[2]})' if number[2] else ''}" if number else f"Table {table.name.replace('_', ' ')}"
    title = f"Table: {FOLDED[table.name]}" if table.name in FOLDED else f"{name}: {_beginning(table.caption)}"
    return folded(title, table_card(table, numbers))


def _beginning(text: str) -> str:
    """The first sentence or clause, if it is short; otherwise its first words."""
    first = re.split(r"(?<=[^.]{12})[.;:] ", text.rstrip("."), maxsplit=1)[0]
    return first if len(first) <= LONGEST_TITLE else f"{first[:LONGEST_TITLE].rsplit(' ', 1)[0]} …"


def figure_cards(figures: Sequence[PageFigure]) -> str:
    """The first under their titles; titles alone of the others, which open."""
    shown = [f'<h3 id="h-{figure.name}">{escape(figure.title)}</h3>\n{_figure(figure)}' for figure in figures[:OPEN_FIGURES]]
    return "".join(shown + [folded(figure.title, _figure(figure)) for figure in figures[OPEN_FIGURES:]])


def _figure(figure: PageFigure) -> str:
    """Inline, with its files."""
    files = ", ".join(f'<a href="figures/{figure.name}.{suffix}">{suffix}</a>' for suffix in ("svg", "pdf", "png"))
    return (
        f'<figure class="card"><div class="scroll" tabindex="0" role="region" aria-label="{escape(figure.title)}, figure">'
        f"{inline_svg(figure.svg, figure.name, figure.alt)}</div>"
        f"<figcaption>{escape(figure.caption)} Files: {files}.</figcaption></figure>\n"
    )


def inline_svg(svg: str, prefix: str, alt: str) -> str:
    """The svg element alone: ids made unique on the page, colours as CSS variables, no namespaces or metadata with addresses."""
    text = svg[svg.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    head, body = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    assert box is not None, "matplotlib writes a viewBox"
    body = re.sub(r'\b(d|x|y|points)="[^"]*"', lambda m: re.sub(r"(\.\d\d)\d+", r"\1", m[0]), body)  # a hundredth of a point is enough
    body = re.sub(r'\bid="', f'id="{prefix}-', body)
    body = re.sub(r'xlink:href="#', f'href="#{prefix}-', body).replace("url(#", f"url(#{prefix}-")
    for colour, variable in FIGURE_COLOURS.items():
        body = re.sub(re.escape(colour), f"var({variable})", body, flags=re.I)
    return f'<svg {box.group()} role="img" aria-label="{escape(alt)}">{body}'


def address(path: str) -> str:
    """A file beside the page, or the id of an element after its `#`, as an attribute's value."""
    return escape(quote(path, safe="/#+"))
