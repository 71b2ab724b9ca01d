"""Natural language inference as llm-jp-eval v1.0 asks it: how does a premise stand to a hypothesis? For jamp, janli, jnli, jsem, jsick.

NAME          as published and made fair, with the labels of the dataset
NAME_ja       the same with Japanese labels, which the team's scripts could switch to
NAME_choice   fair only: the likeliest label, nothing is generated; the set of labels is closed, so no answer is invalid

paper   the published examples, whatever they are
fair    no example that is asked itself: such a one gives way to an item of the train split

Reads   <data_dir>/<dataset>/shots.jsonl, when the user has put one there
Source  llm-jp-eval v1.0.0; paper appendix F
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.corpus.readers import malformed, text_of
from swallow_exp.evaluate.data import DataFolder
from swallow_exp.evaluate.metrics.labels import BALANCED_ACCURACY_CHOICE, BALANCED_ACCURACY_FAIR, BALANCED_ACCURACY_PAPER, CLASS_SIZE
from swallow_exp.evaluate.metrics.likelihood import ACCURACY
from swallow_exp.evaluate.metrics.strings import EXACT_MATCH_FAIR, EXACT_MATCH_PAPER
from swallow_exp.evaluate.shots import fixed_shots
from swallow_exp.evaluate.task import CHOICE, FAIR, Item, Task
from swallow_exp.evaluate.tasks.llm_jp import NUM_SHOTS, SHOTS_NAME, generated_tasks, llm_jp_description, llm_jp_prompt, user_shots

FAMILY = "inference"
FAIR_CHARACTERS = 20  # the longest label, non-entailment, has 14
THREE_WAY = ("entailment", "contradiction", "neutral")
LANGUAGE = "the paper does not say whether its labels were the dataset's own or Japanese (_ja)"
JAPANESE = {
    "entailment": "含意",
    "contradiction": "矛盾",
    "neutral": "中立",
    "non-entailment": "非含意",
    "yes": "含意",
    "no": "矛盾",
    "unknown": "中立",
    "undef": "不明",
}


@dataclass(frozen=True)
class Inference:
    """What differs between the datasets.

    labels         as the dataset writes them, in the order in which the instruction lists them
    constraints    label -> the sentence of the instruction that says when to answer so, with {} where it names the label
    published      for each published example, a part of its prompt that no other item has
    doubt          what about them is assumed, for the remark
    """

    name: str
    version: str
    labels: tuple[str, ...]
    constraints: Mapping[str, str] = field(hash=False)
    published: tuple[str, ...]
    paper_tokens: int
    doubt: str = ""

    def instruction(self, shown: Mapping[str, str]) -> str:
        """The instruction, with each label written as `shown` says."""
        listed = "、".join(shown[label] for label in self.labels)
        rules = "\n".join(f"- {self.constraints[label].format(shown[label])}" for label in self.labels)
        return f"前提と仮説の関係を{listed}の中から回答してください。それ以外には何も含めないことを厳守してください。\n\n制約：\n{rules}"


def inference_item(item_id: str, cluster: str, premise: str, hypothesis: str, label: str, *, labels: Sequence[str], place: str) -> Item:
    """A premise and a hypothesis. Raises RequestError for a label that is none of `labels`."""
    if label not in labels:
        raise malformed(place, f"label {label!r}", expected=f"one of {', '.join(labels)}")
    return Item(item_id, cluster, llm_jp_prompt(f"前提：{premise}\n仮説：{hypothesis}"), label)


def inference_items(
    rows: Iterable[tuple[str, Mapping[str, Any]]],
    spec: Inference,
    columns: tuple[str, str, str, str, str],
    *,
    cluster_until: str | None = None,
) -> tuple[Item, ...]:
    """One item per row (place, columns), in their order.

    Args:
        columns: names of id, cluster, premise, hypothesis and label.
        cluster_until: where the name of the cluster ends inside its column. Defaults to the end of the column.
    """
    items = []
    for place, row in rows:
        item_id, cluster, premise, hypothesis, label = (text_of(row, column, place=place) for column in columns)
        cluster = cluster if cluster_until is None else cluster.split(cluster_until)[0]
        items.append(inference_item(item_id, cluster, premise, hypothesis, label, labels=spec.labels, place=place))
    return tuple(items)


def inference_tasks(
    spec: Inference, data: DataFolder, *, test: Sequence[Item], train: Callable[[], Sequence[Item]], made: Sequence[Item] = ()
) -> list[Task]:
    """Every task of one dataset.

    test    what is asked
    train   what examples may be taken from
    made    published examples that no file has as they are

    Raises RequestError when nothing is asked, or the train split has too few items.
    """
    if not test:
        raise malformed(spec.name, "no pair to ask", expected="the files of README.md")
    sizes = Counter(item.target for item in test)
    asked = tuple(replace(item, extra=((CLASS_SIZE, str(sizes[item.target])),)) for item in test)
    shots, source = _examples(spec, data, test, train, made)
    own, leaked = _without_leak(spec, shots, test, train)
    official = {label: label for label in spec.labels}
    japanese = {label: JAPANESE[label] for label in spec.labels}
    paper_remarks = (source, LANGUAGE, *([f"{leaked} of the examples are also asked, as published"] if leaked else []))
    fair_remarks = (source, *([f"{leaked} of them were also asked: replaced from the train split"] if leaked else []))
    tasks: list[Task] = []
    for name, shown in ((spec.name, official), (f"{spec.name}_ja", japanese)):
        tasks += generated_tasks(
            name,
            version=spec.version,
            family=FAMILY,
            instruction=spec.instruction(shown),
            items=partial(_written, asked, shown),
            shots=fixed_shots(_written(shots, shown), NUM_SHOTS),
            paper_metrics=(EXACT_MATCH_PAPER, BALANCED_ACCURACY_PAPER),
            fair_metrics=(EXACT_MATCH_FAIR, BALANCED_ACCURACY_FAIR),
            paper_tokens=spec.paper_tokens,
            fair_characters=FAIR_CHARACTERS,
            labels=tuple(shown.values()),
            remarks=paper_remarks,
            fair={"shots": fixed_shots(_written(own, shown), NUM_SHOTS), "remarks": fair_remarks},
        )
    return [*tasks, replace(_choice(spec, official, asked, own), remarks=fair_remarks)]


def _choice(spec: Inference, shown: Mapping[str, str], asked: Sequence[Item], shots: Sequence[Item]) -> Task:
    choices = tuple(shown.values())
    return Task(
        f"{spec.name}_choice",
        spec.version,
        FAMILY,
        CHOICE,
        lambda: tuple(replace(item, choices=choices) for item in _written(asked, shown)),
        (ACCURACY.under(FAIR), BALANCED_ACCURACY_CHOICE.under(FAIR)),
        num_fewshot=NUM_SHOTS,
        shots=fixed_shots(_written(shots, shown), NUM_SHOTS),
        description=llm_jp_description(spec.instruction(shown)),
        separator="",
        profile=FAIR,
        labels=choices,
    )


def _written(items: Iterable[Item], shown: Mapping[str, str]) -> tuple[Item, ...]:
    return tuple(replace(item, target=shown[item.target]) for item in items)


def _examples(
    spec: Inference, data: DataFolder, test: Sequence[Item], train: Callable[[], Sequence[Item]], made: Sequence[Item]
) -> tuple[tuple[Item, ...], str]:
    """Four examples and where they are from: the user's, the published ones, or one label of the train split after another."""
    own = user_shots(data, spec.name)
    if own is not None:
        wrong = next((shot.target for shot in own if shot.target not in spec.labels), None)
        if wrong is not None:
            raise malformed(f"{spec.name}/{SHOTS_NAME}", f"label {wrong!r}", expected=f"one of {', '.join(spec.labels)}")
        return tuple(own[:NUM_SHOTS]), f"shots: the user's {SHOTS_NAME}"
    pool = [*made, *train(), *test]
    found = [next((item for item in pool if mark in item.prompt), None) for mark in spec.published]
    if all(found):
        return tuple(item for item in found if item is not None), f"shots: the published ones, from the dataset{spec.doubt}"
    ranked = _label_after_label(train())
    if len(ranked) < NUM_SHOTS:
        raise _too_few(spec, ranked)
    return tuple(ranked[:NUM_SHOTS]), "shots: one label of the train split after another, not the published ones"


def _too_few(spec: Inference, items: Sequence[Item]) -> RequestError:
    return malformed(f"{spec.name}, train split", f"{len(items)} pairs to show", expected=f"at least {NUM_SHOTS} that are not asked")


def _without_leak(
    spec: Inference, shots: Sequence[Item], test: Sequence[Item], train: Callable[[], Sequence[Item]]
) -> tuple[tuple[Item, ...], int]:
    """The examples without those that are asked themselves, filled up from the train split; and how many those were."""
    asked = {item.prompt for item in test}
    leaked = [shot for shot in shots if shot.prompt in asked]
    if not leaked:
        return tuple(shots), 0
    taken = {shot.prompt for shot in shots} | asked
    spare = [item for item in _label_after_label(train()) if item.prompt not in taken]
    if len(spare) < len(leaked):
        raise _too_few(spec, spare)
    return tuple(spare.pop(0) if shot in leaked else shot for shot in shots), len(leaked)


def _label_after_label(items: Sequence[Item]) -> list[Item]:
    """The first item of each label, the second of each, and so on; labels in the order in which they appear."""
    seen: Counter[str] = Counter()
    ranked: list[tuple[int, int]] = []
    for place, item in enumerate(items):
        ranked.append((seen[item.target], place))
        seen[item.target] += 1
    return [items[place] for _, place in sorted(ranked)]
