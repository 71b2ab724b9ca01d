"""Publish a run again and again while it trains, so that its curves can be watched. Training never waits for it.

A thread of the process that only waits for the training processes starts one publisher after the other (launch.py), each a process of
its own. When training ends, a publisher that is still at work is killed: publishing is safe to kill, and what is left is sent by the
publication after training or by `swallow publish`. A failure is said once, not every time.

Reads/Writes  nothing itself; see publish.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from swallow_exp.artefact.errors import SwallowError
from swallow_exp.artefact.progress import say

Publish = Callable[[threading.Event], object]  # publishes once; gives up as soon as the event is set


class LivePublication:
    """While the block runs, publish every `every_seconds` (None: never). Leaving the block takes no longer than a kill."""

    def __init__(self, run_id: str, publish: Publish, *, every_seconds: float | None) -> None:
        """`publish` may raise: what it raises is said and never passed on."""
        self._run_id, self._publish, self._every = run_id, publish, every_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=f"publish {run_id}", daemon=True)

    def __enter__(self) -> LivePublication:
        """Start to wait for the first time."""
        if self._every is not None:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop, whatever the publisher is doing."""
        self._stop.set()
        if self._every is not None:
            self._thread.join()

    def _loop(self) -> None:
        said: set[str] = set()
        while not self._stop.wait(self._every):
            try:
                self._publish(self._stop)
            except (SwallowError, OSError) as error:
                if not self._stop.is_set() and str(error) not in said:
                    said.add(str(error))
                    say(f"swallow: {self._run_id}: not published, training goes on: {error}")
