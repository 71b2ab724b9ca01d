"""Write the records of a made-up study in the shape of the paper's: its tasks, two sizes, with and without expansion, a parallel corpus.

An expanded token stands for more bytes of text (so equal tokens are not equal text), summarization falls with expansion, translation
gains by the parallel corpus, and inference is answered with one class that changes along the way.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from synthetic_study import hash_of

from swallow_exp.artefact.paths import RunPaths, sweep_file
from swallow_exp.record.aggregate import score_of_items
from swallow_exp.record.events import append_events
from swallow_exp.record.status import write_status
from swallow_exp.record.store import statistics_column, write_result

NAME = "paperlike"
BUDGET = 100_000_000_000
STEPS = 120
MARKS = (0.0, 0.2, 0.6, 1.0)
BYTES_PER_TOKEN = {"base": 2.0, "ja_16k": 3.6}
FLOPS_PER_TOKEN = {"llama2_7b": 4.2e10, "llama2_13b": 8.1e10}
# (size, vocabulary, parallel)
CELLS = (
    ("llama2_7b", "base", "none"),
    ("llama2_7b", "ja_16k", "none"),
    ("llama2_13b", "base", "none"),
    ("llama2_13b", "ja_16k", "none"),
    ("llama2_7b", "base", "ntp_mixed"),
    ("llama2_13b", "base", "ntp_mixed"),
)
# task -> (aggregate, metric, items, skill before training, skill gained)
TASKS: dict[str, tuple[str, str, int, float, float]] = {
    "jcqa": ("mean", "exact_match", 150, -0.3, 0.8),
    "jemhopqa": ("mean", "char_f1", 120, -0.4, 0.5),
    "niilc": ("mean", "char_f1", 198, -0.7, 1.4),
    "jsquad": ("mean", "char_f1", 160, 0.9, 0.3),
    "xlsum": ("mean", "rouge2", 150, -0.5, 0.1),
    "mgsm": ("mean", "exact_match", 150, -2.0, 0.6),
    "wmt20_en_ja": ("bleu", "bleu", 100, -0.9, 0.5),
    "wmt20_ja_en": ("bleu", "bleu", 100, -0.9, -0.1),
    "openbookqa": ("mean", "accuracy", 150, -0.4, -0.1),
    "triviaqa": ("mean", "exact_match", 200, 0.4, -0.6),
    "hellaswag": ("mean", "accuracy", 200, 0.2, -0.1),
    "squad2": ("mean", "exact", 150, -0.4, 0.0),
    "xwino": ("mean", "accuracy", 150, 1.5, -0.1),
    "gsm8k": ("mean", "accuracy", 150, -1.2, -0.2),
}
FAIR_TOO = ("jcqa", "jemhopqa", "niilc", "xlsum")
LABELS = {
    "jamp": ("entailment", "contradiction", "neutral"),
    "janli": ("entailment", "non-entailment"),
    "jnli": ("entailment", "contradiction", "neutral"),
    "jsem": ("yes", "no", "unknown", "undef"),
    "jsick": ("entailment", "contradiction", "neutral"),
}
NUM_INFERENCE = 120


def run_id_of(cell: tuple[str, str, str]) -> str:
    return "-".join(cell)


def write_paper_study(
    out: Path,
    *,
    cells: Sequence[tuple[str, str, str]] = CELLS,
    marks: Sequence[float] = MARKS,
    tasks: Sequence[str] = (*TASKS, *LABELS),
    log: bool = True,
) -> None:
    """sweeps/paperlike.json and every run. log: whether the training log says bytes and FLOPs."""
    for cell in cells:
        _write_run(out, cell, marks, tasks, log)
    path = sweep_file(out, NAME)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_sweep(cells)), encoding="utf-8")


def _sweep(cells: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    factors = ("base_model", "vocabulary", "parallel")
    contrasts = []
    for size, vocabulary, parallel in cells:
        baseline = (size, "base", "none")
        factor, level, other = ("vocabulary", vocabulary, "base") if vocabulary != "base" else ("parallel", parallel, "none")
        if level == other or baseline not in cells:
            continue
        contrasts.append(
            {
                "factor": factor,
                "level": level,
                "baseline_level": other,
                "run_id": run_id_of((size, vocabulary, parallel)),
                "baseline_run_id": run_id_of(baseline),
                "label": f"{level} vs {other} ({size})",
            }
        )
    return {
        "name": NAME,
        "question": "What do size, expansion and a parallel corpus do?",
        "section": "paper 4, 5",
        "baseline": {"vocabulary": "base", "parallel": "none"},
        "axes": {factor: sorted({cell[i] for cell in cells}) for i, factor in enumerate(factors)},
        "cells": [
            {"run_id": run_id_of(cell), "choices": dict(zip(factors, cell, strict=True)), "seed": 0, "label": " ".join(cell)}
            for cell in cells
        ],
        "contrasts": contrasts,
    }


def _write_run(out: Path, cell: tuple[str, str, str], marks: Sequence[float], tasks: Sequence[str], log: bool) -> None:
    size, vocabulary, parallel = cell
    paths = RunPaths.of(out, run_id_of(cell))
    groups = {group: {"name": f"{group}_0"} for group in ("mixture", "optim", "numerics")}
    groups |= {"base_model": {"name": size}, "vocabulary": {"name": vocabulary}, "parallel": {"name": parallel}}
    paths.folder.mkdir(parents=True)
    paths.identity.write_text(json.dumps({**groups, "budget": {"name": "100b", "tokens": BUDGET}, "seed": 0}), encoding="utf-8")
    write_status(paths.status, "trained", trained_tokens=int(marks[-1] * BUDGET))
    append_events(paths.events, _log(cell, log))
    for mark in marks:
        tokens = int(mark * BUDGET)
        for task in tasks:
            for profile in ("paper", *(("fair",) if task in FAIR_TOO else ())):
                _write_task(out, cell, tokens, task, profile)


def _log(cell: tuple[str, str, str], log: bool) -> list[dict[str, Any]]:
    size, vocabulary, _ = cell
    noise = np.random.default_rng(hash_of(run_id_of(cell)))
    rows = []
    for step in range(1, STEPS + 1):
        tokens = BUDGET * step // STEPS
        row = {"kind": "train", "trained_tokens": tokens, "step": step * 100, "learning_rate": 1e-4}
        row["loss"] = 1.4 + 0.12 * BYTES_PER_TOKEN[vocabulary] + 0.9 * float(np.exp(-step / 12)) + 0.03 * float(noise.normal())
        if log:
            row |= {"text_bytes": BYTES_PER_TOKEN[vocabulary] * tokens, "flops": FLOPS_PER_TOKEN[size] * tokens}
        rows.append(row)
    return rows


def _skill(cell: tuple[str, str, str], tokens: int, task: str, profile: str) -> float:
    size, vocabulary, parallel = cell
    _, _, _, before, gain = TASKS[task]
    if vocabulary != "base" and task == "xlsum" and profile == "paper":
        gain -= 0.5
    if parallel != "none" and task.startswith("wmt20"):
        gain += 0.6
    return before + 0.4 * (size == "llama2_13b") + gain * (1 - float(np.exp(-3 * tokens / BUDGET)))


def paper_statistics(cell: tuple[str, str, str], tokens: int, task: str, profile: str) -> np.ndarray:
    """(n, k) statistics; difficulty belongs to the task, token 0 to the size."""
    aggregate, metric, num_items, _, _ = TASKS[task]
    shared = np.random.default_rng([1, *task.encode()])
    hard = shared.normal(size=num_items)
    own = np.random.default_rng([hash_of(f"{run_id_of(cell) if tokens else cell[0]}{tokens}"), *task.encode(), *profile.encode()])
    ability = _skill(cell, tokens, task, profile) - hard + 0.5 * own.normal(size=num_items)
    if aggregate == "bleu":
        length = shared.integers(8, 20, size=num_items)
        rate = 1 / (1 + np.exp(-1.2 * ability))
        totals = np.stack([length - order for order in range(4)], axis=1)
        correct = np.stack([own.binomial(totals[:, order], rate ** (1 + order * 0.6)) for order in range(4)], axis=1)
        return np.concatenate([np.stack([length, length], axis=1), correct, totals], axis=1).astype(float)
    if metric == "char_f1":
        return np.clip(0.5 + 0.45 * ability, 0, 1)[:, None]
    if metric == "rouge2":
        return np.clip(0.2 + 0.1 * ability, 0, 1)[:, None]
    return (ability > 0).astype(float)[:, None]


def paper_answers(cell: tuple[str, str, str], tokens: int, task: str) -> tuple[list[str], list[str]]:
    """(gold, answers) of an inference task: an imbalanced gold, and one class for nearly everything, which changes along training."""
    labels = LABELS[task]
    shared = np.random.default_rng([2, *task.encode()])
    shares = np.array([0.6, *[0.4 / (len(labels) - 1)] * (len(labels) - 1)])
    gold = [labels[i] for i in shared.choice(len(labels), size=NUM_INFERENCE, p=shares)]
    own = np.random.default_rng([hash_of(f"{run_id_of(cell)}{tokens}{task}")])
    favourite = labels[int(3 * tokens / BUDGET + len(task)) % len(labels)]
    answers = [favourite if own.random() < 0.9 else labels[own.integers(len(labels))] for _ in gold]
    return gold, ["?" if own.random() < 0.04 else answer for answer in answers]


def _write_task(out: Path, cell: tuple[str, str, str], tokens: int, task: str, profile: str) -> None:
    rows: list[dict[str, Any]]
    health: dict[str, float] = {"truncated": 0}
    if task in LABELS:
        aggregate, metric = "mean", "exact_match"
        gold, answers = paper_answers(cell, tokens, task)
        statistics = np.array([[float(g == a)] for g, a in zip(gold, answers, strict=True)])
        counts = Counter(answers)
        health |= {"invalid": answers.count("?"), "majority_share": max(counts.values()) / len(answers), "num_predicted": len(counts)}
        health |= {"num_gold": len(set(gold)), "balanced_accuracy": 100 / len(set(gold))}
    else:
        aggregate, metric, _, _, _ = TASKS[task]
        statistics = paper_statistics(cell, tokens, task, profile)
        gold = answers = [""] * len(statistics)
    rows = [
        {
            "item_id": f"{task}-{i:04d}",
            "cluster": f"{task}-{i}",
            "normalised": answer,
            "reference": label,
            "invalid": answer == "?",
            statistics_column(metric, profile): row.tolist(),
        }
        for i, (row, label, answer) in enumerate(zip(statistics, gold, answers, strict=True))
    ]
    measured = {"metric": metric, "profile": profile, "aggregate": aggregate, "higher_is_better": True}
    result = {
        "task": task,
        "suite": "paper",
        "task_version": "1",
        "num_fewshot": 4,
        "prompt_digest": f"{task}-{profile}",
        "checkpoint_digest": f"{run_id_of(cell)}-{tokens}",
        "profile": profile,
        "metrics": [{**measured, "score": score_of_items(statistics, aggregate), "num_items": len(rows)}],
        "health": health,
    }
    write_result(RunPaths.of(out, run_id_of(cell)).evaluation(tokens, f"{task}-{profile}"), result, rows)
