"""Documents and pairs -> ids and loss flags.

A document is <s> ids(text) </s>, every token a target (paper 3.1, as Megatron-LM packs it: <s> and </s> both count).
A pair gives two documents, one per direction, each made of two parts:

    next_token_prediction     prompt = source                      every token is a target
    translation_instruction   prompt = instruction source          only the target sentence and </s> are targets

The parts are encoded one by one and stored one after the other, so the border between prompt and target is exact with any
tokenizer. The last space of the separator belongs to the target: SentencePiece pieces carry their space in front, so that
ids(source + " " + target) = ids(source) + ids(" " + target).

Source  paper E.2 (templates), Table 8 (NTP counts all tokens of both directions, TI the target tokens: 5.6 and 2.8 billion)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import numpy.typing

from swallow_exp.config.schema import ParallelConfig
from swallow_exp.corpus.document import Document, Pair
from swallow_exp.vocabulary.model_file import BOS_ID, EOS_ID

Ids = numpy.typing.NDArray[Any] | list[int]
Encode = Callable[[list[str]], Sequence[Ids]]  # texts -> ids of each, nothing added


@dataclass(frozen=True)
class Encoded:
    """One document.

    ids            <s> and </s> included
    flags          1 = a target; None: every token is
    text_bytes     UTF-8 bytes of its whole text, instruction and separators included
    exact_border   the parts encoded one by one give the ids of the text in one go (true of every document that has one part)
    """

    ids: numpy.typing.NDArray[Any]
    flags: numpy.typing.NDArray[numpy.uint8] | None
    text_bytes: int
    exact_border: bool = True


@dataclass(frozen=True)
class Direction:
    """One direction of a pair as text: what is given and what is to be said."""

    prompt: str
    target: str


def directions(pair: Pair, parallel: ParallelConfig) -> tuple[Direction, Direction]:
    """(Japanese to English, English to Japanese). prompt + target is the document's whole text."""
    separator, space = (parallel.separator[:-1], " ") if parallel.separator.endswith(" ") else (parallel.separator, "")
    instructed = parallel.format == "translation_instruction"
    made = []
    for instruction, source, target in ((parallel.instruction_ja_en, pair.ja, pair.en), (parallel.instruction_en_ja, pair.en, pair.ja)):
        opening = instruction + parallel.separator if instructed else ""
        made.append(Direction(opening + source + separator, space + target))
    return made[0], made[1]


def encode_documents(documents: Sequence[Document], encode: Encode) -> Iterator[Encoded]:
    """`<s> text </s>` of each document, in order."""
    texts = [document.text for document in documents]
    for text, ids in zip(texts, encode(texts), strict=True):
        yield Encoded(_framed(ids), None, len(text.encode("utf-8")))


def encode_pairs(pairs: Sequence[Pair], encode: Encode, encode_continuation: Encode, *, parallel: ParallelConfig) -> Iterator[Encoded]:
    """Both directions of each pair. `encode_continuation` is for text that follows other text (no dummy prefix)."""
    masked = parallel.format == "translation_instruction"
    said = [direction for pair in pairs for direction in directions(pair, parallel)]
    wholes = [direction.prompt + direction.target for direction in said]
    prompts, targets = encode([direction.prompt for direction in said]), encode_continuation([direction.target for direction in said])
    for whole, prompt, target, joined in zip(wholes, prompts, targets, encode(wholes), strict=True):
        ids = _framed(prompt, target)
        flags = None
        if masked:
            flags = numpy.zeros(len(ids), dtype=numpy.uint8)
            flags[1 + len(prompt) :] = 1
        yield Encoded(ids, flags, len(whole.encode("utf-8")), numpy.array_equal(ids[1:-1], joined))


def _framed(*parts: Ids) -> numpy.typing.NDArray[numpy.int32]:
    ids = numpy.empty(2 + sum(map(len, parts)), dtype=numpy.int32)  # as SentencePiece gives them
    ids[0], ids[-1] = BOS_ID, EOS_ID
    end = 1
    for part in parts:
        start, end = end, end + len(part)
        ids[start:end] = part
    return ids
