"""The launcher's answers, with workers that are one line of Python; and what a person sees when a real one fails or hangs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from patience import PATIENCE_SECONDS, wait_until
from tiny_run import make_run, tiny_config

from swallow_exp.artefact import processes
from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import write_json_atomic
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.artefact.processes import free_port
from swallow_exp.record.status import read_status, write_status
from swallow_exp.train.launch import launch_training
from swallow_exp.train.nodes import NodeRank, first_host
from swallow_exp.train.strategy import Processes

RANK = "import os, sys, time; rank = int(os.environ['RANK']); "
LONG = 2 * PATIENCE_SECONDS  # what a process would go on for that nobody ends
HANG_SECONDS = 10.0  # what a collective may take; the slowest that does not hang must take less


FAULTY_WORKER = (sys.executable, str(Path(__file__).with_name("faulty_worker.py")))
SAY = "from pathlib import Path; from swallow_exp.train.failures import *; folder = Path(os.environ[FAILURES_VARIABLE]); "


def saying_worker(program: str) -> tuple[str, ...]:
    """A worker that may use train/failures.py."""
    return (sys.executable, "-c", RANK + SAY + program)


def awaits(*files: Path) -> str:
    """A program that ends once all the files are there and written."""
    return f"while not all(os.path.exists(f) and os.path.getsize(f) for f in {[str(file) for file in files]}): time.sleep(0.02)"


def worker(program: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", RANK + program)


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("sys.exit(0)", 0),
        ("sys.exit(75)", 75),
        ("sys.exit(2)", 2),
        ("sys.exit(0 if rank else 75)", 75),
        ("sys.exit(1 if rank else 0)", 1),
        ("os.kill(os.getpid(), 9)", 1),
    ],
)
def test_exit_codes(tmp_path: Path, program: str, code: int) -> None:
    assert launch_training(RunPaths(tmp_path), processes=2, worker=worker(program)) == code


def test_the_others_are_killed_when_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "GRACE_SECONDS", 0.3)
    run = RunPaths(tmp_path)
    write_status(run.status, "running")
    note = f"open({str(tmp_path)!r} + f'/pid_{{rank}}', 'w').write(str(os.getpid())); "
    program = note + f"rank and time.sleep({LONG}); exec({awaits(tmp_path / 'pid_1')!r}); os.kill(os.getpid(), 9)"
    started = time.monotonic()
    assert launch_training(run, processes=2, worker=worker(program)) == 1
    assert time.monotonic() - started < LONG
    assert not Path(f"/proc/{(tmp_path / 'pid_1').read_text()}").exists()
    status = read_status(run.status)
    assert status["state"] == "failed" and "SIGKILL" in status["cause"]


def test_a_worker_learns_its_place(tmp_path: Path) -> None:
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR")
    program = f"open({str(tmp_path)!r} + f'/place_{{rank}}', 'w').write(' '.join(os.environ[n] for n in {names!r}) + ' ' + sys.argv[1])"
    assert launch_training(RunPaths(tmp_path), processes=2, worker=worker(program)) == 0
    assert (tmp_path / "place_1").read_text() == f"1 1 2 2 127.0.0.1 {tmp_path}"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="parent-death signals are Linux's")
def test_workers_die_with_a_killed_launcher(tmp_path: Path) -> None:
    real = (
        "from swallow_exp.artefact.processes import die_with_parent; import os, time; die_with_parent(); "
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep({LONG})"
    )
    program = (
        "import sys; from pathlib import Path; from swallow_exp.artefact.paths import RunPaths; "
        "from swallow_exp.train.launch import launch_training; "
        f"launch_training(RunPaths(Path({str(tmp_path)!r})), processes=1, worker=(sys.executable, '-c', {real!r}))"
    )
    launcher = subprocess.Popen([sys.executable, "-c", program])
    pid = tmp_path / "pid"
    wait_until(lambda: pid.exists() and pid.read_text(), launcher)
    os.kill(launcher.pid, signal.SIGKILL)
    launcher.wait()
    wait_until(lambda: not Path(f"/proc/{pid.read_text()}").exists())


def test_the_first_cause_is_on_top_and_in_the_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(processes, "GRACE_SECONDS", PATIENCE_SECONDS)  # the second may be slow to start
    run = RunPaths(tmp_path)
    write_status(run.status, "running")
    lost = "RuntimeError('[pair.cc:553] Connection closed by peer [127.0.0.1]:7061. Check the logs')"
    # the peer is heard of first
    program = f"rank and time.sleep(0.5); write_failure(folder, failure_of(rank, ValueError('bad row') if rank else {lost})); sys.exit(1)"
    assert launch_training(run, processes=2, worker=saying_worker(program)) == 1
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "rank 1 of 2 failed: ValueError: bad row" and lines[-1] == "rank 1 of 2 failed first: ValueError: bad row"
    assert lines.index("what followed from it:") < next(n for n, line in enumerate(lines) if line.startswith("  rank 0: RuntimeError"))
    assert read_status(run.status)["cause"] == "rank 1: ValueError: bad row"


def test_a_killed_process_is_named_before_the_connections_that_broke(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(processes, "GRACE_SECONDS", PATIENCE_SECONDS)
    run = RunPaths(tmp_path)
    write_status(run.status, "running")
    lost = "write_failure(folder, failure_of(rank, RuntimeError('Connection reset by peer'))); sys.exit(1)"
    program = f"exec({lost!r}) if not rank else os.kill(os.getpid(), 9)"
    assert launch_training(run, processes=2, worker=saying_worker(program)) == 1
    assert capfd.readouterr().err.startswith("rank 1 of 2 failed: killed by SIGKILL from outside")
    assert read_status(run.status)["cause"].startswith("rank 1: killed by SIGKILL")


def test_a_wrong_request_of_every_process_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(processes, "GRACE_SECONDS", PATIENCE_SECONDS)
    program = (
        "from swallow_exp.artefact.errors import RequestError; "
        "write_failure(folder, failure_of(rank, RequestError('x=1', expected='x=2', remedy='set x'))); sys.exit(2)"
    )
    assert launch_training(RunPaths(tmp_path), processes=2, worker=saying_worker(program)) == 2
    assert capfd.readouterr().err == "x=1; expected x=2; set x\n"
    assert read_status(RunPaths(tmp_path).status)["cause"] == "x=1; expected x=2; set x"


def drill(out: Path, tokenizer: Path, *, rank: int, how: str) -> tuple[RunPaths, float]:
    """Break one of two real processes; the run, and the seconds from the fault to the launcher's answer."""
    config = tiny_config(
        strategy={"data_parallel": 2}, machine={"collective_timeout_seconds": HANG_SECONDS if how == "hang" else PATIENCE_SECONDS}
    )
    run, inputs, _ = make_run(out, f"fault_{how}_{rank}", config, tokenizer=tokenizer)
    write_json_atomic(run.inputs, {**inputs, "fault": {"rank": rank, "step": 6, "how": how}})
    assert launch_training(run, processes=2, worker=FAULTY_WORKER) == 1
    return run, time.time() - (run.folder / "fault_moment").stat().st_mtime


def test_a_hang_in_one_process_ends_the_run_and_is_named(tiny_out: Path, base_tokenizer: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run, seconds = drill(tiny_out, base_tokenizer, rank=1, how="hang")
    assert HANG_SECONDS <= seconds < HANG_SECONDS + processes.GRACE_SECONDS + PATIENCE_SECONDS  # the worker hangs for longer
    said = capfd.readouterr().err
    assert re.match(r"rank 1 of 2 failed: hangs: the others waited for it in vain, at File .*faulty_worker.py", said)
    assert "rank 0: RuntimeError" in said.split("what followed from it:")[1]
    assert "hangs" in read_status(run.status)["cause"] and read_status(run.status)["state"] == "failed"


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(
    ("how", "limit", "words"), [("raise", 60, "ValueError: the disk sang"), ("kill", 60, "SIGKILL"), ("hang", 90, "hangs")]
)
def test_fault_drill(
    how: str, limit: float, words: str, rank: int, tiny_out: Path, base_tokenizer: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run, seconds = drill(tiny_out, base_tokenizer, rank=rank, how=how)
    first, *_, last = capfd.readouterr().err.splitlines()
    with capfd.disabled():
        print(f"\n{how:>6} in rank {rank}: over after {seconds:.1f} s; first line: {first[:110]}")
    assert seconds < limit
    assert first.startswith(f"rank {rank} of 2 failed: ") and words in first and words in last
    assert words in read_status(run.status)["cause"]


def test_two_nodes_share_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two launchers on one machine; the first failure on one node ends the other, and both name it."""
    run = RunPaths(tmp_path)
    write_status(run.status, "running")
    note = "open(os.path.join(sys.argv[1], f'place_{rank}'), 'w').write(' '.join(os.environ[n] for n in "
    note += "('LOCAL_RANK', 'WORLD_SIZE', 'LOCAL_WORLD_SIZE', 'MASTER_PORT'))); "
    placed = awaits(*(tmp_path / f"place_{rank}" for rank in range(4)))
    fails = (
        f"{note}rank == 2 and (exec({placed!r}), write_failure(folder, failure_of(rank, ValueError('bad row'))), sys.exit(1)); "
        f"time.sleep({LONG})"
    )
    program = (
        "import sys; from pathlib import Path; from swallow_exp.artefact.paths import RunPaths; from swallow_exp.train import launch; "
        "from swallow_exp.artefact import processes; processes.GRACE_SECONDS = 1.0; "
        f"sys.exit(launch.launch_training(RunPaths(Path({str(tmp_path)!r})), processes=4, nodes=2, "
        f"worker={saying_worker(fails)!r}))"
    )
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    started = time.monotonic()
    nodes = [
        subprocess.Popen([sys.executable, "-c", program], env={**shared, "NODE_RANK": str(rank)}, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    said = [node.communicate(timeout=PATIENCE_SECONDS)[1] for node in nodes]
    assert [node.returncode for node in nodes] == [1, 1] and time.monotonic() - started < LONG
    assert all(text.startswith("rank 2 of 4 failed: ValueError: bad row") for text in said), said
    places = [(tmp_path / f"place_{rank}").read_text().split() for rank in range(4)]
    assert places == [[local, "4", "2", shared["MASTER_PORT"]] for local in "0101"]
    assert read_status(run.status)["cause"] == "rank 2: ValueError: bad row"


def test_the_place_of_a_node_comes_from_whoever_started_it() -> None:
    slurm = {"SLURM_NODEID": "1", "SLURM_JOB_ID": "123456", "SLURM_JOB_NODELIST": "gpu[003-004,007]", "SLURM_STEP_NUM_TASKS": "2"}
    assert NodeRank.of(slurm, nodes=2) == NodeRank(1, {"MASTER_ADDR": "gpu003", "MASTER_PORT": "23456"})
    given = {"NODE_RANK": "0", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
    assert NodeRank.of(slurm | given, nodes=2) == NodeRank(0, {"MASTER_ADDR": "a", "MASTER_PORT": "1"})
    for wrong, words in (({}, "which node this is"), ({"NODE_RANK": "2"}, "this is node 2"), ({"NODE_RANK": "1"}, "MASTER_ADDR")):
        with pytest.raises(RequestError, match=words):
            NodeRank.of(wrong, nodes=2)
    assert [first_host(text) for text in ("a", "a1,a2", "n[1,3]", "n[08-11]-ib,m")] == ["a", "a1", "n1", "n08-ib"]


def test_the_place_of_a_task_of_srun() -> None:
    environment = {
        "SLURM_PROCID": "5",
        "SLURM_LOCALID": "1",
        "SLURM_STEP_NUM_TASKS": "8",
        "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
        "SLURM_STEP_NODELIST": "gpu[1-2]",
        "SLURM_JOB_ID": "7",
    }
    assert Processes.of(environment) == Processes(5, 8, 4)
    assert (environment["LOCAL_RANK"], environment["MASTER_ADDR"], environment["MASTER_PORT"]) == ("1", "gpu1", "20007")
    assert Processes.of({"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "x", "SLURM_STEP_NUM_TASKS": "8"}) == Processes(1, 2, 2)
    assert Processes.of({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}) == Processes(0, 1, 1)  # a job script: nothing was started by srun


def test_one_swallow_train_a_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "8"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RequestError, match="8 tasks of `swallow train` on 1 nodes; expected one a node"):
        launch_training(RunPaths(tmp_path), processes=8, worker=worker("pass"))
