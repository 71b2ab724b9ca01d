"""Exports given away: whole, the same logits, in the dtype asked for; damaged ones are named."""

from __future__ import annotations

import fcntl
import os
import resource
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from exported import MARKS, make_exported_run, write_export
from whole_checkpoints import check_checkpoints

from swallow_exp.artefact.errors import RequestError, RunFailed
from swallow_exp.artefact.files import make_folder, read_json
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.checkpoint.check_states import check_export
from swallow_exp.checkpoint.handover import ORIGIN_NAME, copy_export
from swallow_exp.checkpoint.index import add_checkpoint, read_checkpoints, write_checkpoints
from swallow_exp.model.folder import WEIGHTS_INDEX_NAME, save_weights, weights_digest
from swallow_exp.model.identity import side_files


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    return make_exported_run(tmp_path, "run")


@contextmanager
def no_file_above(num_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def logits(folder: Path, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == dtype
    return model.float()(input_ids=torch.arange(3, 19)[None]).logits


def test_the_copy_has_the_same_logits_and_says_where_it_is_from(run: RunPaths) -> None:
    folder = copy_export(run.out, run, to=None)
    assert folder == run.out / "exports" / "run-3000"
    assert torch.equal(logits(folder), logits(run.checkpoint_export(3007)))
    assert read_json(folder / ORIGIN_NAME) == {"run_id": "run", "trained_tokens": 3007, "digest": read_checkpoints(run)[-1].digest}
    before = folder.stat().st_mtime_ns
    assert copy_export(run.out, run, to=folder) == folder and folder.stat().st_mtime_ns == before
    with pytest.raises(RequestError, match="is something else"):
        copy_export(run.out, run, to=folder, mark_tokens=1000)
    assert copy_export(run.out, run, to=folder, mark_tokens=1007, replace=True) == folder
    assert weights_digest(folder) == read_checkpoints(run)[0].digest


def test_another_dtype_is_rounded_and_said(run: RunPaths, tmp_path: Path) -> None:
    folder = copy_export(run.out, run, to=None, mark_tokens=1000, dtype="bfloat16")
    assert folder.name == "run-1000-bfloat16" and read_json(folder / "config.json")["dtype"] == "bfloat16"
    assert read_json(folder / ORIGIN_NAME)["weights_digest"] == weights_digest(folder) != read_checkpoints(run)[0].digest
    assert (logits(folder, torch.bfloat16) - logits(run.checkpoint_export(1007))).abs().max() < 5e-3  # bfloat16 has 8 bits
    with pytest.raises(RequestError, match="is something else"):
        copy_export(run.out, run, to=folder, mark_tokens=1000)
    same = copy_export(run.out, run, to=tmp_path / "same", mark_tokens=1000, dtype="float32")
    assert weights_digest(same) == read_checkpoints(run)[0].digest
    with pytest.raises(RequestError, match="one of float32, bfloat16"):
        copy_export(run.out, run, to=None, dtype="int4")


def test_weights_in_several_files_stay_so(run: RunPaths) -> None:
    record = read_checkpoints(run)[0]
    write_export(run.checkpoint_export(1007), seed=0, max_shard_size="20KB")
    (run.checkpoint_export(1007) / "model.safetensors").unlink()
    folder = copy_export(run.out, run, to=None, mark_tokens=1000)
    assert weights_digest(folder) == record.digest and len(list(folder.glob("*.safetensors"))) > 1
    half = copy_export(run.out, run, to=None, mark_tokens=1000, dtype="bfloat16")
    sizes = [read_json(one / WEIGHTS_INDEX_NAME)["metadata"]["total_size"] for one in (folder, half)]
    assert sizes[0] == 2 * sizes[1]
    assert (logits(half, torch.bfloat16) - logits(folder)).abs().max() < 5e-3  # bfloat16 has 8 bits


def test_unknown_marks_are_answered_with_those_there_are(run: RunPaths) -> None:
    with pytest.raises(RequestError, match="one of 1000, 2000, 3000"):
        copy_export(run.out, run, to=None, mark_tokens=5)
    write_checkpoints(run, [])
    with pytest.raises(RequestError, match="run run has no checkpoint"):
        copy_export(run.out, run, to=None)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda folder: os.truncate(folder / "model.safetensors", 9_000), "model.safetensors has 9,000 bytes where its header says"),
        (lambda folder: os.truncate(folder / "model.safetensors", 20), "model.safetensors (20 bytes) has no whole header"),
        (lambda folder: (folder / "model.safetensors").unlink(), "has no model.safetensors"),
        (lambda folder: (folder / "tokenizer.model").unlink(), "has no tokenizer.model"),
    ],
)
def test_damaged_exports_are_named(run: RunPaths, damage: Callable[[Path], None], named: str) -> None:
    assert check_checkpoints(run) == []
    folder = run.checkpoint_export(2007)
    damage(folder)
    with pytest.raises(RunFailed) as failed:
        check_export(folder)
    assert named in str(failed.value)
    (problem,) = check_checkpoints(run)
    assert problem.startswith("2,007 tokens: ") and named in problem
    with pytest.raises(RunFailed):
        copy_export(run.out, run, to=None, mark_tokens=2000)
    assert not (run.out / "exports" / "run-2000").exists()


def test_a_full_check_finds_other_weights_lost_exports_and_a_damaged_index(run: RunPaths) -> None:
    write_export(run.checkpoint_export(1007), seed=99)
    run.checkpoint_export(2007).rename(run.out / "elsewhere")
    problems = check_checkpoints(run)
    assert len(problems) == 2
    assert "not those that were exported" in problems[0] and "is not there" in problems[1]
    run.checkpoint_index.write_text("{")
    assert "checkpoints.json is damaged" in check_checkpoints(run)[0]
    assert MARKS == (1000, 2000, 3000)


def test_an_export_that_changed_since_it_was_written_is_not_given_away(run: RunPaths) -> None:
    """One bit of the weights; a number in config.json; another tokenizer."""
    folder = run.checkpoint_export(2007)
    record = read_checkpoints(run)[1]
    add_checkpoint(run, replace(record, sides=side_files(folder)))
    copy_export(run.out, run, to=run.out / "whole", mark_tokens=2000)
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole.replace(b"32", b"33", 1) if name == "config.json" else whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(RunFailed, match=r"damaged or changed.*; restore it from a copy"):
            copy_export(run.out, run, to=run.out / "gift", mark_tokens=2000)
        (folder / name).write_bytes(whole)
        assert not (run.out / "gift").exists()
    copy_export(run.out, run, to=run.out / "gift", mark_tokens=2000)


def test_a_copy_whose_process_was_killed_is_removed_by_the_next(run: RunPaths) -> None:
    left, other = run.out / ".gift.partial-01234567", run.out / ".gifts.partial-01234567"
    held = run.out / ".gift.partial-89abcdef"
    for folder in (left, other, held):
        folder.mkdir()
        (folder / "model.safetensors").write_text("half")
    handle = os.open(held, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)  # a process that copies to the same place right now
    try:
        copy_export(run.out, run, to=run.out / "gift")
        assert not left.exists() and other.exists() and held.exists()
    finally:
        os.close(handle)
    assert not list(run.out.glob(".gift.partial-*")) or held.exists()
    copy_export(run.out, run, to=run.out / "gift", replace=True, mark_tokens=1000)
    assert not held.exists() and sorted(path.name for path in run.out.iterdir()) == [".gifts.partial-01234567", "gift", "runs"]


def test_a_place_that_takes_no_folder_is_one_line(run: RunPaths) -> None:
    with pytest.raises(RequestError, match=r"cannot write /proc/\.x\.partial.*expected a writable folder"):
        copy_export(run.out, run, to=Path("/proc/x"))


def test_files_have_the_mode_that_the_umask_gives(run: RunPaths) -> None:
    for mask, mode in ((0o022, 0o644), (0o027, 0o640), (0o077, 0o600)):
        before = os.umask(mask)
        try:
            converted = copy_export(run.out, run, to=run.out / f"converted {mask}", dtype="bfloat16")
            save_weights({"a": torch.zeros(3)}, make_folder(run.out / f"saved {mask}"))
        finally:
            os.umask(before)
        files = [*converted.iterdir(), run.out / f"saved {mask}" / "model.safetensors"]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {mode}


def test_a_full_disk_is_an_error_of_the_disk(run: RunPaths) -> None:
    with no_file_above(10_000), pytest.raises(RequestError, match="files may not grow further here"):
        copy_export(run.out, run, to=run.out / "gift", dtype="bfloat16")
    assert not list(run.out.glob("*gift*"))
    with no_file_above(10_000), pytest.raises(OSError, match="File too large"):
        save_weights({"a": torch.zeros(100_000)}, run.out)
