"""Counts of labels and answers come from the items of a result, and are refused where the items have no labels."""

from dataclasses import replace
from pathlib import Path

import pytest

from analysis.figures.classes import read_classes
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.schema import EvaluationRecord
from swallow_exp.record.store import write_result

RECORD = EvaluationRecord("run", 10, "nli", "jnli", "1", "paper", "exact_match", "mean", True, 4, 5, 40.0, "p", "c", folder="jnli-paper")
ROWS = [("含意", "含意", False), ("含意", "中立", False), ("矛盾", "中立", False), ("矛盾", "たぶん", True), ("含意", "含意", False)]


def test_labels_and_answers_are_counted_commonest_first(tmp_path: Path) -> None:
    rows = [{"item_id": f"{i}", "reference": g, "normalised": a, "invalid": bad} for i, (g, a, bad) in enumerate(ROWS)]
    write_result(RunPaths.of(tmp_path, "run").evaluation(10, "jnli-paper"), {"metrics": []}, rows)
    counts = read_classes(tmp_path, RECORD)
    assert list(counts.gold.items()) == [("含意", 3), ("矛盾", 2)]
    assert counts.predicted == {"中立": 2, "含意": 2} and counts.invalid == 1 and counts.num_items == 5
    assert counts.commonest == "中立"  # of equals the first in order of code points, whatever the order of the items


def test_results_without_labels_are_refused(tmp_path: Path) -> None:
    write_result(RunPaths.of(tmp_path, "run").evaluation(10, "jnli-paper"), {"metrics": []}, [{"item_id": "0", "reference": "x"}])
    with pytest.raises(KeyError, match="invalid, normalised"):
        read_classes(tmp_path, RECORD)
    with pytest.raises(FileNotFoundError):
        read_classes(tmp_path, replace(RECORD, trained_tokens=11))
