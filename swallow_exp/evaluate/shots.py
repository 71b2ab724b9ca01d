"""Solved examples of an item: a pure function of the item and a pool, whatever the order, limit, batch or number of processes.

fixed_shots    the same for every item (one prefix for all prompts: it can be computed once)
chosen_shots   the same for every item, spread over the pool by hash
drawn_shots    other ones for each item, never the item itself or a neighbour of its cluster
running_shots  as the published tools drew them: one generator for all items, one item after the other

DROP_FIRST_SHOTS fits a prompt to one model: the first examples are left out until it can be read.

Reads/Writes  nothing.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from functools import cache

from swallow_exp.evaluate.task import Fit, Item, Ruler, Task

PUBLISHED_SEED = 42

Shots = Callable[[Item], Sequence[Item]]


def fixed_shots(pool: Sequence[Item], count: int) -> Shots:
    """The first `count` of the pool for every item."""
    chosen = tuple(pool[:count])
    assert len(chosen) == count, f"{count} shots from a pool of {len(pool)}"
    return lambda item: chosen


def chosen_shots(pool: Sequence[Item], count: int, *, salt: str) -> tuple[Item, ...]:
    """`count` of the pool, the first by hash of (salt, item id), no two of one cluster (so at most one a cluster)."""
    ranked = sorted(pool, key=lambda item: hashlib.sha256(f"{salt}/{item.item_id}".encode()).digest())
    first = {item.cluster: item for item in reversed(ranked)}
    return tuple([item for item in ranked if first[item.cluster] is item][:count])


def drawn_shots(pool: Sequence[Item], count: int, *, salt: str) -> Shots:
    """`count` of the pool, drawn by hash of (salt, item id). Neither the item nor one of its cluster is drawn: nothing leaks."""
    places = list(pool)

    def draw(item: Item) -> tuple[Item, ...]:
        drawn: dict[int, Item] = {}
        refused: set[int] = set()
        number = 0
        while len(drawn) < count:
            assert len(drawn) + len(refused) < len(places), f"{item.item_id}: fewer than {count} items of other clusters"
            digest = hashlib.sha256(f"{salt}/{item.item_id}/{number}".encode()).digest()
            index = int.from_bytes(digest[:8], "big") % len(places)
            number += 1
            if places[index].item_id == item.item_id or places[index].cluster == item.cluster:
                refused.add(index)
            else:
                drawn[index] = places[index]
        return tuple(drawn.values())

    return draw


def running_shots(items: Sequence[Item], pool: Sequence[Item], count: int, *, pool_is_asked: bool = False) -> Shots:
    """The examples that the published tools drew: one generator shuffles the items, then draws for each of them in that order.

    Args:
        items: every item of the file, whatever part of them is evaluated, because each draw depends on those before it.
        pool_is_asked: the pool is these items (in their order): one more is drawn, and what equals the item is left out.
    """

    @cache
    def drawn() -> dict[str, tuple[int, ...]]:
        order = list(range(len(items)))
        generator = random.Random(PUBLISHED_SEED)
        generator.shuffle(order)
        shots = {}
        for index in order:
            places = generator.sample(range(len(pool)), count + pool_is_asked)
            shots[items[index].item_id] = _others(places, index, pool, count) if pool_is_asked else tuple(places)
        return shots

    return lambda item: tuple(pool[place] for place in drawn()[item.item_id])


def _others(found: Sequence[int], index: int, pool: Sequence[Item], count: int) -> tuple[int, ...]:
    """The first `count` of `found` that are not the item, nor a copy of it elsewhere in the file."""

    def differs(place: int) -> bool:
        one, other = pool[place], pool[index]
        return (one.prompt, one.target, one.choices) != (other.prompt, other.target, other.choices)

    kept = [place for place in found if differs(place)][:count]
    if len(kept) < count:
        # assumed: the tools go on with fewer examples where copies leave too few; here the pool's first ones fill up
        kept += [place for place in range(len(pool)) if place not in kept and differs(place)][: count - len(kept)]
    return tuple(kept)


def without_first_shots(task: Task, item: Item, ruler: Ruler, *, room: int) -> str:
    """The whole prompt with as many of the last examples as fit into `room` tokens."""
    shots = list(task.shots(item))
    prompt = task.render(item, shots=shots)
    while shots and ruler.count(prompt) > room:
        shots.pop(0)
        prompt = task.render(item, shots=shots)
    return prompt


DROP_FIRST_SHOTS = Fit("drop_first_shots", "1", lambda task, item, ruler: without_first_shots(task, item, ruler, room=ruler.room))
