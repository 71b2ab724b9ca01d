"""One question asked in two ways: as the paper's tool asked it, and so that any two models compare.

paper   without <s>, a budget in tokens of the evaluated model, the answer may be empty
fair    with <s>, a budget in characters, which is the same for every vocabulary

Reads/Writes  nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from swallow_exp.evaluate.shots import Shots
from swallow_exp.evaluate.task import FAIR, GENERATE, PAPER, Item, Metric, Task


def two_profiles(
    name: str,
    *,
    version: str,
    family: str,
    items: Callable[[], Sequence[Item]],
    num_fewshot: int,
    shots: Shots,
    paper_metrics: Sequence[Metric],
    fair_metrics: Sequence[Metric],
    fair: Mapping[str, Any],
    output_type: str = GENERATE,
    **more: Any,
) -> list[Task]:
    """The published Task of a dataset and the fair one, in this order.

    Args:
        fair: fields of Task that the fair one has otherwise than the published one.
        more: further fields of the published Task.
    """
    paper = Task(
        name,
        version,
        family,
        output_type,
        items,
        tuple(metric.under(PAPER) for metric in paper_metrics),
        num_fewshot=num_fewshot,
        shots=shots,
        empty_allowed=output_type == GENERATE,
        profile=PAPER,
        bos=False,
        **more,
    )
    metrics = tuple(metric.under(FAIR) for metric in fair_metrics)
    fairly: dict[str, Any] = {"max_new_tokens": None, "empty_allowed": False, "profile": FAIR, "bos": True}
    return [paper, replace(paper, **{**fairly, "metrics": metrics, **fair})]
