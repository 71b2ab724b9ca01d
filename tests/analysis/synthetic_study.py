"""Write the records of a made-up sweep: items whose difficulty is shared by all runs, and effects we choose."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from swallow_exp.artefact.paths import RunPaths, sweep_file
from swallow_exp.record.aggregate import score_of_items
from swallow_exp.record.events import append_events
from swallow_exp.record.noise import NoiseEntry, NoiseRegister, setting_names, setting_of, write_register
from swallow_exp.record.status import write_status
from swallow_exp.record.store import statistics_column, write_result

BUDGET = 2_000_000
FACTOR = "parallel"
# task -> (aggregate, metric, items, items in a cluster, skill before training, skill gained)
TASKS: dict[str, tuple[str, str, int, int, float, float]] = {
    "mini_choice": ("mean", "accuracy", 200, 1, -0.6, 0.9),
    "mini_reading": ("mean", "f1", 200, 4, -0.9, 1.0),
    "mini_arithmetic": ("mean", "exact_match", 150, 1, -2.9, 0.7),
    "mini_en_ja": ("bleu", "bleu", 150, 1, -1.2, 0.8),
    "mini_ja_en": ("bleu", "bleu", 150, 1, -1.1, 0.9),
    "heldout_english": ("ratio", "bits_per_byte", 120, 1, -0.5, 1.0),
    "heldout_japanese": ("ratio", "bits_per_byte", 120, 1, -0.5, 1.2),
}


def item_statistics(task: str, skill: float, seed: int) -> np.ndarray:
    """(n, k) statistics of one checkpoint; the items' difficulty depends on the task alone."""
    aggregate, metric, num_items, cluster_size, _, _ = TASKS[task]
    shared = np.random.default_rng([1, *task.encode()])
    hard = np.repeat(shared.normal(size=num_items // cluster_size), cluster_size) * 0.8 + shared.normal(size=num_items) * 0.4
    own = np.random.default_rng([seed, *task.encode()])
    ability = skill - hard + own.normal(size=num_items) * 0.5
    if aggregate == "ratio":
        size = shared.integers(80, 400, size=num_items).astype(float)
        return np.stack([size * np.exp(0.6 - 0.25 * ability), size], axis=1)
    if aggregate == "bleu":
        length = shared.integers(8, 20, size=num_items)
        rate = 1 / (1 + np.exp(-1.2 * ability))
        totals = np.stack([length - order for order in range(4)], axis=1)
        correct = np.stack([own.binomial(totals[:, order], rate ** (1 + order * 0.6)) for order in range(4)], axis=1)
        return np.concatenate([np.stack([length, length], axis=1), correct, totals], axis=1).astype(float)
    if metric == "f1":
        return np.clip(0.5 + 0.35 * ability, 0, 1)[:, None]
    return (ability > 0).astype(float)[:, None]


def write_task(out: Path, run_id: str, tokens: int, task: str, statistics: np.ndarray, **changes: Any) -> None:
    aggregate, metric, _, cluster_size, _, _ = TASKS[task]
    items = [
        {
            "item_id": f"{task}-{i:04d}",
            "cluster": f"{task}-c{i // cluster_size}",
            "prompt_digest": "p",
            "prompt": "?",
            "prediction": "",
            "reference": "",
            "truncated": False,
            statistics_column(metric, "both"): row.tolist(),
        }
        for i, row in enumerate(statistics)
    ]
    result = {
        "task": task,
        "suite": "heldout" if aggregate == "ratio" else "mini",
        "task_version": "1",
        "num_fewshot": 0 if aggregate == "ratio" else 4,
        "prompt_digest": f"{task}-prompts",
        "checkpoint_digest": f"{run_id}-{tokens}" if tokens else "start",
        "metrics": [
            {
                "metric": metric,
                "profile": "both",
                "aggregate": aggregate,
                "higher_is_better": aggregate != "ratio",
                "score": score_of_items(statistics, aggregate),
                "num_items": len(statistics),
            }
        ],
        **changes,
    }
    write_result(RunPaths.of(out, run_id).evaluation(tokens, task), result, items)


def write_run(
    out: Path,
    run_id: str,
    level: str,
    *,
    seed: int = 0,
    state: str = "trained",
    effects: Mapping[str, float] | None = None,
    marks: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
    tasks: Sequence[str] = tuple(TASKS),
    evaluated: bool = True,
) -> None:
    """identity.json, status.json, events.jsonl and evaluations of one run."""
    paths = RunPaths.of(out, run_id)
    groups = {group: {"name": f"{group}_0"} for group in ("base_model", "vocabulary", "mixture", "parallel", "budget", "optim", "numerics")}
    identity = {**groups, "parallel": {"name": level}, "budget": {"name": "2m", "tokens": BUDGET}, "seed": seed}
    paths.folder.mkdir(parents=True)
    paths.identity.write_text(json.dumps(identity), encoding="utf-8")
    cause = {"cause": "out of memory"} if state == "failed" else {}
    write_status(paths.status, state, trained_tokens=int(marks[-1] * BUDGET), **cause)
    noise = np.random.default_rng([seed, *run_id.encode()])
    steps = int(200 * marks[-1])
    append_events(
        paths.events,
        [
            {
                "kind": "train",
                "trained_tokens": BUDGET * (step + 1) // 200,
                "step": step + 1,
                "loss": 2.0 + 3.0 * float(np.exp(-step / 40)) + 0.08 * float(noise.normal()),
                "learning_rate": 1e-4,
                "text_bytes": 3.7 * BUDGET * (step + 1) / 200,
                "flops": 6e6 * BUDGET * (step + 1) / 200,
            }
            for step in range(steps)
        ],
    )
    if not evaluated:
        return
    for mark in marks:
        for task in tasks:
            _, _, _, _, before, gain = TASKS[task]
            grown = 1 - np.exp(-3 * mark)
            skill = before + grown * (gain + (effects or {}).get(task, 0.0))
            tokens = int(mark * BUDGET)
            statistics = item_statistics(task, skill, 0 if tokens == 0 else hash_of(f"{run_id}{seed}"))
            write_task(out, run_id, tokens, task, statistics)


def write_null_study(out: Path, run_id: str, *, variance: float = 0.01, tasks: Sequence[str] = tuple(TASKS)) -> None:
    """A noise register of the setting of one run: single runs may be judged by it."""
    identity = json.loads(RunPaths.of(out, run_id).identity.read_text(encoding="utf-8"))
    entries = []
    for task in tasks:
        aggregate, metric, items, _, _, _ = TASKS[task]
        squared = variance * (1e-4 if aggregate == "ratio" else 1.0)
        unit = metric.replace("_", " ") if aggregate == "ratio" else "points"
        entries.append(NoiseEntry(task, metric, "both", f"{task}-prompts", "1", unit, 12, items, squared, 10, squared, 10))
    write_register(out, NoiseRegister("null", setting_of(identity), setting_names(identity), tuple(entries)))


def hash_of(text: str) -> int:
    return sum(ord(letter) * 31**i for i, letter in enumerate(text)) % 2**31


def write_sweep(out: Path, levels: Sequence[str], *, seeds: Sequence[int] = (0,), name: str = "parallel", **changes: Any) -> dict[str, Any]:
    """The expanded grid of one factor with `levels[0]` as the baseline."""
    cells = [
        {
            "run_id": f"{level}-s{seed}",
            "choices": {"vocabulary": "base", FACTOR: level},
            "seed": seed,
            "label": level,
        }
        for level in levels
        for seed in seeds
    ]
    contrasts = [
        {
            "factor": FACTOR,
            "level": level,
            "baseline_level": levels[0],
            "run_id": f"{level}-s{seed}",
            "baseline_run_id": f"{levels[0]}-s{seed}",
            "label": f"{level} vs {levels[0]}",
        }
        for level in levels[1:]
        for seed in seeds
    ]
    sweep = {
        "name": name,
        "question": "Does a parallel corpus help, and how should it be used?",
        "section": "5.2",
        "baseline": {"vocabulary": "base", FACTOR: levels[0]},
        "axes": {FACTOR: list(levels)},
        "cells": cells,
        "contrasts": contrasts,
        **changes,
    }
    path = sweep_file(out, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(sweep), encoding="utf-8")
    return sweep
