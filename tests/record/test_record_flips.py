"""Flips: which items changed sides, in which order, and when there are none to speak of."""

from dataclasses import replace
from pathlib import Path

import pytest

from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.flips import find_flips
from swallow_exp.record.schema import EvaluationRecord
from swallow_exp.record.store import read_evaluations, statistics_column, write_result


def write(out: Path, run_id: str, scores: dict[str, float]) -> EvaluationRecord:
    items = [
        {
            "item_id": item_id,
            "cluster": "",
            "prompt": f"問 {item_id}",
            "prediction": f"{run_id} answers {item_id}",
            "reference": f"答 {item_id}",
            statistics_column("char_f1", "both"): [score],
        }
        for item_id, score in scores.items()
    ]
    metric = {"metric": "char_f1", "profile": "both", "aggregate": "mean", "higher_is_better": True, "score": 0.0, "num_items": len(items)}
    result = {"task": "qa", "suite": "s", "task_version": "1", "num_fewshot": 4, "prompt_digest": "p", "checkpoint_digest": "c"}
    write_result(RunPaths.of(out, run_id).evaluation(10, "qa"), {**result, "metrics": [metric]}, items)
    return next(read_evaluations(out, run_id))


def test_won_and_lost_alternate_largest_change_first(tmp_path: Path) -> None:
    baseline = write(tmp_path, "base", {"a": 0.0, "b": 1.0, "c": 0.4, "d": 1.0, "e": 0.9, "only_base": 0.0})
    record = write(tmp_path, "ours", {"e": 0.1, "d": 1.0, "c": 0.6, "b": 0.0, "a": 1.0, "only_ours": 1.0})
    flips = list(find_flips(tmp_path, record, baseline))
    assert [(flip.item_id, flip.won) for flip in flips] == [("a", True), ("b", False), ("c", True), ("e", False)]
    assert (flips[0].prompt, flips[0].reference) == ("問 a", "答 a")
    assert (flips[0].baseline_prediction, flips[0].prediction) == ("base answers a", "ours answers a")
    assert (flips[2].baseline_score, flips[2].score) == (0.4, 0.6)


def test_the_other_direction_swaps_won_and_lost(tmp_path: Path) -> None:
    baseline, record = write(tmp_path, "base", {"a": 0.0, "b": 1.0}), write(tmp_path, "ours", {"a": 1.0, "b": 1.0})
    (there,), (back,) = find_flips(tmp_path, record, baseline), find_flips(tmp_path, baseline, record)
    assert (there.won, back.won) == (True, False)


def test_corpus_metrics_have_no_flips(tmp_path: Path) -> None:
    record = write(tmp_path, "ours", {"a": 1.0})
    with pytest.raises(ValueError, match="no score per item"):
        next(find_flips(tmp_path, replace(record, aggregate="bleu"), record))


def test_equal_answers_have_no_flips(tmp_path: Path) -> None:
    baseline, record = write(tmp_path, "base", {"a": 0.0, "b": 1.0}), write(tmp_path, "ours", {"b": 0.5, "c": 1.0})
    assert list(find_flips(tmp_path, record, baseline)) == []
