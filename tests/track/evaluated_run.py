"""Checkpoints and results of evaluations as the other rooms leave them, with Japanese items."""

from collections.abc import Callable
from pathlib import Path

from swallow_exp.artefact.paths import RunPaths
from swallow_exp.checkpoint.index import CheckpointRecord, add_checkpoint
from swallow_exp.record.store import write_result


def add_mark(run: RunPaths, trained_tokens: int, digest: str = "ab" * 32) -> Path:
    """A checkpoint with a (small) export; returns the export."""
    export = run.checkpoint_export(trained_tokens)
    export.mkdir(parents=True)
    (export / "model.safetensors").write_bytes(b"weights" * 1000)
    place = export.relative_to(run.folder).as_posix()
    add_checkpoint(run, CheckpointRecord(trained_tokens, trained_tokens, 19, place, digest, resumable=False, seconds=0.1))
    return export


def add_result(run: RunPaths, trained_tokens: int, right: Callable[[int], bool], *, num_items: int = 12, task: str = "mini_choice") -> Path:
    """A task's result with items 0..num_items-1, of which those are right that `right` says; returns its folder."""
    items = [
        {
            "item_id": f"q{number:04d}",
            "cluster": f"q{number:04d}",
            "prompt": f"質問{number}：「日本の首都は？」",
            "prediction": "東京" if right(number) else "京都",
            "reference": "東京",
            "stat:accuracy:both": [float(right(number))],
        }
        for number in range(num_items)
    ]
    score = 100 * sum(right(number) for number in range(num_items)) / num_items
    metric = {"metric": "accuracy", "profile": "both", "aggregate": "mean", "higher_is_better": True, "score": score}
    result = {
        "task": task,
        "suite": "mini",
        "task_version": "1",
        "num_fewshot": 0,
        "prompt_digest": "cd",
        "checkpoint_digest": "ab",
        "metrics": [{**metric, "num_items": num_items}],
    }
    folder = run.evaluation(trained_tokens, task)
    write_result(folder, result, items)
    return folder
