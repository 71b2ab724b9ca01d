"""What one task at one checkpoint leaves behind: a row for every item, a score for every metric, the health of the whole.

rows     item_id, cluster, prompt as asked, gold and acceptable answers, raw and normalised answer, statistics, likelihoods, flags
health   truncated, fitted, empty, at_budget, invalid (counts of items); majority_share (0..1), num_predicted (distinct answers);
         with labels also num_gold (gold labels there are), balanced_accuracy (mean recall) and macro_f1 (0..100) and matthews (-1..1)

Reads/Writes  nothing (record/store.py writes).
Source        paper appendix F (majority share, class distributions).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from swallow_exp.artefact.files import digest_of
from swallow_exp.evaluate.engine.windows import UncutLength
from swallow_exp.evaluate.metrics.labels import macro_f1, matthews, mean_recall
from swallow_exp.evaluate.metrics.likelihood import bits_of
from swallow_exp.evaluate.task import CHOICE, GENERATE, Item, Metric, Output, Task
from swallow_exp.record.aggregate import score_of_items
from swallow_exp.record.store import statistics_column

GOLD_METRIC = "gold_bits_per_byte"
Row = dict[str, Any]


def metric_key(metric: Metric) -> str:
    """Column of a metric's statistics."""
    return statistics_column(metric.name, metric.profile)


def item_row(
    task: Task,
    index: int,
    output: Output,
    *,
    prompt: str,
    statistics: Mapping[str, list[float]],
    truncated: bool,
    exhausted: bool,
    written: UncutLength | None = None,
) -> Row:
    """The row of one item. `prompt` as it was asked; `exhausted`: the answer has as many tokens as the budget; `written`: its size."""
    item, unfitted = task.all_items[index], task.prompts[index]
    generated, chosen = task.output_type == GENERATE, task.output_type == CHOICE
    prediction = item.choices[output.best] if chosen else output.text
    normalised = task.normalise(prediction)
    gold: float | None = None  # of generated answers it is another question
    if not generated:
        gold = output.loglikelihoods[item.choices.index(item.target) if chosen else 0]
    return {
        "task": task.name,
        "item_id": item.item_id,
        "cluster": item.cluster,
        "prompt_digest": digest_of([unfitted, item.target, item.choices]),
        "prompt": prompt,
        "prediction": prediction,
        "normalised": normalised,
        "reference": item.target,
        "answers": list(item.golds),
        "choices": list(item.choices),
        "choice_loglikelihoods": list(output.loglikelihoods) if chosen else [],
        **_gold_columns(_gold_text(task, item), gold),
        "truncated": truncated,
        "fitted": prompt != unfitted,
        "empty": generated and not prediction.strip(),
        "at_budget": generated and _at_budget(task, prediction, exhausted=exhausted),
        "invalid": bool(task.labels) and normalised not in task.labels,
        "generated_tokens": None if written is None else written.tokens,
        "generated_characters": None if written is None else written.characters,
        **statistics,
    }


def _at_budget(task: Task, prediction: str, *, exhausted: bool) -> bool:
    if task.max_new_bytes is not None:  # cutting inside a character may leave up to three bytes unused
        return len(prediction.encode("utf-8")) > task.max_new_bytes - 4
    return exhausted or (task.max_new_characters is not None and len(prediction) >= task.max_new_characters)


def _gold_text(task: Task, item: Item) -> str:
    """The text whose likelihood is that of the gold answer."""
    if task.output_type == CHOICE and item.scored:
        return item.scored[item.choices.index(item.target)][1].strip()
    return item.target


def _gold_columns(text: str, loglikelihood: float | None) -> Row:
    size = len(text.encode("utf-8"))
    bits = None if loglikelihood is None or not size else bits_of(loglikelihood) / size
    return {"gold_loglikelihood": loglikelihood, "gold_bits_per_byte": bits}


def gold_metric(task: Task) -> Metric:
    """Bits per byte of the gold answers, under the task's profile."""
    return Metric(GOLD_METRIC, "ratio", lambda item, output: (), higher_is_better=False, profile=task.profile)


def add_gold(task: Task, rows: Sequence[Row], loglikelihoods: Sequence[float | None]) -> None:
    """Put the likelihood of each gold answer into its row, with the statistics of `gold_metric`; an empty answer has none of either."""
    key = metric_key(gold_metric(task))
    for row, item, loglikelihood in zip(rows, task.all_items, loglikelihoods, strict=True):
        text = _gold_text(task, item)
        row.update(_gold_columns(text, loglikelihood))
        row[key] = [0.0, 0.0] if loglikelihood is None else [bits_of(loglikelihood), float(len(text.encode("utf-8")))]


def metric_score(metric: Metric, rows: Sequence[Row]) -> dict[str, Any]:
    """One metric of result.json, from the statistics of the rows."""
    statistics = np.array([row[metric_key(metric)] for row in rows], dtype=np.float64)
    assert np.isfinite(statistics).all(), f"{metric.name}: a statistic is not a number"
    return {
        "metric": metric.name,
        "profile": metric.profile,
        "aggregate": metric.aggregate,
        "higher_is_better": metric.higher_is_better,
        "score": score_of_items(statistics, metric.aggregate),
        "num_items": len(rows),
    }


def task_health(task: Task, rows: Sequence[Row]) -> dict[str, float]:
    """Counts and shares that tell a bad score from a broken question (see the module docstring)."""
    health: dict[str, float] = {"truncated": sum(row["truncated"] for row in rows)}
    if task.fit is not None:
        health["fitted"] = sum(row["fitted"] for row in rows)
    if task.output_type == GENERATE:
        health["empty"] = sum(row["empty"] for row in rows)
        health["at_budget"] = sum(row["at_budget"] for row in rows)
    if task.labels:
        health["invalid"] = sum(row["invalid"] for row in rows)
    if task.output_type in (GENERATE, CHOICE):
        # what a constant predictor would repeat: the answer, or the place of the choice where every item has its own choices
        own_choices = task.output_type == CHOICE and not task.labels
        places = [str(i.choices.index(row["prediction"])) for i, row in zip(task.all_items, rows, strict=True)] if own_choices else []
        counts = Counter(places or [str(row["normalised"]) for row in rows])
        health["majority_share"] = max(counts.values()) / len(rows)
        health["num_predicted"] = len(counts)
    if task.labels:
        golds, predictions = [task.normalise(row["reference"]) for row in rows], [str(row["normalised"]) for row in rows]
        health["num_gold"] = len(set(golds))
        health["balanced_accuracy"] = mean_recall(golds, predictions)
        health["macro_f1"] = macro_f1(golds, predictions)
        health["matthews"] = matthews(golds, predictions)
    return health
