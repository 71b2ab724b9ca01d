"""Cost of a run from its own rows: device-hours whatever the number of devices, work done twice paid twice, unknown stays unknown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from analysis.cost import read_cost
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.events import append_events
from swallow_exp.record.store import write_result

SECONDS = 50.0  # between two rows of 1000 tokens and 4e12 FLOPs, on two devices


def row(step: int, **changes: Any) -> dict[str, Any]:
    facts = {"kind": "train", "step": step, "trained_tokens": 1000 * step, "loss": 1.0, "flops": 4e12 * step}
    return {**facts, "tokens_per_second": 1000 / SECONDS, "tflops_per_device": 4 / SECONDS / 2, "mfu": 0.25, **changes}


def result(run: RunPaths, tokens: int, **facts: Any) -> None:
    write_result(run.evaluation(tokens, "qa"), {"task": "qa", "metrics": [], **facts}, [{"item_id": "a"}])


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    return RunPaths.of(tmp_path, "some-run")


def test_device_seconds_do_not_depend_on_how_they_are_cut(run: RunPaths) -> None:
    stall = {"kind": "checkpoint", "trained_tokens": 2000, "checkpoint_stall_seconds": 1.5}
    append_events(run.events, [row(1, peak_memory_bytes=7), row(2), stall, row(4, tflops_per_device=0.08, tokens_per_second=40.0)])
    cost = read_cost(run)
    assert cost.device_hours == pytest.approx((2 * SECONDS * 2 + 8 / 0.08) / 3600)
    assert (cost.num_devices, cost.flops, cost.stall_seconds, cost.peak_memory_bytes) == (2, 1.6e13, 1.5, 7)
    assert (cost.tokens_per_second, cost.mfu) == (20.0, 0.25)


def test_work_done_again_is_paid_again(run: RunPaths) -> None:
    append_events(run.events, [row(1), row(2), row(3), row(2), row(3), row(4)])  # interrupted after 3, resumed from 1
    cost = read_cost(run)
    assert cost.device_hours == pytest.approx(6 * SECONDS * 2 / 3600)
    assert cost.flops == 1.6e13


def test_results_taken_over_cost_nothing_here(run: RunPaths) -> None:
    result(run, 0, seconds=9.0, reused_from="other")
    result(run, 10, seconds=2.0)
    result(run, 20, seconds=3.0)
    cost = read_cost(run)
    assert (cost.evaluation_seconds, cost.num_reused) == (5.0, 1)


def test_what_nothing_says_is_none(run: RunPaths) -> None:
    cost = read_cost(run)
    assert (cost.device, cost.num_devices, cost.device_hours, cost.flops, cost.mfu, cost.evaluation_seconds) == (None,) * 6
    append_events(run.events, [{"kind": "train", "step": 1, "trained_tokens": 10, "loss": 1.0, "flops": 5.0}])  # no rate: no hours
    assert read_cost(run).device_hours is None and read_cost(run).flops == 5.0


@pytest.mark.parametrize(("names", "device"), [(["A100", "A100"], "A100"), (["A100", "T4"], None)])
def test_a_device_is_named_when_all_are_alike(run: RunPaths, names: list[str], device: str | None) -> None:
    run.folder.mkdir(parents=True)
    run.provenance.write_text(json.dumps({"cuda_devices": [{"name": name} for name in names]}), encoding="utf-8")
    assert read_cost(run).device == device
