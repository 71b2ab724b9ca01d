"""Shots and subsets: a function of the item alone, without leaks; parts that are fixed, stratified and nested."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from typing import Any

import pytest

from swallow_exp.evaluate.metrics.strings import EXACT_MATCH
from swallow_exp.evaluate.shots import drawn_shots, fixed_shots
from swallow_exp.evaluate.subset import choose_part
from swallow_exp.evaluate.task import GENERATE, Item, Task

POOL = [Item(f"i{n}", f"c{n // 3}", f"問{n}", "abcd"[n % 7 // 2]) for n in range(200)]


def _task(**more: Any) -> Task:
    return Task("quiz", "1", "quiz", GENERATE, lambda: POOL, (EXACT_MATCH,), max_new_bytes=9, **more)


def test_drawn_shots_do_not_depend_on_order_and_never_leak() -> None:
    first = {item.item_id: drawn_shots(POOL, 4, salt="quiz")(item) for item in POOL}
    shuffled = random.Random(0).sample(POOL, len(POOL))
    draw = drawn_shots(POOL, 4, salt="quiz")
    assert {item.item_id: draw(item) for item in shuffled} == first
    assert all(len({shot.item_id for shot in shots}) == 4 for shots in first.values())
    assert not any(shot.cluster == item.cluster for item in POOL for shot in first[item.item_id])
    assert len({shots for shots in first.values()}) > 190, "items share their shots"
    used = Counter(shot.item_id for shots in first.values() for shot in shots)
    assert len(used) > 190 and max(used.values()) < 15, "some items are drawn far too often"
    assert drawn_shots(POOL, 4, salt="other")(POOL[0]) != first["i0"]


def test_a_pool_that_is_too_small_is_a_defect() -> None:
    with pytest.raises(AssertionError, match="other clusters"):
        drawn_shots(POOL[:5], 4, salt="x")(POOL[0])
    with pytest.raises(AssertionError, match="from a pool of 2"):
        fixed_shots(POOL[:2], 4)


def test_prompts_of_a_part_are_those_of_the_whole() -> None:
    whole = _task(num_fewshot=3, shots=drawn_shots(POOL, 3, salt="quiz"))
    prompts = dict(zip((i.item_id for i in whole.all_items), whole.prompts, strict=True))
    for fraction, limit in ((0.1, None), (None, 7), (0.3, 5)):
        part = choose_part(whole, fraction, limit=limit)
        assert all(prompts[i.item_id] == p for i, p in zip(part.all_items, part.prompts, strict=True))
        assert part.prompt_digest != whole.prompt_digest


def test_parts_are_nested_stratified_in_order_and_say_so() -> None:
    task = _task(labels=tuple("abcd"))
    parts = {f: [i.item_id for i in choose_part(task, f).all_items] for f in (0.05, 0.1, 0.2, 0.5, 1.0)}
    sets = [set(part) for part in parts.values()]
    assert all(smaller < larger for smaller, larger in itertools.pairwise(sets))
    assert parts[1.0] == [i.item_id for i in POOL]
    assert parts[0.2] == [name for name in parts[1.0] if name in set(parts[0.2])]
    counts = Counter(item.target for item in POOL)
    for fraction in (0.1, 0.5):
        kept = Counter(item.target for item in choose_part(task, fraction).all_items)
        assert all(fraction * counts[label] <= kept[label] < fraction * counts[label] + 1 for label in counts)
    assert choose_part(task, 0.2).fraction == 0.2 and choose_part(task, None) is task
    assert choose_part(task, 1.0).prompt_digest != task.prompt_digest
