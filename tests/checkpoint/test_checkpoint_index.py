"""checkpoints.json: sorted, replaced whole, torn files are no index."""

from __future__ import annotations

import json
from pathlib import Path

from swallow_exp.artefact.paths import RunPaths
from swallow_exp.checkpoint.index import CheckpointRecord, add_checkpoint, read_checkpoints, resolve_export, restore_checkpoints


def record(trained: int, *, digest: str = "d", export: str | None = None) -> CheckpointRecord:
    return CheckpointRecord(trained - 1, trained, trained // 10, export or f"checkpoints/tokens_{trained}/export", digest, True, 0.5)


def test_records_are_sorted_and_replaced(tmp_path: Path) -> None:
    run = RunPaths.of(tmp_path, "run")
    assert read_checkpoints(run) == []
    for trained in (300, 100, 200):
        add_checkpoint(run, record(trained))
    add_checkpoint(run, record(200, digest="again"))
    assert [(r.trained_tokens, r.digest) for r in read_checkpoints(run)] == [(100, "d"), (200, "again"), (300, "d")]
    row = json.loads(run.checkpoint_index.read_text())["checkpoints"][0]
    assert set(row) == {"mark_tokens", "trained_tokens", "step", "export", "digest", "resumable", "seconds", "sides"}


def test_exports_are_found_in_the_run_and_beside_it(tmp_path: Path) -> None:
    run = RunPaths.of(tmp_path, "run")
    assert resolve_export(run, record(100)) == run.checkpoint_export(100)
    assert resolve_export(run, record(100, export="out:artefacts/weights/x-1")) == tmp_path / "artefacts" / "weights" / "x-1"


def test_a_torn_index_is_no_index(tmp_path: Path) -> None:
    run = RunPaths.of(tmp_path, "run")
    add_checkpoint(run, record(100))
    run.checkpoint_index.write_text(run.checkpoint_index.read_text()[:-20])
    assert read_checkpoints(run) == []


def test_a_damaged_index_is_made_again_from_what_lies_there(tmp_path: Path) -> None:
    run = RunPaths.of(tmp_path, "run")
    for trained in (100, 200, 300):
        run.checkpoint_export(trained).mkdir(parents=True)
        add_checkpoint(run, record(trained))
    before = read_checkpoints(run)
    assert restore_checkpoints(run) == []
    run.checkpoint_index.write_text(run.checkpoint_index.read_text()[:-20])
    run.checkpoint_export(200).rmdir()  # what is gone is not listed
    (run.checkpoint(300) / "checkpoint.json").write_text("{")  # nor what cannot be read
    assert [r.trained_tokens for r in restore_checkpoints(run)] == [100]
    assert read_checkpoints(run) == [before[0]]
