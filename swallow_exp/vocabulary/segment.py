"""Text -> lines of words with one space between them, so that trained pieces never cross a word.

(1) normalise   NFKC when asked; control characters and U+2581 become spaces    -> text
(2) cut         lines, long ones at sentence ends or spaces                     -> lines of <= LINE_CHARACTERS
(3) split       MeCab with UniDic (unidic-lite) | at whitespace | not at all    -> words
(4) symbols     every punctuation mark or symbol becomes a word of its own      -> words
(5) join        with single spaces                                              -> one line of words

Worker processes change the speed only: lines come back in the order they went in.
Source  paper 3.3 (MeCab + UniDic), E.1 ("words containing symbols were split at both ends of the symbols")
"""

from __future__ import annotations

import multiprocessing
import re
import shlex
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

LINE_CHARACTERS = 2_000  # at most 8,000 bytes: below MeCab's input buffer of 8,192
BATCH_CHARACTERS = 200_000  # of text handed to one worker at a time
BATCHES_IN_FLIGHT = 4  # per worker: bounds memory on corpora of any size

_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f\u0085\u2028\u2029\u2581]")  # all but the newline; MeCab would stop at a NUL
_CUT_AFTER = re.compile(r"[。！？!?]|\s")

Segmenter = Callable[[str], list[str]]  # text -> lines of words


def cut_line(line: str, limit: int = LINE_CHARACTERS) -> Iterator[str]:
    """Cut a line into parts of at most `limit` characters that join to the line again, after a sentence end or space where there is one."""
    start = 0
    while len(line) - start > limit:
        ends = [match.end() for match in _CUT_AFTER.finditer(line, start, start + limit)]
        end = ends[-1] if ends else start + limit
        yield line[start:end]
        start = end
    yield line[start:]


def _mecab_words() -> Callable[[str], str]:
    import fugashi
    import unidic_lite

    # Named outright: fugashi would otherwise prefer another dictionary when one is installed.
    folder = shlex.quote(unidic_lite.DICDIR)
    tagger = fugashi.GenericTagger(f"-r {folder}/mecabrc -d {folder} -Owakati")
    words: Callable[[str], str] = tagger.parse
    return words


def make_segmenter(method: str, *, normalization: str) -> Segmenter:
    """Text -> lines of words. method: mecab | whitespace | none; normalization: none | nfkc."""
    import regex
    import sentencepiece

    assert method in ("mecab", "whitespace", "none"), method
    assert normalization in ("none", "nfkc"), normalization
    symbol = regex.compile(r"([\p{P}\p{S}])")
    split = _mecab_words() if method == "mecab" else str
    normalize: Callable[[str], str] = str
    if normalization == "nfkc":
        normalize = sentencepiece.SentencePieceNormalizer(
            rule_name="nfkc", add_dummy_prefix=False, escape_whitespaces=False, remove_extra_whitespaces=False
        ).normalize

    def segment(text: str) -> list[str]:
        parts = (part for line in _CONTROL.sub(" ", normalize(text)).split("\n") for part in cut_line(line))
        if method == "none":
            return [part for part in parts if part.strip()]
        words = (" ".join(symbol.sub(r" \1 ", split(part)).split()) for part in parts if part.strip())
        return [line for line in words if line]

    return segment


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    characters = 0
    for text in texts:
        batch.append(text)
        characters += len(text)
        if characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


_worker: dict[str, Segmenter] = {}  # one tagger per worker process: it cannot be sent there


def _start_worker(method: str, normalization: str) -> None:
    _worker["segment"] = make_segmenter(method, normalization=normalization)


def _segment_batch(texts: list[str]) -> list[list[str]]:
    return [_worker["segment"](text) for text in texts]


def segment_texts(texts: Iterable[str], *, method: str, normalization: str, processes: int = 1) -> Iterator[list[str]]:
    """Lines of words of each text, in order. More processes never change the result."""
    if processes <= 1:
        segment = make_segmenter(method, normalization=normalization)
        yield from (segment(text) for text in texts)
        return
    # spawn: forking a process that already runs threads (progress bar, BLAS) can deadlock the child
    with multiprocessing.get_context("spawn").Pool(processes, _start_worker, (method, normalization)) as pool:
        pending: deque[Any] = deque()
        for batch in _batches(texts):
            pending.append(pool.apply_async(_segment_batch, (batch,)))
            if len(pending) >= BATCHES_IN_FLIGHT * processes:
                yield from pending.popleft().get()
        while pending:
            yield from pending.popleft().get()
