"""Seeded draws and the split of the world into what training may see and what is kept for the items.

A draw is a pure function of (stream, index): document 7 is the same whether one asks for ten documents or for a million. The split is
a pure function of the content itself, so both languages, every corpus and every run agree on it without a list that could get lost.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

SEED = "miniature-1"  # change it and the world's facts, texts and items all change
RESERVED_ONE_IN = 40  # share of all possible events, passages and sums that only items may use

Choice = TypeVar("Choice")


class Draws:
    """A stream of choices that depends on its name and index alone."""

    def __init__(self, stream: str, index: int) -> None:
        """Start the stream `stream` at `index`."""
        self._random = random.Random(f"{SEED}/{stream}/{index}")

    def below(self, limit: int) -> int:
        """A whole number in [0, limit)."""
        # random.random() is the one method whose sequence Python promises to keep for a given seed.
        return int(self._random.random() * limit)

    def pick(self, options: Sequence[Choice]) -> Choice:
        """One of `options`."""
        return options[self.below(len(options))]

    def distinct(self, options: Sequence[Choice], count: int) -> list[Choice]:
        """`count` different positions of `options`, in drawn order."""
        assert count <= len(options)
        rest = list(options)
        return [rest.pop(self.below(len(rest))) for _ in range(count)]

    def weighted(self, options: Sequence[tuple[Choice, float]]) -> Choice:
        """One option; the weights sum to 1."""
        point = self._random.random()
        for option, weight in options:
            point -= weight
            if point < 0:
                return option
        return options[-1][0]


def hashed(*key: object) -> int:
    """A 64-bit number that depends on the key and the seed only, the same on every machine."""
    text = "/".join((SEED, *map(str, key)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def is_reserved(*key: object) -> bool:
    """True when this content belongs to the items and must stay out of every training text."""
    return hashed("reserved", *key) % RESERVED_ONE_IN == 0
