"""The launcher's answers, with workers that are one line of Python."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.status import read_status, write_status
from swallow_exp.train import launch
from swallow_exp.train.launch import launch_training

RANK = "import os, sys, time; rank = int(os.environ['RANK']); "


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
    monkeypatch.setattr(launch, "GRACE_SECONDS", 0.3)
    run = RunPaths(tmp_path)
    write_status(run.status, "running")
    note = f"open({str(tmp_path)!r} + f'/pid_{{rank}}', 'w').write(str(os.getpid())); "
    started = time.monotonic()
    assert launch_training(run, processes=2, worker=worker(note + "time.sleep(60 if rank else 0.5); os.kill(os.getpid(), 9)")) == 1
    assert time.monotonic() - started < 20
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
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    )
    program = (
        "import sys; from pathlib import Path; from swallow_exp.artefact.paths import RunPaths; "
        "from swallow_exp.train.launch import launch_training; "
        f"launch_training(RunPaths(Path({str(tmp_path)!r})), processes=1, worker=(sys.executable, '-c', {real!r}))"
    )
    launcher = subprocess.Popen([sys.executable, "-c", program])
    pid = tmp_path / "pid"
    deadline = time.monotonic() + 60
    while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(launcher.pid, signal.SIGKILL)
    launcher.wait()
    while Path(f"/proc/{pid.read_text()}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid.read_text()}").exists()
