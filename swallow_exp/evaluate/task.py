"""What a checkpoint is asked, as frozen data: items, how they are put to the model, and how answers become statistics.

(1) items    provider                     -> Item (prompt, target, choices), in a fixed order
(2) render   shots + prompt               -> the text after <s>; the model goes on after `separator`
(3) score    Metric.statistics(item, output) -> sufficient statistics, summed by record/aggregate.py
(4) digest   every rendered prompt, target and setting -> prompt_digest: two results compare only when it is equal

Reads/Writes  nothing; what a provider reads is said by the provider.
Source        paper appendix C (tasks, few-shots, metrics).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from swallow_exp.artefact.files import digest_of

# How an item is put to the model.
CHOICE = "choice"  # log-likelihood of each choice after the prompt
GENERATE = "generate"  # greedy continuation of the prompt
CONDITIONAL = "conditional"  # log-likelihood of the target after the prompt
ROLLING = "rolling"  # log-likelihood of the target after <s>
OUTPUT_TYPES = (CHOICE, GENERATE, CONDITIONAL, ROLLING)


@dataclass(frozen=True)
class Item:
    """One question. `cluster` names what its neighbours share (a paragraph, a fact), for clustered intervals."""

    item_id: str
    cluster: str
    prompt: str
    target: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Output:
    """What the model did with one item: generated text, or natural-log likelihoods (one a choice, or one of the target)."""

    text: str = ""
    loglikelihoods: tuple[float, ...] = ()

    @property
    def best(self) -> int:
        """Index of the most likely choice; the first one among equals."""
        return max(range(len(self.loglikelihoods)), key=lambda index: self.loglikelihoods[index])


@dataclass(frozen=True)
class Metric:
    """A named way to turn (item, output) into statistics. `profile`: paper | fair | both."""

    name: str
    aggregate: str  # mean | ratio | bleu, as in record/aggregate.py
    statistics: Callable[[Item, Output], tuple[float, ...]]
    higher_is_better: bool = True
    profile: str = "both"


def no_shots(item: Item) -> Sequence[Item]:
    """Zero-shot."""
    return ()


@dataclass(frozen=True)
class Task:
    """One task. Raise `version` whenever its numbers may change.

    separator       between prompt and answer; a single space is the join of the parallel training documents
    until           the answer ends before the first of these
    max_new_bytes   budget of an answer in UTF-8 bytes: the same for every vocabulary
    max_new_tokens  budget in tokens of the evaluated model; only for tasks that copy a tool which counts so
    shots           the solved examples of an item; they must not depend on order, limit or number of processes
    """

    name: str
    version: str
    family: str
    output_type: str
    items: Callable[[], Sequence[Item]]
    metrics: tuple[Metric, ...]
    num_fewshot: int = 0
    shots: Callable[[Item], Sequence[Item]] = no_shots
    description: str = ""
    shot_separator: str = "\n\n"
    separator: str = " "
    until: tuple[str, ...] = ("\n",)
    max_new_bytes: int | None = None
    max_new_tokens: int | None = None

    def __post_init__(self) -> None:
        """Refuse a task that contradicts itself."""
        assert self.output_type in OUTPUT_TYPES, self.output_type
        budgets = [budget for budget in (self.max_new_bytes, self.max_new_tokens) if budget is not None]
        assert len(budgets) == (1 if self.output_type == GENERATE else 0), f"{self.name}: exactly generated answers have one budget"
        assert self.metrics, self.name

    @cached_property
    def all_items(self) -> tuple[Item, ...]:
        """Every item, in the provider's order. Asserts that ids are unique."""
        items = tuple(self.items())
        assert len({item.item_id for item in items}) == len(items), f"{self.name}: item ids repeat"
        return items

    def render(self, item: Item) -> str:
        """The text the model reads after <s>: description, solved examples, the item's own prompt."""
        shots = self.shots(item)
        assert len(shots) == self.num_fewshot, (self.name, len(shots), self.num_fewshot)
        solved = [f"{shot.prompt}{self.separator}{shot.target}" for shot in shots]
        return self.description + self.shot_separator.join([*solved, item.prompt])

    @cached_property
    def prompts(self) -> tuple[str, ...]:
        """Rendered prompts, aligned with `all_items`."""
        return tuple(self.render(item) for item in self.all_items)

    @cached_property
    def prompt_digest(self) -> str:
        """Hex sha256 of everything that is asked and how it is scored; results compare only at equal digests."""
        settings = {
            "name": self.name,
            "version": self.version,
            "output_type": self.output_type,
            "num_fewshot": self.num_fewshot,
            "separator": self.separator,
            "until": self.until,
            "max_new_bytes": self.max_new_bytes,
            "max_new_tokens": self.max_new_tokens,
            "metrics": [[m.name, m.profile, m.aggregate, m.higher_is_better] for m in self.metrics],
        }
        asked = [[i.item_id, i.cluster, prompt, i.target, i.choices] for i, prompt in zip(self.all_items, self.prompts, strict=True)]
        return digest_of({"settings": settings, "items": asked})
