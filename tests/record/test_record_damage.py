"""Files of a run that are torn, or JSON of another shape, are as if they were not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.paths import RunPaths, sweep_file
from swallow_exp.checkpoint.index import read_checkpoints
from swallow_exp.inspect.status import status_rows
from swallow_exp.record.inputs import read_inputs
from swallow_exp.record.status import read_status
from swallow_exp.record.store import list_run_ids, read_config, read_evaluations, read_run, read_sweep

TORN = [
    "",
    "{",
    "[]",
    "{}",
    "null",
    "3",
    '"text"',
    '{"checkpoints": [{"step": 1}]}',
    '{"cells": 1}',
    '{"state": "dancing"}',
    '{"weights": 3}',
]


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    run = RunPaths.of(tmp_path, "run")
    run.folder.mkdir(parents=True)
    return run


@pytest.mark.parametrize("text", TORN)
def test_damage(run: RunPaths, text: str) -> None:
    for path in (run.identity, run.inputs, run.status, run.checkpoint_index, sweep_file(run.out, "name")):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    result = run.evaluation(8, "task") / "result.json"
    result.parent.mkdir(parents=True)
    result.write_text(text, encoding="utf-8")
    (run.folder / "evaluations" / "tokens_5").write_text("a file", encoding="utf-8")
    assert read_checkpoints(run) == []
    assert read_status(run.status) == {"state": "planned"}
    assert read_inputs(run) is None
    assert read_sweep(run.out, "name") is None
    assert read_run(run.out, run.run_id) is None
    assert list(read_evaluations(run.out, run.run_id)) == []
    assert [row["state"] for row in status_rows(run.out)] == ["planned"] * len(list_run_ids(run.out))


@pytest.mark.parametrize("text", [None, "", "a: [", "a: 1", "3"])
def test_a_config_that_is_no_config_is_one_line(run: RunPaths, text: str | None) -> None:
    if text is not None:
        run.config.write_text(text, encoding="utf-8")
    with pytest.raises(RequestError, match=r"config\.yaml"):
        read_config(run)
