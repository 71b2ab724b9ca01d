"""Which library turns text into ids: SentencePiece, or kitoken, which is faster and must give the same ids.

sentencepiece   the reference, always there
kitoken         (package kitoken, extra `fast`) checked against SentencePiece on edge strings and on the first text of every corpus;
                refused when one id differs. Texts with combining marks, single jamo or rare characters go to SentencePiece all the
                same: there the two do differ now and then (a shadda typed before its vowel sign).

Reads   tokenizer.model of a vocabulary
"""

from __future__ import annotations

import importlib.util
import re
import unicodedata
from array import array
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.tokens.encode import Encode
from swallow_exp.vocabulary.tokenizer import first_difference_of_ids
from swallow_exp.vocabulary.twin import EDGE_STRINGS

ENCODERS = ("sentencepiece", "kitoken")
CHECKED_CHARACTERS = 200_000
_JOIN_NOTHING = range(0xFE00, 0xFE10)  # variation selectors: text or emoji style


def check_encoder(name: str) -> None:
    """Refuse an encoder that is not installed."""
    assert name in ENCODERS, name
    if name == "kitoken" and importlib.util.find_spec("kitoken") is None:
        raise RequestError(
            "machine.encoder=kitoken, and the package kitoken is not installed",
            expected="kitoken, or machine.encoder=sentencepiece (the same ids)",
            remedy="run `pip install 'swallow_exp[fast]'`",
        )


def make_encode(name: str, processor: Any, *, threads: int) -> Encode:
    """Texts -> ids as `processor` (SentencePiece) gives them, on `threads` threads where the library has them."""

    def reference(texts: list[str]) -> list[Any]:
        ids: list[Any] = processor.encode_as_numpy(texts, num_threads=threads)  # no Python number for each token
        return ids

    if name == "sentencepiece":
        return reference
    import kitoken

    fast = kitoken.Kitoken.from_sentencepiece(processor.serialized_model_proto())
    hard = _hard_characters()

    def encode(texts: list[str]) -> list[Any]:
        return [processor.encode_as_numpy(text) if hard.search(text) else array("I", fast.encode(text, False)) for text in texts]

    return encode


@lru_cache(maxsize=1)
def _hard_characters() -> re.Pattern[str]:
    """Characters at which kitoken's NFKC is not always SentencePiece's, and some more: marks, jamo, what this Python does not know."""
    marks = (chr(code) for code in range(0x10000) if code not in _JOIN_NOTHING)
    hard = "".join(letter for letter in marks if unicodedata.category(letter) in ("Mn", "Mc", "Me", "Cn"))
    jamo, beyond = "\u1100-\u11ff\u3131-\u318e\uff9e-\uffdc", "\U00010000-\U0001efff\U0001fb00-\U0001ffff\U00040000-\U0010ffff"
    return re.compile(f"[{hard}{jamo}{beyond}]")  # not beyond: emoji, rare kanji


def check_same_ids(encode: Encode, processor: Any, texts: Iterable[str], *, name: str) -> None:
    """Refuse `encode` when it differs from SentencePiece on an edge string or on one of the first texts."""
    checked, characters = list(EDGE_STRINGS), 0
    for text in texts:
        checked.append(text[: CHECKED_CHARACTERS - characters])
        characters += len(text)
        if characters >= CHECKED_CHARACTERS:
            break
    for text, ids, expected in zip(checked, encode(checked), processor.encode(checked), strict=True):
        given = [int(each) for each in ids]
        if given != expected:
            shown, start = first_difference_of_ids(text, expected, given)
            raise RequestError(
                f"machine.encoder={name} gives other ids for {shown}: {given[start : start + 6]} at token {start}",
                expected=f"{expected[start : start + 6]} as SentencePiece gives",
                remedy="set machine.encoder=sentencepiece",
            )
