"""The two tables of every sweep.

comparison   rows: cells (and the weights before training); columns: measures; the last evaluated checkpoint of every run
changes      rows: contrast x measure; score, baseline, difference and relative change with 95% intervals, adjusted p, verdict

Reads  nothing but the study and its claims.  Writes  nothing.  Source  paper Table 4 (shape).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.claims.align import Aligned, align, arm_score, one
from analysis.claims.asked import test_of, usual_test
from analysis.claims.claim import Claim
from analysis.frames import Cell
from analysis.load import Measure, Study
from analysis.table import OTHER_TEST, Table, as_markdown
from analysis.wording import ABSENT, decimals_of, difference_text, interval, p_text, plain, relative_text, score_text, tokens_text

if TYPE_CHECKING:
    from swallow_exp.record.schema import EvaluationRecord

CHANGES = (
    "contrast", "task", "verdict", "baseline", "score", "difference", "relative change", "adjusted p", "p (BH)",
    "these runs, other items", "run noise", "runs per side", "items",
)  # fmt: skip
SOMETIMES = ("baseline", "score", "p (BH)", "run noise")  # columns that are left out where no claim has them


def comparison_table(study: Study) -> Table:
    """Cells by measures at the last evaluated checkpoint; rows for the weights before training come first."""
    measures = study.measures
    cells = [(row_label(study, cell), [final_records(study, cell, m) for m in measures]) for cell in study.cells]
    usual = [usual_test(record for _, line in cells for record in line[j]) for j in range(len(measures))]
    labelled = [*start_rows(study), *cells]
    scores = [[pooled_score(study, records) for records in line] for _, line in labelled]
    odd = {(i, j) for i, (_, line) in enumerate(labelled) for j, records in enumerate(line) if any(test_of(r) != usual[j] for r in records)}
    caption = f"{study.question} Scores at the last evaluated checkpoint; bold: best in its column."
    if odd:
        caption += f" {OTHER_TEST} asked differently from the rest of its column, so not to be compared with it."
    arrows = ["↑" if m.higher_is_better else "↓" for m in measures]
    return Table(
        name="comparison",
        caption=caption,
        columns=("cell", *(f"{study.label_of(m)} {arrow}" for m, arrow in zip(measures, arrows, strict=True))),
        rows=tuple(
            (label, *(score_text(scores[i][j], m) + OTHER_TEST * ((i, j) in odd) for j, m in enumerate(measures)))
            for i, (label, _) in enumerate(labelled)
        ),
        values=tuple((None, *line) for line in scores),
        best=_best([[None if (i, j) in odd else v for j, v in enumerate(line)] for i, line in enumerate(scores)], measures),
        footer=(
            ("metric", *(m.metric for m in study.measures)),
            ("items", *(_item_counts(study, m) for m in study.measures)),
        ),
        sources={(i, j): tuple(records) for i, (_, line) in enumerate(labelled) for j, records in enumerate(line, start=1) if records},
    )


def _origins(study: Study, claims: Sequence[Claim]) -> list[dict[str, tuple[EvaluationRecord, ...]]]:
    """For each claim: column -> the evaluations behind its number, those of the baseline first."""
    measures = {(m.task, m.metric, m.profile): m for m in study.measures}
    found = []
    for claim in claims:
        measure = measures[claim.task, claim.metric, claim.profile]
        sides = ((claim.baseline_run_ids, claim.baseline_trained_tokens), (claim.run_ids, claim.trained_tokens))
        theirs, ours = (
            tuple(record for r, t in zip(runs, tokens, strict=True) if (record := study.record_of(r, t, measure))) for runs, tokens in sides
        )
        found.append({"baseline": theirs, "score": ours, **dict.fromkeys(CHANGES[5:], theirs + ours)})
    return found


def changes_table(study: Study, claims: Sequence[Claim], *, name: str = "changes") -> Table:
    """Every comparison on every measure. Intervals are over runs and items, and beside them over items alone."""
    rows, values = [], []
    for claim in claims:
        decimals = decimals_of(claim)
        rows.append(
            (
                claim.contrast,
                claim.measure,
                claim.verdict,
                ABSENT if claim.baseline_score is None else plain(claim.baseline_score, decimals),
                ABSENT if claim.score is None else plain(claim.score, decimals),
                difference_text(claim, unit=False),
                relative_text(claim),
                ABSENT if claim.p_holm is None else p_text(claim.p_holm),
                ABSENT if claim.p_bh is None else p_text(claim.p_bh),
                ABSENT if claim.items_interval is None else interval(claim.items_interval, decimals),
                ABSENT if claim.run_noise is None else plain(claim.run_noise, decimals),
                ABSENT if claim.difference is None else f"{max(1, len(claim.seed_differences))}",
                ABSENT if claim.num_items is None else f"{claim.num_items}",
            )
        )
        count = None if claim.num_items is None else float(claim.num_items)
        scores = (claim.baseline_score, claim.score, claim.difference, claim.relative_change)
        runs = None if claim.difference is None else float(max(1, len(claim.seed_differences)))
        values.append((None, None, None, *scores, claim.p_holm, claim.p_bh, None, claim.run_noise, runs, count))
    used = [j for j, name in enumerate(CHANGES) if name not in SOMETIMES or any(line[j] is not None for line in values)]
    origins = _origins(study, claims)
    return Table(
        name=name,
        caption=(
            "Differences of paired runs on the same items, with 95% intervals over runs and items; p adjusted (Holm) over all comparisons "
            "of the report. Run noise: one standard deviation of the difference between runs."
        ),
        columns=tuple(CHANGES[j] for j in used),
        rows=tuple(tuple(row[j] for j in used) for row in rows),
        values=tuple(tuple(line[j] for j in used) for line in values),
        sources={
            (i, place): of for i, by_column in enumerate(origins) for place, j in enumerate(used) if (of := by_column.get(CHANGES[j]))
        },
    )


def finals_of(study: Study, cell: Cell) -> list[tuple[str, int]]:
    """(run_id, trained tokens) of the last evaluated checkpoint of every run of the cell that has one past token 0."""
    return [(run_id, tokens[-1]) for run_id in cell.run_ids if (tokens := study.checkpoints_of(run_id)) and tokens[-1] > 0]


def row_label(study: Study, cell: Cell) -> str:
    """The cell's label; a cell that is not trained to its end says where it stands."""
    finals = finals_of(study, cell)
    unfinished = [tokens for run_id, tokens in finals if study.state_of(run_id) != "trained"]
    return f"{cell.label} (unfinished, {tokens_text(min(unfinished))} tokens)" if unfinished else cell.label


def final_records(study: Study, cell: Cell, measure: Measure) -> list[EvaluationRecord]:
    """One measure at the last evaluated checkpoint of every seed that has it."""
    return [record for run_id, tokens in finals_of(study, cell) if (record := study.record_of(run_id, tokens, measure))]


def pooled_score(study: Study, records: Sequence[EvaluationRecord]) -> float | None:
    """Score over the seeds that have this measure; None when there is none, or when they were asked differently."""
    if not records or len({test_of(record) for record in records}) > 1:
        return None
    over_items = align(study, [(one(record),) for record in records]) if len(records) > 1 else ""
    if any(study.problem_of(record) for record in records):
        return None  # of damaged items: named as a problem, in no average
    if isinstance(over_items, Aligned):
        return arm_score(over_items, records[0].aggregate)
    return sum(record.score for record in records) / len(records)


def start_rows(study: Study) -> list[tuple[str, list[list[EvaluationRecord]]]]:
    """One row for each different set of start weights (a vocabulary of its own means start weights of its own)."""
    start = {r.run_id: r.checkpoint_digest for r in study.records if r.trained_tokens == 0}
    cell_of = {run_id: cell for cell in study.cells for run_id in cell.run_ids}
    groups: dict[str, list[str]] = {}
    for run_id, digest in start.items():
        groups.setdefault(digest, []).append(run_id)
    rows = []
    for run_ids in groups.values():
        label = "before training"
        if len(groups) > 1:
            cells = [cell_of[run_id] for run_id in run_ids]
            shared = [levels.pop() for f in study.axes if len(levels := {cell.choices.get(f, "") for cell in cells}) == 1]
            label += f" ({', '.join(level for level in shared if level) or cells[0].label})"
        records = [[record for r in run_ids if (record := study.record_of(r, 0, m))] for m in study.measures]
        rows.append((label, [found[:1] for found in records]))
    return rows


def _best(scores: Sequence[Sequence[float | None]], measures: Sequence[Measure]) -> frozenset[tuple[int, int]]:
    """(row, column) of the best printed value of every column that has at least two different ones."""
    best = set()
    for column, measure in enumerate(measures):
        printed = {row: round(v, measure.decimals) for row, line in enumerate(scores) if (v := line[column]) is not None}
        if len(set(printed.values())) > 1:
            top = max(printed.values()) if measure.higher_is_better else min(printed.values())
            best |= {(row, column + 1) for row, value in printed.items() if value == top}
    return frozenset(best)


def _item_counts(study: Study, measure: Measure) -> str:
    counts = sorted({record.num_items for record in study.records_of(measure)})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"


def study_summary(study: Study) -> str:
    """The comparison table (Markdown), then a line for each missing or unusable thing."""
    lines = [as_markdown(comparison_table(study)).rstrip(), ""]
    lines += [f"missing: {missing.label}: {missing.reason}" for missing in study.missing]
    lines += [f"problem: {problem}" for problem in study.problems]
    return "\n".join(lines).rstrip() + "\n"
