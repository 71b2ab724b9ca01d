"""Processes that this project starts: none outlives the one that started it, however that one ends.

Reads/Writes  nothing.
"""

from __future__ import annotations

import os
import signal
import sys

from swallow_exp.artefact.errors import EXIT_FAILED

PARENT_VARIABLE = "SWALLOW_PARENT_PID"
PR_SET_PDEATHSIG = 1  # linux/prctl.h


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
