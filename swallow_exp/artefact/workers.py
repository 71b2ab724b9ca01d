"""Batches through worker processes and back in the order they went in: more processes change the speed only."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")
Batch = TypeVar("Batch")
Result = TypeVar("Result")

BATCHES_IN_FLIGHT = 4  # per worker: bounds memory on corpora of any size

_worker: dict[str, Callable[[Any], Any]] = {}  # what this worker process does to a batch


def in_batches(items: Iterable[Item], size: Callable[[Item], int], limit: int) -> Iterator[list[Item]]:
    """Consecutive items together until their sizes reach `limit` (the last one whole)."""
    batch: list[Item] = []
    total = 0
    for item in items:
        batch.append(item)
        total += size(item)
        if total >= limit:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


def _start_worker(make: Callable[..., Callable[[Any], Any]], arguments: tuple[Any, ...]) -> None:
    _worker["work"] = make(*arguments)


def _work(batch: Any) -> Any:
    return _worker["work"](batch)


def map_batches(
    batches: Iterable[Batch], make: Callable[..., Callable[[Batch], Result]], arguments: tuple[Any, ...], *, processes: int
) -> Iterator[Result]:
    """make(*arguments) of each batch, in order.

    make runs once in every worker, so that what it loads (a tagger, a tokenizer) need not be sent there; with one process, here.
    """
    if processes <= 1:
        work = make(*arguments)
        yield from (work(batch) for batch in batches)
        return
    # spawn: forking a process that already runs threads (progress bar, BLAS) can deadlock the child
    with multiprocessing.get_context("spawn").Pool(processes, _start_worker, (make, arguments)) as pool:
        pending: deque[Any] = deque()
        for batch in batches:
            pending.append(pool.apply_async(_work, (batch,)))
            if len(pending) >= BATCHES_IN_FLIGHT * processes:
                yield pending.popleft().get()
        while pending:
            yield pending.popleft().get()
