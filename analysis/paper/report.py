"""The report of the paper's own numbers: its tables, what its text says of them, and Figure 1.

(1) tables      Tables 1-10 and Appendix D.4 in four formats      -> tables/*
(2) figure      Figure 1, from Table 4                            -> figures/figure1.*
(3) statements  what the text says, computed                      -> statements.json
(4) page        everything on one page (last)                     -> index.html

Reads   analysis/paper/*.csv.  Writes  <out>/reports/paper/.  Source  paper Tables 1-10, Figure 1 and text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path

from analysis.figures.style import PageFigure
from analysis.page.assets import style
from analysis.page.blocks import inline_svg
from analysis.paper.figure1 import draw_figure1
from analysis.paper.published import PAPER
from analysis.paper.published_tables import published_tables
from analysis.paper.statement import Statement, place_of, statements_summary
from analysis.paper.statements import paper_statements
from analysis.table import Table, as_html, write_table
from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import write_json_atomic, write_text_atomic
from swallow_exp.artefact.paths import ReportPaths, sweep_file

TITLE = "The published numbers of the Swallow paper"
KINDS = {True: ("falls out", "improved", "✓"), False: ("does not fall out", "degraded", "✗"), None: ("cannot be computed", "absent", "—")}


def build_paper_report(out: Path) -> Path:
    """Write <out>/reports/paper and return its index.html. Raises RequestError when a sweep of that name has its report there."""
    if sweep_file(out, PAPER).exists():
        raise RequestError(
            f"reports/{PAPER} under {out} belongs to the sweep '{PAPER}'", expected="no sweep of this name", remedy="give another --out"
        )
    paths = ReportPaths.of(out, PAPER)
    tables, statements = published_tables(), paper_statements()
    for table in tables:
        write_table(table, paths)
    figure = draw_figure1(paths)
    write_json_atomic(paths.folder / "statements.json", [{**asdict(s), "verdict": s.verdict} for s in statements])
    write_text_atomic(paths.index, render_page(statements, figure, tables))
    return paths.index


def render_page(statements: Sequence[Statement], figure: PageFigure, tables: Sequence[Table]) -> str:
    """One page that fetches nothing."""
    told = f"<p>{statements_summary(statements)}.</p>"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{TITLE}</title>\n<style>{style()}{EXTRA_STYLE}</style>\n</head>\n<body>\n"
        '<header><p class="kicker">Continual Pre-Training for Cross-Lingual LLM Adaptation (Fujii et al., COLM 2024)</p>'
        f"<h1>{TITLE}</h1>{told}</header>\n<main>\n"
        f"{_section('statements', 'What the text says, computed', _statements(statements))}"
        f"{_section(figure.name, figure.title, _figure(figure))}"
        f"{_section('tables', 'Tables', ''.join(_table(table) for table in tables))}"
        "</main>\n<footer>Made by swallow_exp from the numbers the paper prints; nothing here was measured by us.</footer>\n"
        "</body>\n</html>\n"
    )


EXTRA_STYLE = """
body>header,body>main,body>footer{max-width:66rem;margin-left:auto;margin-right:auto;padding-left:1.25rem;padding-right:1.25rem}
.note.after{margin-top:.8rem}
table.statements td,table.statements th{text-align:left;white-space:normal;vertical-align:top}
table.statements th:first-child{min-width:6.5rem}
table.statements td:last-child{white-space:nowrap}
tr.block>*{border-top:1.5px solid var(--muted)!important}
.card[id]{scroll-margin-top:1rem}
"""


def _section(name: str, title: str, content: str) -> str:
    return f'<section aria-labelledby="h-{name}"><h2 id="h-{name}">{escape(title)}</h2>\n{content}</section>\n'


def _statements(statements: Sequence[Statement]) -> str:
    """What does not fall out first; within a verdict, the order of the text."""
    order = {False: 0, True: 1, None: 2}
    rows = []
    for statement in sorted(statements, key=lambda s: order[s.holds]):
        words, kind, sign = KINDS[statement.holds]
        rows.append(
            f'<tr><th scope="row">{escape(place_of(statement))}</th><td>{escape(statement.says)}</td><td>{escape(statement.found)}</td>'
            f'<td class="text {kind}"><span aria-hidden="true">{sign}</span> {words}</td></tr>'
        )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("where", "the text says", "computed from the tables", "verdict"))
    return (
        '<div class="card"><div class="scroll" tabindex="0" role="region" aria-label="Table: statements">'
        '<table class="statements" aria-label="Statements of the text and what the tables say">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></div>\n"
    )


def _figure(figure: PageFigure) -> str:
    return (
        f'<figure class="card"><div class="scroll" tabindex="0" role="region" aria-label="{escape(figure.title)}, figure">'
        f"{inline_svg(figure.svg, figure.name, figure.alt)}</div>"
        f"<figcaption>{escape(figure.caption)} Files: {_files('figures', figure.name, ('svg', 'pdf', 'png'))}.</figcaption></figure>\n"
    )


def _table(table: Table) -> str:
    return (
        f'<div class="card" id="{table.name}"><p class="note">{escape(table.caption)}</p>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="Table: {table.name}">{as_html(table, caption=False)}</div>'
        f'<p class="note after">Files: {_files("tables", table.name, ("csv", "md", "tex", "html"))}.</p></div>\n'
    )


def _files(folder: str, name: str, suffixes: Sequence[str]) -> str:
    return ", ".join(f'<a href="{folder}/{name}.{suffix}">{suffix}</a>' for suffix in suffixes)
