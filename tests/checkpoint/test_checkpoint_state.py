"""Only whole states are seen; torn ones are named and set aside; pruning keeps what the policy says and every export."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from whole_checkpoints import check_checkpoints

from swallow_exp.artefact.files import sha256_file
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.checkpoint.index import CheckpointRecord, add_checkpoint, read_checkpoints
from swallow_exp.checkpoint.state import (
    COMPLETE_NAME,
    PLAN_NAME,
    REST_NAME,
    SavedState,
    find_states,
    leftovers,
    newest_state,
    partial_of,
    prune_states,
    remove_partial,
    seal_state,
    set_aside_torn,
    torn_states,
    withdraw,
)

SHARD = "__0_0.distcp"


def make_state(run: RunPaths, step: int, *, export: bool = False) -> Path:
    trained = step * 100
    folder = run.checkpoint_state(trained)
    partial = partial_of(folder)
    partial.mkdir(parents=True)
    for name in (SHARD, PLAN_NAME, REST_NAME):
        (partial / name).write_text(f"{name} of step {step}")
    files = {file.name: {"bytes": file.stat().st_size, "sha256": sha256_file(file)} for file in partial.iterdir()}
    seal_state(SavedState(folder, step, trained, "i"), files)
    if export:
        run.checkpoint_export(trained).mkdir()
        (run.checkpoint_export(trained) / "model.safetensors").write_text("weights")
        add_checkpoint(run, CheckpointRecord(trained, trained, step, f"checkpoints/tokens_{trained}/export", "d", True, 0.0))
    return folder


def steps(run: RunPaths) -> list[int]:
    return [state.step for state in find_states(run)]


def test_the_newest_complete_state_counts(tmp_path: Path) -> None:
    run = RunPaths.of(tmp_path, "run")
    assert newest_state(run) is None
    for step in (2, 9, 10):
        make_state(run, step)
    (run.checkpoint_state(1200).with_name("state.partial")).mkdir(parents=True)
    (run.checkpoints / "tokens_of_someone").mkdir()
    assert steps(run) == [2, 9, 10] and torn_states(run) == []
    newest = newest_state(run)
    assert newest is not None and (newest.step, newest.trained_tokens, newest.inputs_digest) == (10, 1000, "i")


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda folder: cut(folder / SHARD), f"{SHARD} has 21 bytes instead of 22"),
        (lambda folder: (folder / SHARD).write_text("x" * 40), f"{SHARD} has 40 bytes instead of 22"),
        (lambda folder: (folder / SHARD).unlink(), f"{SHARD} is missing"),
        (lambda folder: (folder / PLAN_NAME).unlink(), f"{PLAN_NAME} is missing"),
        (lambda folder: cut(folder / REST_NAME), f"{REST_NAME} has"),
        (lambda folder: (folder / COMPLETE_NAME).unlink(), f"{COMPLETE_NAME} is missing or torn"),
        (lambda folder: cut(folder / COMPLETE_NAME) or os.truncate(folder / COMPLETE_NAME, 30), f"{COMPLETE_NAME} is missing or torn"),
        (lambda folder: (folder / COMPLETE_NAME).write_text("[]"), f"{COMPLETE_NAME} is missing or torn"),
        (lambda folder: (folder / COMPLETE_NAME).write_text('{"step": 9, "files": 3}'), f"{COMPLETE_NAME} is missing or torn"),
    ],
)
def test_a_torn_state_is_named_and_set_aside(tmp_path: Path, damage: Callable[[Path], None], named: str) -> None:
    run = RunPaths.of(tmp_path, "run")
    make_state(run, 8)
    folder = make_state(run, 9)
    damage(folder)
    assert steps(run) == [8]
    (torn,) = torn_states(run)
    assert torn.folder == folder and named in torn.reason and str(folder) in str(torn)
    assert any(named in problem for problem in check_checkpoints(run))
    assert set_aside_torn(run) == [torn]
    assert not folder.exists() and torn_states(run) == [] and steps(run) == [8]
    assert leftovers(run) == [folder.with_name("state.torn")]
    make_state(run, 9)  # the same step again
    assert steps(run) == [8, 9]


def test_changed_bytes_of_the_right_size_are_found_by_a_full_check(tmp_path: Path) -> None:
    run = RunPaths.of(tmp_path, "run")
    folder = make_state(run, 9)
    assert check_checkpoints(run) == []
    (folder / SHARD).write_text((folder / SHARD).read_text().swapcase())
    assert steps(run) == [9]
    assert check_checkpoints(run) == [f"{folder / SHARD} has changed since it was written"]


def test_pruning_keeps_the_newest_state_and_all_exports(tmp_path: Path) -> None:
    run = RunPaths.of(tmp_path, "run")
    assert prune_states(run) == []
    make_state(run, 4, export=True)
    make_state(run, 6)  # a rolling state
    make_state(run, 8, export=True)
    assert [state.step for state in prune_states(run)] == [4, 6]
    assert steps(run) == [8]
    assert (run.checkpoint_export(400) / "model.safetensors").exists() and (run.checkpoint_export(800) / "model.safetensors").exists()
    assert not run.checkpoint(600).exists() and not run.checkpoint_state(400).exists()
    assert [(r.trained_tokens, r.resumable) for r in read_checkpoints(run)] == [(400, False), (800, True)]


@pytest.mark.parametrize(
    ("keep", "keep_marks", "left"), [(1, False, [9]), (2, False, [8, 9]), (9, False, [4, 6, 8, 9]), (1, True, [4, 8, 9]), (0, True, [4, 8])]
)
def test_how_many_states_are_kept(tmp_path: Path, keep: int, keep_marks: bool, left: list[int]) -> None:
    run = RunPaths.of(tmp_path, "run")
    for step in (4, 6, 8, 9):
        make_state(run, step, export=step in (4, 8))
    prune_states(run, keep=keep, keep_marks=keep_marks)
    assert steps(run) == left
    assert {r.step for r in read_checkpoints(run) if r.resumable} == {4, 8} & set(left)


def test_half_written_leftovers_go(tmp_path: Path) -> None:
    run = RunPaths.of(tmp_path, "run")
    make_state(run, 4, export=True)
    run.checkpoint_export(400).with_name("export.partial").mkdir()
    run.checkpoint_state(600).with_name("state.partial").mkdir(parents=True)
    # killed after the mark was written, before the rename: still no state
    (run.checkpoint_state(600).with_name("state.partial") / COMPLETE_NAME).write_text(json.dumps({"step": 6}))
    remove_partial(run)
    assert sorted(path.name for path in run.checkpoint(400).iterdir()) == ["checkpoint.json", "export", "state"]
    assert not run.checkpoint(600).exists()


def test_a_kill_while_a_state_is_withdrawn_leaves_no_torn_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from swallow_exp.checkpoint import state as module

    run = RunPaths.of(tmp_path, "run")
    folder = make_state(run, 4)

    def killed(path: Path) -> None:
        if path.exists():
            (path / SHARD).unlink()
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "remove_folder", killed)
    with pytest.raises(KeyboardInterrupt):
        withdraw(folder)
    monkeypatch.undo()
    assert steps(run) == [] and torn_states(run) == []
    remove_partial(run)
    assert not folder.parent.exists()
