"""Ours beside the paper's: for every model of the paper that this study has, ours | paper | difference on every task.

Corresponds   a cell with the paper's base model, vocabulary, mixture, no pairs and 100B tokens, trained to its end -> Swallow;
              token 0 of such a base model -> Llama 2; a model of its name on Hugging Face that was evaluated here -> itself
Text, recipe and machine may still differ; what was asked differently from the paper is marked.

Reads  the study, analysis/paper/*.csv.  Writes  nothing (report: tables/beside_paper_*).  Source  paper Tables 4 and 9.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.load import Study, load_study
from analysis.paper.published import PaperModel, PaperTask, paper_averages, paper_scores, read_models, tasks_of
from analysis.paper.score_tables import AVERAGE, DECIMALS
from analysis.paper.study_rows import Facts, Scored, facts_of, score_rows_of, scored_models
from analysis.table import OTHER_TEST, Table, as_text, write_table
from analysis.wording import ABSENT, plain, signed
from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.paths import ReportPaths
from swallow_exp.record.schema import EvaluationRecord

TOKENS_TOLERANCE = 0.06  # the paper says about 100B, its scripts 104.9B
ADDED_ROWS = "its vocabulary has added rows, which the paper's Llama 2 has not"
PARTS = ("japanese", "english")


@dataclass(frozen=True)
class Counterpart:
    """One model of ours and the paper's that it corresponds to."""

    model: PaperModel
    ours: Scored
    remark: str = ""


@dataclass(frozen=True)
class BesidePaper:
    """The comparison of one study: tables, and what is not compared and why."""

    tables: tuple[Table, ...]
    reasons: tuple[str, ...]


def beside_paper(out: Path, name: str) -> BesidePaper:
    """Of sweep `name`. Raises RequestError when the study has no model of the paper."""
    found = compare_with_paper(load_study(out, name))
    if not found.tables:
        raise RequestError(
            f"report {name} --beside-paper: {'; '.join(found.reasons)}",
            expected="a model of the paper with results on its tasks (sweeps/main.yaml trains them, suite=paper asks them)",
            remedy="leave --beside-paper out; `swallow report --source paper` shows the paper's own",
        )
    return found


def write_beside_paper(out: Path, name: str, found: BesidePaper) -> str:
    """Write the tables beside those of the report of sweep `name`; returns them as text."""
    for table in found.tables:
        write_table(table, ReportPaths.of(out, name))
    told = [f"{table.caption}\n{as_text(table)}" for table in found.tables]
    return "\n\n".join([*told, *(["\n".join(f"not compared: {reason}" for reason in found.reasons)] if found.reasons else [])])


def compare_with_paper(study: Study) -> BesidePaper:
    """Tables beside_paper_japanese and beside_paper_english, those that have a row."""
    facts = facts_of(study)
    tables: list[Table] = []
    reasons: list[str] = []
    for part in PARTS:
        tasks = tasks_of(f"table4_{part}")
        pairs, why = find_counterparts(study, facts, scored_models(study, facts, tasks))
        printed = {model for model, task in paper_scores() if task == tasks[0].task}
        pairs = [pair for pair in pairs if pair.model.key in printed]
        reasons += why
        if pairs:
            tables.append(_table(study, part, pairs, tasks))
        elif not why:
            reasons.append(f"none of the {part.capitalize()} tasks was asked with the paper's metric")
    return BesidePaper(tuple(tables), tuple(dict.fromkeys(reasons)))


def find_counterparts(study: Study, facts: Sequence[Facts], scored: Sequence[Scored]) -> tuple[list[Counterpart], list[str]]:
    """Pairs in the order of Table 10, and why the other models have none."""
    facts_by_cell = {one.cell.label: one for one in facts}
    found, alone = [], []
    for one in scored:
        mine = facts_by_cell.get(one.cell.label) if one.cell is not None else None
        model, remark = _published(one, mine)
        if model is None:
            alone.append(f"{one.label}: no model of the paper whose scores it prints")
        elif one.cell is not None and not one.is_start and any(study.state_of(run_id) != "trained" for run_id in one.cell.run_ids):
            alone.append(f"{one.label}: {model.label('table4')} of the paper is trained to its end")
        else:
            found.append(Counterpart(model, one, remark))
    exact = {pair.model.key for pair in found if not pair.remark}
    order = list(read_models())
    kept = sorted((pair for pair in found if not pair.remark or pair.model.key not in exact), key=lambda pair: order.index(pair.model.key))
    return kept, alone


def _published(one: Scored, mine: Facts | None) -> tuple[PaperModel | None, str]:
    """The paper's model that a model of ours corresponds to, and what differs."""
    if one.cell is None:
        return one.model, ""
    if mine is None:
        return None, ""
    levels = {group: str(mine.of(group, "name")) for group in ("base_model", "vocabulary", "mixture", "parallel")}
    for model in read_models().values():
        if model.cell_tokens is None or model.cell.get("base_model") != levels["base_model"]:
            continue
        if one.is_start and model.cell_tokens == 0:
            return model, "" if model.cell["vocabulary"] == levels["vocabulary"] else ADDED_ROWS
        tokens = mine.of("budget", "tokens") or 0
        as_long = model.cell_tokens > 0 and abs(tokens / model.cell_tokens - 1) <= TOKENS_TOLERANCE
        if not one.is_start and as_long and all(levels[group] == level for group, level in model.cell.items()):
            return model, ""
    return None, ""


def _as_the_paper(records: Sequence[EvaluationRecord], task: PaperTask) -> bool:
    return all((r.num_items, r.num_fewshot) == (task.instances, task.num_fewshot) and (r.fraction or 1) == 1 for r in records)


def _table(study: Study, part: str, pairs: Sequence[Counterpart], tasks: Sequence[PaperTask]) -> Table:
    """Three rows a model. An average that rests on a marked score is marked."""
    scores, averages, names = paper_scores(), paper_averages(), [task.task for task in tasks]
    texts: list[tuple[str, ...]] = []
    values: list[tuple[float | None, ...]] = []
    for pair, row in zip(pairs, score_rows_of(study, [pair.ours for pair in pairs]), strict=True):
        ours = [*(row.scores.get(task) for task in names), row.average(names)]
        theirs = [*(scores[pair.model.key, task] for task in names), averages[pair.model.key, tasks[0].language]]
        differences = [None if a is None else a - b for a, b in zip(ours, theirs, strict=True)]
        odd = [not _as_the_paper(pair.ours.records[task.task], task) for task in tasks]
        signs = [OTHER_TEST * (mark and score is not None) for mark, score in zip([*odd, any(odd)], ours, strict=True)]
        label = pair.model.label("table4")
        for whose, line, print_number in (("ours", ours, plain), ("paper", theirs, plain), ("difference", differences, signed)):
            shown = [
                ABSENT if v is None else print_number(v, DECIMALS) + sign * (whose != "paper") for v, sign in zip(line, signs, strict=True)
            ]
            name = f"{label}, {whose}" if whose != "ours" else f"{label}, ours ({pair.ours.label})"
            texts.append((name, *shown))
            values.append((None, *line))
    caption = (
        f"The paper's models on the {part.capitalize()} tasks: ours, the paper's, and ours − paper's in points. "
        "The paper prints no items: no interval."
    )
    remarks = [f"{pair.ours.label}: {pair.remark}." for pair in pairs if pair.remark]
    if any(OTHER_TEST in text for line in texts for text in line):
        remarks.append(f"{OTHER_TEST} not all of the paper's items, or other shots.")
    return Table(
        name=f"beside_paper_{part}",
        caption=" ".join([caption, *remarks]),
        columns=("Model", *(task.column for task in tasks), AVERAGE),
        rows=tuple(texts),
        values=tuple(values),
        rules=frozenset(range(3, len(texts), 3)),
    )
