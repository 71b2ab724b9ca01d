"""Write the records of a made-up study of the paper's own cells: its configs, its tasks, scores we choose."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from analysis.paper.published import PaperTask, read_tasks
from swallow_exp.artefact.paths import RunPaths, sweep_file
from swallow_exp.config import compose_config
from swallow_exp.record.events import append_events
from swallow_exp.record.identity import identity_of, run_id_of
from swallow_exp.record.status import write_status
from swallow_exp.record.store import statistics_column, write_result

PAPER_CELL = ("mixture=ja90_en10", "budget=tokens_100b", "numerics=bf16_mixed", "suite=paper", "machine=a100_40gb_8n")
LLAMA_7B = ("base_model=llama2_7b", "optim=swallow_7b_13b", "strategy=table6_7b")
LLAMA_13B = ("base_model=llama2_13b", "optim=swallow_7b_13b", "strategy=table6_13b")
TRAINED_TOKENS = 104_857_600_000
Scores = Mapping[str, float]


def write_scores(out: Path, run_id: str, tokens: int, scores: Scores, *, digest: str = "", **changes: Any) -> None:
    """result.json and items of each task; the score is the one that is given, whatever the items."""
    for name, score in scores.items():
        task = read_tasks()[name]
        _write_task(out, run_id, tokens, task, score, digest or f"{run_id}-{tokens}", changes)


def _write_task(out: Path, run_id: str, tokens: int, task: PaperTask, score: float, digest: str, changes: Mapping[str, Any]) -> None:
    statistic = [0.0] * 10 if task.aggregate == "bleu" else [score / 100]
    columns = {statistics_column(task.metric, profile): statistic for profile in ("paper", "fair")}
    items = [{"item_id": f"{i}", "cluster": f"{i}", **columns} for i in range(2)]
    metric = {"metric": task.metric, "profile": "paper", "aggregate": task.aggregate, "higher_is_better": True, "score": score}
    metrics = [
        {**metric, "num_items": changes.get("num_items", task.instances)},
        {**metric, "num_items": 3, "profile": "fair", "score": 99.0},
    ]
    result = {
        "task": task.task,
        "suite": "paper",
        "task_version": "1",
        "num_fewshot": task.num_fewshot,
        "prompt_digest": f"{task.task}-prompts",
        "checkpoint_digest": digest,
        "metrics": metrics,
        **{name: value for name, value in changes.items() if name != "num_items"},
    }
    write_result(RunPaths.of(out, run_id).evaluation(tokens, task.task), result, items)


def write_cell(
    out: Path,
    words: Sequence[str],
    *,
    state: str = "trained",
    start: Scores | None = None,
    final: Scores | None = None,
    at: int = TRAINED_TOKENS,
) -> tuple[str, dict[str, str]]:
    """One run of the composed config: identity, config, status, a training curve and scores. Returns its run_id and levels."""
    composed = compose_config([*PAPER_CELL, *words])
    identity = identity_of(composed.plain)
    run_id = run_id_of(identity)
    run = RunPaths.of(out, run_id)
    run.folder.mkdir(parents=True)
    run.identity.write_text(json.dumps(identity), encoding="utf-8")
    run.config.write_text(yaml.safe_dump(composed.plain), encoding="utf-8")
    write_status(run.status, state, trained_tokens=at)
    row = {"kind": "train", "step": 1, "loss": 2.0, "learning_rate": 1e-4, "mfu": 0.4, "tflops_per_device": 124.8}
    append_events(run.events, [{**row, "trained_tokens": at // 2, "flops": 2.4e21}, {**row, "trained_tokens": at, "flops": 4.86e21}])
    if start:
        write_scores(out, run_id, 0, start, digest=f"start {identity['base_model']['name']} {identity['vocabulary']['name']}")
    if final:
        write_scores(out, run_id, at, final)
    return run_id, {group: str(identity[group]["name"]) for group in ("base_model", "vocabulary", "parallel")}


def write_study(out: Path, cells: Sequence[tuple[str, dict[str, str]]], *, name: str = "main") -> None:
    """The sweep file of these cells."""
    listed = [{"run_id": run_id, "choices": levels, "seed": 0, "label": " ".join(levels.values())} for run_id, levels in cells]
    axes = {factor: sorted({levels[factor] for _, levels in cells}) for factor in ("base_model", "vocabulary", "parallel")}
    sweep = {"name": name, "question": "?", "section": "4.1", "baseline": {}, "axes": axes, "cells": listed, "contrasts": []}
    path = sweep_file(out, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(sweep), encoding="utf-8")


def write_foreign(out: Path, given: str, scores: Scores) -> str:
    """A model that no run made, with scores."""
    model_id = f"models/{given.rpartition('/')[2]}-0123456"
    run = RunPaths.of(out, model_id)
    run.folder.mkdir(parents=True)
    (run.folder / "model.json").write_text(json.dumps({"name": given}), encoding="utf-8")
    write_scores(out, model_id, 0, scores)
    return model_id


def shifted(scores: Scores, by: float) -> dict[str, float]:
    """Every score moved by the same number of points."""
    return {task: score + by for task, score in scores.items()}
