"""The two things a corpus is made of: documents and pairs.

A line of a corpus artefact is {"id", "text"} or {"id", "en", "ja"}: one JSON object, ended by a line feed and nothing else
(texts may hold U+2028, U+0085 and carriage returns, which other line readers break at).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Document:
    """One text. `id` is unique inside its corpus."""

    id: str
    text: str
    language: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text of it, for counting."""
        return (self.text,)

    def to_line(self, document_id: str) -> str:
        """Its line in an artefact, under `document_id`."""
        return _line({"id": document_id, "text": self.text})

    @classmethod
    def from_line(cls, line: str, language: str = "") -> Document:
        """Inverse of `to_line`."""
        row = json.loads(line)
        return cls(row["id"], row["text"], language)


@dataclass(frozen=True)
class Pair:
    """One text in English and Japanese, each side without surrounding whitespace."""

    id: str
    en: str
    ja: str

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text of it, for counting."""
        return (self.en, self.ja)

    def to_line(self, document_id: str) -> str:
        """Its line in an artefact, under `document_id`."""
        return _line({"id": document_id, "en": self.en, "ja": self.ja})

    @classmethod
    def from_line(cls, line: str) -> Pair:
        """Inverse of `to_line`."""
        row = json.loads(line)
        return cls(row["id"], row["en"], row["ja"])


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n"
