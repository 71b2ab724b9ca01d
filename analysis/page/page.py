"""One self-contained HTML page: the question, what was found, how sure that is, and what every number of it rests on.

    verdicts   one sentence and badges a contrast; every task's sentence with its interval behind a fold (verdicts.py)
    figures    inline SVG whose colours follow light and dark mode; the first ones open
    scores     comparison and changes, sortable, filtered, each score with its source (blocks.py, basis.py)
    flips      items that changed sides, with their texts (flips.py)
    health, cost, runs, what is missing, method

Nothing is fetched; without the script (page.js) everything but the texts of flips can be read.
Reads  the study, its claims, rendered parts and provenance.json of its runs.  Writes  nothing (report.py does).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from analysis.claims.claim import SIGNIFICANCE, Claim
from analysis.cost import RunCost, cost_table, cost_words
from analysis.expectations import Scored
from analysis.figures.style import PageFigure
from analysis.flips import FlipGroup
from analysis.health import health_words, worries
from analysis.load import Study
from analysis.page.assets import script, style
from analysis.page.basis import Method, basis, run_facts, runs_table, sources_data
from analysis.page.blocks import Section, figure_cards, folded, folded_table, number_sources, table_card
from analysis.page.flips import flips_section
from analysis.page.verdicts import base_language, findings, interaction_findings, measures_to_know, training_findings
from analysis.signal import Signal
from analysis.table import Table
from analysis.wording import listing

SCORES = ("comparison", "changes")


@dataclass(frozen=True)
class Parts:
    """What the page shows beside the claims. Figures and tables are shown in this order."""

    tables: Sequence[Table]  # those of SCORES, and more that are folded
    figures: Sequence[PageFigure]
    health: Sequence[Table] = ()
    costs: Sequence[RunCost] = ()
    flips: Sequence[FlipGroup] = ()
    absent: Sequence[tuple[str, str]] = ()  # (what the records do not fill, why)
    training: Sequence[Claim] = ()  # every cell against its own token 0
    interactions: Sequence[Claim] = ()  # differences of differences
    signals: Sequence[Signal] = ()
    scored: Sequence[Scored] = ()  # expectations stated before the runs
    problems: Sequence[str] = ()  # records that contradict each other or cannot be read


def render_page(study: Study, claims: Sequence[Claim], method: Method, parts: Parts) -> str:
    """The whole page."""
    cost = [cost_table(study, parts.costs)] if parts.costs else []
    numbers = number_sources(page_tables(parts))
    runs = runs_table(study)
    scores = [table for table in parts.tables if table.name in SCORES]
    sections = [
        Section(
            "findings",
            "What was found",
            base_language(parts.training)
            + findings(study, claims, parts.scored)
            + measures_to_know(parts.signals)
            + folded("How to read the verdicts", _reading(method)),
        ),
        Section("interactions", "Does one choice change what another does?", interaction_findings(parts.interactions)),
        Section("training", "What training itself did", training_findings(parts.training)),
        Section("figures", "Figures", figure_cards(parts.figures)),
        Section("scores", "Scores", "".join(table_card(t, numbers, columns=t.name == "comparison") for t in scores)),
        Section("flips", "Questions that changed sides", flips_section(parts.flips, numbers)),
        Section("tables", "More tables", "".join(folded_table(t, numbers) for t in parts.tables if t not in scores)),
        Section(
            "health", "Whether the scores can be trusted", health_words(study) + "".join(folded_table(t, numbers) for t in parts.health)
        ),
        Section("cost", "What it cost", cost_words(parts.costs) + "".join(table_card(table, numbers) for table in cost)),
        Section("varied", "What was varied", _varied(study)),
        Section("runs", "Runs", table_card(runs, numbers) + run_facts(study)),
        Section("missing", "What is missing", _missing(study, parts)),
        Section("provenance", "What this page rests on", basis(study)),
    ]
    shown = [section for section in sections if section.content]
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(study.question)}</title>\n<style>{style()}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#main">Skip to the findings</a>\n'
        f'{_header(study, parts)}<div class="layout">{_contents(shown)}<main id="main" tabindex="-1">\n'
        f"{''.join(section.html() for section in shown)}</main></div>\n"
        f'{_footer()}<div id="origin" class="origin" role="dialog" aria-label="Where this number comes from" hidden></div>\n'
        f'<p id="told" class="unseen" role="status"></p>\n{sources_data(study, numbers)}<script>{script()}</script>\n</body>\n</html>\n'
    )
    return page.replace(SIZE_MARK, f"{(len(page.encode()) + 50_000) / 1e6:.1f} MB", 1)


SIZE_MARK = "\ufdd0size\ufdd0"  # a noncharacter: no text of a study has it


def page_tables(parts: Parts) -> list[Table]:
    """Every table whose numbers have sources."""
    from analysis.flips import flips_table

    return [*parts.tables, *([flips_table(parts.flips)] if parts.flips else [])]


def _header(study: Study, parts: Parts) -> str:
    """The question, what was expected, and what to know before reading on."""
    section = f"paper section {study.section}" if study.section[:1].isdigit() else study.section
    where = f"Sweep <code>{escape(study.name)}</code>" + (f" · {escape(section)}" if section else "")
    said = [("Expected before the runs", study.expects), ("Noted with the question", study.outcome)]
    lines = "".join(f"<p><strong>{name}:</strong> {escape(text)}</p>" for name, text in said if text)
    counts = [
        ("problem", "h-missing", len(parts.problems)),
        ("warning about a score", "h-health", sum(len(of) for of in worries(study).values())),
        ("thing missing", "h-missing", len(study.missing)),
    ]
    known = [f'<a href="#{target}">{_counted(count, name)}</a>' for name, target, count in counts if count]
    care = f'<p class="care">Before you rely on it: {", ".join(known)}.</p>' if known else ""
    return f'<header><p class="kicker">{where}</p><h1>{escape(study.question)}</h1>{lines}{care}</header>\n'


def _counted(count: int, name: str) -> str:
    first, _, rest = name.partition(" ")
    return f"{count} {first}{'s' * (count != 1)}{' ' * bool(rest)}{rest}"


def _contents(sections: Sequence[Section]) -> str:
    links = "".join(f'<li><a href="#h-{section.name}">{escape(section.title)}</a></li>' for section in sections)
    return f'<nav class="toc" aria-label="Contents"><details><summary>On this page</summary><ul>{links}</ul></details></nav>'


def _footer() -> str:
    return (
        "<footer>Made by swallow_exp from the records of the runs. The same records give the same page, byte for byte. "
        f"This file is {SIZE_MARK} and asks for nothing from elsewhere.</footer>\n"
    )


def _reading(method: Method) -> str:
    return (
        "<p>Each contrast compares two cells that differ in one factor. Scores run from 0 to 100 and differences are in points, "
        "except held-out text, which is in bits per byte (lower is better). Relative change is (a − b) / b.</p>"
        "<p>Brackets are 95% intervals over runs and items: how far the difference could move if the runs were repeated with other "
        "seeds and other items were asked. The noise between runs comes from the seeds of the comparison, from other cells of the sweep "
        "that have seeds, or from a null study of the same base model, mixture and budget; every comparison names its source. "
        "<strong>One run</strong> means that none of them is known: there is an interval over items, and no verdict. "
        f"<strong>Improved</strong> and <strong>degraded</strong> mean p &lt; {SIGNIFICANCE} after Holm’s adjustment over the "
        f"{method.num_comparisons} comparisons of this page. <strong>Equivalent</strong> means that the whole interval lies within a "
        "margin that was set beforehand. <strong>Inconclusive</strong> does not mean “no effect”: "
        "it means this test could not tell, and the interval says how large an effect could be hiding.</p>"
    )


def _varied(study: Study) -> str:
    parts = []
    for factor, levels in study.axes.items():
        named = [f"{escape(str(level))}{' (baseline)' if str(level) == str(study.baseline.get(factor)) else ''}" for level in levels]
        parts.append(f"<dt>{escape(factor)}</dt><dd>{', '.join(named)}</dd>")
    held = [f"{factor} {level}" for factor, level in study.baseline.items() if factor not in study.axes]
    seeds = sorted({seed for cell in study.cells for seed in cell.seeds})
    count = f"{_counted(len(study.cells), 'cell')}, {_counted(len(study.runs), 'run')}"
    parts.append(f"<dt>Size</dt><dd>{count}; seed{'s' if len(seeds) != 1 else ''} {escape(listing([str(s) for s in seeds]))}</dd>")
    if held:
        parts.append(f"<dt>Held fixed</dt><dd>{escape(', '.join(held))}</dd>")
    return f"<dl>{''.join(parts)}</dl>"


def _missing(study: Study, parts: Parts) -> str:
    """Problems first, then what the sweep asks for and is not there, then what the records do not fill."""
    problems = "".join(f"<li>{escape(problem)}</li>" for problem in parts.problems)
    ids = {m: f" <code>{escape(m.run_id)}</code>" if m.run_id else "" for m in study.missing}
    rows = [f"<li><strong>{escape(m.label)}</strong>: {escape(m.reason)}{ids[m]}</li>" for m in study.missing]
    unfilled = "".join(f"<li><strong>{escape(name)}</strong>: {escape(why)}</li>" for name, why in parts.absent)
    return (
        (f"<h3>Problems in the records</h3><ul>{problems}</ul>" if problems else "")
        + (
            f"<ul>{''.join(rows)}</ul>"
            if rows
            else "<p>Nothing: every run is trained and every task is evaluated at its last checkpoint.</p>"
        )
        + (
            folded(f"Not on this page, because the records do not have it ({len(parts.absent)})", f"<ul>{unfilled}</ul>")
            if unfilled
            else ""
        )
    )
