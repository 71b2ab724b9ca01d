"""Events: one sentence of five content slots, the material of the translation pairs.

Some 90,000 different events exist; the model sees a fraction of them and is asked for reserved ones, so it must learn words and word order.
"""

from __future__ import annotations

from dataclasses import dataclass

from swallow_exp.corpus.miniature.draws import Draws, is_reserved
from swallow_exp.corpus.miniature.lexicon import ADJECTIVES, AGENTS, OBJECTS, PLACES, VERBS, Word


@dataclass(frozen=True)
class Event:
    """Who does what to which thing, and where."""

    agent: Word
    verb: Word
    adjective: Word
    thing: Word
    place: Word

    @property
    def key(self) -> str:
        """The event without its language."""
        return f"{self.agent.en}-{self.verb.en}-{self.adjective.en}-{self.thing.en}-{self.place.en}"

    @property
    def en(self) -> str:
        """The English sentence."""
        return f"The {self.agent.en} {self.verb.en} the {self.adjective.en} {self.thing.en} in the {self.place.en}."

    @property
    def ja(self) -> str:
        """The Japanese sentence."""
        return f"{self.agent.ja}が{self.place.ja}で{self.adjective.ja}{self.thing.ja}を{self.verb.ja}。"


def draw_event(draws: Draws, *, reserved: bool = False) -> Event:
    """An event for training, or with `reserved` one that no training text contains."""
    while True:
        event = Event(draws.pick(AGENTS), draws.pick(VERBS), draws.pick(ADJECTIVES), draws.pick(OBJECTS), draws.pick(PLACES))
        if is_reserved("event", event.key) == reserved:
            return event
