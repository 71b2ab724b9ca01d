"""The held-out items of the miniature world: six families, each asking what no training text answers in these words.

choice          a lasting fact, asked in a wording that training never used for it, with four answers to choose from
question        the same kind of question, other wordings, answered freely
reading         a reserved passage, then a question about it
arithmetic      a reserved small sum
translation_*   reserved events, the bare sentence of one language to be put into the other (the same 200 both ways)

An item is a dict: id, cluster (shared by items that share content: resample clusters, not items), prompt, answer, and choices if any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from swallow_exp.corpus.miniature.draws import Draws
from swallow_exp.corpus.miniature.events import Event, draw_event
from swallow_exp.corpus.miniature.facts import FACTS, answer_ja
from swallow_exp.corpus.miniature.passages import Exercise, draw_passage, draw_sum

NUM_EXERCISES = 160  # items of reading and of arithmetic
NUM_TRANSLATIONS = 200
NUM_CHOICES = 4

Item = dict[str, Any]


def _choice() -> Iterator[Item]:
    for index, fact in enumerate(FACTS):
        draws = Draws("items-choice", index)
        others = [value for value in fact.attribute.values if value != fact.value]
        options = draws.distinct([fact.value, *draws.distinct(others, NUM_CHOICES - 1)], NUM_CHOICES)
        yield {
            "id": f"choice-{fact.key}",
            "cluster": fact.key,
            "prompt": fact.question_ja(1),
            "answer": answer_ja(fact.value),
            "choices": [answer_ja(option) for option in options],
        }


def _question() -> Iterator[Item]:
    for fact in FACTS:
        yield {"id": f"question-{fact.key}", "cluster": fact.key, "prompt": fact.question_ja(2), "answer": answer_ja(fact.value)}


def _exercises(family: str, draw: Callable[..., Exercise]) -> Iterator[Item]:
    seen: set[str] = set()
    draws = Draws(f"items-{family}", 0)
    while len(seen) < NUM_EXERCISES:
        exercise = draw(draws, reserved=True)
        if exercise.text_en in seen:
            continue
        name = f"{family}-{len(seen)}"
        seen.add(exercise.text_en)
        yield {"id": name, "cluster": name, "prompt": exercise.text_ja + exercise.question_ja, "answer": exercise.answer_ja}


def _reserved_events() -> list[Event]:
    events: dict[str, Event] = {}
    draws = Draws("items-translation", 0)
    while len(events) < NUM_TRANSLATIONS:
        event = draw_event(draws, reserved=True)
        events.setdefault(event.key, event)
    return list(events.values())


def _translation(source: str, target: str) -> Iterator[Item]:
    for event in _reserved_events():
        sentence = {"en": event.en, "ja": event.ja}
        yield {"id": f"{source}-{target}-{event.key}", "cluster": event.key, "prompt": sentence[source], "answer": sentence[target]}


FAMILIES: dict[str, Callable[[], Iterator[Item]]] = {
    "choice": _choice,
    "question": _question,
    "reading": lambda: _exercises("reading", draw_passage),
    "arithmetic": lambda: _exercises("arithmetic", draw_sum),
    "translation_en_ja": lambda: _translation("en", "ja"),
    "translation_ja_en": lambda: _translation("ja", "en"),
}


def items(family: str) -> list[Item]:
    """Every item of one family (a key of FAMILIES), always the same ones in the same order."""
    return list(FAMILIES[family]())
