"""Documents -> blocks of encoded documents, by one process or by several, in the order of the corpus.

Reads   tokenizer.model of the vocabulary
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import numpy.typing

from swallow_exp.artefact.workers import in_batches, map_batches
from swallow_exp.config.schema import ParallelConfig
from swallow_exp.corpus.document import Document, Pair
from swallow_exp.tokens.encode import encode_documents, encode_pairs
from swallow_exp.tokens.encoder import make_encode
from swallow_exp.tokens.shard import token_dtype
from swallow_exp.vocabulary.tokenizer import load_continuation, load_tokenizer

BATCH_CHARACTERS = 1 << 19
MAX_THREADS = 16


@dataclass(frozen=True)
class Block:
    """Consecutive documents.

    ids              of all of them, in the shard's type, shape (tokens,)
    lengths          tokens of each, int64
    flags            uint8, shape (tokens,); None: every token is a target
    text_bytes       UTF-8 bytes of their text
    inexact_borders  documents whose parts, encoded one by one, are not the encoding of the whole
    """

    ids: numpy.typing.NDArray[Any]
    lengths: numpy.typing.NDArray[numpy.int64]
    flags: numpy.typing.NDArray[numpy.uint8] | None
    text_bytes: int
    inexact_borders: int


def _block_encoder(
    model: Path, encoder: str, threads: int, parallel: ParallelConfig | None
) -> Callable[[list[Document] | list[Pair]], Block]:
    processor = load_tokenizer(model)
    dtype = token_dtype(processor.get_piece_size())
    encode = make_encode(encoder, processor, threads=threads)
    proceed = encode if parallel is None else make_encode("sentencepiece", load_continuation(model), threads=threads)

    def work(batch: Any) -> Block:
        encoded = list(encode_documents(batch, encode) if parallel is None else encode_pairs(batch, encode, proceed, parallel=parallel))
        flags = [document.flags for document in encoded if document.flags is not None]
        return Block(
            ids=numpy.concatenate([document.ids for document in encoded]).astype(dtype),
            lengths=numpy.array([len(document.ids) for document in encoded], dtype=numpy.int64),
            flags=numpy.concatenate(flags) if flags else None,
            text_bytes=sum(document.text_bytes for document in encoded),
            inexact_borders=sum(not document.exact_border for document in encoded),
        )

    return work


def encoded_blocks(
    items: Iterable[Document] | Iterable[Pair], model: Path, *, parallel: ParallelConfig | None, encoder: str, processes: int
) -> Iterator[Block]:
    """The documents of `items` in order. One process uses threads; several use one thread each. Neither changes an id."""
    threads = min(MAX_THREADS, os.cpu_count() or 1) if processes <= 1 else 1

    def size(item: Document | Pair) -> int:
        return len(item.text) if isinstance(item, Document) else 4 * (len(item.en) + len(item.ja))

    batches: Iterator[list[Any]] = in_batches(items, size, BATCH_CHARACTERS)
    return map_batches(batches, _block_encoder, (model, encoder, threads, parallel), processes=processes)
