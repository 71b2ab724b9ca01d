"""A run by its id, a part of it, or its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import write_json_atomic
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.store import find_run


def test_a_run_is_found_by_id_part_or_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for run_id in ("model-base-1234567", "model-more-7654321"):
        write_json_atomic(RunPaths.of(tmp_path, run_id).identity, {})
    run = RunPaths.of(tmp_path, "model-base-1234567")
    monkeypatch.chdir(tmp_path)
    for given in ("model-base-1234567", "model-b", "1234567", str(run.folder), "runs/model-base-1234567/"):
        assert find_run(tmp_path, given) == run
    assert find_run(tmp_path / "elsewhere", "runs/model-base-1234567").out == tmp_path
    with pytest.raises(RequestError, match="2 runs match 'model'; expected one of model-base-1234567, model-more-7654321"):
        find_run(tmp_path, "model")
    with pytest.raises(RequestError, match="no run matches 'runs'"):
        find_run(tmp_path, "runs")
