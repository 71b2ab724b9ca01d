"""The paper's Tables 1-10 (and D.4) of one study: those that its records can fill, and why the others are absent.

Reads  the study and the files of its runs (paper_study.py).  Writes  nothing.  Source  paper Tables 1-10, Appendix D.4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from analysis.load import Study
from analysis.paper.published import read_models, read_tasks, tasks_of
from analysis.paper.rows import ThroughputRow
from analysis.paper.score_tables import scores_table
from analysis.paper.setting_tables import compute_table, table1, table6, table7, table8, table10, tasks_table
from analysis.paper.study_rows import (
    Facts,
    Scored,
    facts_of,
    layout_rows_of,
    model_rows_of,
    pairs_rows_of,
    score_rows_of,
    scored_models,
    shape_rows_of,
    task_rows_of,
    throughput_rows_of,
)
from analysis.table import Table
from analysis.wording import listing

NO_FACTS = "no run of the sweep has a readable identity"


def fill_paper_tables(study: Study) -> tuple[list[Table], list[tuple[str, str]]]:
    """Those that the study fills, in the paper's order (table1, table2, ..., table4_japanese, ...), and (name, why) of the others."""
    every = _all(study)
    filled = [found for _, found in every if isinstance(found, Table)]
    return filled, [(name, found) for name, found in every if isinstance(found, str)]


def _all(study: Study) -> list[tuple[str, Table | str]]:
    """Every table, or the reason for its absence."""
    facts = facts_of(study)
    speeds = throughput_rows_of(study, facts)
    japanese, english = (scored_models(study, facts, tasks_of(f"table4_{part}")) for part in ("japanese", "english"))
    return [
        ("table1", table1(rows, "Architecture and hyperparameters of the cells.") if (rows := shape_rows_of(facts)) else NO_FACTS),
        *((name, _tasks(study, name)) for name in ("table2", "table3")),
        ("table4_japanese", _scores(study, "table4_japanese", [one for one in japanese if one.cell is not None])),
        ("table4_english", _scores(study, "table4_english", [one for one in english if one.cell is not None])),
        ("table5", _table5(study, japanese)),
        ("table6", _table6(facts)),
        ("table7", _measured(speeds, lambda row: row.tflops_per_device, table7, CAPTION7)),
        ("appendix_d4", _measured(speeds, lambda row: row.flops, compute_table, CAPTION_D4)),
        ("table8", _table8(facts)),
        ("table9", _table9(study, japanese)),
        ("table10", table10(model_rows_of(study, facts), CAPTION10) if facts else NO_FACTS),
    ]


CAPTION7 = (
    "Speed of training: medians over the logged steps. TFLOPS are the model's, without recomputed activations; efficiency is their share "
    "of the device's peak, where that is known."
)
CAPTION_D4 = "Computation of each training run so far: model FLOPs, without recomputed activations."
CAPTION10 = (
    "Models of this study. VE vocabulary expansion, CT continual pre-training, PT from scratch; languages of the documents, the largest "
    "share first; pairs: with a parallel corpus."
)
CAPTIONS = {
    "table4_japanese": "The cells and what they were trained from on the Japanese tasks, each metric as the paper computed it.",
    "table4_english": "The same on the English tasks.",
    "table5": "The cells and models trained from scratch on the Japanese tasks.",
    "table9": "The cells and other models on the Japanese tasks.",
}


def _scores(study: Study, name: str, scored: Sequence[Scored]) -> Table | str:
    tasks = tasks_of(name)
    if not scored:
        asked = listing([task.task for task in tasks])
        return f"none of its tasks ({asked}) was asked with the paper's metric"
    caption = f"{CAPTIONS[name]} Bold: best of its block."
    return scores_table(name, caption, score_rows_of(study, scored), tasks)


def _tasks(study: Study, name: str) -> Table | str:
    rows = task_rows_of(study, name)
    known = listing([task.task for task in read_tasks().values() if task.table == name])
    return tasks_table(name, rows, "Datasets as they were asked here.") if rows else f"none of its tasks ({known}) was asked"


def _table5(study: Study, scored: Sequence[Scored]) -> Table | str:
    wanted = [model for model in read_models().values() if "table5" in model.spellings and model.from_scratch]
    others = [one for one in scored if one.model in wanted]
    trained = [one for one in scored if one.cell is not None and not one.is_start]
    if not others:
        names = listing([model.hugging_face for model in wanted])
        return f"no model trained from scratch was evaluated here ({names}: `swallow evaluate MODEL suite=paper_ja`)"
    return _scores(study, "table5", [one for one in scored if one in others or one in trained])


def _table9(study: Study, scored: Sequence[Scored]) -> Table | str:
    if all(one.cell is not None for one in scored):
        return "no model of others was evaluated here on its tasks (`swallow evaluate MODEL suite=paper_ja`)"
    return _scores(study, "table9", scored)


def _table6(facts: Sequence[Facts]) -> Table | str:
    rows = layout_rows_of(facts)
    caption = "How each model was spread: DP times TP devices, no pipeline stages; sharding stands for the distributed optimizer."
    return table6(rows, caption) if rows else "no run of the sweep has a readable config.yaml"


def _table8(facts: Sequence[Facts]) -> Table | str:
    rows = pairs_rows_of(facts)
    caption = "Uses of the parallel corpus; tokens are those with a loss (of instructions the target's alone)."
    return table8(rows, caption) if rows else "no cell uses a parallel corpus"


def _measured(
    rows: Sequence[ThroughputRow],
    value: Callable[[ThroughputRow], float | None],
    table: Callable[[Sequence[ThroughputRow], str], Table],
    caption: str,
) -> Table | str:
    found = [row for row in rows if value(row) is not None]
    return table(found, caption) if found else "no run of the sweep has logged it"
