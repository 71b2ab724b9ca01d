"""The paper's published numbers, from the csv files beside this module: one file a table, one that owns every spelling of a model.

models.csv      every model: key, spellings of each table and of the text, Table 10, and which cell of ours corresponds to it
tasks.csv       Tables 2 and 3: every task with its name, its metric's name and its aggregate in our records
table4_*.csv, table5.csv, table9.csv    scores as printed; `bold`: the columns that are bold in the row
table1.csv, table6.csv, table7.csv, table8.csv    as printed, in plain units
numbers.csv     every number that the text states; `to`: the other end of a range

Scores become EvaluationRecord with source "paper": run_id is the model's key, trained_tokens those of its continual pre-training.
Reads   analysis/paper/*.csv.  Writes  nothing.  Source  paper Tables 1-10 and text.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from analysis.paper.rows import LayoutRow, ModelRow, PairsRow, ShapeRow, TaskRow, ThroughputRow
from swallow_exp.record.schema import EvaluationRecord

PAPER = "paper"
SCORE_TABLES = ("table4_japanese", "table4_english", "table5", "table9")
SPELLED = ("table4", "table5", "table9", "table10")
YES = "yes"


@dataclass(frozen=True)
class PaperModel:
    """A model that the paper evaluates, under every name it has there."""

    key: str
    size: str  # 7B | 13B | 70B: the block of Table 9; 14B models stand with 13B
    parameters: str
    base_model: str  # key; empty: trained from scratch, or the paper does not say
    training: str  # Table 10: CT continual pre-training, PT from scratch, VE vocabulary expansion; languages
    japan: bool  # developed in Japan
    hugging_face: str
    spellings: dict[str, str]  # table -> as printed there; `text` -> as in the running text
    cell: dict[str, str]  # identity group -> level of the cell of ours that corresponds to it; empty: none does
    cell_tokens: int | None

    @property
    def from_scratch(self) -> bool:
        """Whether it was not trained from another model."""
        return self.training.startswith("PT")

    def label(self, table: str) -> str:
        """Its name in a table (`table4_english` is Table 4); Table 10's where it has none there."""
        return self.spellings.get(table.partition("_")[0]) or self.spellings["table10"]


@dataclass(frozen=True)
class PaperTask:
    """One column of Table 2 or 3, and what it is called in our records."""

    task: str
    table: str  # table2 | table3
    language: str
    benchmark: str
    category: str
    dataset: str
    column: str  # heading in Tables 4, 5 and 9
    name: str
    instances: int
    num_fewshot: int
    eval_metric: str
    metric: str
    aggregate: str


@dataclass(frozen=True)
class Scores:
    """One row of a table of scores, as printed."""

    model: PaperModel
    records: tuple[EvaluationRecord, ...]  # one a task, in the order of the columns
    average: float
    bold: frozenset[str]  # tasks, and `average`


@dataclass(frozen=True)
class Stated:
    """A number of the text. `low` and `high` are equal unless the text states a range; None: not a plain number (a date, a fraction)."""

    key: str
    text: str
    low: float | None
    high: float | None
    unit: str
    section: str
    what: str

    @property
    def value(self) -> float:
        """The one number."""
        assert self.low is not None and self.low == self.high, self
        return self.low


def _rows(name: str) -> list[dict[str, str]]:
    text = (files("analysis.paper") / f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


@cache
def read_models() -> dict[str, PaperModel]:
    """key -> model, in the order of Table 10."""
    models = {}
    for row in _rows("models"):
        cell = {group: level for group in ("base_model", "vocabulary", "mixture", "parallel") if (level := row[f"cell_{group}"])}
        models[row["key"]] = PaperModel(
            key=row["key"],
            size=row["size"],
            parameters=row["parameters"],
            base_model=row["base_model"],
            training=row["training"],
            japan=row["japan"] == YES,
            hugging_face=row["hugging_face"],
            spellings={where: row[where] for where in (*SPELLED, "text") if row[where]},
            cell=cell,
            cell_tokens=int(row["cell_tokens"]) if row["cell_tokens"] else None,
        )
    return models


def find_model(spelling: str) -> PaperModel | None:
    """The model behind any spelling: its key, a table's, the text's, its name on Hugging Face with or without the owner."""
    for model in read_models().values():
        if spelling in (model.key, model.hugging_face, model.hugging_face.partition("/")[2], *model.spellings.values()):
            return model
    return None


@cache
def read_tasks() -> dict[str, PaperTask]:
    """Our name of a task -> its column, in the order of Tables 2 and 3."""
    counts = ("instances", "num_fewshot")
    rows = [{**row, "table": f"table{row['table']}"} for row in _rows("tasks")]
    return {
        row["task"]: PaperTask(
            **{name: text for name, text in row.items() if name not in counts},
            instances=int(row["instances"]),
            num_fewshot=int(row["num_fewshot"]),
        )
        for row in rows
    }


@cache
def tasks_of(table: str) -> tuple[PaperTask, ...]:
    """Columns of a table of scores, in its order (Table 4 and Table 3 order the English tasks differently)."""
    assert table in SCORE_TABLES, table
    return tuple(task for name in _rows(table)[0] if (task := read_tasks().get(name)) is not None)


@cache
def read_scores(table: str) -> tuple[Scores, ...]:
    """The rows of a table of scores, in its order."""
    found = []
    for row in _rows(table):
        model = read_models()[row["model"]]
        records = tuple(_record(model, task, float(row[task.task])) for task in tasks_of(table))
        found.append(Scores(model, records, float(row["average"]), frozenset(row["bold"].split())))
    return tuple(found)


def _record(model: PaperModel, task: PaperTask, score: float) -> EvaluationRecord:
    return EvaluationRecord(
        run_id=model.key,
        trained_tokens=model.cell_tokens or 0,
        suite=f"paper_{'ja' if task.language == 'Japanese' else 'en'}",
        task=task.task,
        task_version=PAPER,
        profile=PAPER,
        metric=task.metric,
        aggregate=task.aggregate,
        higher_is_better=True,
        num_fewshot=task.num_fewshot,
        num_items=task.instances,
        score=score,
        prompt_digest="",
        checkpoint_digest="",
        source=PAPER,
    )


@cache
def paper_scores() -> dict[tuple[str, str], float]:
    """(model, task) -> the published score; tables that print it twice agree."""
    found: dict[tuple[str, str], float] = {}
    for table in SCORE_TABLES:
        for record in (record for row in read_scores(table) for record in row.records):
            known = found.setdefault((record.run_id, record.task), record.score)
            assert known == record.score, record
    return found


@cache
def paper_averages() -> dict[tuple[str, str], float]:
    """(model, language) -> the published Avg."""
    return {(row.model.key, tasks_of(table)[0].language): row.average for table in SCORE_TABLES for row in read_scores(table)}


@cache
def read_numbers() -> dict[str, Stated]:
    """key -> number of the text, in its order."""
    numbers = {}
    for row in _rows("numbers"):
        low = _plain(row["value"])
        high = _plain(row["to"]) if row["to"] else low
        text = f"{row['value']}–{row['to']}" if row["to"] else row["value"]
        numbers[row["key"]] = Stated(row["key"], text, low, high, row["unit"], row["section"], row["what"])
    return numbers


def _plain(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def task_rows(table: str) -> list[TaskRow]:
    """Table 2 or 3."""
    tasks = [task for task in read_tasks().values() if task.table == table]
    return [TaskRow(t.dataset, t.benchmark, t.category, f"{t.instances:,}", str(t.num_fewshot), t.eval_metric) for t in tasks]


def shape_rows() -> list[ShapeRow]:
    """Table 1."""
    return [
        ShapeRow(
            row["size"],
            int(row["d_model"]),
            int(row["num_heads"]),
            int(row["num_layers"]),
            int(row["context_length"]),
            row["gqa"] == YES,
            float(row["tokens"]),
            float(row["learning_rate"]),
        )
        for row in _rows("table1")
    ]


def layout_rows() -> list[LayoutRow]:
    """Table 6."""
    return [
        LayoutRow(
            row["size"],
            int(row["data_parallel"]),
            int(row["tensor_parallel"]),
            int(row["pipeline_parallel"]),
            row["sequence_parallel"] == YES,
            row["distributed_optimizer"] == YES,
        )
        for row in _rows("table6")
    ]


def throughput_rows() -> list[ThroughputRow]:
    """Table 7 and Appendix D.4."""
    numbers = read_numbers()
    return [
        ThroughputRow(
            row["size"],
            int(row["nodes"]),
            float(row["tflops_per_gpu"]),
            float(row["execution_efficiency_percent"]) / 100,
            numbers[f"flops_{row['size'].lower()}"].value,
        )
        for row in _rows("table7")
    ]


def pairs_rows() -> list[PairsRow]:
    """Table 8."""
    return [PairsRow(row["format"], row["order"], float(row["tokens"])) for row in _rows("table8")]


def model_rows() -> list[ModelRow]:
    """Table 10."""
    return [ModelRow(model.label("table10"), f"({model.training})", model.hugging_face) for model in read_models().values()]
