"""Progress bars on a terminal, a line every minute elsewhere. Rich is imported only when there is a terminal to draw on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO, TypeVar

Item = TypeVar("Item")
LINE_SECONDS = 60.0  # between two lines where there is no terminal


def is_interactive() -> bool:
    """True when stderr is a terminal (bars go to stderr; stdout stays clean for pipes)."""
    return sys.stderr.isatty()


@contextmanager
def progress_bar(label: str, total: float | None, *, unit: str = "", screen: TextIO | None = None) -> Iterator[Callable[[float], None]]:
    """Yield `advance(amount)`.

    Draws label, bar, amount and ETA when stderr is a terminal (or on `screen`), and writes a line every LINE_SECONDS elsewhere.
    """
    if not is_interactive():
        yield _Lines(label, total, unit).advance
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=screen, stderr=screen is None), transient=True) as bars:
        task = bars.add_task(label, total=total)
        yield lambda amount: bars.advance(task, amount)


class _Lines:
    """Lines in place of a bar."""

    def __init__(self, label: str, total: float | None, unit: str) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._done = 0.0
        self._began = self._told = time.monotonic()

    def advance(self, amount: float) -> None:
        self._done += amount
        now = time.monotonic()
        if now - self._told < LINE_SECONDS:
            return
        self._told = now
        line = f"{self._label}: {self._done:,.0f}"
        if self._total:
            left = (now - self._began) * max(self._total / self._done - 1, 0) if self._done else None
            line += f" of {self._total:,.0f}"
        say(f"{line} {self._unit}".rstrip() + (f", {left / 60:.1f} min left" if self._total and left is not None else ""))


def track(items: Iterable[Item], label: str, total: int | None = None) -> Iterator[Item]:
    """Iterate with a bar."""
    with progress_bar(label, total) as advance:
        for item in items:
            yield item
            advance(1)


def say(line: str) -> None:
    """One line for the person who watches (stderr, so that stdout stays machine-readable)."""
    print(line, file=sys.stderr, flush=True)
