"""One task on one checkpoint through lm-eval: our Task as its ConfigurableTask, our statistics as its metrics.

(1) load      Hugging Face folder     -> CheckpointLM on its device
(2) adapt     Task                    -> ConfigurableTask: zero-shot for lm-eval, because prompts are rendered before
(3) evaluate  lm_eval.evaluate        -> samples with statistics (no reseeding, no request cache, no bootstrap)
(4) gold      likelihood of the targets of generated answers, where the task asks for it
(5) collect   samples                 -> rows of items.parquet, the metrics and the health of result.json (rows.py)

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
from swallow_exp.evaluate.engine.vllm_engine import SPARE_TOKENS, VLLM, load_vllm
from swallow_exp.evaluate.rows import add_gold, gold_metric, item_row, metric_key, metric_score, task_health
from swallow_exp.evaluate.task import CHOICE, CONDITIONAL, GENERATE, ROLLING, Item, Output, Ruler, Task
from swallow_exp.record.aggregate import score_of_items

LM_EVAL_TYPES = {CHOICE: "multiple_choice", GENERATE: "generate_until", CONDITIONAL: "loglikelihood", ROLLING: "loglikelihood_rolling"}
MAX_CHARACTER_BYTES = 4
SHARED_PREFIXES = "shared prefixes 1"  # another order of additions: in half precision that is more than the last digits


@dataclass(frozen=True)
class Settings:
    """How a checkpoint is run; results of other settings are not reused, because numbers move with them."""

    batch_size: int
    max_length: int
    device: str  # cpu | cuda
    dtype: str
    lm_eval: str
    method: str = ""  # where it moves numbers by more than 1e-4: not in float32 on this library

    @property
    def uses_vllm(self) -> bool:
        """Whether vLLM runs the model."""
        return self.method.startswith(VLLM)

    @property
    def facts(self) -> dict[str, Any]:
        """The settings as result.json shows them; a method only where it says something, so that older results keep their digest."""
        return {name: value for name, value in vars(self).items() if name != "method" or value}

    @property
    def digest(self) -> str:
        """Hex sha256 of the settings."""
        return digest_of(self.facts)


@dataclass(frozen=True)
class TaskResult:
    """What result.json and items.parquet are written from."""

    metrics: list[dict[str, Any]]
    items: list[dict[str, Any]]
    health: dict[str, float]


def settings_of(export: Path, *, batch_size: int, device: str | None, backend: str = "hf") -> Settings:
    """Settings for an exported checkpoint, without loading it. `device` None: cuda when there is one. `backend`: hf | vllm."""
    from importlib.metadata import version

    import torch

    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    config = read_json(export / "config.json") or {}
    stored = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    dtype = stored if kind != "cpu" else "float32"  # half precision is slow and coarse on a processor
    return Settings(
        batch_size=batch_size,
        max_length=int(config.get("max_position_embeddings", 2048)),
        device=kind.split(":")[0],
        dtype=dtype,
        lm_eval=version("lm_eval"),
        method=f"{VLLM} {version(VLLM)}" if backend == VLLM else "" if dtype == "float32" else SHARED_PREFIXES,
    )


def load_engine(export: Path, settings: Settings, *, device: str | None = None) -> Any:
    """TorchEngine of an exported folder; raises RequestError when it is not one."""
    import torch
    import transformers

    from swallow_exp.evaluate.engine.encoding import load_encoder
    from swallow_exp.evaluate.engine.torch_engine import TorchEngine

    encoder = load_encoder(export)
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        export, dtype=getattr(torch, settings.dtype), attn_implementation="sdpa", local_files_only=True
    )
    model.to(device or settings.device).eval()
    return TorchEngine(model, encoder, batch_size=settings.batch_size, max_length=settings.max_length)


def load_checkpoint(export: Path, settings: Settings, *, device: str | None = None) -> Any:
    """CheckpointLM of an exported folder; raises RequestError when it is not one. vLLM is compared with our engine before it answers."""
    from swallow_exp.evaluate.engine.encoding import load_encoder
    from swallow_exp.evaluate.engine.language_model import CheckpointLM
    from swallow_exp.evaluate.engine.parity import ParityEngine

    encoder = load_encoder(export)
    if not settings.uses_vllm:
        return CheckpointLM(load_engine(export, settings, device=device), encoder, max_length=settings.max_length)
    engine = ParityEngine(
        load_vllm(export, encoder, dtype=settings.dtype, max_length=settings.max_length),
        lambda: load_engine(export, settings, device=device),
        encoder,
        name=settings.method,
        dtype=settings.dtype,
    )
    return CheckpointLM(engine, encoder, max_length=settings.max_length - SPARE_TOKENS)


def evaluate_task(model: Any, task: Task) -> TaskResult:
    """Ask `model` (CheckpointLM) everything in `task`. The order of items is the task's own."""
    os.environ.setdefault("TQDM_DISABLE", "1")  # read once, when tqdm is first imported: our own bar is enough
    import lm_eval

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    model.begin(bos=task.bos)
    budget = model.answer_tokens(_most_tokens(task)) if task.output_type == GENERATE else 0
    prompts = task.prompts_for(Ruler(model.encoder.encode, model.encoder.decode, model.max_length, budget, prefix=int(task.bos)))
    adapted = _adapt(task, prompts, model.encoder.pieces)
    results = lm_eval.evaluate(model, {"tasks": {task.folder: adapted}, "groups": {}}, bootstrap_iters=0, log_samples=True)
    samples = sorted(results["samples"][task.folder], key=lambda sample: sample["doc_id"])
    assert len(samples) == len(task.all_items), (task.folder, len(samples), len(task.all_items))
    outputs = [_output(task, sample["filtered_resps"], model.encoder.pieces) for sample in samples]
    rows = [
        item_row(
            task,
            index,
            output,
            prompt=prompts[index],
            statistics={metric_key(metric): list(sample[metric_key(metric)]) for metric in task.metrics},
            truncated=prompts[index] in model.truncated,
            exhausted=prompts[index] in model.exhausted,
            written=model.written.get(prompts[index]),
        )
        for index, (output, sample) in enumerate(zip(outputs, samples, strict=True))
    ]
    metrics = [metric_score(metric, rows) for metric in task.metrics]
    for metric, found in zip(task.metrics, metrics, strict=True):
        assert np.isclose(results["results"][task.folder][f"{metric_key(metric)},none"], found["score"]), (task.name, found)
    if task.gold_likelihood:
        add_gold(task, rows, gold_loglikelihoods(model, task, prompts) if task.asks_twice else [row["gold_loglikelihood"] for row in rows])
        metrics.append(metric_score(gold_metric(task), rows))
    return TaskResult(metrics, rows, task_health(task, rows))


def gold_loglikelihoods(model: Any, task: Task, prompts: Sequence[str]) -> list[float | None]:
    """Natural-log likelihood of each item's target after its prompt, as a shot would show it; None for an empty target."""
    from lm_eval.api.instance import Instance

    def request(index: int, item: Item) -> Any:
        arguments = (prompts[index], f"{task.separator}{item.target}")
        return Instance(request_type="loglikelihood", doc={}, arguments=arguments, idx=0, metadata=(task.folder, index, 1))

    asked = [index for index, item in enumerate(task.all_items) if item.target.strip()]
    totals: list[float | None] = [None] * len(prompts)
    for index, (total, _) in zip(asked, model.loglikelihood([request(i, task.all_items[i]) for i in asked]), strict=True):
        totals[index] = float(total)
    return totals


def _most_tokens(task: Task) -> int:
    """The most tokens an answer can take; a piece of text has at least one byte, a character at most four."""
    return task.max_new_tokens or task.max_new_bytes or MAX_CHARACTER_BYTES * (task.max_new_characters or 0)


class _Documents(list[dict[str, Any]]):
    """The documents as lm-eval wants them: a list that knows its columns."""

    features: Mapping[str, None] = {"index": None}


def _adapt(task: Task, prompts: Sequence[str], encode: Callable[[str], Sequence[str]]) -> Any:
    """The task as lm-eval's own; items that say what is scored make their requests themselves."""
    from lm_eval.api.instance import Instance
    from lm_eval.api.task import ConfigurableTask

    items = task.all_items

    class Adapted(ConfigurableTask):  # type: ignore[misc]
        def construct_requests(self, doc: Mapping[str, Any], ctx: str, **options: Any) -> Any:
            """Requests of one document."""
            item = items[doc["index"]]
            if not item.scored:
                return super().construct_requests(doc, ctx, **options)
            metadata = options.get("metadata", (None, None, None))
            return [
                Instance(request_type="loglikelihood", doc=doc, arguments=(ctx + stem, ending), idx=number, metadata=metadata)
                for number, (stem, ending) in enumerate(item.scored)
            ]

    return Adapted(config=_config(task, prompts, encode))


def _config(task: Task, prompts: Sequence[str], encode: Callable[[str], Sequence[str]]) -> dict[str, Any]:
    items = task.all_items

    def target_of(document: Mapping[str, Any]) -> str | int:
        item: Item = items[document["index"]]
        if task.output_type == CHOICE:
            return item.choices.index(item.target)
        return f"{task.separator}{item.target}" if task.output_type == CONDITIONAL else item.target

    def statistics_of(document: Mapping[str, Any], responses: Sequence[Any]) -> dict[str, tuple[float, ...]]:
        item, output = items[document["index"]], _output(task, responses, encode)
        return {metric_key(metric): metric.statistics(item, output) for metric in task.metrics}

    config: dict[str, Any] = {
        "task": task.folder,
        "custom_dataset": lambda **_: {"test": _Documents({"index": index} for index in range(len(items)))},
        "test_split": "test",
        "output_type": LM_EVAL_TYPES[task.output_type],
        "num_fewshot": 0,
        "target_delimiter": task.separator,
        "doc_to_text": lambda document: prompts[document["index"]],
        "doc_to_target": target_of,
        "process_results": statistics_of,
        "metric_list": [
            {
                "metric": metric_key(metric),
                "aggregation": lambda statistics, kind=metric.aggregate: score_of_items(np.array(statistics, dtype=np.float64), kind),
                "higher_is_better": metric.higher_is_better,
            }
            for metric in task.metrics
        ],
        "metadata": {"version": task.version},
    }
    if task.output_type == CHOICE:
        config["doc_to_choice"] = lambda document: list(items[document["index"]].choices)
    if task.output_type == GENERATE:
        config["generation_kwargs"] = {
            "until": list(task.until),
            "max_gen_toks": _most_tokens(task),
            "max_new_bytes": task.max_new_bytes,
            "max_new_characters": task.max_new_characters,
            "empty_allowed": task.empty_allowed,
            "do_sample": False,
        }
    return config


def _output(task: Task, responses: Sequence[Any], encode: Callable[[str], Sequence[str]]) -> Output:
    if task.output_type == GENERATE:
        text = str(responses[0])
        if task.max_new_bytes is not None:  # the last piece may go over the budget
            text = text.encode("utf-8")[: task.max_new_bytes].decode("utf-8", errors="ignore")
        return Output(text=text[: task.max_new_characters], encode=encode)
    if task.output_type == ROLLING:
        return Output(loglikelihoods=(float(responses[0]),), encode=encode)
    return Output(loglikelihoods=tuple(float(total) for total, _ in responses), encode=encode)
