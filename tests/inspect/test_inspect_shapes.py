"""Records of any shape: each reader names them or leaves them out, and commands over many runs go on with the rest."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_inspect_gc import make_run

from swallow_exp.artefact.errors import SwallowError
from swallow_exp.artefact.manifest import find_artefact
from swallow_exp.artefact.paths import RunPaths, cell_lease, sweep_file
from swallow_exp.checkpoint.index import read_checkpoints, resolve_export
from swallow_exp.checkpoint.state import find_states, torn_states
from swallow_exp.evaluate.results import index_results
from swallow_exp.inspect.gc import find_garbage
from swallow_exp.inspect.status import status_rows, status_table
from swallow_exp.inspect.verify import verify
from swallow_exp.record.identity import IDENTITY_GROUPS, read_identity, run_id_of
from swallow_exp.record.inputs import read_inputs
from swallow_exp.record.status import is_stale, read_status
from swallow_exp.record.store import read_run, read_sweep
from swallow_exp.sweep.lease import find_holder, has_died, read_lease
from swallow_exp.sweep.why import explain_difference

FILES = {
    "status": "runs/broken/status.json",
    "identity": "runs/broken/identity.json",
    "inputs": "runs/broken/inputs.json",
    "checkpoints": "runs/broken/checkpoints.json",
    "checkpoint": "runs/broken/checkpoints/tokens_100/checkpoint.json",
    "mark": "runs/broken/checkpoints/tokens_100/state/complete.json",
    "result": "runs/broken/evaluations/tokens_100/one/result.json",
    "absent": "runs/broken/evaluations/absent.json",
    "overlap": "runs/broken/evaluations/overlap.json",
    "published": "runs/broken/published/wandb.json",
    "lease": "leases/broken.json",
    "sweep": "sweeps/s.json",
    "manifest": "artefacts/tokens/x-1/manifest.json",
    "model": "models/m-1/model.json",
}
KEYS = [
    "state", "heartbeat", "pid", "host", "attempts", "trained_tokens", "cause", "seed", "name", "tokens", "budget", *IDENTITY_GROUPS,
    "checkpoints", "mark_tokens", "step", "export", "digest", "resumable", "seconds", "sides", "files", "bytes", "sha256", "inputs_digest",
    "metrics", "task", "health", "score", "token", "place", "born", "exit_code", "cells", "run_id", "marks", "tasks", "made_from",
    "request", "counts", "kind", "weights", "vocabulary", "folder", "corpora",
]  # fmt: skip
leaves = (
    st.none() | st.booleans() | st.integers(-3, 5) | st.integers(1 << 62, 1 << 70) | st.floats() | st.text(max_size=6)
    | st.sampled_from(["running", "trained", "planned", "../../x", "/etc/passwd", "out:../x", "yesterday", "a\0b", "runs", "broken"])
)  # fmt: skip
values: Any = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=5)
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of one shape; one of them will be broken."""
    out = tmp_path_factory.mktemp("shapes") / "out"
    for name in ("broken", "fine"):
        make_run(out, name)
    return out


def look_at(out: Path) -> None:
    """Every reader, and every command over many runs. Nothing may raise but an error of one line."""
    run, lease = RunPaths.of(out, "broken"), cell_lease(out, "broken")
    status = read_status(run.status)
    is_stale(status)
    find_holder(lease)
    has_died(lease, status)
    read_lease(lease)
    if (identity := read_identity(run.identity)) is not None:
        run_id_of(identity)
    read_run(out, "broken")
    read_inputs(run)
    for record in read_checkpoints(run):
        try:
            folder = resolve_export(run, record)
        except SwallowError as error:
            assert "\n" not in str(error)
        else:
            assert folder.resolve().is_relative_to(out.resolve())
    find_states(run), torn_states(run)
    read_sweep(out, "s")
    find_artefact(out / "artefacts" / "tokens" / "x-1")
    index_results(out)
    try:
        explain_difference(run, RunPaths.of(out, "fine"))
    except SwallowError as error:
        assert "\n" not in str(error)
    rows = status_rows(out)
    assert {"broken", "fine"} <= {row["run_id"] for row in rows}
    assert next(row for row in rows if row["run_id"] == "fine")["state"] == "trained"
    status_table(rows, as_json=False), json.loads(status_table(rows, as_json=True))
    assert any(one.path.is_relative_to(out / "runs" / "fine") for one in find_garbage(out))
    verify(out)


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(value=values | st.dictionaries(st.sampled_from(KEYS), values, min_size=1))
def test_any_json_in_the_place_of_a_record(whole: Path, name: str, value: Any) -> None:
    path, before = whole / FILES[name], None
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_bytes() if path.exists() else None
    try:
        path.write_text(json.dumps(value))
        look_at(whole)
        if before is not None and isinstance(value, dict):  # one part of it alone
            path.write_text(json.dumps({**json.loads(before), **value}))
            look_at(whole)
    finally:
        path.unlink()
        if before is not None:
            path.write_bytes(before)


BYTES = {"deep": b"[" * 100_000, "long number": b"9" * 5_000, "no UTF-8": b"\xff\xfe", "NUL": b"\0" * 10, "a folder": None, "a pipe": None}


@pytest.mark.parametrize("name", FILES)
def test_any_bytes_in_the_place_of_a_record(whole: Path, tmp_path: Path, name: str) -> None:
    out = Path(shutil.copytree(whole, tmp_path / "out"))
    path = out / FILES[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    for kind, data in BYTES.items():
        path.unlink(missing_ok=True)
        if data is not None:
            path.write_bytes(data)
        elif kind == "a pipe":
            os.mkfifo(path)
        else:
            path.mkdir()
        look_at(out)
        if path.is_dir():
            path.rmdir()


def test_a_row_that_cannot_be_read_says_so(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from swallow_exp.inspect import status

    out = Path(shutil.copytree(whole, tmp_path / "out"))
    read = status.read_checkpoints
    monkeypatch.setattr(status, "read_checkpoints", lambda run: read(run) if run.run_id == "fine" else {}["unforeseen"])
    rows = {row["run_id"]: row for row in status_rows(out)}
    assert rows["broken"]["state"] == "unreadable" and "unforeseen" in rows["broken"]["cause"] and rows["fine"]["state"] == "trained"
    assert "unreadable" in status_table(list(rows.values()), as_json=False)
    assert sweep_file(out, "s").parent == out / "sweeps"
