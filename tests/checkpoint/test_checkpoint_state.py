"""Only complete states are seen; pruning keeps the newest and every export."""

from __future__ import annotations

from pathlib import Path

from swallow_exp.artefact.files import write_json_atomic
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.checkpoint.index import CheckpointRecord, add_checkpoint, read_checkpoints
from swallow_exp.checkpoint.state import COMPLETE_NAME, find_states, newest_state, prune_states, remove_partial


def make_state(run: RunPaths, step: int, *, complete: bool = True, export: bool = False) -> None:
    trained = step * 100
    folder = run.checkpoint_state(trained)
    folder.mkdir(parents=True)
    (folder / "shard").write_text("x")
    if complete:
        write_json_atomic(folder / COMPLETE_NAME, {"step": step, "trained_tokens": trained, "inputs_digest": "i"})
    if export:
        run.checkpoint_export(trained).mkdir()
        (run.checkpoint_export(trained) / "model.safetensors").write_text("weights")
        add_checkpoint(run, CheckpointRecord(trained, trained, step, f"checkpoints/tokens_{trained}/export", "d", True, 0.0))


def test_the_newest_complete_state_counts(tmp_path: Path) -> None:
    run = RunPaths.of(tmp_path, "run")
    assert newest_state(run) is None
    for step in (2, 9, 10):
        make_state(run, step)
    make_state(run, 11, complete=False)
    (run.checkpoint_state(1200).with_name("state.partial")).mkdir(parents=True)
    (run.checkpoints / "tokens_of_someone").mkdir()
    assert [state.step for state in find_states(run)] == [2, 9, 10]
    newest = newest_state(run)
    assert newest is not None and (newest.step, newest.trained_tokens, newest.inputs_digest) == (10, 1000, "i")


def test_pruning_keeps_the_newest_state_and_all_exports(tmp_path: Path) -> None:
    run = RunPaths.of(tmp_path, "run")
    prune_states(run)
    make_state(run, 4, export=True)
    make_state(run, 6)  # a rolling state
    make_state(run, 8, export=True)
    prune_states(run)
    assert [state.step for state in find_states(run)] == [8]
    assert (run.checkpoint_export(400) / "model.safetensors").exists() and (run.checkpoint_export(800) / "model.safetensors").exists()
    assert not run.checkpoint(600).exists() and not run.checkpoint_state(400).exists()
    assert [(r.trained_tokens, r.resumable) for r in read_checkpoints(run)] == [(400, False), (800, True)]


def test_half_written_leftovers_go(tmp_path: Path) -> None:
    run = RunPaths.of(tmp_path, "run")
    make_state(run, 4, export=True)
    run.checkpoint_export(400).with_name("export.partial").mkdir()
    run.checkpoint_state(600).with_name("state.partial").mkdir(parents=True)
    remove_partial(run)
    assert sorted(path.name for path in run.checkpoint(400).iterdir()) == ["export", "state"]
    assert not run.checkpoint(600).exists()
