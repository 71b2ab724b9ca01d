"""N-grams of texts as 64-bit hashes, many texts at a time, and which of a fixed set of n-grams a stream of texts contains.

(1) clean    NFKC, lower case; only letters, marks and digits count     -> code points
(2) units    scripts without spaces: characters; others: words          -> one hash a unit
(3) grams    windows of 13 characters or 8 words inside one text        -> one hash a window
(4) find     the hashes of a stream against a sorted set of wanted ones -> places in the set

Memory is that of the wanted set (8 bytes a gram, and a table of 8 to 16 bytes a gram that turns most others away) and of a few batches,
whatever the size of the stream. Two different n-grams share a hash with probability 2**-64: of a stream of 10**11 n-grams one wanted
n-gram is taken for found by mistake with probability 5e-9.

Reads/Writes  nothing.
Source  8 words: PaLM (Chowdhery et al. 2022, section 8) and Llama 3 (2024, section 5.1.4). GPT-3 (Brown et al. 2020, appendix C) took 8 to
        13 words by the length of the items: many questions here have fewer than 13 words and would have no n-gram at all.
        # assumed: 13 characters for Japanese, which say about as much as 6 to 8 words
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

CHARACTERS, WORDS = "characters", "words"
WINDOW = {CHARACTERS: 13, WORDS: 8}  # units of one n-gram
NGRAMS_VERSION = 1  # raise it whenever a hash may change
# Han, kana and the scripts of South-East Asia are written without spaces between words.
UNSPACED_SCRIPTS = ("Han", "Hiragana", "Katakana", "Bopomofo", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan")
PIECE_CHARACTERS = 1 << 20  # longer texts are looked at in pieces
PIECE_OVERLAP = 1 << 10  # so that no window is lost where they meet
VARIATION_SELECTORS = (slice(0xFE00, 0xFE10), slice(0xE0100, 0xE01F0))  # marks that choose a glyph, not a letter
SEPARATOR = "\x1e"  # between texts of a batch
SPACED, UNSPACED = 1, 2  # classes of characters that count; 0: the others
SLOTS_PER_GRAM = 8
PLACES = 256  # letters of a word; those of longer ones begin again

Hashes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]
Points = npt.NDArray[np.uint32]
Classes = npt.NDArray[np.uint8]
Marks = dict[str, npt.NDArray[np.bool_]]  # kind -> one mark a wanted n-gram


def ngrams_of(texts: Sequence[str], kind: str) -> tuple[Hashes, Indices]:
    """Hashes of all n-grams of `texts` in their order, and for each the index of its text. kind: characters | words."""
    points, classes, text_of = _points(texts)
    units, owners = (_characters if kind == CHARACTERS else _words)(points, classes, text_of)
    return _windows(units, owners, WINDOW[kind])


def kind_of(text: str) -> str:
    """How a text is cut: characters when at least half of what counts in it is of a script without spaces, else words."""
    _, classes, _ = _points([text])
    unspaced = np.count_nonzero(classes == UNSPACED)
    return CHARACTERS if 2 * unspaced >= np.count_nonzero(classes) and unspaced else WORDS


def count_units(text: str, kind: str) -> int:
    """Characters or words of a text that count."""
    points, classes, text_of = _points([text])
    units, _ = (_characters if kind == CHARACTERS else _words)(points, classes, text_of)
    return len(units)


def in_pieces(text: str) -> Iterator[str]:
    """A text as pieces of bounded length that overlap by more than any n-gram."""
    if len(text) <= PIECE_CHARACTERS:
        yield text
        return
    for start in range(0, len(text), PIECE_CHARACTERS - PIECE_OVERLAP):
        yield text[start : start + PIECE_CHARACTERS]


@dataclass(frozen=True)
class NgramQuery:
    """A set of n-grams to look for: sorted hashes of each kind."""

    hashes: dict[str, Hashes]

    @classmethod
    def of(cls, grams: Mapping[str, Sequence[Hashes]]) -> NgramQuery:
        """All of `grams` (of each kind), each once."""
        return cls({kind: np.unique(np.concatenate([np.zeros(0, dtype=np.uint64), *hashes])) for kind, hashes in sorted(grams.items())})

    @property
    def digest(self) -> str:
        """Hex sha256 of the set and of the way n-grams are made."""
        digest = hashlib.sha256(f"{NGRAMS_VERSION} {WINDOW}".encode())
        for kind, hashes in sorted(self.hashes.items()):
            digest.update(f" {kind} {len(hashes)} ".encode())
            digest.update(hashes.astype("<u8").tobytes())
        return digest.hexdigest()

    def unmarked(self) -> Marks:
        """A mark for each, none of them set."""
        return {kind: np.zeros(len(hashes), dtype=np.bool_) for kind, hashes in self.hashes.items()}

    def places(self, kind: str, grams: Hashes) -> Indices:
        """Where `grams`, which all belong to the set, are in the sorted hashes of their kind."""
        return np.searchsorted(self.hashes[kind], grams)


class Finder:
    """Tells which wanted n-grams a batch of texts contains."""

    def __init__(self, wanted: NgramQuery) -> None:
        """Prepares a table that turns away 7 of 8 other n-grams, or more, without a search."""
        self._hashes = {kind: hashes for kind, hashes in wanted.hashes.items() if len(hashes)}
        self._tables = {kind: _table(hashes) for kind, hashes in self._hashes.items()}

    def __call__(self, texts: Sequence[str]) -> dict[str, Indices]:
        """Places (in the sorted hashes of each kind) of the wanted n-grams that occur in `texts`; each once, ascending."""
        points, classes, text_of = _points(texts)
        found = {}
        for kind, hashes in self._hashes.items():
            units, owners = _characters(*_unspaced(points, classes, text_of)) if kind == CHARACTERS else _words(points, classes, text_of)
            grams, _ = _windows(units, owners, WINDOW[kind])
            shift, table = self._tables[kind]
            likely = np.unique(grams[table[(grams >> shift).astype(np.int64)]])  # in order, a search costs a third
            places = np.searchsorted(hashes, likely)
            places[places == len(hashes)] = 0
            found[kind] = places[hashes[places] == likely]
        return found


def _unspaced(points: Points, classes: Classes, text_of: Indices) -> tuple[Points, Classes, Indices]:
    """Only the texts that have any character of a script without spaces: no other has an n-gram of characters worth the search."""
    texts = np.zeros(int(text_of[-1]) + 1 if len(text_of) else 0, dtype=np.bool_)
    texts[text_of[classes == UNSPACED]] = True
    if texts.all():
        return points, classes, text_of
    kept = texts[text_of]
    return points[kept], classes[kept], text_of[kept]


def _table(hashes: Hashes) -> tuple[np.uint64, npt.NDArray[np.bool_]]:
    bits = max(10, int(len(hashes) * SLOTS_PER_GRAM - 1).bit_length())
    shift = np.uint64(64 - bits)
    table = np.zeros(1 << bits, dtype=np.bool_)
    table[(hashes >> shift).astype(np.int64)] = True
    return shift, table


def _points(texts: Sequence[str]) -> tuple[Points, Classes, Indices]:
    """Code points of the texts, the class of each, and the index of its text."""
    alphabet = _alphabet()
    points, text_of = _joined(texts)
    special = alphabet.special[points]
    if special.any():
        composed = list(texts)
        for index in np.unique(text_of[special]):
            composed[index] = unicodedata.normalize("NFKC", composed[index]).lower()
        points, text_of = _joined(composed)
    return points, alphabet.classes[points], text_of


def _joined(texts: Sequence[str]) -> tuple[Points, Indices]:
    joined = SEPARATOR.join(text.replace(SEPARATOR, " ") for text in texts)
    points = np.frombuffer(joined.encode("utf-32-le", errors="surrogatepass"), dtype=np.uint32)
    return points, np.cumsum(points == ord(SEPARATOR), dtype=np.int64)


@dataclass(frozen=True)
class _Alphabet:
    """What every code point counts for, as NFKC and lower case have it."""

    classes: Classes
    codes: Hashes  # equal for code points that become the same character
    special: npt.NDArray[np.bool_]  # those that become several, or may join the one before them: their text is composed as a whole


@lru_cache(maxsize=1)
def _alphabet() -> _Alphabet:
    # surrogates are code points but no characters, and line feeds go between: a space stands in for both
    points = [chr(point) if point != 10 and not 0xD800 <= point < 0xE000 else " " for point in range(0x110000)]
    become = unicodedata.normalize("NFKC", "\n".join(points)).lower().split("\n")
    assert len(become) == len(points)
    own = _classes_of("".join(points))
    single = np.array([ord(text) if len(text) == 1 else point for point, text in enumerate(become)], dtype=np.int64)
    classes = own[single]
    joining = _classes_of("".join(points), marks_only=True).astype(np.bool_)
    joining[0x1100:0x1200] = True  # Hangul syllables in parts
    special = joining[single] & (classes > 0)
    for point in (point for point, text in enumerate(become) if len(text) > 1):
        classes[point] = max(own[ord(letter)] for letter in become[point])
        special[point] = classes[point] > 0
    return _Alphabet(classes, _mixed(single.astype(np.uint64) + np.uint64(1)), special)


def _classes_of(everything: str, *, marks_only: bool = False) -> Classes:
    import regex

    scripts = "".join(rf"\p{{Script={script}}}" for script in UNSPACED_SCRIPTS)
    # ー and 々 belong to several scripts and so to none of them by name
    patterns = {SPACED: r"[\p{L}\p{M}\p{N}]+", UNSPACED: rf"[[{scripts}ー々〆]&&[\p{{L}}\p{{M}}\p{{N}}]]+"}
    classes = np.zeros(len(everything), dtype=np.uint8)
    for value, pattern in ({SPACED: r"\p{M}+"} if marks_only else patterns).items():
        for match in regex.finditer(pattern, everything, flags=regex.V1):
            classes[match.start() : match.end()] = value
    for selectors in VARIATION_SELECTORS:
        classes[selectors] = 0
    return classes


def _mixed(values: Hashes) -> Hashes:
    """A bijection that spreads neighbouring numbers over all 64 bits (the finaliser of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@lru_cache(maxsize=1)
def _place_factors() -> Hashes:
    """Factors of the places in a word."""
    return np.array([_power_of(place) for place in range(PLACES)], dtype=np.uint64)


def _characters(points: Points, classes: Classes, text_of: Indices) -> tuple[Hashes, Indices]:
    kept = np.flatnonzero(classes)
    return _alphabet().codes[points[kept]], text_of[kept]


def _words(points: Points, classes: Classes, text_of: Indices) -> tuple[Hashes, Indices]:
    """A hash for every run of letters and digits of scripts with spaces: the sum of its characters' hashes times their place's factor."""
    inside = classes == SPACED
    kept = np.flatnonzero(inside)
    if not len(kept):
        return np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    begins = np.empty(len(kept), dtype=np.bool_)
    begins[0], begins[1:] = True, np.diff(kept) > 1
    first = np.flatnonzero(begins)  # where each word begins among the kept
    place = np.arange(len(kept)) - np.repeat(first, np.diff(np.append(first, len(kept))))
    letters = _alphabet().codes[points[kept]] * _place_factors()[place & (PLACES - 1)]
    return _mixed(np.add.reduceat(letters, first)), text_of[kept[first]]


def _windows(units: Hashes, owners: Indices, size: int) -> tuple[Hashes, Indices]:
    """Hashes of all windows of `size` units that stay inside one text: a polynomial, by doubling, then mixed."""
    count = len(units) - size + 1
    if count <= 0:
        return np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    total, length = np.zeros(count, dtype=np.uint64), 0
    power, span = units, 1  # power[i]: hash of the `span` units from i
    while span <= size:
        if size & span:
            total = total * _power_of(span) + power[length : length + count]
            length += span
        if span * 2 > size:
            break
        power = power[:-span] * _power_of(span) + power[span:]
        span *= 2
    whole = owners[:count] == owners[size - 1 :]
    return _mixed(total)[whole], owners[:count][whole]


def _power_of(exponent: int) -> np.uint64:
    """The polynomial's base (odd, so that nothing is lost) to some power, modulo 2**64."""
    return np.uint64(pow(0x9E3779B97F4A7C15, exponent, 1 << 64))
