"""No process outlives the one that started it, however that one ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from patience import wait_until

from swallow_exp.artefact import processes

REPOSITORY = Path(__file__).resolve().parents[2]
CHILD = (
    "from swallow_exp.artefact.processes import die_with_parent; die_with_parent(); print('up', flush=True); import time; time.sleep(600)"
)
PARENT = """
import subprocess, sys
from swallow_exp.artefact.processes import start_process
child = start_process([sys.executable, "-c", sys.argv[1]], output=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the Linux kernel")
def test_a_child_dies_with_a_killed_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: _is_over(child))


def _is_over(child: int) -> bool:
    """Whether a process is dead, collected by the system or not yet."""
    try:
        return ") Z " in Path(f"/proc/{child}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_whoever_starts_a_process_of_ours_ties_it_to_itself() -> None:
    started = [path for path in (REPOSITORY / "swallow_exp").rglob("*.py") if "subprocess.Popen(" in path.read_text(encoding="utf-8")]
    assert [path.name for path in started] == ["processes.py"]
    assert "PARENT_VARIABLE: str(os.getpid())" in started[0].read_text(encoding="utf-8")
    workers = [*(REPOSITORY / "swallow_exp").glob("*/worker.py"), REPOSITORY / "swallow_exp" / "cli" / "__init__.py"]
    assert len(workers) >= 4
    for path in workers:
        assert "    die_with_parent()\n" in path.read_text(encoding="utf-8"), path


def test_one_that_is_lost_gives_the_others_their_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "GRACE_SECONDS", 0.3)
    with processes.Children() as children:
        lost = children.start([sys.executable, "-S", "-c", "raise SystemExit(3)"])
        deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(600)"
        left = children.start([sys.executable, "-S", "-c", deaf], output=subprocess.PIPE)
        assert left.stdout is not None and left.stdout.readline()
        assert not children.wait(lambda: lost.poll() is not None)
        assert children.running == [left]
        children.end()
        assert [process.returncode for process in children.processes] == [3, -signal.SIGKILL]
        left.stdout.close()


def test_nothing_is_left_when_the_block_fails() -> None:
    with pytest.raises(ValueError, match="a fault"), processes.Children() as children:
        children.start([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
        raise ValueError("a fault")
    assert [process.returncode for process in children.processes] == [-signal.SIGKILL]


FORK = """
import os, signal, sys, time
from swallow_exp.artefact.processes import Children
signal.signal(signal.SIGTERM, lambda *_: None)  # of this process alone
with Children() as children:
    one = children.fork(lambda: 3)
    fault = children.fork(lambda: 1 // 0)
    seen = lambda: print(os.environ["RANK"], os.getpid() == os.getsid(0), sys.stdin.read() == "")
    told = children.fork(lambda: seen() or 0, environment={"RANK": "7"})
    stopped = children.fork(lambda: time.sleep(60) or 0)
    assert stopped.poll() is None
    stopped.terminate()
    children.wait()
    left = children.fork(lambda: time.sleep(60) or 0)
print([process.returncode for process in children.processes])
"""
FORKING_PARENT = """
import os, time
from swallow_exp.artefact.processes import Children, die_with_parent
def work():
    die_with_parent()
    print(os.getpid(), flush=True)
    time.sleep(60)
    return 0
with Children() as children:
    children.fork(work)
    children.wait()
"""


def test_a_copy_ends_and_is_ended_as_a_process_is() -> None:
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, cwd=REPOSITORY, check=True, timeout=60)
    assert done.stdout.splitlines() == ["7 True True", f"[3, 1, 0, {-signal.SIGTERM}, {-signal.SIGKILL}]"]
    assert done.stderr.count("Traceback") == 1 and "ZeroDivisionError" in done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the Linux kernel")
def test_a_copy_dies_with_a_killed_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", FORKING_PARENT], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: _is_over(child))
