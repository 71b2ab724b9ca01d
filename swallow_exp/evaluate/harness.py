"""One task on one checkpoint through lm-eval: our Task as its ConfigurableTask, our statistics as its metrics.

(1) load      Hugging Face folder     -> CheckpointLM on its device
(2) adapt     Task                    -> ConfigurableTask: zero-shot for lm-eval, because prompts are rendered before
(3) evaluate  lm_eval.evaluate        -> samples with statistics (no reseeding, no request cache, no bootstrap)
(4) collect   samples                 -> rows of items.parquet and the metrics of result.json

Reads   the export folder. Writes nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from swallow_exp.artefact.files import digest_of, read_json
from swallow_exp.evaluate.task import CHOICE, CONDITIONAL, GENERATE, ROLLING, Item, Metric, Output, Task
from swallow_exp.record.aggregate import score_of_items
from swallow_exp.record.store import statistics_column

LM_EVAL_TYPES = {CHOICE: "multiple_choice", GENERATE: "generate_until", CONDITIONAL: "loglikelihood", ROLLING: "loglikelihood_rolling"}


@dataclass(frozen=True)
class Settings:
    """How a checkpoint is run; results of other settings are not reused, because numbers move with them."""

    batch_size: int
    max_length: int
    device: str  # cpu | cuda
    dtype: str
    lm_eval: str

    @property
    def digest(self) -> str:
        """Hex sha256 of the settings."""
        return digest_of(vars(self))


@dataclass(frozen=True)
class Outcome:
    """What result.json and items.parquet are written from."""

    metrics: list[dict[str, Any]]
    items: list[dict[str, Any]]
    health: dict[str, int]


def settings_of(export: Path, *, batch_size: int, device: str | None) -> Settings:
    """Settings for an exported checkpoint, without loading it. `device` None: cuda when there is one."""
    from importlib.metadata import version

    import torch

    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    config = read_json(export / "config.json") or {}
    stored = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    return Settings(
        batch_size=batch_size,
        max_length=int(config.get("max_position_embeddings", 2048)),
        device=kind.split(":")[0],
        dtype=stored if kind != "cpu" else "float32",  # half precision is slow and coarse on a processor
        lm_eval=version("lm_eval"),
    )


def load_checkpoint(export: Path, settings: Settings, *, device: str | None = None) -> Any:
    """CheckpointLM of an exported folder; raises RequestError when it is not one."""
    import torch
    import transformers

    from swallow_exp.evaluate.encoding import load_encoder
    from swallow_exp.evaluate.language_model import CheckpointLM

    encoder = load_encoder(export)
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        export, dtype=getattr(torch, settings.dtype), attn_implementation="sdpa", local_files_only=True
    )
    model.to(device or settings.device).eval()
    return CheckpointLM(model, encoder, batch_size=settings.batch_size, max_length=settings.max_length)


def evaluate_task(model: Any, task: Task) -> Outcome:
    """Ask `model` (CheckpointLM) everything in `task`. The order of items is the task's own."""
    os.environ.setdefault("TQDM_DISABLE", "1")  # read once, when tqdm is first imported: our own bar is enough
    import lm_eval
    from lm_eval.api.task import ConfigurableTask

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    model.forget_truncated()
    adapted = ConfigurableTask(config=_config(task))
    results = lm_eval.evaluate(model, {"tasks": {task.name: adapted}, "groups": {}}, bootstrap_iters=0, log_samples=True)
    samples = sorted(results["samples"][task.name], key=lambda sample: sample["doc_id"])
    assert len(samples) == len(task.all_items), (task.name, len(samples), len(task.all_items))
    outputs = [_output(task, sample["filtered_resps"]) for sample in samples]
    items = [
        _row(task, index, output, sample, truncated=task.prompts[index] in model.truncated)
        for index, (output, sample) in enumerate(zip(outputs, samples, strict=True))
    ]
    metrics = [_metric(metric, items) for metric in task.metrics]
    for metric, found in zip(task.metrics, metrics, strict=True):
        assert np.isclose(results["results"][task.name][f"{_key(metric)},none"], found["score"]), (task.name, found)
    return Outcome(metrics, items, _health(task, items))


class _Documents(list[dict[str, Any]]):
    """The documents as lm-eval wants them: a list that knows its columns."""

    features: Mapping[str, None] = {"index": None}


def _key(metric: Metric) -> str:
    return statistics_column(metric.name, metric.profile)


def _config(task: Task) -> dict[str, Any]:
    items, prompts = task.all_items, task.prompts

    def target_of(document: Mapping[str, Any]) -> str | int:
        item: Item = items[document["index"]]
        if task.output_type == CHOICE:
            return item.choices.index(item.target)
        return f"{task.separator}{item.target}" if task.output_type == CONDITIONAL else item.target

    def statistics_of(document: Mapping[str, Any], responses: Sequence[Any]) -> dict[str, tuple[float, ...]]:
        item, output = items[document["index"]], _output(task, responses)
        return {_key(metric): metric.statistics(item, output) for metric in task.metrics}

    config: dict[str, Any] = {
        "task": task.name,
        "custom_dataset": lambda **_: {"test": _Documents({"index": index} for index in range(len(items)))},
        "test_split": "test",
        "output_type": LM_EVAL_TYPES[task.output_type],
        "num_fewshot": 0,
        "target_delimiter": task.separator,
        "doc_to_text": lambda document: prompts[document["index"]],
        "doc_to_target": target_of,
        "process_results": statistics_of,
        "metric_list": [
            {"metric": _key(metric), "aggregation": _aggregation(metric.aggregate), "higher_is_better": metric.higher_is_better}
            for metric in task.metrics
        ],
        "metadata": {"version": task.version},
    }
    if task.output_type == CHOICE:
        config["doc_to_choice"] = lambda document: list(items[document["index"]].choices)
    if task.output_type == GENERATE:
        # a piece of text has at least one byte, so the byte budget also bounds the tokens
        budget = task.max_new_tokens or task.max_new_bytes
        config["generation_kwargs"] = {
            "until": list(task.until),
            "max_gen_toks": budget,
            "max_new_bytes": task.max_new_bytes,
            "do_sample": False,
        }
    return config


def _aggregation(aggregate: str) -> Callable[[Sequence[tuple[float, ...]]], float]:
    return lambda statistics: score_of_items(np.array(statistics, dtype=np.float64), aggregate)


def _output(task: Task, responses: Sequence[Any]) -> Output:
    if task.output_type == GENERATE:
        text = str(responses[0])
        if task.max_new_bytes is not None:  # the last piece may go over the budget
            text = text.encode("utf-8")[: task.max_new_bytes].decode("utf-8", errors="ignore")
        return Output(text=text)
    if task.output_type == ROLLING:
        return Output(loglikelihoods=(float(responses[0]),))
    return Output(loglikelihoods=tuple(float(total) for total, _ in responses))


def _prediction(task: Task, item: Item, output: Output) -> str:
    if task.output_type == GENERATE:
        return output.text
    return item.choices[output.best] if task.output_type == CHOICE else ""


def _row(task: Task, index: int, output: Output, sample: Mapping[str, Any], *, truncated: bool) -> dict[str, Any]:
    item, prompt = task.all_items[index], task.prompts[index]
    return {
        "item_id": item.item_id,
        "cluster": item.cluster,
        "prompt_digest": digest_of([prompt, item.target, item.choices]),
        "prompt": prompt,
        "prediction": _prediction(task, item, output),
        "reference": item.target,
        "truncated": truncated,
        **{_key(metric): list(sample[_key(metric)]) for metric in task.metrics},
    }


def _metric(metric: Metric, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    statistics = np.array([item[_key(metric)] for item in items], dtype=np.float64)
    assert np.isfinite(statistics).all(), f"{metric.name}: a statistic is not a number"
    return {
        "metric": metric.name,
        "profile": metric.profile,
        "aggregate": metric.aggregate,
        "higher_is_better": metric.higher_is_better,
        "score": score_of_items(statistics, metric.aggregate),
        "num_items": len(items),
    }


def _health(task: Task, items: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Counts that tell a bad score from a broken question: shortened prompts, empty answers, answers as long as the byte budget allows."""
    health = {"truncated": sum(bool(item["truncated"]) for item in items)}
    if task.output_type == GENERATE:
        health["empty"] = sum(not item["prediction"].strip() for item in items)
    if task.max_new_bytes is not None:
        # cutting inside a character may leave up to three bytes unused
        health["at_budget"] = sum(len(item["prediction"].encode("utf-8")) > task.max_new_bytes - 4 for item in items)
    return health
