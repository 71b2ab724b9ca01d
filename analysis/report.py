"""Build the report of one sweep.

(1) load      records                                  -> Study
(2) compare   contrasts on every measure               -> claims with intervals and verdicts
(3) find      items that changed sides                 -> flips/*
(4) draw      tables and figures                       -> tables/*, figures/*
(5) write     claims.json, then index.html (last: a page that is there is whole)

Reads   <out>/sweeps, <out>/runs.  Writes  <out>/reports/<name>/.  Source  paper 5.1, 5.2 (questions and shape of the figures).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from analysis.claims.claim import CONTRAST, INTERACTION, MARGINS, Claim
from analysis.claims.compare import Comparer, compare_contrasts
from analysis.claims.method import method_document
from analysis.claims.register import record_noise
from analysis.cost import cost_table, read_costs
from analysis.efficiency.tokens import draw_token_efficiency, token_efficiency_table
from analysis.expectations import expectations_table, score_expectations
from analysis.figures.gains import training_claims
from analysis.figures.study import changes_figure, learning_figure
from analysis.figures.style import PageFigure, rendering_beside, save_figure
from analysis.flips import gather_flips
from analysis.forgetting import CAPTION as FORGETTING_CAPTION
from analysis.forgetting import Moved, forgetting_figure, forgetting_table, moved_items
from analysis.health import health_table, overlap_table
from analysis.load import Study, load_study
from analysis.page.basis import Method, provenance_csv, runs_table
from analysis.page.page import Parts, page_tables, render_page
from analysis.paper.figures import absent_paper_figures, draw_paper_figures
from analysis.paper.study_tables import fill_paper_tables
from analysis.scores import changes_table, comparison_table
from analysis.signal import signal_table, signals_of
from analysis.table import Table, write_table
from analysis.wording import listing, plain, summary
from swallow_exp.artefact.files import write_json_atomic, write_text_atomic
from swallow_exp.artefact.paths import ReportPaths

MOST_CONTRASTS = 12  # in one figure: a row of every measure for each of them


def build_report(
    out: Path,
    name: str,
    *,
    margin: Mapping[str, float] | None = None,
    processes: int = 1,
) -> Path:
    """Write the report of sweep `name` and return its index.html.

    margin: differences too small to matter, by unit. processes: with two or more, figures are written beside the rest.

    Raises RequestError when there is no such sweep or none of its runs has an evaluation.
    """
    study = load_study(out, name)
    paths = ReportPaths.of(out, name)
    comparer = Comparer.of(study)
    judged = compare_contrasts(study, margins=margin, comparer=comparer)
    claims = [claim for claim in judged if claim.kind == CONTRAST]
    interactions = [claim for claim in judged if claim.kind == INTERACTION]
    method = Method(sum(claim.p is not None for claim in judged))
    if study.is_null:
        record_noise(comparer)
    training = training_claims(comparer, study.measures, margins={**MARGINS, **(margin or {})})
    with rendering_beside(processes=processes):
        moved = moved_items(study)
        figures = _draw(comparer, claims, training, moved, paths)
        flips, unread = gather_flips(study, claims, paths)
        signals, scored = signals_of(comparer), score_expectations(study, claims)
        tables, absent = _tables(study, claims, interactions)
        tables += [table for table in (expectations_table(scored), signal_table(signals), forgetting_table(moved)) if table is not None]
        parts = Parts(
            tables=tables,
            figures=figures,
            training=training,
            interactions=interactions,
            signals=signals,
            scored=scored,
            health=[table for table in (health_table(study), overlap_table(study)) if table is not None],
            costs=read_costs(study),
            flips=flips,
            absent=[
                *_undrawn(study),
                *absent,
                *absent_paper_figures(study),
                *(("items that changed sides", why) for why in unread),
            ],
            problems=[str(problem) for problem in study.problems],
        )
        written = _write_tables(study, parts, paths)
        write_json_atomic(paths.claims, claims_document(study, claims, parts, method, margin))
        page = render_page(study, claims, method, parts)
    write_text_atomic(paths.index, page)
    _remove_others(paths.table("any", "csv").parent, ["provenance", *written])
    _remove_others(paths.figure("any", "svg").parent, [figure.name for figure in figures])
    return paths.index


def _remove_others(folder: Path, written: Collection[str]) -> None:
    """Tables or figures of an earlier report that this one does not have: they would pass for its own."""
    for path in folder.glob("*.*"):
        if path.stem not in written:
            path.unlink()


def _tables(study: Study, claims: Sequence[Claim], interactions: Sequence[Claim]) -> tuple[list[Table], list[tuple[str, str]]]:
    """The comparison and the changes first, then what vocabularies save, then the paper's tables; and why some of those are not there."""
    efficiency = token_efficiency_table(study)
    changes = [changes_table(study, claims)] if claims else []
    changes += [changes_table(study, interactions, name="interactions")] if interactions else []
    filled, absent = fill_paper_tables(study)
    return [comparison_table(study), *changes, *([efficiency] if efficiency else []), *filled], absent


def _write_tables(study: Study, parts: Parts, paths: ReportPaths) -> list[str]:
    """Every table of the page, and where each of their numbers comes from; returns their names."""
    sourced = page_tables(parts)
    cost = [cost_table(study, parts.costs)] if parts.costs else []
    tables = [*sourced, *parts.health, *cost, runs_table(study)]
    for table in tables:
        write_table(table, paths)
    write_text_atomic(paths.table("provenance", "csv"), provenance_csv(sourced))
    return [table.name for table in tables]


def claims_document(
    study: Study, claims: Sequence[Claim], parts: Parts, method: Method, margin: Mapping[str, float] | None = None
) -> dict[str, object]:
    """claims.json: the method, what is missing or wrong, every contrast on every measure, and every cell against its own token 0."""
    return {
        "name": study.name,
        "question": study.question,
        "section": study.section,
        "expects": study.expects,
        "method": {**asdict(method), **method_document(margin)},
        "missing": [asdict(missing) for missing in study.missing],
        "problems": [asdict(problem) for problem in study.problems],
        "claims": [asdict(claim) for claim in claims],
        "interactions": [asdict(claim) for claim in parts.interactions],
        "expectations": [
            {"contrast": s.claim.contrast, "measure": s.claim.measure, "expected": s.expected, "result": s.result} for s in parts.scored
        ],
        "signal": [{**asdict(one), "ratio": one.ratio} for one in parts.signals],
        "training": [asdict(claim) for claim in parts.training],
    }


def _undrawn(study: Study) -> list[tuple[str, str]]:
    """The figure of all contrasts, where they are more than a page shows."""
    if len(study.contrasts) <= MOST_CONTRASTS:
        return []
    why = f"{len(study.contrasts)} contrasts are too many for one drawing: the table of changes and Figures 4 and 5 have them"
    return [("changes", why)]


def _draw(
    comparer: Comparer, claims: Sequence[Claim], training: Sequence[Claim], moved: Sequence[Moved], paths: ReportPaths
) -> list[PageFigure]:
    study, figures = comparer.study, []
    changes = changes_figure(study, claims) if len(study.contrasts) <= MOST_CONTRASTS else None
    if changes is not None:
        told = " ".join(summary(c.label, [claim for claim in claims if claim.contrast == c.label]) for c in study.contrasts)
        figures.append(
            PageFigure(
                "changes",
                "What each choice changed",
                save_figure(changes, "changes", paths),
                f"Relative change of every task for every contrast, with 95% intervals around a line at zero. {told}",
                "Lines are 95% intervals over runs and items. Filled: improved or degraded after adjustment; hollow: inconclusive. "
                "Hollow and dotted: one run per side, interval over items alone. "
                "Panels have axes of their own: compare within a panel.",
            )
        )
    figures.append(
        PageFigure(
            "learning",
            "How scores grew",
            save_figure(learning_figure(study), "learning", paths),
            f"Score against trained tokens for {listing([study.label_of(m) for m in study.measures])}, one line for each cell. "
            + _finals(study),
            "Bands are 95% intervals of each score over runs and items, or over items alone for a cell with one run. They are not paired: "
            "overlapping bands do not mean that there is no difference.",
        )
    )
    forgetting = forgetting_figure(study, moved)
    if forgetting is not None:
        words = "What each cell forgot of its own token 0, and what it learnt"
        told = " ".join(f"{m.cell}, {m.task}: {plain(m.forgotten.value, 1)}% forgotten, {plain(m.learnt.value, 1)}% learnt." for m in moved)
        svg = save_figure(forgetting, "forgetting", paths)
        figures.append(PageFigure("forgetting", words, svg, f"{words}. {told}", FORGETTING_CAPTION))
    efficiency = draw_token_efficiency(study, paths)
    return [*figures, *([efficiency] if efficiency else []), *draw_paper_figures(comparer, claims, paths, training=training)]


def _finals(study: Study) -> str:
    """Where every line ends, for readers who do not see the figure."""
    table = comparison_table(study)
    ends = []
    for j, measure in enumerate(study.measures, start=1):
        values = [
            f"{row[0]} {plain(v, measure.decimals)}"
            for row, line in zip(table.rows, table.values, strict=True)
            if (v := line[j]) is not None
        ]
        if values:
            ends.append(f"{study.label_of(measure)}: {', '.join(values)}.")
    return "At the last checkpoint: " + " ".join(ends)
