"""A fixed part of a task's items: by hash of their ids, the same share of every label, smaller parts inside larger ones.

Reads/Writes  nothing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace

from swallow_exp.evaluate.task import Item, Task


def choose_part(task: Task, fraction: float | None, *, limit: int | None = None) -> Task:
    """The task with a `fraction` (0..1) of its items, of these the first `limit`; None: all of them.

    Both profiles of a task get the same items. Shots do not change: they come from the task's own pool.
    """
    if fraction is None and limit is None:
        return task

    def provide() -> Sequence[Item]:
        everything = task.items()
        kept = everything if fraction is None else _part(task.name, everything, fraction, by_label=bool(task.labels))
        return kept[:limit]

    return replace(task, items=provide, fraction=fraction)


def _part(name: str, items: Sequence[Item], fraction: float, *, by_label: bool) -> list[Item]:
    strata: dict[str, list[Item]] = {}
    for item in items:
        strata.setdefault(item.target if by_label else "", []).append(item)
    kept: set[str] = set()
    for members in strata.values():
        ranked = sorted(members, key=lambda item: hashlib.sha256(f"{name}/{item.item_id}".encode()).digest())
        kept |= {item.item_id for item in ranked[: math.ceil(fraction * len(ranked))]}
    return [item for item in items if item.item_id in kept]
