"""Processes that this project starts: none outlives the one that started it, however that one ends; stop signals reach them once.

Reads/Writes  nothing.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType

from swallow_exp.artefact.errors import EXIT_FAILED

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
PARENT_VARIABLE = "SWALLOW_PARENT_PID"
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def usable_cores() -> int:
    """Cores this process may use: a scheduler may give it fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def child_environment() -> dict[str, str]:
    """This process's environment, with the word that lets a child find out whether it still lives."""
    return {**os.environ, PARENT_VARIABLE: str(os.getpid())}


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
    """Count stop signals while the block runs, and act on each if asked; the earlier handlers come back afterwards.

    SIGUSR1, a scheduler's notice some time ahead, asks once however often it comes: the SIGTERM that follows it is no second request.
    Only the main thread may set handlers: elsewhere nothing is counted.
    """

    def __init__(self, act: Callable[[int], None] | None = None) -> None:
        """`act` is given SIGINT or SIGTERM (for SIGUSR1 as well), inside the handler: keep it to passing the signal on."""
        self.count = 0
        self._act = act
        self._noticed, self._told = False, 0
        self._earlier: dict[int, object] = {}

    def __enter__(self) -> StopSignals:
        """Take over the handlers."""
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:
                self._earlier[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        """Give the handlers back."""
        for number, handler in self._earlier.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @property
    def noticed(self) -> bool:
        """True after SIGUSR1: there is time to save, and the scheduler means to end us."""
        return self._noticed

    def _note(self, number: int, frame: FrameType | None) -> None:
        notice = number == signal.SIGUSR1
        self._noticed = self._noticed or notice
        self._told += not notice
        self.count = max(int(self._noticed), self._told)
        if self._act is not None:
            self._act(signal.SIGTERM if notice else number)
