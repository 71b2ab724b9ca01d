"""How tests wait for other processes on a machine that may be busy: for a condition, with a limit that only a hang reaches."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from typing import Any

PATIENCE_SECONDS = 300.0  # a process that imports torch has taken a minute beside four busy ones
_PROGRESS = re.compile(r"train (step=\d+/|no mfu: )")


def wait_until(condition: Callable[[], object], process: subprocess.Popen[Any] | None = None, *, pause: float = 0.02) -> None:
    """Until the condition is true; AssertionError when `process` ends first, or after PATIENCE_SECONDS."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        ended = process is not None and process.poll() is not None
        assert not ended or condition(), f"it ended first ({process and process.returncode})"
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(pause)


def besides_progress(errors: str) -> str:
    """What was said without the lines of progress, which a training of more than half a minute prints."""
    return "".join(line for line in errors.splitlines(keepends=True) if not _PROGRESS.match(line))
