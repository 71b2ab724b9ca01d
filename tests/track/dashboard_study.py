"""A made-up sweep as its records lie on disk: three runs of 20 training rows, each evaluated five times, and the claims of its report."""

import json
import math
from pathlib import Path
from typing import Any

from swallow_exp.artefact.files import write_json_atomic, write_text_atomic
from swallow_exp.artefact.paths import ReportPaths, RunPaths, sweep_file
from swallow_exp.record.events import append_events
from swallow_exp.record.identity import IDENTITY_GROUPS
from swallow_exp.record.status import write_status
from swallow_exp.record.store import RESULT_NAME

NAME = "pairs"
LEVELS = ("none", "ntp_mixed", "ntp_two_staged")
ROWS, STEP_TOKENS = 20, 1_000_000
EVALUATIONS = ("eval/qa/f1", "eval/wmt_en_ja/bleu")


def run_id(level: str) -> str:
    return f"tiny-base-ja90en10-{level}-1m-s0-3fa9c1e"


def write_study(out: Path, *, levels: tuple[str, ...] = LEVELS, written: bool = True, name: str = NAME) -> list[str]:
    """Sweep and runs under `out`; `written` False: no run has an event. Returns the run_ids."""
    for number, level in enumerate(levels):
        _write_run(RunPaths.of(out, run_id(level)), level, number, written)
    return write_sweep(out, levels, name=name)


def write_sweep(out: Path, levels: tuple[str, ...], *, name: str) -> list[str]:
    cells = [
        {"run_id": run_id(level), "seed": 0, "label": level, "choices": {**dict.fromkeys(IDENTITY_GROUPS, "same"), "parallel": level}}
        for level in levels
    ]
    sweep = {
        "name": name,
        "question": "Does a parallel corpus help 翻訳?",
        "section": "paper 5.2",
        "expects": "translation improves",
        "baseline": {"parallel": levels[0]},
        "axes": {"parallel": list(levels)},
        "cells": cells,
        "contrasts": [],
    }
    write_json_atomic(sweep_file(out, name), sweep)
    return [str(cell["run_id"]) for cell in cells]


def _write_run(run: RunPaths, level: str, number: int, written: bool) -> None:
    identity: dict[str, Any] = {group: {"name": "same"} for group in IDENTITY_GROUPS}
    write_json_atomic(run.identity, {**identity, "parallel": {"name": level}, "seed": 0, "identity_schema_version": 1})
    write_text_atomic(run.config, json.dumps({"tracking": {"wandb_project": "ablation", "wandb_entity": None}}))
    if not written:
        return
    write_status(run.status, "trained", trained_tokens=ROWS * STEP_TOKENS)
    append_events(run.events, [train_row(step, number) for step in range(1, ROWS + 1)])
    # the evaluator comes later, in no order
    append_events(run.events, [row for step in (20, 4, 12, 8, 16) for row in evaluation_rows(step, number)])


def train_row(step: int, number: int) -> dict[str, Any]:
    loss = 2 + 3 * math.exp(-step / 6) + 0.2 * number
    rates = {"learning_rate": 1e-4, "grad_norm": 1 / step, "tokens_per_second": 5000.0 + step}
    return {"kind": "train", "trained_tokens": step * STEP_TOKENS, "step": step, "loss": loss, **rates, "text_bytes": step * 4e6}


def evaluation_rows(step: int, number: int) -> list[dict[str, Any]]:
    rows = []
    for metric in EVALUATIONS:
        _, task, name = metric.split("/")
        score = 10 * number + 2 * step
        about = {"suite": "mini", "task": task, "metric": name, "profile": "both", "num_items": 150, "checkpoint_digest": "ab"}
        rows.append({"kind": "evaluation", "trained_tokens": step * STEP_TOKENS, "score": float(score), **about})
    return rows


def write_claims(out: Path, name: str = NAME) -> None:
    """claims.json as `swallow report` leaves it: one claim that is sure, one that is not, one without a relative change."""
    base = {"contrast": "ntp_mixed vs none", "factor": "parallel", "level": "ntp_mixed", "baseline_level": "none", "unit": "points"}
    claims = [
        {"measure": "wmt_en_ja", "verdict": "improved", "score": 50.0, "baseline_score": 40.0, "difference": 10.0,
         "difference_interval": [5.0, 15.0], "relative_change": 25.0, "relative_interval": [12.0, 39.0]},
        {"measure": "qa", "verdict": "inconclusive", "score": 41.0, "baseline_score": 40.0, "difference": 1.0,
         "difference_interval": [-3.0, 5.0], "relative_change": 2.5, "relative_interval": [-7.0, 12.5]},
        {"measure": "qa", "verdict": "equivalent", "score": 0.5, "baseline_score": 0.4, "difference": 0.1,
         "difference_interval": [-0.1, 0.3], "relative_change": None, "relative_interval": None, "contrast": "ntp_two_staged vs none"},
    ]  # fmt: skip
    write_json_atomic(ReportPaths.of(out, name).claims, {"name": name, "claims": [{**base, **claim} for claim in claims]})


def write_answers(out: Path, level: str, majority_share: float) -> None:
    """The result of one task at the last checkpoint, with the health of its answers."""
    metric = {"metric": "f1", "profile": "both", "aggregate": "mean", "higher_is_better": True, "score": 40.0, "num_items": 150}
    about = {"task": "qa", "suite": "mini", "task_version": "1", "num_fewshot": 0, "prompt_digest": "p", "checkpoint_digest": "c"}
    health = {"truncated": 0, "majority_share": majority_share, "num_predicted": 3}
    write_json_atomic(
        RunPaths.of(out, run_id(level)).evaluation(ROWS * STEP_TOKENS, "qa") / RESULT_NAME, {**about, "metrics": [metric], "health": health}
    )
