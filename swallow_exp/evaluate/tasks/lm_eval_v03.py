"""The form in which lm-eval v0.3.0 puts a question of the English suite: eight solved examples, an empty line between them, the question.

paper   without <s>; examples drawn anew for every question by one generator, Random(42), that has shuffled the questions before; a budget
        of 256 tokens of the evaluated model, the start of a prompt lost where it does not fit, the answer may be empty
fair    with <s>; the same examples for every question, spread over the train split by hash; a budget in characters; the first examples left
        out where a prompt does not fit

The draws are those of v0.3.0 wherever both files are whole and in the order in which its copies of them were (Hugging Face's of 2023;
assumed for all six). With a part of a file other examples are drawn. Answers are cut and scored as it did; how it split texts into tokens
at the join of question and answer is not copied (see encoding.py).

Reads/Writes  nothing.
Source        lm-eval v0.3.0 (evaluator and few-shot context); paper Table 3
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from swallow_exp.corpus.readers import malformed
from swallow_exp.evaluate.shots import DROP_FIRST_SHOTS, Shots, chosen_shots, fixed_shots, without_first_shots
from swallow_exp.evaluate.task import CHOICE, GENERATE, Fit, Item, Ruler, Task
from swallow_exp.evaluate.tasks.profiles import two_profiles

NUM_SHOTS = 8
PAPER_TOKENS = 256
PAPER_SEED = 42


def continued_shots(items: Sequence[Item], pool: Sequence[Item], *, pool_is_asked: bool = False) -> Shots:
    """The examples that v0.3.0 drew. One generator shuffles the questions, then draws for each of them in that order.

    items          all questions of the file, whatever part of them is evaluated
    pool_is_asked  the pool is these questions: one more is drawn, and the question itself taken out of what was drawn
    """

    @cache
    def drawn() -> dict[str, tuple[int, ...]]:
        order = list(range(len(items)))
        generator = random.Random(PAPER_SEED)
        generator.shuffle(order)
        if not pool_is_asked:
            return {items[index].item_id: tuple(generator.sample(range(len(pool)), NUM_SHOTS)) for index in order}
        return {items[index].item_id: _others(generator.sample(range(len(pool)), NUM_SHOTS + 1), index, pool) for index in order}

    return lambda item: tuple(pool[index] for index in drawn()[item.item_id])


def _others(found: Sequence[int], index: int, pool: Sequence[Item]) -> tuple[int, ...]:
    """The first NUM_SHOTS of `found` that are not the question, nor a copy of it elsewhere in the file."""

    def content(place: int) -> tuple[str, str, tuple[str, ...]]:
        item = pool[place]
        return item.prompt, item.target, item.choices

    kept = [place for place in found if content(place) != content(index)][:NUM_SHOTS]
    if len(kept) < NUM_SHOTS:
        # assumed: v0.3.0 goes on with fewer examples where copies leave too few; here the pool's first ones fill up
        rest = [place for place in range(len(pool)) if place not in kept and content(place) != content(index)]
        kept += rest[: NUM_SHOTS - len(kept)]
    return tuple(kept)


def spread_shots(pool: Sequence[Item], *, salt: str) -> Shots:
    """The fair examples: the same for every question, by hash, no two of one cluster."""
    return fixed_shots(chosen_shots(pool, NUM_SHOTS, salt=salt), NUM_SHOTS)


def enough(items: Sequence[Item], path: Path, *, needed: int = NUM_SHOTS) -> Sequence[Item]:
    """The items, if they have at least `needed` clusters to draw examples from. Raises RequestError."""
    found = len({item.cluster for item in items})
    if found < needed:
        raise malformed(str(path), f"{found} items to draw examples from", expected=f"at least {needed} that share nothing")
    return items


def _beside_choices(task: Task, item: Item, ruler: Ruler) -> str:
    ends = [f"{stem}{ending}" for stem, ending in item.scored] or [f"{task.separator}{choice}" for choice in item.choices]
    return without_first_shots(task, item, ruler, room=ruler.room - max(map(ruler.count, ends)))


# as DROP_FIRST_SHOTS, with room for the longest choice
BESIDE_CHOICES = Fit("drop_first_shots_beside_choices", "1", _beside_choices)


def both_profiles(
    name: str,
    *,
    output_type: str,
    items: Sequence[Item],
    pool: Sequence[Item],
    pool_is_asked: bool = False,
    fair_shots: Shots | None = None,
    fair: Mapping[str, Any] | None = None,
    **more: Any,
) -> list[Task]:
    """Both Tasks of one dataset.

    Args:
        items: every question of the file.
        pool, pool_is_asked: where examples come from, as `continued_shots` takes it.
        fair_shots: the fair examples. Defaults to `spread_shots` of the pool.
        fair: fields of Task that only the fair one has (stops, budget, normalise).
        more: as `two_profiles` takes it.
    """
    assert output_type in (GENERATE, CHOICE), output_type
    generated = output_type == GENERATE
    fairly: dict[str, Any] = {
        "shots": fair_shots or spread_shots(pool, salt=name),
        "fit": DROP_FIRST_SHOTS if generated else BESIDE_CHOICES,
        "remarks": (),
    }
    return two_profiles(
        name,
        output_type=output_type,
        items=lambda: items,
        num_fewshot=NUM_SHOTS,
        shots=continued_shots(items, pool, pool_is_asked=pool_is_asked),
        max_new_tokens=PAPER_TOKENS if generated else None,
        remarks=("shots: drawn for each question as lm-eval v0.3.0 drew them",),
        fair={**fairly, **(fair or {})},
        **more,
    )
