"""Padded vocabulary rows: same losses, same exports, never predicted; states go from one padding to another."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from patience import PATIENCE_SECONDS, besides_progress
from test_train_losses import largest_difference, load_export, losses_of
from tiny_run import NUM_STEPS, Train, make_run, tiny_config

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.checkpoint.index import read_checkpoints, resolve_export
from swallow_exp.checkpoint.state import find_states
from swallow_exp.config.checks import check_init
from swallow_exp.model.flops import padded_size
from swallow_exp.model.folder import EMBEDDING, HEAD
from swallow_exp.record.events import read_events

TOLERANCE = 1e-6
MULTIPLE = 96  # 320 pieces in 384 rows
PADDED = {"strategy": {"pad_vocabulary_multiple": MULTIPLE}}
LAUNCHER = (sys.executable, str(Path(__file__).with_name("fake_launch.py")))


@pytest.fixture(scope="module")
def plain(tiny_out: Path, base_tokenizer: Path, train_here: Train) -> RunPaths:
    run, inputs, _ = make_run(tiny_out, "without_pads", tiny_config(), tokenizer=base_tokenizer)
    assert inputs["fake_stream"]["vocabulary_size"] % MULTIPLE != 0
    assert train_here(run) == 0
    return run


@pytest.fixture(scope="module")
def padded(plain: RunPaths, base_tokenizer: Path, train_here: Train) -> RunPaths:
    run, _, _ = make_run(plain.out, "with_pads", tiny_config(**PADDED), tokenizer=base_tokenizer)
    assert train_here(run) == 0
    return run


def exports_of(run: RunPaths) -> list[dict[str, torch.Tensor]]:
    return [load_export(resolve_export(run, record)) for record in read_checkpoints(run)]


def check_equal_to(plain: RunPaths, run: RunPaths) -> None:
    assert largest_difference(losses_of(run), losses_of(plain)) <= TOLERANCE
    norms = [[row["grad_norm"] for row in read_events(r.events, "train")] for r in (run, plain)]
    assert norms[0] == pytest.approx(norms[1], abs=1e-4)
    exports = zip(exports_of(run), exports_of(plain), strict=True)
    for mine, other in exports:
        assert {name: tensor.shape for name, tensor in mine.items()} == {name: tensor.shape for name, tensor in other.items()}
        # Adam turns rounding of tiny gradients into steps
        assert max(float((mine[name] - other[name]).abs().max()) for name in other) <= 1e-3
        typical = max(float((mine[name] - other[name]).abs().mean()) for name in other)
        assert typical <= 1e-6


def saved_tables(state: Path) -> dict[str, torch.Tensor]:
    """Embedding, head and their moments as they lie in a state, whole."""
    from torch.distributed.checkpoint import FileSystemReader
    from torch.distributed.checkpoint.state_dict_loader import load

    facts = FileSystemReader(state).read_metadata().state_dict_metadata
    names = [name for name in facts if (EMBEDDING in name or HEAD in name) and not name.endswith(".step")]
    tables = {name: torch.empty(facts[name].size) for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it reads alone, which is meant
        load(tables, checkpoint_id=state, no_dist=True)
    return tables


def test_pads_change_nothing_in_one_process(plain: RunPaths, padded: RunPaths) -> None:
    check_equal_to(plain, padded)
    assert read_json(resolve_export(padded, read_checkpoints(padded)[-1]) / "config.json")["vocab_size"] == 320


def test_pads_are_there_and_stay_zero(padded: RunPaths) -> None:
    tables = saved_tables(find_states(padded)[-1].folder)
    assert len(tables) == 6  # two tables, two moments each
    for name, table in tables.items():
        assert len(table) == 384, name
        assert not table[320:].any() and table[:320].any(), name


def test_pads_change_nothing_in_two_processes(plain: RunPaths, base_tokenizer: Path) -> None:
    config = tiny_config(strategy={"data_parallel": 2, "pad_vocabulary_multiple": 258}, machine={"micro_batch_sequences": 2})
    run, _, _ = make_run(plain.out, "two_with_pads", config, tokenizer=base_tokenizer)  # 516 rows: the second process has 62 of the pieces
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    done = subprocess.run(
        [*LAUNCHER, str(run.folder), "2"], env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert (done.returncode, besides_progress(done.stderr)) == (0, "")
    check_equal_to(plain, run)


def test_a_tied_model_is_padded_once(plain: RunPaths, base_tokenizer: Path, train_here: Train) -> None:
    tied = {"tie_word_embeddings": True}
    runs = []
    for name, changes in (("tied_plain", {}), ("tied_padded", PADDED)):
        run, _, _ = make_run(plain.out, name, tiny_config(base_model=tied, **changes), tokenizer=base_tokenizer)
        assert train_here(run) == 0
        runs.append(run)
    check_equal_to(*runs)


def change(run: RunPaths, **fields: Any) -> None:
    import yaml

    config = yaml.safe_load(run.config.read_text())
    config["strategy"].update(fields)
    run.config.write_text(yaml.safe_dump(config))


def test_a_state_continues_with_another_padding(plain: RunPaths, base_tokenizer: Path, train_here: Train) -> None:
    run, _, _ = make_run(plain.out, "repadded", tiny_config(), tokenizer=base_tokenizer)
    for step, multiple in enumerate((1, MULTIPLE, 1, 1000), start=1):  # to more rows, to fewer, to more than three times as many
        change(run, pad_vocabulary_multiple=multiple)
        assert train_here(run, stop_at_once=True) == 75
        (state,) = find_states(run)[-1:]
        assert state.step == step
        assert {len(table) for table in saved_tables(state.folder).values()} == {padded_size(320, multiple)}
    # and two processes with pads of their own continue what one saved
    change(run, pad_vocabulary_multiple=258, data_parallel=2)
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    done = subprocess.run(
        [*LAUNCHER, str(run.folder), "2"], env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert (done.returncode, besides_progress(done.stderr)) == (0, "")
    rows = {row["step"]: row["loss"] for row in read_events(run.events, "train")}
    assert largest_difference([rows[step + 1] for step in range(NUM_STEPS)], losses_of(plain)) <= TOLERANCE


def test_sizes() -> None:
    assert [padded_size(43_176, multiple) for multiple in (1, 8, 16, 128)] == [43_176, 43_176, 43_184, 43_264]
    assert math.gcd(padded_size(43_176, 16), 16) == 16
    with pytest.raises(RequestError, match=r"vocabulary\.init=mean; expected one of"):
        check_init("mean")
