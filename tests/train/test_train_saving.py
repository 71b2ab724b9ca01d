"""Saving beside training: the same bytes as saving in line, at most one at a time, and nothing lost when it fails."""

from __future__ import annotations

import random
import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_run import MARK_EVERY, NUM_STEPS, Train, make_run, tiny_config
from whole_checkpoints import check_checkpoints

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import read_json, sha256_file, write_json_atomic
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.checkpoint.export import export_state
from swallow_exp.checkpoint.index import read_checkpoints, resolve_export
from swallow_exp.checkpoint.state import COMPLETE_NAME, FailedElsewhere, SavedState, SaveFailed, find_states, newest_state
from swallow_exp.model.folder import WEIGHTS_INDEX_NAME, weights_digest
from swallow_exp.record.events import read_events
from swallow_exp.record.status import write_status


@pytest.fixture(scope="module")
def undisturbed(tiny_out: Path, base_tokenizer: Path, train_here: Train) -> RunPaths:
    """Saved in line, one state kept: the simplest way."""
    config = tiny_config(machine={"async_checkpoints": False, "keep_states": 1})
    run, _, _ = make_run(tiny_out, "saved_in_line", config, tokenizer=base_tokenizer)
    assert train_here(run) == 0
    return run


def digests(run: RunPaths) -> list[str]:
    return [record.digest for record in read_checkpoints(run)]


def tensors_of(state: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a state by its flat name."""
    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

    flat: dict[str, torch.Tensor] = {}

    def walk(name: str, node: Any) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                walk(f"{name}.{key}", value)
        elif isinstance(node, torch.Tensor):
            flat[name] = node

    target = state.parent / "whole.pt"
    dcp_to_torch_save(state, target)
    walk("", torch.load(target, weights_only=True))
    target.unlink()
    return flat


def copy_of(run: RunPaths, name: str) -> RunPaths:
    copy = RunPaths.of(run.out, name)
    shutil.copytree(run.folder, copy.folder)
    return copy


def rows_of(run: RunPaths) -> list[dict[str, Any]]:
    return [row for row in read_events(run.events, "checkpoint") if "bytes" in row]


@pytest.fixture(scope="module")
def beside(undisturbed: RunPaths, base_tokenizer: Path, train_here: Train) -> RunPaths:
    """Saved beside training, after every step and at every mark, all states kept."""
    machine = {"async_checkpoints": True, "rolling_checkpoint_tokens": 1, "keep_states": 100, "keep_mark_states": True}
    run, _, _ = make_run(undisturbed.out, "saved_beside", tiny_config(machine=machine), tokenizer=base_tokenizer)
    assert train_here(run, stop_at_once=True) == 75
    assert train_here(run) == 0
    return run


def test_saving_beside_training_writes_the_same(undisturbed: RunPaths, beside: RunPaths) -> None:
    assert digests(beside) == digests(undisturbed)
    first, second = newest_state(undisturbed), newest_state(beside)
    assert first is not None and second is not None and first.step == second.step == NUM_STEPS
    expected, found = tensors_of(first.folder), tensors_of(second.folder)
    assert expected.keys() == found.keys() and len(expected) > 60
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert check_checkpoints(undisturbed) == check_checkpoints(beside) == []


def test_states_at_marks_stay_when_asked_and_rolling_ones_go_at_the_end(beside: RunPaths) -> None:
    assert [state.step for state in find_states(beside)] == [*range(MARK_EVERY, NUM_STEPS, MARK_EVERY), NUM_STEPS]
    assert [record.resumable for record in read_checkpoints(beside)] == [False, *[True] * 5]


def test_every_save_says_what_it_cost(undisturbed: RunPaths, beside: RunPaths) -> None:
    rows = rows_of(beside)
    assert [row["step"] for row in rows] == list(range(1, NUM_STEPS + 1))
    state = newest_state(beside)
    assert state is not None
    on_disk = sum(file.stat().st_size for file in state.folder.iterdir() if file.name != COMPLETE_NAME)
    assert rows[-1]["bytes"] == on_disk
    assert all(row["checkpoint_background_seconds"] > 0 and row["checkpoint_stall_seconds"] >= 0 for row in rows)
    assert {row["step"] for row in rows if "digest" in row} == {*range(MARK_EVERY, NUM_STEPS + 1, MARK_EVERY)}
    in_line = rows_of(undisturbed)
    assert [row["step"] for row in in_line] == [*range(MARK_EVERY, NUM_STEPS + 1, MARK_EVERY)]
    assert all(row["checkpoint_background_seconds"] == 0 and row["checkpoint_stall_seconds"] > 0 for row in in_line)


def test_rolling_by_tokens(undisturbed: RunPaths, base_tokenizer: Path, train_here: Train) -> None:
    tokens = [record.trained_tokens for record in read_checkpoints(undisturbed)]
    every = tokens[1] // 2 + 1  # half-way between two marks, a little late
    config = tiny_config(machine={"rolling_checkpoint_tokens": every, "rolling_checkpoint_seconds": None})
    run, _, _ = make_run(undisturbed.out, "rolling_by_tokens", config, tokenizer=base_tokenizer)
    assert train_here(run) == 0
    rolling = [row["step"] for row in rows_of(run) if "digest" not in row]
    assert rolling and all(step % MARK_EVERY in (2, 3) for step in rolling)
    assert digests(run) == digests(undisturbed)


@contextmanager
def no_file_above(num_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("beside_training", [True, False], ids=["beside", "in line"])
def test_a_state_that_cannot_be_written_costs_nothing_else(
    beside_training: bool, undisturbed: RunPaths, base_tokenizer: Path, train_here: Train
) -> None:
    config = tiny_config(machine={"async_checkpoints": beside_training})
    run, _, _ = make_run(undisturbed.out, f"full_{beside_training}", config, tokenizer=base_tokenizer)
    assert train_here(run, stop_at_once=True) == 75
    before = {path: path.stat().st_mtime_ns for path in find_states(run)[0].folder.iterdir()}
    with no_file_above(100_000), pytest.raises(SaveFailed) as failed:
        train_here(run)
    message = str(failed.value)
    assert "\n" not in message and "files may not grow further here" in message
    assert "the checkpoint at" in message and "the one before it is untouched" in message
    assert {path: path.stat().st_mtime_ns for path in find_states(run)[0].folder.iterdir()} == before
    assert [state.step for state in find_states(run)] == [1] and not list(run.checkpoints.glob("*/*.partial"))
    assert train_here(run) == 0
    assert digests(run) == digests(undisturbed)


def test_an_export_that_cannot_be_written_is_made_later(
    undisturbed: RunPaths, base_tokenizer: Path, train_here: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from swallow_exp.train import saving

    def full(*_: Any, **__: Any) -> str:
        raise OSError(28, "No space left on device", "somewhere")

    run, _, _ = make_run(undisturbed.out, "no_room_for_exports", tiny_config(), tokenizer=base_tokenizer)
    with monkeypatch.context() as patch:
        patch.setattr(saving, "export_state", full)
        with pytest.raises(SaveFailed, match="somewhere: no space left on the disk"):
            train_here(run)
    assert [state.step for state in find_states(run)] == [MARK_EVERY] and len(read_checkpoints(run)) == 1
    assert train_here(run) == 0
    assert digests(run) == digests(undisturbed)


def test_the_newest_whole_state_counts_and_the_torn_one_is_named(
    undisturbed: RunPaths, base_tokenizer: Path, train_here: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config(machine={"rolling_checkpoint_tokens": 1, "keep_states": 2})
    run, _, _ = make_run(undisturbed.out, "torn", config, tokenizer=base_tokenizer)
    for _ in range(3):
        assert train_here(run, stop_at_once=True) == 75
    kept, torn = find_states(run)
    assert (kept.step, torn.step) == (2, 3)
    (shard,) = torn.folder.glob("*.distcp")
    shard.write_bytes(shard.read_bytes()[:-1])
    run.checkpoint_index.write_text("{")
    capsys.readouterr()
    assert train_here(run) == 0
    said = capsys.readouterr().err
    assert f"the state {torn.folder} is torn ({shard.name} has" in said and "set aside; continuing from" in said
    rows = [row["step"] for row in read_events(run.events, "train")]
    assert rows == [1, 2, 3, *range(3, NUM_STEPS + 1)]  # step 3 again
    assert digests(run) == digests(undisturbed)


def test_a_damaged_index_of_a_finished_run_is_made_again(undisturbed: RunPaths, train_here: Train) -> None:
    run = copy_of(undisturbed, "damaged_index")
    run.checkpoint_index.write_text("{")
    write_status(run.status, "running")
    assert train_here(run) == 0
    assert digests(run) == digests(undisturbed)
    assert len(list(read_events(run.events, "checkpoint"))) == len(list(read_events(undisturbed.events, "checkpoint")))


def test_an_export_can_be_cut_into_files_and_loads_the_same(undisturbed: RunPaths, tmp_path: Path) -> None:
    from transformers import LlamaForCausalLM

    state, record = newest_state(undisturbed), read_checkpoints(undisturbed)[-1]
    assert state is not None
    start = undisturbed.out / read_json(undisturbed.inputs)["weights"]["folder"]
    digest = export_state(state.folder, tmp_path / "cut", start_weights=start, max_file_size=60_000)
    index = read_json(tmp_path / "cut" / WEIGHTS_INDEX_NAME)
    assert digest == record.digest == weights_digest(tmp_path / "cut") and len(set(index["weight_map"].values())) > 1
    ids = torch.arange(3, 19)[None]
    first = LlamaForCausalLM.from_pretrained(resolve_export(undisturbed, record))(input_ids=ids).logits
    second = LlamaForCausalLM.from_pretrained(tmp_path / "cut")(input_ids=ids).logits
    assert torch.equal(first, second)


def test_an_export_that_does_not_fit_leaves_nothing_and_names_the_disk(undisturbed: RunPaths, tmp_path: Path) -> None:
    state = newest_state(undisturbed)
    assert state is not None
    start = undisturbed.out / read_json(undisturbed.inputs)["weights"]["folder"]
    with no_file_above(20_000), pytest.raises(RequestError, match="files may not grow further here"):
        export_state(state.folder, tmp_path / "export", start_weights=start)
    assert list(tmp_path.iterdir()) == []


def test_training_draws_no_random_numbers(undisturbed: RunPaths, base_tokenizer: Path, train_here: Train) -> None:
    run, _, _ = make_run(undisturbed.out, "no_dice", tiny_config(), tokenizer=base_tokenizer)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    assert train_here(run) == 0
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]


def test_dropout_is_refused(undisturbed: RunPaths, base_tokenizer: Path, train_here: Train) -> None:
    run, inputs, weights = make_run(undisturbed.out, "dropout", tiny_config(), tokenizer=base_tokenizer)
    changed = run.folder / "weights"
    shutil.copytree(weights.folder, changed)
    config, manifest = changed / "config.json", read_json(changed / "manifest.json")
    write_json_atomic(config, {**read_json(config), "attention_dropout": 0.1})
    manifest["files"]["config.json"], manifest["sha256"]["config.json"] = config.stat().st_size, sha256_file(config)
    write_json_atomic(changed / "manifest.json", manifest)  # as if it had been built so
    folder = str(changed.relative_to(run.out))
    write_json_atomic(run.inputs, {**inputs, "weights": {**inputs["weights"], "folder": folder}})
    with pytest.raises(RequestError, match=r"attention_dropout=0\.1; expected no dropout"):
        train_here(run)


@pytest.fixture
def process_group() -> Iterator[None]:
    if torch.distributed.is_initialized():  # a run that failed in this process left its own
        torch.distributed.destroy_process_group()
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]
    yield
    torch.distributed.destroy_process_group()


def test_one_save_at_a_time_and_what_changes_meanwhile_is_not_in_it(
    tmp_path: Path, process_group: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from swallow_exp.checkpoint import write
    from swallow_exp.checkpoint.write import Snapshot, StateWriter

    monkeypatch.setattr(write, "MEANWHILE_SECONDS", 0.05)
    run = RunPaths.of(tmp_path, "run")
    weights = torch.arange(100_000.0)
    writer = StateWriter(background=True, timeout_seconds=30.0)

    def slow(state: SavedState) -> str:
        time.sleep(0.3)
        return f"digest of step {state.step}"

    for step in (1, 2):
        writer.begin(
            Snapshot({"state_dict": {"w": weights}}, {"step": step}), SavedState(run.checkpoint_state(step), step, step, "i"), slow
        )
        weights += 1.0  # the next update
        assert writer.poll() is None
        with pytest.raises(AssertionError, match="one save at a time"):
            writer.begin(Snapshot({}, {}), SavedState(run.checkpoint_state(9), 9, 9, "i"), slow)
        beats: list[int] = []
        written = writer.wait(meanwhile=lambda: beats.append(step))  # noqa: B023
        assert written is not None and written.digest == f"digest of step {step}" and beats
        assert written.background_seconds >= 0.3 and written.stall_seconds < written.background_seconds + 0.3
        assert writer.poll() is None and writer.wait() is None
        assert torch.equal(tensors_of(run.checkpoint_state(step))[".state_dict.w"], torch.arange(100_000.0) + (step - 1))
    writer.close()


def test_a_failure_beside_training_is_raised_in_it(tmp_path: Path, process_group: None) -> None:
    from swallow_exp.checkpoint.write import Snapshot, StateWriter

    def broken(state: SavedState) -> str:
        raise ValueError("first line\nsecond line")

    run = RunPaths.of(tmp_path, "run")
    writer = StateWriter(background=True, timeout_seconds=30.0)
    writer.begin(Snapshot({"w": torch.ones(3)}, {}), SavedState(run.checkpoint_state(5), 5, 5, "i"), broken)
    with pytest.raises(SaveFailed, match="the checkpoint at 5 tokens was not saved: ValueError: first line; the one before") as failed:
        writer.wait()
    assert not isinstance(failed.value, FailedElsewhere) and "second line" not in str(failed.value)
    writer.close()


def test_a_wish_that_is_being_agreed_on_is_not_uttered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from swallow_exp.train.saving import NOTHING, SAVE, STOP, Agreement

    class Work:
        def wait(self) -> None:
            pass

    monkeypatch.setattr(torch.distributed, "new_group", lambda **_: "group")
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda *_, **__: Work())
    agreement = Agreement(2, timeout_seconds=1.0)
    # due at step 1, agreed on and saved at step 2, where it was still due; due again at step 4
    assert [agreement.ask(wish) for wish in (SAVE, SAVE, NOTHING, SAVE, STOP, STOP)] == [NOTHING, SAVE, NOTHING, NOTHING, SAVE, STOP]
