"""Results on disk: is a task done, can a result of another run stand for it, write it, and say it in the outbox.

A result stands for (checkpoint digest, prompt digest, settings digest): one checkpoint is asked the same things in the same way only
once. The checkpoint digest is over weights, config and tokenizer (model/identity.py); `weights_digest` is that of the weights alone, as
checkpoints.json has it. Results of earlier versions lack it: their digest was that of the weights, so they stand for nothing.

Reads   <out>/{runs,models}/*/evaluations/tokens_*/*/result.json, events.jsonl
Writes  <run>/evaluations/tokens_<n>/<task>/{items.parquet, result.json}, `evaluation` rows of events.jsonl
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from swallow_exp.artefact.files import write_bytes_atomic, write_json_atomic
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.evaluate.harness import Settings, TaskResult
from swallow_exp.evaluate.task import BOTH, Task
from swallow_exp.record.events import append_events, read_events
from swallow_exp.record.store import ITEMS_NAME, RESULT_NAME, list_model_ids, list_run_ids, read_result, write_result

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Asked:
    """One task at one checkpoint of one run, and how the checkpoint is run."""

    run: RunPaths
    suite: str
    task: Task
    trained_tokens: int
    checkpoint_digest: str  # weights, config and tokenizer
    weights_digest: str
    settings: Settings

    @property
    def folder(self) -> Path:
        """Where the result belongs."""
        return self.run.evaluation(self.trained_tokens, self.task.folder)

    @property
    def lock(self) -> Path:
        """Lock of the evaluator that works on it."""
        return self.run.evaluation_lease(self.trained_tokens, self.task.folder)

    @property
    def key(self) -> Key:
        """What a result must agree in to stand for this one."""
        return (self.checkpoint_digest, self.task.prompt_digest, self.settings.digest)

    def facts(self) -> dict[str, Any]:
        """The part of result.json that does not depend on the answers."""
        task, more = self.task, dict[str, Any]()  # what only some tasks have: a profile of their own, a part of the items, remarks
        if task.profile != BOTH:
            more["profile"] = task.profile
        if task.fraction is not None:
            more["fraction"] = task.fraction
        if task.remarks:
            more["remarks"] = list(task.remarks)
        return {
            "task": self.task.name,
            "family": self.task.family,
            "suite": self.suite,
            "task_version": self.task.version,
            "num_fewshot": self.task.num_fewshot,
            "trained_tokens": self.trained_tokens,
            "prompt_digest": self.task.prompt_digest,
            **more,
            "checkpoint_digest": self.checkpoint_digest,
            "weights_digest": self.weights_digest,
            "settings": self.settings.facts,
            "settings_digest": self.settings.digest,
        }


def key_of(result: Mapping[str, Any]) -> Key:
    """The key a stored result stands for."""
    return (str(result.get("checkpoint_digest")), str(result.get("prompt_digest")), str(result.get("settings_digest")))


def is_incomplete(asked: Asked) -> bool:
    """True when the run has a result of an earlier version, which says nothing of config and tokenizer."""
    result = read_result(asked.folder)
    return result is not None and "weights_digest" not in result


def is_done(asked: Asked) -> bool:
    """True when the run has this very result."""
    result = read_result(asked.folder)
    return result is not None and key_of(result) == asked.key


def index_results(out: Path) -> dict[Key, Path]:
    """Folder of one finished result for every key, over all runs and models."""
    index: dict[Key, Path] = {}
    for run_id in [*list_run_ids(out), *list_model_ids(out)]:
        for path in sorted((RunPaths.of(out, run_id).folder / "evaluations").glob(f"tokens_*/*/{RESULT_NAME}")):
            result = read_result(path.parent)
            if result is not None and (path.parent / ITEMS_NAME).exists():
                index.setdefault(key_of(result), path.parent)
    return index


def write_outcome(asked: Asked, outcome: TaskResult, seconds: float) -> None:
    """Write a fresh result; one that was there for other prompts or weights is withdrawn first."""
    (asked.folder / RESULT_NAME).unlink(missing_ok=True)
    result = {**asked.facts(), "metrics": outcome.metrics, "health": outcome.health, "seconds": round(seconds, 3)}
    write_result(asked.folder, result, outcome.items)


def copy_result(asked: Asked, source: Path) -> bool:
    """Take over the result in `source`; False when it is gone or no longer the same."""
    result = read_result(source)
    if result is None or key_of(result) != asked.key or not (source / ITEMS_NAME).exists():
        return False
    (asked.folder / RESULT_NAME).unlink(missing_ok=True)
    write_bytes_atomic(asked.folder / ITEMS_NAME, (source / ITEMS_NAME).read_bytes())
    origin = source.parents[2].name  # <run_id>/evaluations/tokens_<n>/<task>
    kept = {name: result[name] for name in ("metrics", "health", "seconds") if name in result}
    write_json_atomic(asked.folder / RESULT_NAME, {**asked.facts(), **kept, "reused_from": result.get("reused_from", origin)})
    return True


def append_evaluation_rows(asked: Sequence[Asked]) -> int:
    """Append the `evaluation` rows of finished results that the run's outbox lacks; returns how many. All of one run."""
    if not asked:
        return 0
    run, rows = asked[0].run, list[Mapping[str, Any]]()
    with FileLock(str(run.evaluation_lock)):  # two evaluators would both find a row missing
        said = {_row_key(row) for row in read_events(run.events, "evaluation")}
        for one in asked:
            assert one.run == run
            result = read_result(one.folder)
            if result is not None and key_of(result) == one.key:
                rows.extend(row for row in _rows(one, result) if _row_key(row) not in said)
        append_events(run.events, rows)
    return len(rows)


def _rows(asked: Asked, result: Mapping[str, Any]) -> list[dict[str, Any]]:
    common = {
        "kind": "evaluation",
        "trained_tokens": asked.trained_tokens,
        "suite": asked.suite,
        "task": asked.task.name,
        "num_fewshot": asked.task.num_fewshot,
        "checkpoint_digest": asked.checkpoint_digest,
        "prompt_digest": asked.task.prompt_digest,
    }
    origin = {"reused_from": result["reused_from"]} if "reused_from" in result else {}
    names = ("metric", "profile", "score", "num_items")
    return [{**common, **{name: metric[name] for name in names}, **origin} for metric in result["metrics"]]


def _row_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("trained_tokens", "task", "metric", "profile", "score", "num_items", "checkpoint_digest", "prompt_digest")
    return tuple(row.get(name) for name in names)
