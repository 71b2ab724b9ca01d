"""Real processes, really killed: the same command again ends with the same weights, to the bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kill_drill import drill
from patience import PATIENCE_SECONDS, besides_progress, wait_until
from tiny_run import FAKE_WORKER, NUM_STEPS, FakeStream, Train, make_run, plain_loop, tiny_config

from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.checkpoint.index import read_checkpoints
from swallow_exp.checkpoint.state import find_states
from swallow_exp.record.events import read_events
from swallow_exp.record.status import read_status

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
LAUNCHER = (sys.executable, str(Path(__file__).with_name("fake_launch.py")))


def start(command: tuple[str, ...], *words: str, delay: float = 0.0, **more: str) -> subprocess.Popen[str]:
    """Every step takes at least `delay` seconds."""
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    environment |= {"FAKE_STREAM_DELAY": str(delay), "PYTHONWARNINGS": "default", **more}
    return subprocess.Popen([*command, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def newest_step(run: RunPaths) -> int:
    states = find_states(run)
    return states[-1].step if states else 0


def num_rows(run: RunPaths) -> int:
    return sum(1 for _ in read_events(run.events, "train"))


def ranks_of(run: RunPaths) -> dict[int, int]:
    """rank -> process id of the living workers of a run."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if entry.name.isdigit() and str(run.folder).encode() in words and b"fake_worker" in words[1]:
                variables = dict(item.split(b"=", 1) for item in (entry / "environ").read_bytes().split(b"\0") if b"=" in item)
                found[int(variables[b"RANK"])] = int(entry.name)
        except (OSError, IndexError, KeyError):
            continue
    return found


def test_a_killed_run_ends_with_the_same_weights(tiny_out: Path, base_tokenizer: Path, train_here: Train) -> None:
    undisturbed, _, _ = make_run(tiny_out, "kill_undisturbed", tiny_config(), tokenizer=base_tokenizer)
    assert train_here(undisturbed) == 0
    run, _, _ = make_run(tiny_out, "kill", tiny_config(), tokenizer=base_tokenizer)

    # killed while the third state is half-written
    process = start(FAKE_WORKER, str(run.folder), delay=0.1)
    wait_until(lambda: newest_step(run) >= 8, process)
    wait_until(lambda: any(run.checkpoints.glob("*/state.partial")), process, pause=0.0)
    process.kill()
    process.communicate()
    assert 8 <= newest_step(run) < NUM_STEPS
    assert read_status(run.status)["state"] == "running"

    # asked to stop: saves at once, between two marks, and says so
    process = start(FAKE_WORKER, str(run.folder), delay=0.3)
    stopped_at, known = newest_step(run), num_rows(run)
    wait_until(lambda: num_rows(run) > known, process)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, output, besides_progress(errors)) == (75, "", "")
    status = read_status(run.status)
    assert (status["state"], status["cause"], status["attempts"]) == ("preempted", "SIGTERM", 2)
    assert stopped_at < newest_step(run) == status["step"] < NUM_STEPS

    # killed at no particular moment, then left in peace; nothing is said on the way
    process = start(FAKE_WORKER, str(run.folder), delay=0.1)
    wait_until(lambda: len(read_checkpoints(run)) > 4, process)
    process.kill()
    process.communicate()
    process = start(FAKE_WORKER, str(run.folder))
    output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, output, besides_progress(errors)) == (0, "", "")
    assert [r.digest for r in read_checkpoints(run)] == [r.digest for r in read_checkpoints(undisturbed)]
    assert not list(run.checkpoints.glob("*/*.partial"))
    rows = {row["step"]: row["loss"] for row in read_events(run.events, "train")}
    assert rows == {row["step"]: row["loss"] for row in read_events(undisturbed.events, "train")}

    process = start(FAKE_WORKER, str(run.folder), PYTHONPROFILEIMPORTTIME="1")
    output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    lines = errors.splitlines()
    assert process.returncode == 0 and output == "" and all(line.startswith("import time:") for line in lines), errors
    imported = {line.rpartition("|")[2].strip() for line in lines}
    assert "swallow_exp.train.worker" in imported and "torch" not in imported
    assert read_status(run.status)["attempts"] == 4


def test_two_processes_agree_to_stop_die_together_and_equal_a_plain_loop(tiny_out: Path, base_tokenizer: Path, train_here: Train) -> None:
    config = tiny_config(strategy={"data_parallel": 2}, machine={"micro_batch_sequences": 2})
    run, inputs, weights = make_run(tiny_out, "two", config, tokenizer=base_tokenizer)

    # a stop signal that reaches only the second process stops both
    process = start(LAUNCHER, str(run.folder), "2", delay=0.3)
    wait_until(lambda: newest_step(run) >= 4, process)
    os.kill(ranks_of(run)[1], signal.SIGTERM)
    output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, output, besides_progress(errors)) == (75, "", "")
    assert read_status(run.status)["state"] == "preempted"
    stopped_at = newest_step(run)
    assert 4 < stopped_at < NUM_STEPS

    # one process continues what two began, and two what one saved
    two = run.config.read_text()
    run.config.write_text(two.replace("data_parallel: 2", "data_parallel: 1"))
    assert train_here(run, stop_at_once=True) == 75
    assert newest_step(run) == stopped_at + 1
    stopped_at += 1
    run.config.write_text(two)

    # one of them is killed: the other does not stay behind
    process = start(LAUNCHER, str(run.folder), "2", delay=0.3)
    wait_until(lambda: newest_step(run) > stopped_at, process)
    os.kill(ranks_of(run)[1], signal.SIGKILL)
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 1
    assert ranks_of(run) == {}
    assert read_status(run.status)["state"] == "failed"

    process = start(LAUNCHER, str(run.folder), "2")
    output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, output, besides_progress(errors)) == (0, "", "")
    rows = {row["step"]: row for row in read_events(run.events, "train")}
    losses, _, norms = plain_loop(config, weights.folder, FakeStream(inputs["fake_stream"]["vocabulary_size"]))
    assert max(abs(rows[step + 1]["loss"] - losses[step]) for step in range(NUM_STEPS)) <= 1e-5
    assert (
        max(abs(rows[step + 1]["grad_norm"] - norms[step]) for step in range(NUM_STEPS)) <= 1e-4
    )  # Adam forgives a wrong scale, this does not
    assert len(read_checkpoints(run)) == 6
    assert not run.failures.exists()
    assert read_json(run.inputs) == inputs


def test_two_kills_of_a_run_that_saves_in_line(tmp_path: Path) -> None:
    drill(tmp_path, kills=2, steps=40, in_line=True, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("in_line", [False, True], ids=["beside training", "in line"])
def test_twenty_kills_end_with_the_same_weights(tmp_path: Path, in_line: bool) -> None:
    said = drill(tmp_path, kills=20, steps=200, in_line=in_line, seed=1)
    assert len([line for line in said if "in a save" in line]) >= 5
