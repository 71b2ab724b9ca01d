"""However many processes share a run, and however: the losses of one process; and states that go from any layout to any other.

The tolerance is that of float32 sums in another order. A loss of about 5 has a spacing of 5e-7; sums over shards, heads and columns
are added up differently at every layout, and the difference grows over 20 updates with a high learning rate. Seen: 5e-7 to 2e-6 in
the loss, 1.2e-5 in the gradient norm. A wrong scale, a double count or a lost gradient shows at 1e-2.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from patience import PATIENCE_SECONDS, besides_progress
from tiny_run import GLOBAL_BATCH, NUM_STEPS, FakeStream, Train, make_run, plain_loop, tiny_config

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import read_json, write_json_atomic
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.artefact.processes import free_port
from swallow_exp.checkpoint.index import read_checkpoints, resolve_export
from swallow_exp.checkpoint.state import find_states
from swallow_exp.config.layout import Layout
from swallow_exp.model import load_model
from swallow_exp.record.events import read_events
from swallow_exp.record.status import read_status

LOSS_TOLERANCE, NORM_TOLERANCE = 6e-6, 5e-5
STOP_AFTER = 8
GROUP_WORKER = str(Path(__file__).with_name("group_worker.py"))
TIED = {"base_model": {"tie_word_embeddings": True}}
LAYOUTS: dict[str, dict[str, int]] = {
    "single": {},
    "fsdp2": {"data_parallel": 2},
    "tp2": {"tensor_parallel": 2},
    "fsdp4": {"data_parallel": 4, "replicas": 2},
    "fsdp2xtp2": {"data_parallel": 2, "tensor_parallel": 2},
    "hybrid2xtp2": {"data_parallel": 2, "replicas": 2, "tensor_parallel": 2},
}


def config_of(layout: str, *, tied: bool = False, **strategy: Any) -> Any:
    machine = {"micro_batch_sequences": 1 if layout == "fsdp4" else 2, "collective_timeout_seconds": 120.0}
    return tiny_config(strategy={**LAYOUTS[layout], **strategy}, machine=machine, **(TIED if tied else {}))


def processes_of(layout: str) -> int:
    config = config_of(layout)
    return Layout.of(config.strategy, config.machine).processes


def train_group(runs: Sequence[RunPaths], *, processes: int) -> None:
    """Train runs one after the other in one group of processes."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    inherited = {name: value for name, value in os.environ.items() if name not in names}
    shared = {**inherited, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "PYTHONWARNINGS": "default"}
    command = [sys.executable, GROUP_WORKER, *(str(run.folder) for run in runs)]
    group = []
    for rank in range(processes):
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
        group.append(subprocess.Popen(command, env={**shared, **place}, stderr=subprocess.PIPE, text=True))
    said = [besides_progress(process.communicate(timeout=PATIENCE_SECONDS)[1]) for process in group]
    assert [process.returncode for process in group] == [0] * processes, said[0][-3000:]
    assert said == [""] * processes  # libraries have nothing to warn of


def prepare(out: Path, name: str, layout: str, tokenizer: Path, *, facts: Mapping[str, Any] | None = None, **changes: Any) -> RunPaths:
    """`facts` for the group's worker."""
    run, inputs, _ = make_run(out, name, config_of(layout, **changes), tokenizer=tokenizer)
    write_json_atomic(run.inputs, {**inputs, **(facts or {})})
    return run


def continued(run: RunPaths, name: str, layout: str) -> RunPaths:
    """A copy of a stopped run that goes on with another layout, to its end."""
    other = RunPaths.of(run.out, name)
    shutil.copytree(run.folder, other.folder)
    inputs = read_json(other.inputs)
    inputs.pop("stop_after", None)
    write_json_atomic(other.inputs, inputs)
    plain = yaml.safe_load(other.config.read_text())
    plain["strategy"] = {**plain["strategy"], "data_parallel": 1, "replicas": 1, "tensor_parallel": 1, **LAYOUTS[layout]}
    other.config.write_text(yaml.safe_dump(plain))
    return other


def rows_of(run: RunPaths) -> Mapping[int, dict[str, Any]]:
    return {row["step"]: row for row in read_events(run.events, "train")}


def differences(run: RunPaths, reference: tuple[list[float], Any, list[float]], *, first: int = 1) -> tuple[float, float]:
    """Largest differences of loss and gradient norm to the plain loop, from step `first` on."""
    losses, _, norms = reference
    rows = rows_of(run)
    assert sorted(rows) == list(range(1, NUM_STEPS + 1))
    steps = range(first, NUM_STEPS + 1)
    loss = max(abs(rows[step]["loss"] - losses[step - 1]) for step in steps)
    return loss, max(abs(rows[step]["grad_norm"] - norms[step - 1]) for step in steps)


def check_equal(run: RunPaths, reference: tuple[list[float], Any, list[float]]) -> None:
    assert read_status(run.status)["state"] == "trained"
    loss, norm = differences(run, reference)
    print(f"{run.run_id:<28} loss {loss:.1e}  gradient norm {norm:.1e}")
    assert loss <= LOSS_TOLERANCE and norm <= NORM_TOLERANCE, (run.run_id, loss, norm)
    check_export(run, reference)


def check_export(run: RunPaths, reference: tuple[list[float], Any, list[float]]) -> None:
    from safetensors.torch import load_file

    exported = load_file(resolve_export(run, read_checkpoints(run)[-1]) / "model.safetensors")
    expected = {name: tensor for name, tensor in reference[1].items() if name in exported}
    assert exported.keys() == expected.keys() and len(exported) >= len(reference[1]) - 1  # a tied head is in no file
    for name, tensor in exported.items():
        assert tensor.shape == expected[name].shape
        # Adam turns rounding of tiny gradients into steps
        assert float((tensor - expected[name]).abs().max()) <= 1e-3, name
        assert float((tensor - expected[name]).abs().mean()) <= 1e-6, name


@pytest.fixture(scope="module")
def references(tiny_out: Path, base_tokenizer: Path) -> dict[bool, tuple[list[float], Any, list[float]]]:
    """Without and with tied tables: the plain loop's losses, weights, gradient norms."""
    found = {}
    for tied in (False, True):
        _, inputs, weights = make_run(tiny_out, f"reference_{tied}", config_of("single", tied=tied), tokenizer=base_tokenizer)
        found[tied] = plain_loop(config_of("single", tied=tied), weights.folder, FakeStream(inputs["fake_stream"]["vocabulary_size"]))
    return found


def test_every_layout_has_the_losses_of_one_process_and_continues_any_other(
    tiny_out: Path, base_tokenizer: Path, references: Any, train_here: Train
) -> None:
    """One group of four and one of two processes; each trains several runs."""

    def new(name: str, layout: str, **changes: Any) -> RunPaths:
        return prepare(tiny_out, f"par_{name}", layout, base_tokenizer, **changes)

    single = new("single", "single")
    assert train_here(single, stop_at_once=True) == 75
    single_to_four = continued(single, "par_single_to_fsdp2xtp2", "fsdp2xtp2")

    four = {
        "fsdp4": new("fsdp4", "fsdp4"),
        "fsdp4_tight": new("fsdp4_tight", "fsdp4", facts={"gradients_fit": False}),
        "fsdp2xtp2": new("fsdp2xtp2", "fsdp2xtp2"),
        "fsdp2xtp2_chunks": new("fsdp2xtp2_chunks", "fsdp2xtp2", loss_chunk_positions=7, activation_checkpointing="selective"),
        "hybrid2xtp2": new("hybrid2xtp2", "hybrid2xtp2", attention="eager", activation_checkpointing="full"),
        "tied": new("tied4", "fsdp2xtp2", tied=True, pad_vocabulary_multiple=256),
    }
    stopped = new("stopped", "fsdp2xtp2", facts={"stop_after": STOP_AFTER})
    train_group([*four.values(), single_to_four, stopped], processes=4)
    for name, run in four.items():
        check_equal(run, references[name == "tied"])
    check_equal(single_to_four, references[False])
    assert read_status(stopped.status)["state"] == "preempted"
    assert STOP_AFTER <= find_states(stopped)[-1].step < NUM_STEPS

    two = {name: new(name, "tp2" if "tp2" in name else "fsdp2", tied="tied" in name) for name in ("fsdp2", "tp2", "tp2_tied")}
    four_to_two = continued(stopped, "par_fsdp2xtp2_to_fsdp2", "fsdp2")
    train_group([*two.values(), four_to_two], processes=2)
    for name, run in two.items():
        check_equal(run, references["tied" in name])
    check_equal(four_to_two, references[False])


@pytest.mark.slow
def test_resume_matrix(tiny_out: Path, base_tokenizer: Path, references: Any) -> None:
    """Every layout continues what every other saved."""
    names = ("single", "fsdp2", "fsdp4", "fsdp2xtp2")
    saved = {name: prepare(tiny_out, f"matrix_{name}", name, base_tokenizer, facts={"stop_after": STOP_AFTER}) for name in names}
    for processes in (1, 2, 4):
        train_group([run for name, run in saved.items() if processes_of(name) == processes], processes=processes)
    cells = {(a, b): continued(saved[a], f"matrix_{a}_to_{b}", b) for a in names for b in names}
    for processes in (1, 2, 4):
        train_group([run for (_, b), run in cells.items() if processes_of(b) == processes], processes=processes)
    print("\nlargest loss difference to the undisturbed run after the resume, saved by (rows) and continued by (columns)")
    print(f"{'':<10}" + "".join(f"{b:>12}" for b in names))
    for a in names:
        step = find_states(saved[a])[-1].step
        losses = [differences(cells[a, b], references[False], first=step + 1)[0] for b in names]
        print(f"{a:<10}" + "".join(f"{loss:>12.1e}" for loss in losses))
        assert max(losses) <= LOSS_TOLERANCE
        for b in names:
            check_equal(cells[a, b], references[False])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"base_model": {"num_kv_heads": 1}, "strategy": {"tensor_parallel": 2}}, "num_kv_heads=1 over strategy.tensor_parallel=2"),
        ({"strategy": {"tensor_parallel": 2, "pad_vocabulary_multiple": 321}}, "a vocabulary of 321 rows over 2 processes"),
    ],
    ids=["heads", "vocabulary rows"],
)
def test_what_cannot_be_split_is_refused_before_a_model_is_loaded(
    changes: Any, words: str, tiny_out: Path, base_tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tiny_run import fake_open_stream

    from swallow_exp.train import fit
    from swallow_exp.train.stopping import StopRequest
    from swallow_exp.train.strategy import Processes

    config = tiny_config(**changes)
    run, inputs, _ = make_run(tiny_out, f"refused_{len(words)}", config, tokenizer=base_tokenizer)
    monkeypatch.setattr(fit, "open_stream", fake_open_stream)
    monkeypatch.setattr(load_model, "load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    with pytest.raises(RequestError, match=words):
        fit.fit_run(run, config, inputs, processes=Processes(0, 2, 2), stop=StopRequest())


def test_batches_follow_the_data_rank_not_the_rank() -> None:
    config = config_of("fsdp2xtp2")
    layout = Layout.of(config.strategy, config.machine)
    assert [layout.data_rank(rank) for rank in range(layout.processes)] == [0, 0, 1, 1]
    assert GLOBAL_BATCH % layout.data == 0
