"""Text -> lines of words with one space between them, so that trained pieces never cross a word.

(1) normalise   NFKC when asked; control characters and U+2581 become spaces    -> text
(2) cut         lines, long ones at sentence ends or spaces                     -> lines of <= LINE_CHARACTERS
(3) split       MeCab with UniDic | at whitespace | not at all                  -> words
(4) symbols     every punctuation mark or symbol becomes a word of its own      -> words
(5) join        with single spaces                                              -> one line of words

UniDic is the full one (package unidic, its dictionary downloaded) when it is there, else unidic-lite. They give other words, so
which one it was is a part of what a vocabulary is made from.
Worker processes change the speed only: lines come back in the order they went in.
Source  paper 3.3 (MeCab + UniDic), E.1 ("words containing symbols were split at both ends of the symbols")
"""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.workers import in_batches, map_batches

DICTIONARY_NAME = "sys.dic"
LINE_CHARACTERS = 2_000  # at most 8,000 bytes: below MeCab's input buffer of 8,192
BATCH_CHARACTERS = 200_000  # of text handed to one worker at a time

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


@dataclass(frozen=True)
class Dictionary:
    """A UniDic on this machine: `name` is its package, `version` its own."""

    name: str
    version: str
    folder: Path

    @property
    def label(self) -> str:
        """Name, version and size: enough to tell two dictionaries apart without reading hundreds of megabytes."""
        return f"{self.name} {self.version} ({(self.folder / DICTIONARY_NAME).stat().st_size:,} bytes)"


def find_dictionary() -> Dictionary:
    """The full UniDic when it is installed, else unidic-lite. Raises RequestError when there is neither."""
    for package in ("unidic", "unidic_lite"):
        try:
            folder = Path(importlib.import_module(package).DICDIR)
        except ImportError:
            continue
        if (folder / DICTIONARY_NAME).is_file():  # unidic is installed empty; its dictionary is downloaded afterwards
            version = folder / "version"
            known = version.read_text(encoding="utf-8").strip() if version.is_file() else "unknown"
            return Dictionary(package.replace("_", "-"), known, folder)
    raise RequestError(
        "vocabulary.segmenter=mecab, and no UniDic is installed",
        expected="the package unidic-lite, or unidic with its dictionary",
        remedy="run `pip install unidic-lite`, or choose vocabulary.segmenter=whitespace",
    )


def _mecab_words() -> Callable[[str], str]:
    import fugashi

    # Named outright, as fugashi would choose by itself without saying so.
    folder = shlex.quote(str(find_dictionary().folder))
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


def _batch_segmenter(method: str, normalization: str) -> Callable[[list[str]], list[list[str]]]:
    segment = make_segmenter(method, normalization=normalization)
    return lambda texts: [segment(text) for text in texts]


def segment_texts(texts: Iterable[str], *, method: str, normalization: str, processes: int = 1) -> Iterator[list[str]]:
    """Lines of words of each text, in order. More processes never change the result."""
    batches = in_batches(texts, len, BATCH_CHARACTERS)
    for lines in map_batches(batches, _batch_segmenter, (method, normalization), processes=processes):
        yield from lines
