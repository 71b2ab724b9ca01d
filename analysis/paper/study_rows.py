"""From a study to the lines of the paper's tables: what its runs are, what they scored, what their devices did.

(1) facts      identity, config, start weights and token plan of the first readable run of every cell
(2) sizes      7B, 13B, 70B for the paper's base models, else a block for each base model, the smallest first
(3) rows       of Tables 1-3, 6-8, 10 and D.4 from the facts, of Tables 4, 5 and 9 from the scores

Models that no run made stand beside the cells, with the scores they have under the same output root.
Reads   <out>/runs/*/{identity,config,inputs,events}, the config.json, manifest.json and plan.json of artefacts, <out>/models.
Writes  nothing.  Source  paper Tables 1-10.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from analysis.claims.asked import test_of, usual_test
from analysis.frames import Cell
from analysis.load import Study
from analysis.paper.published import PAPER, PaperModel, PaperTask, find_model, read_models, read_tasks
from analysis.paper.rows import LayoutRow, ModelRow, PairsRow, ScoreRow, ShapeRow, TaskRow, ThroughputRow
from analysis.scores import finals_of, pooled_score, row_label, start_rows
from analysis.wording import ABSENT, tokens_text
from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.manifest import find_artefact
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.efficiency import efficiency_of
from swallow_exp.record.events import read_events
from swallow_exp.record.schema import EvaluationRecord
from swallow_exp.record.store import list_model_ids, read_config, read_evaluations

Plain = Mapping[str, Any]
PROFILES = (PAPER, "both")


@dataclass(frozen=True)
class Facts:
    """What one cell is. Every mapping is empty where its file is gone."""

    cell: Cell
    run: RunPaths
    identity: Plain
    config: Plain
    weights: Plain  # config.json of the start weights
    parameters: int | None  # of the start weights
    plan: Plain  # of the token plan

    def of(self, group: str, name: str) -> Any:
        """One value of the identity, or None."""
        values = self.identity.get(group)
        return values.get(name) if isinstance(values, Mapping) else None

    @property
    def base_model(self) -> str:
        """Name of the base model's level."""
        return str(self.of("base_model", "name") or self.cell.choices.get("base_model", ""))

    @property
    def count(self) -> str:
        """Parameters as the paper prints them, or as counted; empty: not known."""
        base = _paper_base(self.base_model)
        return base.parameters if base else tokens_text(self.parameters) if self.parameters else ""

    def called(self, what: str) -> str:
        """`7B (what)`, where the parameters are known."""
        return f"{self.count} ({what})" if self.count else what


@dataclass(frozen=True, order=True)
class Size:
    """A block of a table: models of the paper's 7B, 13B or 70B, or cells of one base model."""

    parameters: float
    label: str


def size_of(model: PaperModel) -> Size:
    """Of a model the paper names."""
    return Size(float(model.size.removesuffix("B")) * 1e9, model.size)


def _paper_base(base_model: str) -> PaperModel | None:
    """The paper's model behind a level of ours."""
    return next((m for m in read_models().values() if m.cell_tokens == 0 and m.cell.get("base_model") == base_model), None)


def sizes_of(facts: Sequence[Facts]) -> dict[str, Size]:
    """Base model -> its block. Expansion adds rows: cells of one base model stay together, whatever they count."""
    sizes: dict[str, Size] = {}
    for one in facts:
        mine = Size(one.parameters or math.inf, one.base_model)
        base = _paper_base(one.base_model)
        sizes[one.base_model] = size_of(base) if base else min(mine, sizes.get(one.base_model, mine))
    return sizes


def _object(path: Path) -> dict[str, Any]:
    plain = read_json(path)
    return plain if isinstance(plain, dict) else {}


def facts_of(study: Study) -> list[Facts]:
    """Of every cell that has a run with a readable identity, in the order of the cells."""
    found = []
    for cell in study.cells:
        run = next((run for run_id in cell.run_ids if _object((run := RunPaths.of(study.out, run_id)).identity)), None)
        if run is None:
            continue
        inputs = _object(run.inputs)
        folders = {
            role: study.out / str(reference["folder"])
            for role in ("weights", "mixture")
            if isinstance(reference := inputs.get(role), dict) and "folder" in reference
        }
        weights = find_artefact(folders["weights"]) if "weights" in folders else None
        try:
            config: Plain = read_config(run)
        except RequestError:
            config = {}
        found.append(
            Facts(
                cell,
                run,
                _object(run.identity),
                config,
                _object(weights.folder / "config.json") if weights else {},
                weights.counts.get("parameters") if weights else None,
                _object(folders["mixture"] / "plan.json") if "mixture" in folders else {},
            )
        )
    return found


def shape_rows_of(facts: Sequence[Facts]) -> list[ShapeRow]:
    """Table 1: a row for each different architecture and recipe. A shape that the config leaves to the weights is read from them."""

    def shape(one: Facts, name: str, theirs: str) -> int | None:
        value = one.of("base_model", name) or one.weights.get(theirs)
        return int(value) if value else None

    rows = []
    for one in facts:
        heads, shared = shape(one, "num_heads", "num_attention_heads"), shape(one, "num_kv_heads", "num_key_value_heads")
        rows.append(
            ShapeRow(
                one.called(one.base_model),
                shape(one, "hidden_size", "hidden_size"),
                heads,
                shape(one, "num_layers", "num_hidden_layers"),
                one.of("optim", "sequence_length"),
                None if heads is None or shared is None else shared < heads,
                one.of("budget", "tokens"),
                one.of("optim", "lr_peak"),
            )
        )
    # expansion adds rows to the vocabulary: the same shape under two counts of parameters is one row
    different: dict[ShapeRow, ShapeRow] = {}
    for one, row in zip(facts, rows, strict=True):
        different.setdefault(replace(row, label=one.base_model), row)
    return list(different.values())


def layout_rows_of(facts: Sequence[Facts]) -> list[LayoutRow]:
    """Table 6: a row for each different strategy of a size. There are no pipeline stages; sharding stands for the distributed optimizer."""
    rows: dict[tuple[str, str], LayoutRow] = {}
    for one in facts:
        if isinstance(strategy := one.config.get("strategy"), Mapping):
            name, data, tensor = str(strategy["name"]), int(strategy["data_parallel"]), int(strategy["tensor_parallel"])
            sharded = data // int(strategy.get("replicas", 1)) > 1
            rows.setdefault((one.base_model, name), LayoutRow(one.called(name), data, tensor, 1, tensor > 1, sharded))
    return list(rows.values())


def throughput_rows_of(study: Study, facts: Sequence[Facts]) -> list[ThroughputRow]:
    """Table 7 and Appendix D.4: a row a cell, medians over the logged steps of its runs; FLOPs are the first run's so far."""
    rows = []
    for one in facts:
        logged = [list(read_events(RunPaths.of(study.out, run_id).events, "train")) for run_id in one.cell.run_ids]
        speed = efficiency_of((row for run in logged for row in run), model=one.called(one.cell.label))
        last = max((run for run in logged if run), key=lambda run: run[-1]["trained_tokens"], default=None)
        machine = one.config.get("machine")
        flops = last[-1].get("flops") if last else None
        nodes = int(machine["nodes"]) if isinstance(machine, Mapping) and machine.get("nodes") else None
        rows.append(ThroughputRow(speed.model, nodes, speed.tflops_per_device, speed.execution_efficiency, flops))
    return rows


def pairs_rows_of(facts: Sequence[Facts]) -> list[PairsRow]:
    """Table 8: a row for each cell with a parallel corpus, and the tokens of it that were trained on, of its token plan."""
    rows = []
    for one in facts:
        if one.of("parallel", "format"):
            source = one.of("mixture", "parallel_source")
            parts = one.plan.get("sources")
            mine = [part for part in parts if part.get("name") == source] if isinstance(parts, list) else []
            tokens = sum(float(part["trained_tokens"]) for part in mine) if mine else None
            rows.append(PairsRow(str(one.of("parallel", "format")), str(one.of("parallel", "order")), tokens, one.cell.label))
    return rows


def model_rows_of(study: Study, facts: Sequence[Facts]) -> list[ModelRow]:
    """Table 10: base models, cells, and models that no run made and that were asked what the cells were."""
    rows: dict[str, ModelRow] = {}
    asked = {record.task for record in study.records}
    for one in facts:
        rows.setdefault(f"base {one.base_model}", _published_row(_paper_base(one.base_model), one.base_model))
    for one in facts:
        rows[one.run.run_id] = ModelRow(row_label(study, one.cell), f"({_training(one)})", one.run.run_id, is_run=True)
    for model_id, name, published in foreign_models(study):
        if any(record.task in asked for record in read_evaluations(study.out, model_id)):
            rows[model_id] = _published_row(published, name)
    return list(rows.values())


def _published_row(model: PaperModel | None, name: str) -> ModelRow:
    return ModelRow(model.label("table10"), f"({model.training})", model.hugging_face) if model else ModelRow(name, ABSENT, ABSENT)


def _training(one: Facts) -> str:
    """As in Table 10: CT or PT, VE, languages by weight; `pairs` where a parallel corpus was used."""
    sources = one.of("mixture", "sources") or {}
    weights = one.of("mixture", "weights") or {}
    documents = sorted((s for s in sources.values() if s.get("kind") == "documents"), key=lambda s: -weights.get(s.get("name"), 0.0))
    languages = dict.fromkeys(str(source.get("language", "?")).capitalize() for source in documents)
    random = one.of("vocabulary", "method") == "scratch" or (one.config.get("base_model") or {"path": ""}).get("path") is None
    expanded = ["VE"] if one.of("vocabulary", "method") == "expand" else []
    pairs = ["pairs"] if one.of("parallel", "format") else []
    return ", ".join(["PT" if random else "CT", *expanded, " & ".join(languages) or "?", *pairs])


def foreign_models(study: Study) -> list[tuple[str, str, PaperModel | None]]:
    """(id, name, the paper's model or None) of every model under the output root that no run made."""
    found = []
    for model_id in list_model_ids(study.out):
        given = str(_object(RunPaths.of(study.out, model_id).folder / "model.json").get("name", model_id))
        last = given.rstrip("/").rpartition("/")[2]
        found.append((model_id, last, find_model(given) or find_model(last)))
    return found


def asked_for(records: Sequence[EvaluationRecord], task: PaperTask) -> list[EvaluationRecord]:
    """Those that are this task's published metric."""
    return [r for r in records if r.task == task.task and r.metric == task.metric and r.profile in PROFILES]


@dataclass(frozen=True)
class Scored:
    """A model's records of every task, before they are a row: one a seed."""

    label: str
    size: Size
    records: Mapping[str, Sequence[EvaluationRecord]]
    cell: Cell | None = None  # None: no run made it
    model: PaperModel | None = None  # of one that no run made
    is_start: bool = False


def scored_models(study: Study, facts: Sequence[Facts], tasks: Sequence[PaperTask]) -> list[Scored]:
    """Foreign models, start weights and cells that have a score on any of the tasks; blocks of one size, the smallest first."""
    sizes = sizes_of(facts)
    size_of_cell = {one.cell.label: sizes[one.base_model] for one in facts}
    cell_of = {run_id: cell for cell in study.cells for run_id in cell.run_ids}
    unknown = Size(math.inf, "")

    def split(records: Sequence[EvaluationRecord]) -> dict[str, list[EvaluationRecord]]:
        return {task.task: asked_for(records, task) for task in tasks}

    found = []
    for model_id, name, published in foreign_models(study):
        label = published.label("table9") if published else name
        mine = split(list(read_evaluations(study.out, model_id)))
        found.append(Scored(label, size_of(published) if published else unknown, mine, model=published))
    for label, measured in start_rows(study):
        records = [record for one in measured for record in one]
        if records:
            cell = cell_of[records[0].run_id]
            found.append(Scored(label, size_of_cell.get(cell.label, unknown), split(records), cell=cell, is_start=True))
    for cell in study.cells:
        last = set(finals_of(study, cell))
        records = [record for record in study.records if (record.run_id, record.trained_tokens) in last]
        found.append(Scored(row_label(study, cell), size_of_cell.get(cell.label, unknown), split(records), cell=cell))
    return sorted((one for one in found if any(one.records.values())), key=lambda one: one.size)


def score_rows_of(study: Study, scored: Sequence[Scored]) -> list[ScoreRow]:
    """Rows of Tables 4, 5 and 9: pooled over seeds; what was asked differently from most of its column is odd."""
    tasks = list(dict.fromkeys(task for one in scored for task in one.records))
    usual = {task: usual_test(record for one in scored for record in one.records[task]) for task in tasks}
    return [
        ScoreRow(
            one.label,
            one.size.label,
            {task: pooled_score(study, one.records[task]) for task in tasks},
            frozenset(task for task in tasks if any(test_of(record) != usual[task] for record in one.records[task])),
        )
        for one in scored
    ]


def task_rows_of(study: Study, table: str) -> list[TaskRow]:
    """Table 2 or 3: those of its tasks that the study asked, and as it asked them."""
    rows = []
    for task in read_tasks().values():
        mine = asked_for(study.records, task) if task.table == table else []
        if mine:
            shots = _several(mine, lambda record: record.num_fewshot)
            rows.append(
                TaskRow(task.dataset, f"as {task.benchmark}", task.category, _several(mine, lambda r: r.num_items), shots, task.metric)
            )
    return rows


def _several(records: Sequence[EvaluationRecord], count: Callable[[EvaluationRecord], int]) -> str:
    counts = sorted({count(record) for record in records})
    return f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,}–{counts[-1]:,}"
