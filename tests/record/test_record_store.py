from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swallow_exp.artefact.files import write_json_atomic
from swallow_exp.artefact.paths import RunPaths, sweep_file
from swallow_exp.record import store
from swallow_exp.record.events import append_events
from swallow_exp.record.identity import IDENTITY_GROUPS
from swallow_exp.record.schema import CurveRecord, RunRecord
from swallow_exp.record.status import write_status
from swallow_exp.record.store import (
    list_run_ids,
    read_curve,
    read_evaluations,
    read_items,
    read_result,
    read_run,
    read_sweep,
    statistics_column,
    write_result,
)


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    paths = RunPaths.of(tmp_path, "run-a")
    identity: dict[str, Any] = {group: {"name": f"{group}_level"} for group in IDENTITY_GROUPS}
    identity["budget"]["tokens"] = 10_000
    write_json_atomic(paths.identity, {**identity, "seed": 3})
    return paths


def result(task: str) -> dict[str, Any]:
    facts = {"aggregate": "mean", "higher_is_better": True, "num_items": 2}
    return {
        "task": task,
        "suite": "mini",
        "task_version": 1,
        "num_fewshot": 4,
        "prompt_digest": "p",
        "checkpoint_digest": "c",
        "metrics": [{"metric": "f1", "profile": profile, "score": 50.0, **facts} for profile in ("paper", "fair")],
    }


def item(item_id: str, paper: float, fair: float) -> dict[str, Any]:
    statistics = {statistics_column("f1", "paper"): [paper], statistics_column("f1", "fair"): [fair]}
    texts = {"prompt_digest": "d", "prompt": "問い", "prediction": "答え", "reference": "答え"}
    return {"item_id": item_id, "cluster": f"c{item_id}", "truncated": False, **texts, **statistics}


def test_a_run_is_read_with_its_state(run: RunPaths, tmp_path: Path) -> None:
    choices = {group: f"{group}_level" for group in IDENTITY_GROUPS}
    assert read_run(tmp_path, "run-a") == RunRecord("run-a", choices, 3, "planned", None, 10_000)
    write_status(run.status, "trained", trained_tokens=10_240)
    assert read_run(tmp_path, "run-a") == RunRecord("run-a", choices, 3, "trained", 10_240, 10_000)


def test_only_folders_with_an_identity_are_runs(run: RunPaths, tmp_path: Path) -> None:
    RunPaths.of(tmp_path, "run-b").folder.mkdir()
    assert list_run_ids(tmp_path) == ["run-a"]
    assert list_run_ids(tmp_path / "nowhere") == []
    assert read_run(tmp_path, "run-b") is None
    run.identity.write_text("{")
    assert read_run(tmp_path, "run-a") is None


def test_items_come_back_in_item_order_for_each_profile(run: RunPaths, tmp_path: Path) -> None:
    write_result(run.evaluation(0, "qa"), result("qa"), [item("b", 1.0, 0.25), item("a", 0.0, 0.75)])
    paper, fair = read_evaluations(tmp_path, "run-a")
    assert (paper.profile, fair.profile, paper.task_version, paper.num_fewshot) == ("paper", "fair", "1", 4)
    items = read_items(tmp_path, fair)
    assert (items.item_ids, items.clusters, items.aggregate) == (("a", "b"), ("ca", "cb"), "mean")
    np.testing.assert_array_equal(items.statistics, [[0.75], [0.25]])
    np.testing.assert_array_equal(read_items(tmp_path, paper).statistics, [[0.0], [1.0]])


def test_evaluations_come_in_order_of_tokens_not_of_names(run: RunPaths, tmp_path: Path) -> None:
    for tokens in (1000, 900, 0):
        for task in ("qa", "choice"):
            write_result(run.evaluation(tokens, task), result(task), [item("a", 1.0, 1.0)])
    order = [(record.trained_tokens, record.task) for record in read_evaluations(tmp_path, "run-a") if record.profile == "paper"]
    assert order == [(0, "choice"), (0, "qa"), (900, "choice"), (900, "qa"), (1000, "choice"), (1000, "qa")]


def test_a_task_without_or_with_a_torn_result_is_not_evaluated(run: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run.evaluation(0, "qa")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(store, "write_json_atomic", die)
        write_result(folder, result("qa"), [item("a", 1.0, 1.0)])
    assert (folder / store.ITEMS_NAME).exists()
    assert read_result(folder) is None and list(read_evaluations(tmp_path, "run-a")) == []
    (folder / store.RESULT_NAME).write_text('{"task": "qa"')
    assert list(read_evaluations(tmp_path, "run-a")) == []
    write_result(folder, result("qa"), [item("a", 1.0, 1.0)])
    assert len(list(read_evaluations(tmp_path, "run-a"))) == 2
    assert {path.name for path in folder.iterdir()} == {store.ITEMS_NAME, store.RESULT_NAME}


def test_curve_of_a_resumed_run_keeps_the_last_row_of_each_mark(run: RunPaths, tmp_path: Path) -> None:
    def row(step: int, loss: float, **more: float) -> dict[str, Any]:
        return {"kind": "train", "trained_tokens": 100 * step, "step": step, "loss": loss, "learning_rate": 0.1, **more}

    assert read_curve(tmp_path, "run-a") == []
    append_events(run.events, [row(1, 5.0), row(2, 4.0), row(3, 3.0)])
    append_events(
        run.events, [{"kind": "checkpoint", "trained_tokens": 200, "step": 2, "digest": "a"}, row(2, 4.5), row(3, 3.5, flops=2.0)]
    )
    curve = read_curve(tmp_path, "run-a")
    assert curve == [
        CurveRecord("run-a", 100, 1, 5.0, 0.1),
        CurveRecord("run-a", 200, 2, 4.5, 0.1),
        CurveRecord("run-a", 300, 3, 3.5, 0.1, flops=2.0),
    ]
    assert curve[0].grad_norm is None  # missing is absent


def test_sweep_file_or_none(tmp_path: Path) -> None:
    assert read_sweep(tmp_path, "table8") is None
    write_json_atomic(sweep_file(tmp_path, "table8"), {"name": "table8", "cells": []})
    assert read_sweep(tmp_path, "table8") == {"name": "table8", "cells": []}
