"""The paper's own Tables 1-10 and Appendix D.4, regenerated from its published numbers by the functions that make ours.

Reads  analysis/paper/*.csv.  Writes  nothing.  Source  paper Tables 1-10, Appendix D.4.
"""

from __future__ import annotations

from analysis.paper.published import (
    layout_rows,
    model_rows,
    pairs_rows,
    read_scores,
    shape_rows,
    task_rows,
    tasks_of,
    throughput_rows,
)
from analysis.paper.rows import score_row
from analysis.paper.score_tables import scores_table
from analysis.paper.setting_tables import compute_table, table1, table6, table7, table8, table10, tasks_table
from analysis.table import Table

CAPTIONS = {
    "table4_japanese": "Swallow and Llama 2, from which it was trained, on the Japanese tasks (Table 4, first part).",
    "table4_english": "Swallow and Llama 2 on the English tasks (Table 4, second part).",
    "table5": "Swallow and models trained from scratch on the Japanese tasks (Table 5). Bold: best of its size.",
    "table9": "Every evaluated model on the Japanese tasks (Table 9). Bold: best of its size.",
}
WITHOUT_BOLD = ("table4_japanese", "table4_english")  # as printed


def published_tables() -> list[Table]:
    """In the paper's order."""
    speeds = throughput_rows()
    return [
        table1(shape_rows(), "Architecture and hyperparameters of Swallow (Table 1)."),
        tasks_table("table2", task_rows("table2"), "Japanese datasets (Table 2). EM: exact match."),
        tasks_table("table3", task_rows("table3"), "English datasets (Table 3). EM: exact match."),
        published_scores("table4_japanese"),
        published_scores("table4_english"),
        published_scores("table5"),
        table6(layout_rows(), "Distributed training (Table 6). Devices, not printed there, are DP × TP × PP."),
        table7(speeds, "TFLOPS per GPU (Table 7; NVIDIA A100 40GB, 312 at most)."),
        compute_table(speeds, "Computation of each training run, about (Appendix D.4)."),
        table8(pairs_rows(), "Uses of the parallel corpus (Table 8)."),
        published_scores("table9"),
        table10(model_rows(), "Evaluated models (Table 10). VE vocabulary expansion, CT continual pre-training, PT from scratch."),
    ]


def published_scores(table: str) -> Table:
    """Table 4 (one part), 5 or 9."""
    rows = [score_row(row.model.label(table), row.model.size, row.records, printed_average=row.average) for row in read_scores(table)]
    return scores_table(table, CAPTIONS[table], rows, tasks_of(table), bold=table not in WITHOUT_BOLD)
