"""Progress bars on a terminal, silence elsewhere. Rich is imported only when there is a terminal to draw on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO, TypeVar

Item = TypeVar("Item")


def is_interactive() -> bool:
    """True when stderr is a terminal (bars go to stderr; stdout stays clean for pipes)."""
    return sys.stderr.isatty()


@contextmanager
def progress_bar(label: str, total: float | None, *, unit: str = "", screen: TextIO | None = None) -> Iterator[Callable[[float], None]]:
    """Yield `advance(amount)`; draws label, bar, amount, speed-free ETA when stderr is a terminal. screen: where to, if not stderr."""
    if not is_interactive():
        yield lambda amount: None
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


def track(items: Iterable[Item], label: str, total: int | None = None) -> Iterator[Item]:
    """Iterate with a bar."""
    with progress_bar(label, total) as advance:
        for item in items:
            yield item
            advance(1)


def say(line: str) -> None:
    """One line for the person who watches (stderr, so that stdout stays machine-readable)."""
    print(line, file=sys.stderr, flush=True)
