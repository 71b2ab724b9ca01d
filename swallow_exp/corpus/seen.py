"""Remember which texts were seen, in 13 to 27 bytes each (a Python set of their hashes takes about 90).

An open-addressing table of 64-bit hashes. Two of 25 million different texts share a hash with probability 2e-5.
"""

from __future__ import annotations

import hashlib
from array import array

START_SLOTS = 1 << 12


class SeenTexts:
    """A set that only grows and only answers "was this added before?"."""

    def __init__(self) -> None:
        """Start empty."""
        self._slots = array("Q", bytes(8 * START_SLOTS))
        self._used = 0

    def __len__(self) -> int:
        """How many different texts were added."""
        return self._used

    def add(self, *texts: str) -> bool:
        """Add the tuple of texts; True when it is new."""
        hasher = hashlib.blake2b(digest_size=8)
        for text in texts:
            data = text.encode("utf-8")
            hasher.update(len(data).to_bytes(8, "little"))  # so that ("ab", "c") and ("a", "bc") differ
            hasher.update(data)
        value = int.from_bytes(hasher.digest(), "little") or 1  # 0 marks a free slot
        if not self._place(value):
            return False
        self._used += 1
        if self._used * 5 > len(self._slots) * 3:
            self._grow()
        return True

    def _place(self, value: int) -> bool:
        slots, mask = self._slots, len(self._slots) - 1
        index = value & mask
        while slots[index]:
            if slots[index] == value:
                return False
            index = (index + 1) & mask
        slots[index] = value
        return True

    def _grow(self) -> None:
        old = self._slots
        self._slots = array("Q", bytes(16 * len(old)))
        for value in old:
            if value:
                self._place(value)
