"""Processes that this project starts, and the signals that stop them.

1. Start     each one in a session of its own, so that a Ctrl-C in the terminal reaches it once, through this process
2. Forward   every request to stop, once
3. Wait      until all have ended, or until one is lost and the others have had their grace
4. End       what still runs, so that no process outlives the one that started it

Reads/Writes  nothing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import IO, Any

from swallow_exp.artefact.errors import EXIT_FAILED

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
PARENT_VARIABLE = "SWALLOW_PARENT_PID"
PR_SET_PDEATHSIG = 1  # linux/prctl.h
POLL_SECONDS = 0.1
GRACE_SECONDS = 5.0  # assumed: what a process may take to leave by itself once another has failed
INTERRUPTED = "Ctrl-C"  # cause in status.json of a run that its user stopped


def usable_cores() -> int:
    """Cores this process may use: a scheduler may give it fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def die_with_parent() -> None:
    """On Linux, be killed when the process that started us dies, however it dies: no orphans go on working."""
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is None or not sys.platform.startswith("linux"):
        return
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it died before we asked
        os._exit(EXIT_FAILED)


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class StopSignals:
    """Counts stop signals while the block runs. The earlier handlers come back afterwards.

    SIGUSR1, a scheduler's notice some time ahead, counts once however often it comes, and the
    SIGTERM that follows it is no second request. Only the main thread may set handlers, so in
    other threads nothing is counted.
    """

    def __init__(self) -> None:
        """Nothing is asked yet."""
        self.noticed = False  # after SIGUSR1: the scheduler is going to end us, and there is time to save
        self.interrupted = False  # after a Ctrl-C
        self._insisted = 0
        self._earlier: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        """Take over the handlers."""
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:
                self._earlier[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        """Give the handlers back."""
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    @property
    def count(self) -> int:
        """How many times someone asked to stop."""
        return max(int(self.noticed), self._insisted)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.noticed = self.noticed or number == signal.SIGUSR1
        self._insisted += number != signal.SIGUSR1
        self.interrupted = self.interrupted or number == signal.SIGINT


def start_process(
    command: Sequence[str], *, environment: Mapping[str, str] | None = None, output: IO[Any] | int | None = None, errors: int | None = None
) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own, without input, so that it can find out whether this process lives.

    Args:
        command: The program and its arguments.
        environment: Defaults to this process's.
        output, errors: Where it prints, as for subprocess. Defaults to where this process does.
    """
    known = {**(os.environ if environment is None else environment), PARENT_VARIABLE: str(os.getpid())}
    return subprocess.Popen(command, env=known, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a process of `start_process` at once, with whatever it started inside its session."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


class Children:
    """Processes that share their stop signals; none of them is left when the block ends."""

    def __init__(
        self, *, stop: StopSignals | None = None, on_stop: Callable[[int], None] = lambda count: None, insist_kills: bool = False
    ) -> None:
        """Nothing is started yet.

        Args:
            stop: Counts the requests to stop. Defaults to a new one.
            on_stop: Called with their number before a request is passed on.
            insist_kills: Whether the second request ends the processes at once.
        """
        self.stop = stop or StopSignals()
        self.processes: list[subprocess.Popen[bytes]] = []
        self._on_stop, self._insist_kills = on_stop, insist_kills
        self._passed_on = 0

    def __enter__(self) -> Children:
        """Take over the stop signals."""
        self.stop.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Kill and collect what still runs; give the signals back."""
        for process in self.processes:
            kill_group(process)
        for process in self.processes:
            process.wait()
        self.stop.__exit__()

    def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        """As `start_process`."""
        self.processes.append(start_process(command, **options))
        return self.processes[-1]

    @property
    def running(self) -> list[subprocess.Popen[bytes]]:
        """Those that have not ended."""
        return [process for process in self.processes if process.poll() is None]

    def forward(self) -> None:
        """Pass on a request to stop that has not been passed on.

        As SIGTERM whatever came: a Ctrl-C would end a process that is still being imported with a traceback.
        """
        count = self.stop.count
        if count > self._passed_on:
            self._passed_on = count
            self._on_stop(count)
            for process in self.running:
                process.send_signal(signal.SIGKILL if self._insist_kills and count > 1 else signal.SIGTERM)

    def wait(self, lost: Callable[[], bool] = lambda: False) -> bool:
        """Wait until all have ended. False when GRACE_SECONDS after `lost()` became true some still run."""
        lost_at: float | None = None
        while self.running:
            time.sleep(POLL_SECONDS)
            self.forward()
            if lost_at is None and lost():
                lost_at = time.monotonic()
            if lost_at is not None and time.monotonic() - lost_at > GRACE_SECONDS:
                return not self.running
        return True

    def end(self) -> None:
        """Ask what still runs to leave, and kill it GRACE_SECONDS later."""
        for process in self.running:
            process.terminate()
        self.wait(lambda: True)
        for process in self.running:
            kill_group(process)
            process.wait()
