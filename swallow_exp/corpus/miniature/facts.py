"""Lasting facts: what each person is, has and likes, as statements and as questions with answers.

Each fact can be asked in three wordings: one for training documents, one for the choice items, one for the question items. Which is which
differs from fact to fact, so every wording is practised, but no item's question has ever been read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from swallow_exp.corpus.miniature.draws import Draws, hashed
from swallow_exp.corpus.miniature.lexicon import COLORS, FOODS, JOBS, PEOPLE, PETS, PLACES, Word


@dataclass(frozen=True)
class Attribute:
    """One kind of fact: its possible values and the sentences that speak of it ({p} person, {x} value)."""

    name: str
    values: tuple[Word, ...]
    statements_en: tuple[str, ...]
    statements_ja: tuple[str, ...]
    question_en: str
    answer_en: str
    questions_ja: tuple[str, str, str]


ATTRIBUTES = (
    Attribute(
        "home",
        PLACES,
        ("{p} lives in the {x}.", "The home of {p} is in the {x}."),
        ("{p}は{x}に住む。", "{p}の家は{x}にある。"),
        "Where does {p} live?",
        "The {x}.",
        ("{p}はどこに住みますか。", "{p}の家はどこですか。", "{p}が住む所はどこですか。"),
    ),
    Attribute(
        "job",
        JOBS,
        ("{p} is a {x}.", "{p} works as a {x}."),
        ("{p}は{x}だ。", "{p}は{x}として働く。"),
        "What is {p}?",
        "A {x}.",
        ("{p}の仕事は何ですか。", "{p}は何をする人ですか。", "{p}の職は何ですか。"),
    ),
    Attribute(
        "pet",
        PETS,
        ("{p} keeps a {x}.", "{p} has a {x} at home."),
        ("{p}は{x}を飼う。", "{p}の家に{x}がいる。"),
        "What does {p} keep?",
        "A {x}.",
        ("{p}は何を飼いますか。", "{p}の家には何がいますか。", "{p}が飼うのは何ですか。"),
    ),
    Attribute(
        "food",
        FOODS,
        ("{p} likes {x}.", "{p} often eats {x}."),
        ("{p}の好物は{x}だ。", "{p}はよく{x}を食べる。"),
        "What does {p} like?",
        "{x}.",
        ("{p}の好物は何ですか。", "{p}は何をよく食べますか。", "{p}が好きな物は何ですか。"),
    ),
    Attribute(
        "color",
        COLORS,
        ("{p} wears {x}.", "The color of {p} is {x}."),
        ("{p}の色は{x}だ。", "{p}は{x}の服を着る。"),
        "What color does {p} wear?",
        "{x}.",
        ("{p}の色は何ですか。", "{p}の服は何色ですか。", "{p}はどの色を着ますか。"),
    ),
)


@dataclass(frozen=True)
class Fact:
    """One attribute of one person."""

    person: Word
    attribute: Attribute

    @property
    def key(self) -> str:
        """The fact without its value or wording."""
        return f"{self.person.en}-{self.attribute.name}"

    @property
    def value(self) -> Word:
        """The value that holds in this world, forever."""
        values = self.attribute.values
        return values[hashed("fact", self.key) % len(values)]

    def state_en(self, draws: Draws) -> str:
        """The fact as an English sentence."""
        return draws.pick(self.attribute.statements_en).format(p=self.person.en, x=self.value.en)

    def state_ja(self, draws: Draws) -> str:
        """The fact as a Japanese sentence."""
        return draws.pick(self.attribute.statements_ja).format(p=self.person.ja, x=self.value.ja)

    def ask_en(self) -> str:
        """The fact as an English question with its answer."""
        answer = self.attribute.answer_en.format(x=self.value.en)
        return f"{self.attribute.question_en.format(p=self.person.en)} {answer[0].upper()}{answer[1:]}"

    def question_ja(self, use: int) -> str:
        """The Japanese question for use 0 (training), 1 (choice items) or 2 (question items)."""
        wordings = self.attribute.questions_ja
        return wordings[(hashed("wording", self.key) + use) % len(wordings)].format(p=self.person.ja)

    def ask_ja(self) -> str:
        """The Japanese question of training with its answer."""
        return f"{self.question_ja(0)}{answer_ja(self.value)}"


def answer_ja(value: Word) -> str:
    """How every Japanese question is answered."""
    return f"{value.ja}です。"


def facts() -> Iterator[Fact]:
    """Every fact of the world, in a fixed order."""
    for person in PEOPLE:
        for attribute in ATTRIBUTES:
            yield Fact(person, attribute)


FACTS = tuple(facts())
