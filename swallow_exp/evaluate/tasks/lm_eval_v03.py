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

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from swallow_exp.corpus.readers import malformed
from swallow_exp.evaluate.data import DataFile, DataFolder
from swallow_exp.evaluate.shots import DROP_FIRST_SHOTS, Shots, chosen_shots, fixed_shots, running_shots, without_first_shots
from swallow_exp.evaluate.task import CHOICE, GENERATE, Fit, Item, Ruler, Task
from swallow_exp.evaluate.tasks.profiles import two_profiles

NUM_SHOTS = 8
PAPER_TOKENS = 256


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
        pool, pool_is_asked: where examples come from, as `running_shots` takes it.
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
        shots=running_shots(items, pool, NUM_SHOTS, pool_is_asked=pool_is_asked),
        max_new_tokens=PAPER_TOKENS if generated else None,
        remarks=("shots: drawn for each question as lm-eval v0.3.0 drew them",),
        fair={**fairly, **(fair or {})},
        **more,
    )


def dataset_tasks(
    name: str, data: DataFolder, *, read: Callable[[Path], Iterable[Item]], test: DataFile, train: DataFile, **more: Any
) -> list[Task]:
    """Both Tasks of a dataset whose test file is asked and whose train file gives the examples; `more` as `both_profiles` takes it."""
    asked, shown = data.path(test), data.path(train)
    pool = enough(tuple(read(shown)), shown)
    return both_profiles(name, items=tuple(read(asked)), pool=pool, **more)
