"""Retention: what may go, what never does, and nothing without --yes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import sha256_file, write_json_atomic
from swallow_exp.artefact.manifest import build_artefact
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.checkpoint.index import CheckpointRecord, add_checkpoint, read_checkpoints, resolve_export
from swallow_exp.checkpoint.state import SavedState, find_states, partial_of, seal_state
from swallow_exp.config import Config
from swallow_exp.inspect.gc import Garbage, find_garbage, remove_garbage
from swallow_exp.model.folder import GENERATION_NAME, TOKENIZER_NAMES
from swallow_exp.record.status import write_status
from swallow_exp.record.store import write_result

HEADER = b'{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}'
SAFETENSORS = len(HEADER).to_bytes(8, "little") + HEADER + b"1234"


def make_run(out: Path, run_id: str, *, state: str = "trained", keep_exports: bool = False, keep_mark_states: bool = False) -> RunPaths:
    """Three marks with exports and states, a rolling state, half-written and torn folders; suite of the tasks one and two."""
    run = RunPaths.of(out, run_id)
    for step, mark in ((1, 100), (2, 200), (3, 300)):
        export = run.checkpoint_export(mark)
        export.mkdir(parents=True)
        (export / "model.safetensors").write_bytes(SAFETENSORS)
        for name in ("config.json", GENERATION_NAME, *TOKENIZER_NAMES):
            (export / name).write_text("{}")
        add_checkpoint(run, CheckpointRecord(mark, mark, step, f"checkpoints/tokens_{mark}/export", f"digest {mark}", True, 0.1))
    for step, tokens in ((1, 100), (2, 150), (3, 300)):
        partial = partial_of(run.checkpoint_state(tokens))
        partial.mkdir(parents=True)
        (partial / "shard").write_text("x" * 1000)
        files = {"shard": {"bytes": 1000, "sha256": sha256_file(partial / "shard")}}
        seal_state(SavedState(run.checkpoint_state(tokens), step, tokens, "i"), files)
    for name in ("state.partial", "state.torn"):
        (run.checkpoint(150) / name).mkdir()
    config = Config()
    for group in fields(config):
        if group.name != "seed":
            getattr(config, group.name).name = "tiny"
    config.suite.tasks = ["one", "two"]
    config.machine.keep_exports, config.machine.keep_mark_states = keep_exports, keep_mark_states
    run.config.write_text(yaml.safe_dump(asdict(config)))
    write_json_atomic(run.identity, {"name": run_id})
    write_json_atomic(run.inputs, {"weights": {"folder": "artefacts/weights/used-1", "digest": "d-used"}})
    write_status(run.status, state, trained_tokens=300)
    return run


def evaluate(run: RunPaths, mark: int, task: str, *, digest: str | None = None) -> None:
    write_result(run.evaluation(mark, task), {"metrics": [], "weights_digest": digest or f"digest {mark}"}, [{"item_id": "1"}])


def found(out: Path, kind: str) -> list[str]:
    return [one.path.relative_to(out).as_posix() for one in find_garbage(out) if one.kind == kind]


def collect(out: Path) -> list[Garbage]:
    return remove_garbage(find_garbage(out))


def marks_with_exports(run: RunPaths) -> list[int]:
    return [r.trained_tokens for r in read_checkpoints(run) if r.export and resolve_export(run, r).is_dir()]


def test_a_finished_run_keeps_its_exports_and_loses_what_nothing_needs(tmp_path: Path) -> None:
    run = make_run(tmp_path, "run")
    assert len(found(tmp_path, "state")) == 3 and len(found(tmp_path, "leftover")) == 2 and found(tmp_path, "export") == []
    assert all(one.num_bytes >= 1000 for one in find_garbage(tmp_path) if one.kind == "state")
    assert len(collect(tmp_path)) == 5
    assert find_states(run) == [] and marks_with_exports(run) == [100, 200, 300] and not run.checkpoint(150).exists()
    assert not any(record.resumable for record in read_checkpoints(run))
    assert collect(tmp_path) == []


def test_states_of_marks_stay_when_the_policy_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path, "run", keep_mark_states=True)
    collect(tmp_path)
    assert [state.trained_tokens for state in find_states(run)] == [100, 300]


@pytest.mark.parametrize("state", ["running", "preempted", "failed"])
def test_a_run_that_is_not_finished_keeps_its_states(tmp_path: Path, state: str) -> None:
    run = make_run(tmp_path, "run", state=state)
    collect(tmp_path)
    assert len(find_states(run)) == 3 and marks_with_exports(run) == [100, 200, 300]


def test_a_run_whose_last_export_is_damaged_keeps_its_states(tmp_path: Path) -> None:
    run = make_run(tmp_path, "run")
    os.truncate(run.checkpoint_export(300) / "model.safetensors", 20)
    assert found(tmp_path, "state") == []


def test_a_running_run_is_not_touched(tmp_path: Path) -> None:
    run = make_run(tmp_path, "run")
    seen = find_garbage(tmp_path)
    with FileLock(str(run.lock)):
        assert find_garbage(tmp_path) == []
        assert remove_garbage(seen) == []  # it started in between
    assert len(find_states(run)) == 3


def test_exports_go_only_after_every_task_has_asked_these_very_weights(tmp_path: Path) -> None:
    run = make_run(tmp_path, "run")
    evaluate(run, 100, "one")
    evaluate(run, 200, "one")
    evaluate(run, 200, "two", digest="of other weights")
    for task in ("one", "two"):
        evaluate(run, 300, task)
    assert found(tmp_path, "export") == []
    evaluate(run, 100, "two")
    with FileLock(str(run.evaluation_lock)):
        assert found(tmp_path, "export") == []
    assert found(tmp_path, "export") == ["runs/run/checkpoints/tokens_100/export"]
    collect(tmp_path)
    assert marks_with_exports(run) == [200, 300]  # 200 was never evaluated, 300 is the last
    assert [record.trained_tokens for record in read_checkpoints(run)] == [100, 200, 300]  # what it was stays known


def test_exports_stay_by_default(tmp_path: Path) -> None:
    run = make_run(tmp_path, "run", keep_exports=True)
    for mark in (100, 200, 300):
        for task in ("one", "two"):
            evaluate(run, mark, task)
    collect(tmp_path)
    assert marks_with_exports(run) == [100, 200, 300]


def artefact(out: Path, kind: str, digest: str, made_from: dict[str, str]) -> Path:
    def build(folder: Path) -> dict[str, int]:
        (folder / "data").write_text("x")
        return {}

    folder = out / "artefacts" / kind / digest
    build_artefact(folder, build, kind=kind, digest=digest, request={}, made_from=made_from)
    return folder


def test_artefacts_nobody_uses_are_shown_and_half_built_ones_go(tmp_path: Path) -> None:
    make_run(tmp_path, "run")
    used, behind = artefact(tmp_path, "weights", "d-used", {"vocabulary": "d-behind"}), artefact(tmp_path, "vocabulary", "d-behind", {})
    unused = artefact(tmp_path, "weights", "d-unused", {})
    dead, alive = (folder.with_name(f"{folder.name}.partial-1234") for folder in (used, unused))
    for folder in (dead, alive, used.with_name("d-used.work")):
        folder.mkdir()
    with FileLock(str(unused) + ".lock"):
        assert found(tmp_path, "unreferenced") == ["artefacts/weights/d-unused"]
        assert {path for path in found(tmp_path, "leftover") if path.startswith("artefacts")} == {
            "artefacts/weights/d-used.partial-1234",
            "artefacts/weights/d-used.work",
        }
        collect(tmp_path)
    assert not dead.exists() and alive.exists() and unused.exists() and used.exists() and behind.exists()


def swallow(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "swallow_exp", *words], capture_output=True, text=True)


def test_nothing_goes_without_yes(tmp_path: Path) -> None:
    run = make_run(tmp_path, "run")
    before = sorted(tmp_path.rglob("*"))
    told = swallow("gc", "--out", str(tmp_path))
    assert told.returncode == 0 and "5 things, 3." in told.stdout and "would go; nothing was removed" in told.stdout, told
    assert [line[:9] for line in told.stdout.splitlines()[:-1]] == ["would go "] * 5
    assert [path for path in sorted(tmp_path.rglob("*")) if path.suffix != ".lock"] == before
    rows = json.loads(swallow("gc", "--out", str(tmp_path), "--json").stdout)
    assert rows["removed"] is False and len(rows["items"]) == 5 and rows["bytes"] == sum(row["bytes"] for row in rows["items"])
    assert swallow("gc", "--yes", "--dry-run", "--out", str(tmp_path)).returncode == 2
    done = swallow("gc", "--yes", "--out", str(tmp_path))
    assert done.returncode == 0 and "removed 5 things, 3." in done.stdout
    assert find_states(run) == []
    assert "nothing to remove" in swallow("gc", "--out", str(tmp_path)).stdout
    with pytest.raises(RequestError, match="is no folder"):
        find_garbage(tmp_path / "nothing")
