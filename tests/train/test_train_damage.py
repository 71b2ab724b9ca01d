"""What training reads is held against what was written: a changed byte is named, and no step is trained on it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_run import Train, make_run, tiny_config

from swallow_exp.artefact.errors import RequestError, RunFailed
from swallow_exp.artefact.files import read_json, write_json_atomic
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.artefact.remember import remembered_sha256s
from swallow_exp.checkpoint.index import read_checkpoints
from swallow_exp.checkpoint.state import COMPLETE_NAME, find_states
from swallow_exp.record.events import read_events


@pytest.fixture(scope="module")
def undisturbed(tiny_out: Path, base_tokenizer: Path, train_here: Train) -> RunPaths:
    run, _, _ = make_run(tiny_out, "whole", tiny_config(), tokenizer=base_tokenizer)
    assert train_here(run) == 0
    return run


def digests(run: RunPaths) -> list[str]:
    return [record.digest for record in read_checkpoints(run)]


def flip(file: Path) -> None:
    """One bit in the middle of a file."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def stopped_twice(undisturbed: RunPaths, name: str, tokenizer: Path, train: Train) -> RunPaths:
    """A run that has trained two steps and kept the states of both."""
    config = tiny_config(machine={"rolling_checkpoint_tokens": 1, "keep_states": 2})
    run, _, _ = make_run(undisturbed.out, name, config, tokenizer=tokenizer)
    for _ in range(2):
        assert train(run, stop_at_once=True) == 75
    assert [state.step for state in find_states(run)] == [1, 2]
    return run


@pytest.mark.parametrize("pattern", ["*.distcp", ".metadata", "meta.pt"])
def test_a_damaged_state_gives_way_to_the_one_before(
    pattern: str, undisturbed: RunPaths, base_tokenizer: Path, train_here: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    run = stopped_twice(undisturbed, f"damaged_{pattern.strip('.*')}", base_tokenizer, train_here)
    newest = find_states(run)[-1].folder
    (file,) = newest.glob(pattern)
    remembered_sha256s(newest, [path.name for path in newest.iterdir()])  # it was looked at while it was whole
    flip(file)
    capsys.readouterr()
    assert train_here(run) == 0
    said = capsys.readouterr().err
    assert f"the state {newest} is torn ({file.name} has changed: its sha256 is" in said and "set aside; continuing from" in said
    assert [row["step"] for row in read_events(run.events, "train")][:3] == [1, 2, 2]
    assert digests(run) == digests(undisturbed)


def test_with_no_other_state_nothing_is_trained(undisturbed: RunPaths, base_tokenizer: Path, train_here: Train) -> None:
    run, _, _ = make_run(undisturbed.out, "damaged_only", tiny_config(), tokenizer=base_tokenizer)
    assert train_here(run, stop_at_once=True) == 75
    (state,) = find_states(run)
    (file,) = state.folder.glob("*.distcp")
    flip(file)
    with pytest.raises(RunFailed, match=rf"{file.name} has changed.*no other state.*restore them .* or remove .*/state to begin again"):
        train_here(run)
    assert [row["step"] for row in read_events(run.events, "train")] == [1]


def test_a_changed_mark_is_no_mark(undisturbed: RunPaths, base_tokenizer: Path, train_here: Train) -> None:
    run = stopped_twice(undisturbed, "damaged_mark", base_tokenizer, train_here)
    path = find_states(run)[-1].folder / COMPLETE_NAME
    mark = read_json(path)
    for changed in ({**mark, "step": 7}, {**mark, "files": {name: {"bytes": facts["bytes"]} for name, facts in mark["files"].items()}}):
        write_json_atomic(path, changed)
        assert [state.step for state in find_states(run)] == [1]
    write_json_atomic(path, {key: value for key, value in mark.items() if key != "mark_digest"})  # as earlier versions wrote it
    assert [state.step for state in find_states(run)] == [1, 2]


def test_damaged_start_weights_are_named(undisturbed: RunPaths, base_tokenizer: Path, train_here: Train) -> None:
    config = tiny_config(base_model={"hidden_size": 16, "intermediate_size": 24})
    run, inputs, weights = make_run(undisturbed.out, "damaged_start", config, tokenizer=base_tokenizer)
    for name in ("model.safetensors", "config.json", "tokenizer.model"):
        file = weights.folder / name
        whole = file.read_bytes()
        flip(file)
        with pytest.raises(RequestError, match=rf"{name} was damaged or changed .*remove the folder .* and run the same command"):
            train_here(run)
        file.write_bytes(whole)
    write_json_atomic(run.inputs, {**inputs, "weights": {**inputs["weights"], "digest": "0" * 64}})
    with pytest.raises(RequestError, match="are other ones now"):
        train_here(run)
    assert not find_states(run)


def test_a_run_says_what_lies_beside_its_weights(undisturbed: RunPaths) -> None:
    own = read_json(undisturbed.checkpoint_index)["checkpoints"][1:]
    names = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model"}
    assert own and all(set(record["sides"]) == names for record in own)
