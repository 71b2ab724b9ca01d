"""Passing matters: short passages with a question about them, and small sums. Their answers lie in the text, not in memory.

A passage or a sum is drawn afresh for every document. One in a few dozen of all possible ones is reserved for the items, by its content.
"""

from __future__ import annotations

from dataclasses import dataclass

from swallow_exp.corpus.miniature.draws import Draws, is_reserved
from swallow_exp.corpus.miniature.lexicon import GOODS, PEOPLE, PLACES

PASSAGE_SENTENCES = 2
LARGEST_OPERAND = 6


@dataclass(frozen=True)
class Exercise:
    """A text, a question about it and the answer, in both languages."""

    text_en: str
    question_en: str
    answer_en: str
    text_ja: str
    question_ja: str
    answer_ja: str

    @property
    def en(self) -> str:
        """The whole as an English document."""
        return f"{self.text_en} {self.question_en} {self.answer_en}"

    @property
    def ja(self) -> str:
        """The whole as a Japanese document."""
        return f"{self.text_ja}{self.question_ja}{self.answer_ja}"


def _passage(draws: Draws) -> Exercise:
    """Two people, each somewhere; one of them is asked about."""
    people, places = draws.distinct(PEOPLE, PASSAGE_SENTENCES), draws.distinct(PLACES, PASSAGE_SENTENCES)
    asked = draws.below(PASSAGE_SENTENCES)
    person, place = people[asked], places[asked]
    return Exercise(
        " ".join(f"{who.en} is in the {where.en}." for who, where in zip(people, places, strict=True)),
        f"Where is {person.en}?",
        f"{person.en} is in the {place.en}.",
        "".join(f"{who.ja}は{where.ja}にいる。" for who, where in zip(people, places, strict=True)),
        f"{person.ja}はどこにいますか。",
        f"{person.ja}は{place.ja}にいます。",
    )


def _sum(draws: Draws) -> Exercise:
    """A sum of two small numbers, or the difference that undoes it."""
    first, second = 1 + draws.below(LARGEST_OPERAND), 1 + draws.below(LARGEST_OPERAND)
    good, other = draws.distinct(GOODS, 2)
    person = draws.pick(PEOPLE)
    if draws.below(2):
        return Exercise(
            f"There are {first} {good.en} and {second} {other.en}.",
            "How many in all?",
            f"{first + second}.",
            f"{good.ja}が{first}個、{other.ja}が{second}個ある。",
            "全部で何個ですか。",
            f"{first + second}個です。",
        )
    return Exercise(
        f"There are {first + second} {good.en}. {person.en} takes {second}.",
        "How many are left?",
        f"{first}.",
        f"{good.ja}が{first + second}個ある。{person.ja}が{second}個取る。",
        "残りは何個ですか。",
        f"{first}個です。",
    )


def draw_passage(draws: Draws, *, reserved: bool = False) -> Exercise:
    """A passage for training, or with `reserved` one that no training text contains."""
    while True:
        exercise = _passage(draws)
        if is_reserved("passage", exercise.text_en) == reserved:
            return exercise


def draw_sum(draws: Draws, *, reserved: bool = False) -> Exercise:
    """A sum for training, or with `reserved` one that no training text contains."""
    while True:
        exercise = _sum(draws)
        if is_reserved("sum", exercise.text_en) == reserved:
            return exercise
