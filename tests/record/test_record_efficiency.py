"""Table 7's form from train rows."""

from __future__ import annotations

from swallow_exp.record.efficiency import PAPER_TABLE7, Efficiency, efficiency_of


def test_medians_of_the_train_rows_alone() -> None:
    rows = [{"kind": "train", "tflops_per_device": v, "mfu": v / 312, "tokens_per_second": 10.0 * v} for v in (90, 134, 140)]
    found = efficiency_of([{"kind": "checkpoint", "tflops_per_device": 1.0}, *rows], model="mine")
    assert found == Efficiency("mine", 134.0, 134 / 312, 1340.0)


def test_the_papers_lines_are_consistent_with_its_peak() -> None:
    for row in PAPER_TABLE7:
        assert row.tflops_per_device is not None and row.execution_efficiency is not None
        assert abs(row.tflops_per_device / 312 - row.execution_efficiency) < 1e-3
