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

from collections.abc import Mapping
from typing import Any

from swallow_exp.evaluate.task import Metric, Task
from swallow_exp.evaluate.tasks.profiles import two_profiles

PAPER_TOKENS = 256


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
