"""What a checkpoint is asked, as frozen data: items, how they are put to the model, and how answers become statistics.

(1) items    provider                     -> Item (prompt, target, choices), in a fixed order
(2) render   shots + prompt               -> the text after <s>; the model goes on after `separator`
(3) score    Metric.statistics(item, output) -> sufficient statistics, summed by record/aggregate.py
(4) digest   every rendered prompt, target and setting -> prompt_digest: two results compare only when it is equal

Reads/Writes  nothing; what a provider reads is said by the provider.
Source        paper appendices C and G (tasks, few-shots, metrics).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from swallow_exp.artefact.files import digest_of

# How an item is put to the model.
CHOICE = "choice"  # log-likelihood of each choice after the prompt
GENERATE = "generate"  # greedy continuation of the prompt
CONDITIONAL = "conditional"  # log-likelihood of the target after the prompt
ROLLING = "rolling"  # log-likelihood of the target after <s>
OUTPUT_TYPES = (CHOICE, GENERATE, CONDITIONAL, ROLLING)

# As the paper's tools computed it; independent of vocabulary and tool; no difference between the two.
PAPER, FAIR, BOTH = "paper", "fair", "both"
PROFILES = (PAPER, FAIR)


@dataclass(frozen=True)
class Item:
    """One question. `cluster` names what its neighbours share (a paragraph, a fact), for clustered intervals.

    target    the answer that shots show, and whose likelihood is measured
    choices   what may be chosen; the target is one of them
    answers   every acceptable answer; empty: the target alone
    scored    for each choice (text put behind the prompt, text whose likelihood counts); empty: ("", separator + choice)
    extra     further facts a metric needs, as (name, value)
    """

    item_id: str
    cluster: str
    prompt: str
    target: str
    choices: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    scored: tuple[tuple[str, str], ...] = ()
    extra: tuple[tuple[str, str], ...] = ()

    @property
    def golds(self) -> tuple[str, ...]:
        """Every acceptable answer."""
        return self.answers or (self.target,)


@dataclass(frozen=True)
class Output:
    """What the model did with one item: generated text, or natural-log likelihoods (one a choice, or one of the target).

    encode   text -> pieces of the evaluated model's own tokenizer, for metrics that are defined on them
    """

    text: str = ""
    loglikelihoods: tuple[float, ...] = ()
    encode: Callable[[str], Sequence[str]] | None = field(default=None, compare=False, repr=False)

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
    profile: str = BOTH

    def under(self, profile: str) -> Metric:
        """The same metric, reported under one profile."""
        return replace(self, profile=profile)


@dataclass(frozen=True)
class Ruler:
    """The evaluated model's tokenizer, for measuring and cutting text.

    encode         text -> ids, without control tokens
    decode         ids -> text
    max_length     tokens the model reads at most, the answer included
    answer_tokens  the task's budget of an answer, in tokens (a budget in bytes or characters: the most tokens it can take)
    prefix         control tokens in front of the prompt: 1 with <s>, 0 without
    """

    encode: Callable[[str], Sequence[int]]
    decode: Callable[[Sequence[int]], str]
    max_length: int
    answer_tokens: int
    prefix: int = 1

    def count(self, text: str) -> int:
        """Tokens of `text`."""
        return len(self.encode(text))

    @property
    def room(self) -> int:
        """Tokens a prompt may have beside the answer."""
        return self.max_length - self.answer_tokens - self.prefix


@dataclass(frozen=True)
class Fit:
    """A named rule (task, item, ruler) -> the whole prompt. Raise `version` whenever it may give another prompt."""

    name: str
    version: str
    rule: Callable[[Task, Item, Ruler], str]


def no_shots(item: Item) -> Sequence[Item]:
    """Zero-shot."""
    return ()


def unchanged(text: str) -> str:
    """The answer unchanged."""
    return text


@dataclass(frozen=True)
class Task:
    """One task. Raise `version` whenever its numbers may change.

    profile             paper | fair: one of two Tasks of the same name that are asked differently; both: there is only one
    separator           between prompt and answer; a single space is the join of the parallel training documents
    until               the answer ends before the first of these; empty: only the budget and the end token end it
    max_new_bytes       budget of an answer in UTF-8 bytes: the same for every vocabulary
    max_new_characters  budget in characters, likewise
    max_new_tokens      budget in tokens of the evaluated model; only for tasks that copy a tool which counts so
    empty_allowed       the model may end its answer before it has begun (else the first token is never the end token)
    shots               the solved examples of an item; they must not depend on order, limit or number of processes
    bos                 whether <s> stands before the prompt
    fit                 rule that shortens a prompt under the evaluated model's tokenizer
    labels              closed set of answers, after `normalise`; anything else is an invalid label
    normalise           generated text -> the answer as the metrics read it; shown in items.parquet
    remarks             what a reader of the score must know (which shots were used); kept in result.json
    fraction            share of the dataset that `items` is; None: all of it
    gold_likelihood     bits per byte of the gold answers as a further metric (generated answers: one more pass)
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
    max_new_characters: int | None = None
    empty_allowed: bool = False
    profile: str = BOTH
    bos: bool = True
    fit: Fit | None = None
    labels: tuple[str, ...] = ()
    normalise: Callable[[str], str] = unchanged
    remarks: tuple[str, ...] = ()
    fraction: float | None = None
    gold_likelihood: bool = False

    def __post_init__(self) -> None:
        """Refuse a task that contradicts itself."""
        assert self.output_type in OUTPUT_TYPES, self.output_type
        budgets = [b for b in (self.max_new_bytes, self.max_new_tokens, self.max_new_characters) if b is not None]
        assert len(budgets) == (1 if self.output_type == GENERATE else 0), f"{self.name}: exactly generated answers have one budget"
        assert self.metrics, self.name
        assert self.profile in (*PROFILES, BOTH), self.profile
        wrong = [metric.name for metric in self.metrics if self.profile not in (BOTH, metric.profile)]
        assert not wrong, f"{self.name}: metrics {wrong} are not of the task's profile {self.profile}"
        assert not self.gold_likelihood or self.output_type in (GENERATE, CHOICE), f"{self.name}: the target's likelihood is its metric"
        assert self.bos or self.output_type != ROLLING, f"{self.name}: a text on its own needs <s> in front"

    @property
    def folder(self) -> str:
        """Folder of the task's results: its name, and its profile where there are two Tasks of one name."""
        return self.name if self.profile == BOTH else f"{self.name}-{self.profile}"

    @property
    def asks_twice(self) -> bool:
        """Whether the likelihood of the gold answers is a question of its own."""
        return self.gold_likelihood and self.output_type == GENERATE

    @cached_property
    def all_items(self) -> tuple[Item, ...]:
        """Every item, in the provider's order. Asserts that ids are unique."""
        items = tuple(self.items())
        assert len({item.item_id for item in items}) == len(items), f"{self.name}: item ids repeat"
        return items

    def render(self, item: Item, *, shots: Sequence[Item] | None = None) -> str:
        """The text the model reads after <s>: description, solved examples (or other `shots`), the item's own prompt."""
        if shots is None:
            shots = self.shots(item)
            assert len(shots) == self.num_fewshot, (self.name, len(shots), self.num_fewshot)
        solved = [f"{shot.prompt}{self.separator}{shot.target}" for shot in shots]
        return self.description + self.shot_separator.join([*solved, item.prompt])

    @cached_property
    def prompts(self) -> tuple[str, ...]:
        """Rendered prompts, aligned with `all_items`; the same for every model."""
        return tuple(self.render(item) for item in self.all_items)

    def prompts_for(self, ruler: Ruler) -> tuple[str, ...]:
        """Prompts as they are put to one model: `prompts`, unless a rule fits them to its tokenizer."""
        if self.fit is None:
            return self.prompts
        return tuple(self.fit.rule(self, item, ruler) for item in self.all_items)

    @cached_property
    def prompt_digest(self) -> str:
        """Hex sha256 of everything that is asked and how it is scored; results compare only at equal digests."""
        told_only_when_used: dict[str, Any] = {
            "max_new_characters": self.max_new_characters,
            "empty_allowed": self.empty_allowed or None,
            "profile": None if self.profile == BOTH else self.profile,
            "bos": None if self.bos else False,
            "fit": None if self.fit is None else [self.fit.name, self.fit.version],
            "labels": self.labels or None,
            "fraction": self.fraction,
            "gold_likelihood": self.gold_likelihood or None,
        }
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
            **{name: value for name, value in told_only_when_used.items() if value is not None},
        }
        asked = []
        for item, prompt in zip(self.all_items, self.prompts, strict=True):
            more = {name: getattr(item, name) for name in ("answers", "scored", "extra") if getattr(item, name)}
            asked.append([item.item_id, item.cluster, prompt, item.target, item.choices, *([more] if more else [])])
        return digest_of({"settings": settings, "items": asked})
