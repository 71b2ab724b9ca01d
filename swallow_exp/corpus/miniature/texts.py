"""The documents and pairs of the miniature world.

1. document `index` of a language draws its kind: an event, statements, questions, a passage or a sum
2. ... and then its content, from a stream that only (language, index) names
3. pair `index` is one event in both languages; documents and pairs never contain a reserved event, passage or sum
"""

from __future__ import annotations

from collections.abc import Iterator

from swallow_exp.corpus.document import Document, Pair
from swallow_exp.corpus.miniature.draws import Draws
from swallow_exp.corpus.miniature.events import draw_event
from swallow_exp.corpus.miniature.facts import FACTS
from swallow_exp.corpus.miniature.passages import draw_passage, draw_sum

# Shares of the kinds of documents; the model needs most practice where the answer is not a matter of memory.
KINDS = {
    "en": (("event", 0.30), ("statement", 0.10), ("question", 0.10), ("reading", 0.25), ("sum", 0.25)),
    "ja": (("event", 0.20), ("statement", 0.10), ("question", 0.30), ("reading", 0.20), ("sum", 0.20)),
}


def _english(kind: str, draws: Draws) -> str:
    if kind == "event":
        return draw_event(draws).en
    if kind == "statement":
        return " ".join(draws.pick(FACTS).state_en(draws) for _ in range(2))
    if kind == "question":
        return " ".join(draws.pick(FACTS).ask_en() for _ in range(2))
    return draw_passage(draws).en if kind == "reading" else draw_sum(draws).en


def _japanese(kind: str, draws: Draws) -> str:
    if kind == "event":
        return draw_event(draws).ja
    if kind == "statement":
        return "".join(draws.pick(FACTS).state_ja(draws) for _ in range(2))
    if kind == "question":
        return "".join(draws.pick(FACTS).ask_ja() for _ in range(2))
    return draw_passage(draws).ja if kind == "reading" else draw_sum(draws).ja


def documents(language: str, count: int) -> Iterator[Document]:
    """The first `count` documents of 'en' or 'ja'; a shorter request yields a prefix of a longer one."""
    write = {"en": _english, "ja": _japanese}[language]
    for index in range(count):
        draws = Draws(f"documents-{language}", index)
        yield Document(f"{language}-{index}", write(draws.weighted(KINDS[language]), draws), language)


def pairs(count: int) -> Iterator[Pair]:
    """The first `count` sentence pairs; a shorter request yields a prefix of a longer one."""
    for index in range(count):
        event = draw_event(Draws("pairs", index))
        yield Pair(f"pair-{index}", event.en, event.ja)
