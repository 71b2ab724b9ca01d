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
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FrameType
from typing import IO, Any, Protocol

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


class Process(Protocol):
    """What this project needs of a process: a part of subprocess.Popen."""

    pid: int

    @property
    def returncode(self) -> int | Any:
        """None while it runs, the negative signal when one ended it."""

    def poll(self) -> int | None:
        """Look once, and return `returncode`."""

    def wait(self) -> int:
        """Until it has ended."""

    def send_signal(self, sig: int) -> None:
        """Nothing happens when it has ended."""

    def terminate(self) -> None:
        """As a SIGTERM."""


class ForkedProcess:
    """A function that runs in a copy of this process, which has imported already what the function needs.

    It behaves as a process of `start_process` does: a session of its own, no input, no signal
    handlers of this process. The caller sees to it that this process computes in one thread.
    """

    def __init__(self, work: Callable[[], int], *, environment: Mapping[str, str] | None = None) -> None:
        """Start it. `work` returns the exit code; an exception is printed and gives 1."""
        self.returncode: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        up, told = os.pipe()
        held = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # none may meet our handlers in the copy
        try:
            self.pid = os.fork()
            if self.pid == 0:
                os.setsid()
                os.close(up)
                os.close(told)
                _live_as_copy(work, held, {**(os.environ if environment is None else environment), PARENT_VARIABLE: str(parent)})
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
        os.close(told)
        with open(up, "rb") as pipe:
            pipe.read()  # until it has its session, by which it can be killed with what it starts

    def poll(self) -> int | None:
        """As of subprocess.Popen."""
        return self._collect(os.WNOHANG)

    def wait(self) -> int:
        """As of subprocess.Popen."""
        code = self._collect(0)
        assert code is not None
        return code

    def send_signal(self, sig: int) -> None:
        """As of subprocess.Popen."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        """As of subprocess.Popen."""
        self.send_signal(signal.SIGTERM)

    def _collect(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def _live_as_copy(work: Callable[[], int], held: Iterable[int], environment: Mapping[str, str]) -> None:
    """Never returns: what this process would do next is not for its copy to do."""
    code = EXIT_FAILED
    try:
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        os.environ.clear()
        os.environ.update(environment)
        for number in STOP_SIGNALS:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def kill_group(process: Process) -> None:
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
        self.processes: list[Process] = []
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
        process = start_process(command, **options)
        self.processes.append(process)
        return process

    def fork(self, work: Callable[[], int], **options: Any) -> ForkedProcess:
        """As `ForkedProcess`."""
        process = ForkedProcess(work, **options)
        self.processes.append(process)
        return process

    @property
    def running(self) -> list[Process]:
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
