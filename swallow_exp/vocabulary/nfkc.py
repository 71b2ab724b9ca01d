"""SentencePiece's NFKC as a chain of `tokenizers` normalisers: the same characters out of any text.

SentencePiece replaces by a compiled table, leftmost longest key first, and never looks back. NFKC proper also puts combining marks
in canonical order and composes across them; `tokenizers` can read the table only for single characters, and its own NFKC() knows
an older Unicode. So:

(1) fence      a mark between two characters that NFKC might join or reorder and no key of the table joins  -> text
(2) NFKC()     joins what stands between fences                                                            -> text
(3) table      single characters NFKC() does not know (the era name of 2019, ...)                          -> text
(4) NFKC()     joins what (3) made joinable                                                                -> text
(5) unfence

Left over are 36 sequences of letters newer than that NFKC() (Gurung Khema, Kirat Rai, modifier capitals C, F, Q, S with an accent, ...):
`beyond_twin` finds them in a text.
Reads/Writes  nothing
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

from swallow_exp.vocabulary.model_file import WORD_MARK, nfkc_charsmap

NONCHARACTER = "\ufdd0"  # no text may hold it
_LEAF, _LABEL = 1 << 31, 0xFF


def read_charsmap(charsmap: bytes) -> dict[str, str]:
    """The compiled table as key -> replacement.

    Layout: uint32 size of a double-array trie (Darts) in bytes, its uint32 units, then the replacements, each ended by a zero byte.
    A unit holds its label (low 8 bits), whether a key ends here (bit 8), the offset to its children; a leaf holds a replacement's place.
    """
    (size,) = struct.unpack_from("<I", charsmap)
    units = struct.unpack_from(f"<{size // 4}I", charsmap, 4)
    replacements = charsmap[4 + size :]
    children: dict[int, list[int]] = defaultdict(list)
    for place, unit in enumerate(units):
        if place and not unit & _LEAF and unit & _LABEL:
            children[place ^ (unit & _LABEL)].append(place)
    table: dict[str, str] = {}
    waiting = [(0, b"")]
    while waiting:
        place, key = waiting.pop()
        unit = units[place]
        first = place ^ ((unit >> 10) << ((unit & 1 << 9) >> 6))
        if unit >> 8 & 1:
            start = units[first] & ~_LEAF
            table[key.decode("utf-8")] = replacements[start : replacements.index(b"\0", start)].decode("utf-8")
        waiting += [(child, key + bytes([units[child] & _LABEL])) for child in children.get(first, ()) if child != place]
    return table


@lru_cache(maxsize=1)
def _table() -> Mapping[str, str]:
    return read_charsmap(nfkc_charsmap())


def _class(characters: Iterable[str]) -> str:
    """Regex class of the characters, written by number and in ranges."""
    ranges: list[list[int]] = []
    for code in sorted(map(ord, characters)):
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "[" + "".join(rf"\x{{{low:x}}}" + (rf"-\x{{{high:x}}}" if high > low else "") for low, high in ranges) + "]"


def _sequences(strings: Collection[str]) -> list[str]:
    """Regexes, each a sequence of classes, that together match exactly these strings (of one length)."""
    if all(len(string) == 1 for string in strings):
        return [_class(strings)]
    heads: dict[str, set[str]] = defaultdict(set)
    for string in strings:
        heads[string[-1]].add(string[:-1])
    lasts: dict[frozenset[str], set[str]] = defaultdict(set)
    for last, before in heads.items():
        lasts[frozenset(before)].add(last)
    return [head + _class(last) for before, last in lasts.items() for head in _sequences(before)]


def _fences(keys: Collection[str]) -> str:
    """Regex of the empty places between a character and one that could join it, where no key goes on."""
    joined: dict[tuple[int, str], set[str]] = defaultdict(set)
    for key in keys:  # every start of a key is a key: a key goes on where one of its starts meets its next character
        joined[len(key), key[-1]].add(key[:-1])
    lasts: dict[frozenset[str], set[str]] = defaultdict(set)
    for (_, last), before in joined.items():
        lasts[frozenset(before)].add(last)
    goes_on = "|".join(f"(?<={'|'.join(_sequences(before))}){_class(last)}" for before, last in lasts.items())
    later = _class({character for key in keys for character in key[1:]})
    return rf"(?<=.)(?=\p{{M}}|{later})(?!{goes_on})"  # not at the very start: `tokenizers` cannot insert there


@lru_cache(maxsize=1)
def _fence() -> str:
    return _fences([key for key in _table() if len(key) > 1])


def nfkc_steps(charsmap: bytes, *, marks_are_spaces: bool = True) -> list[Any]:
    """`tokenizers` normalisers that do what SentencePiece does with its NFKC table (`charsmap`).

    marks_are_spaces: U+2581 in the text means a space to the model, so that it is free to be the fence. Otherwise a noncharacter is.
    """
    from tokenizers import Regex, normalizers

    fence = WORD_MARK if marks_are_spaces else NONCHARACTER
    return [
        normalizers.Replace(fence, " "),
        normalizers.Replace(Regex(_fence()), fence),
        normalizers.NFKC(),
        normalizers.Precompiled(charsmap),
        normalizers.NFKC(),
        normalizers.Replace(fence, ""),
    ]


@lru_cache(maxsize=1)
def _strange_keys() -> tuple[str, ...]:
    """Keys of the table the steps get wrong. Hangul syllables are left out of the search: 205,000 keys that follow one rule."""
    from tokenizers import normalizers

    normalize = normalizers.Sequence(nfkc_steps(nfkc_charsmap())).normalize_str
    keys = (key for key, value in _table().items() if len(key) > 1 and not "가" <= value <= "힣")
    return tuple(sorted(key for key in keys if normalize(key) != _table()[key]))


def beyond_twin() -> Callable[[str], bool]:
    """True for texts with a letter sequence that `nfkc_steps` cannot join."""
    import regex

    pattern = regex.compile("|".join(map(regex.escape, _strange_keys())) or r"(?!)")
    return lambda text: pattern.search(text) is not None
