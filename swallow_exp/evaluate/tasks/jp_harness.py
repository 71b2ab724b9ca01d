"""The form in which the Japanese fork of the harness puts a question: shots drawn for each question by one running generator.

(1) order    the test items, shuffled by a generator that starts at 42
(2) draw     for each item in that order the next shots of the same generator, from the train split or from the test items themselves
(3) ask      description, shots and the question, an empty line between them; the answer ends at the first line break

paper   without <s>, 256 tokens of the evaluated model, the answer may be empty
fair    with <s>, a budget in characters

Reads/Writes  nothing.
Source        Stability-AI/lm-evaluation-harness, commit 9b42d41 (evaluator.py, base.py); paper Table 2
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from swallow_exp.evaluate.shots import Shots
from swallow_exp.evaluate.task import Item, Metric, Task
from swallow_exp.evaluate.tasks.profiles import two_profiles

SEED = 42
PAPER_TOKENS = 256


def fork_shots(items: Sequence[Item], pool: Sequence[Item], count: int, *, from_test: bool = False) -> Shots:
    """`count` of the pool for each item, as the fork's own generator draws them.

    items       every test item in the order of its file: each draw depends on how many were made before, never on a limit or a fraction
    from_test   the pool is the test set: one more is drawn, and what equals the item is left out
    """
    order = list(items)
    generator = random.Random(SEED)
    generator.shuffle(order)
    drawn: dict[str, tuple[Item, ...]] = {}
    for item in order:
        found = generator.sample(list(pool), count + from_test)
        if from_test:
            found = [shot for shot in found if (shot.prompt, shot.target) != (item.prompt, item.target)]
            if len(found) < count:
                # differs from the fork, which would ask with fewer: a pair that stands twice in the test set
                found += [shot for shot in pool if shot not in found and (shot.prompt, shot.target) != (item.prompt, item.target)]
        drawn[item.item_id] = tuple(found[:count])
    return lambda item: drawn[item.item_id]


def generated_tasks(
    name: str,
    *,
    paper_metric: Metric,
    fair_metric: Metric,
    fair_characters: int,
    fair_changes: Mapping[str, Any] | None = None,
    **more: Any,
) -> list[Task]:
    """Both profiles of a task; `more` as `two_profiles` takes it, `fair_changes` are further fields of the fair one."""
    return two_profiles(
        name,
        paper_metrics=(paper_metric,),
        fair_metrics=(fair_metric,),
        max_new_tokens=PAPER_TOKENS,
        fair={"max_new_characters": fair_characters, **(fair_changes or {})},
        **more,
    )
