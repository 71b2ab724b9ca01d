"""One self-contained HTML page: the question, what was varied, what was found, how sure that is, and what it rests on.

Every figure is inline SVG whose colours follow light and dark mode; nothing is fetched. Verdicts are words and signs, never colour alone.
Reads  nothing but the study, its claims and rendered parts.  Writes  nothing (report.py does).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from analysis.claims.compare import DEGRADED, IMPROVED, INCONCLUSIVE, SIGNIFICANCE, Claim
from analysis.figures.drawn import PageFigure
from analysis.health import health_words
from analysis.load import Study
from analysis.page.assets import FIGURE_COLOURS, SCRIPT, STYLE
from analysis.tables.table import Table, as_html
from analysis.wording import ABSENT, listing, sentence, summary, tokens_text

LONG_LIST = 10
FOLDED = {"health": "every task of every run", "overlap": "overlap with the training text"}
SIGNS = {IMPROVED: "▲", DEGRADED: "▼", INCONCLUSIVE: "○"}


@dataclass(frozen=True)
class Method:
    """How the intervals were made."""

    num_resamples: int
    seed: int
    num_comparisons: int


def render_page(
    study: Study,
    claims: Sequence[Claim],
    figures: Sequence[PageFigure],
    tables: Sequence[Table],
    method: Method,
    *,
    health: Sequence[Table] = (),
) -> str:
    """The whole page. health: tables of what is behind the scores."""
    sections = [
        _section("findings", "What was found", _findings(study, claims)),
        _section("varied", "What was varied", _varied(study)),
        _section("reading", "How to read this", _reading(method)),
        *(_section(figure.name, figure.title, _figure(figure)) for figure in figures),
        _section("tables", "Tables", "".join(_table(table) for table in tables)),
        _section("health", "Whether the scores can be trusted", health_words(study) + "".join(_folded(table) for table in health)),
        _section("runs", "Runs", _runs(study)),
        _section("missing", "What is missing", _missing(study)),
        _section("provenance", "What this page rests on", _provenance(study, method)),
    ]
    where = f"Sweep <code>{escape(study.name)}</code>" + (f" · {_section_name(study.section)}" if study.section else "")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(study.question)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<header><p class="kicker">{where}</p><h1>{escape(study.question)}</h1></header>\n'
        f"<main>\n{''.join(sections)}</main>\n"
        "<footer>Made by swallow_exp from the records of the runs. The same records give the same page, byte for byte.</footer>\n"
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _section_name(section: str) -> str:
    return escape(f"paper section {section}" if section[:1].isdigit() else section)


def _section(name: str, title: str, content: str) -> str:
    return f'<section aria-labelledby="h-{name}"><h2 id="h-{name}">{escape(title)}</h2>\n{content}</section>\n'


def _findings(study: Study, claims: Sequence[Claim]) -> str:
    if not study.contrasts:
        return "<p>The sweep asks for no contrast, so there is nothing to compare: see the scores below.</p>"
    cards = []
    for contrast in study.contrasts:
        mine = [claim for claim in claims if claim.contrast == contrast.label]
        order = {IMPROVED: 0, DEGRADED: 1, INCONCLUSIVE: 2}
        mine.sort(key=lambda claim: order.get(claim.verdict, 3))
        told = summary(contrast.label, mine).removeprefix(f"{contrast.label}: ")
        shared = [note for note in mine[0].notes if all(note in claim.notes for claim in mine)] if mine else []
        told = escape(told[:1].upper() + told[1:])
        told = re.sub(r"\b(improved|degraded)\b", lambda m: f'<strong class="{m[0].lower()}">{m[0]}</strong>', told, flags=re.I)
        cards.append(
            f'<article class="card"><h3>{escape(contrast.label)}</h3><p>{told}</p>{_notes(shared, "p")}{_claim_lists(mine, shared)}'
            "</article>\n"
        )
    return _one_seed(study) + "".join(cards)


def _one_seed(study: Study) -> str:
    """What the intervals leave out, where no cell was trained twice."""
    if any(len(contrast.pairs) > 1 for contrast in study.contrasts):
        return ""
    return (
        '<p class="note">One training run a cell: the intervals say how far other items could move a difference, not how far another run '
        "could. Small models move by tens of points between runs; add seeds before believing a difference.</p>\n"
    )


def _claim_lists(claims: Sequence[Claim], shared: Sequence[str]) -> str:
    """What was decided first; the rest below, folded away when the list is long."""
    compared = [claim for claim in claims if claim.difference is not None or set(claim.notes) - set(shared)]
    decided = [claim for claim in compared if claim.verdict in (IMPROVED, DEGRADED)]
    rest = [claim for claim in compared if claim not in decided]
    lists = [f'<ul class="claims">{"".join(_claim_item(c, shared) for c in group)}</ul>' if group else "" for group in (decided, rest)]
    if len(compared) > LONG_LIST and rest:
        lists[1] = f"<details><summary>The other {len(rest)} comparison{'s' * (len(rest) > 1)}</summary>{lists[1]}</details>"
    return "".join(lists)


def _notes(notes: Sequence[str], tag: str) -> str:
    """Notes as one line. Only a plain first word gets a capital: a run_id keeps its spelling."""
    text = "; ".join(notes)
    if re.match(r"[a-z]+ ", text):
        text = text[:1].upper() + text[1:]
    return f'<{tag} class="note">{escape(text)}.</{tag}>' if text else ""


def _claim_item(claim: Claim, shared: Sequence[str]) -> str:
    kind = claim.verdict if claim.verdict in SIGNS else "absent"
    small = _notes([note for note in claim.notes if note not in shared], "small")
    sign = f'<span class="sign" aria-hidden="true">{SIGNS.get(claim.verdict, ABSENT)}</span>'
    return f'<li class="{kind}">{sign}<span>{escape(_unbroken(sentence(claim)))}</span>{small}</li>'


def _unbroken(text: str) -> str:
    """Keep both ends of an interval on one line."""
    return re.sub(r"\[(\S+), (\S+)\]", "[\\1,\N{NO-BREAK SPACE}\\2]", text)


def _varied(study: Study) -> str:
    parts = []
    for factor, levels in study.axes.items():
        named = [f"{escape(str(level))}{' (baseline)' if str(level) == str(study.baseline.get(factor)) else ''}" for level in levels]
        parts.append(f"<dt>{escape(factor)}</dt><dd>{', '.join(named)}</dd>")
    held = [f"{factor} {level}" for factor, level in study.baseline.items() if factor not in study.axes]
    seeds = sorted({seed for cell in study.cells for seed in cell.seeds})
    count = f"{len(study.cells)} cell{'s' if len(study.cells) != 1 else ''}, {len(study.runs)} run{'s' if len(study.runs) != 1 else ''}"
    parts.append(f"<dt>Size</dt><dd>{count}; seed{'s' if len(seeds) != 1 else ''} {escape(listing([str(s) for s in seeds]))}</dd>")
    if held:
        parts.append(f"<dt>Held fixed</dt><dd>{escape(', '.join(held))}</dd>")
    return f"<dl>{''.join(parts)}</dl>"


def _reading(method: Method) -> str:
    return (
        "<p>Each contrast compares two cells that differ in one factor. Scores run from 0 to 100 and differences are in points, "
        "except held-out text, which is in bits per byte (lower is better). Relative change is (a − b) / b.</p>"
        "<p>Brackets are 95% intervals from resampling the items both sides answered, in pairs. "
        f"<strong>Improved</strong> and <strong>degraded</strong> mean p &lt; {SIGNIFICANCE} after Holm’s adjustment over the "
        f"{method.num_comparisons} comparisons of this page. <strong>Inconclusive</strong> does not mean “no effect”: "
        "it means this test could not tell, and the interval says how large an effect could be hiding.</p>"
    )


def _figure(figure: PageFigure) -> str:
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
    body = re.sub(r'\bid="', f'id="{prefix}-', body)
    body = re.sub(r'xlink:href="#', f'href="#{prefix}-', body).replace("url(#", f"url(#{prefix}-")
    for colour, variable in FIGURE_COLOURS.items():
        body = re.sub(re.escape(colour), f"var({variable})", body, flags=re.I)
    return f'<svg {box.group()} role="img" aria-label="{escape(alt)}">{body}'


def _table(table: Table) -> str:
    name = table.name
    files = ", ".join(f'<a href="tables/{name}.{suffix}">{suffix}</a>' for suffix in ("csv", "md", "tex", "html"))
    return (
        f'<div class="card"><p class="note">{escape(table.caption)}</p>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="Table: {name}">{as_html(table, caption=False)}</div>'
        f'<p class="note after">Files: {files}.</p></div>\n'
    )


def _folded(table: Table) -> str:
    return f"<details><summary>Table: {escape(FOLDED.get(table.name, table.name))}</summary>{_table(table)}</details>\n"


def _runs(study: Study) -> str:
    """State and amounts of every run: trained tokens, and text and compute where the training curve has them."""
    body = []
    for run in study.runs.to_dict("records"):
        rows = study.curves[study.curves["run_id"] == run["run_id"]].tail(1)
        last = rows.to_dict("records")[0] if len(rows) else {}
        body.append(
            f'<tr><th scope="row">{escape(str(run["cell"]))}</th><td>{run["seed"]}</td><td class="text">{escape(str(run["state"]))}</td>'
            f"<td>{_amount(run['trained_tokens'])}</td><td>{_amount(run['budget_tokens'])}</td>"
            f"<td>{_amount(last.get('text_bytes'))}</td><td>{_scientific(last.get('flops'))}</td>"
            f'<td class="id">{escape(str(run["run_id"]))}</td></tr>'
        )
    heads = ("cell", "seed", "state", "trained tokens", "budget", "text bytes", "FLOPs", "run_id")
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    return (
        '<div class="card"><div class="scroll" tabindex="0" role="region" aria-label="Table: runs">'
        '<table class="runs" aria-label="Every run of the sweep">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div></div>\n"
    )


def _number(value: Any) -> float | None:
    import pandas as pd

    return None if value is None or pd.isna(value) else float(value)


def _amount(value: Any) -> str:
    number = _number(value)
    return ABSENT if number is None else tokens_text(number)


def _scientific(value: Any) -> str:
    number = _number(value)
    return ABSENT if number is None else f"{number:.2e}"


def _missing(study: Study) -> str:
    if not study.missing:
        return "<p>Nothing: every run is trained and every task is evaluated at its last checkpoint.</p>"
    ids = {m: f" <code>{escape(m.run_id)}</code>" if m.run_id else "" for m in study.missing}
    rows = [f"<li><strong>{escape(m.label)}</strong>: {escape(m.reason)}{ids[m]}</li>" for m in study.missing]
    return f"<ul>{''.join(rows)}</ul>"


def _provenance(study: Study, method: Method) -> str:
    asked = {(r.task, r.prompt_digest, r.task_version): r for r in study.records}
    tests = "".join(
        f"<li>{escape(r.task)}: version {escape(r.task_version)}, {r.num_fewshot}-shot, "
        f"{'' if r.fraction is None else f'{r.fraction:g} of the items, '}prompts <code>{escape(r.prompt_digest[:12])}</code></li>"
        for _, r in sorted(asked.items())
    )
    return (
        f"<p>{method.num_resamples:,} resamples per comparison, seed {method.seed}; percentile intervals; "
        "items of one cluster are drawn together; "
        "with several seeds, item statistics are summed over seeds and each seed is compared with itself. "
        'Every number behind the sentences is in <a href="claims.json">claims.json</a>.</p>'
        f"<details><summary>Tests and their prompts</summary><ul>{tests}</ul></details>"
    )
