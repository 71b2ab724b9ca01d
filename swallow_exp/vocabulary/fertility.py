"""How many tokens a text costs, per source, on held-out documents; and against the base tokenizer.

token_ratio = tokens after / tokens before; reduction = 1 - token_ratio. Two names, because they are easily swapped:
the paper's "56.2% reduction" is a ratio by its own companion numbers (about 1.8x text at equal tokens).

Reads   held-out documents
Source  paper 5.1
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

HELDOUT_CHARACTERS = 5_000_000  # per source: enough for four digits of the ratio


def take_characters(texts: Iterable[str], limit: int = HELDOUT_CHARACTERS) -> Iterator[str]:
    """Texts from the start until `limit` characters are reached (the last one whole)."""
    characters = 0
    for text in texts:
        if characters >= limit:
            return
        characters += len(text)
        yield text


def count_tokens(texts: Iterable[str], processor: Any, *, base_size: int | None = None) -> dict[str, Any]:
    """documents, characters, bytes, tokens, byte_tokens; with base_size also tokens and distinct pieces above it.

    <s> and </s> are not counted.
    """
    import numpy

    size = processor.get_piece_size()
    is_byte = numpy.array([processor.is_byte(index) for index in range(size)])
    used = numpy.zeros(size, dtype=numpy.int64)
    totals = {"documents": 0, "characters": 0, "bytes": 0}
    for text in texts:
        totals["documents"] += 1
        totals["characters"] += len(text)
        totals["bytes"] += len(text.encode("utf-8"))
        used += numpy.bincount(numpy.array(processor.encode(text), dtype=numpy.int64), minlength=size)
    counted: dict[str, Any] = {**totals, "tokens": int(used.sum()), "byte_tokens": int(used[is_byte].sum())}
    if base_size is not None:
        counted |= {"added_tokens": int(used[base_size:].sum()), "added_pieces_used": int((used[base_size:] > 0).sum())}
    return counted


def measure_fertility(texts: Iterable[str], processor: Any, *, base: Any | None = None) -> dict[str, Any]:
    """Fertility of one source's held-out texts, and against `base` when there is one. Empty when there is no text."""
    held = list(take_characters(texts))
    base_size = None if base is None else base.get_piece_size()
    after = count_tokens(held, processor, base_size=base_size)
    if not after["tokens"]:
        return {}
    result: dict[str, Any] = {
        **{name: after[name] for name in ("documents", "characters", "bytes", "tokens")},
        "tokens_per_character": after["tokens"] / after["characters"],
        "characters_per_token": after["characters"] / after["tokens"],
        "byte_fallback_share": after["byte_tokens"] / after["tokens"],
    }
    if base is None:
        return result
    before = count_tokens(held, base)
    added = processor.get_piece_size() - base.get_piece_size()
    if added:
        result |= {
            "added_token_share": after["added_tokens"] / after["tokens"],
            "added_pieces_used_share": after["added_pieces_used"] / added,
        }
    return result | {
        "base_tokens": before["tokens"],
        "base_tokens_per_character": before["tokens"] / before["characters"],
        "base_byte_fallback_share": before["byte_tokens"] / before["tokens"],
        "token_ratio": after["tokens"] / before["tokens"],
        "reduction": 1.0 - after["tokens"] / before["tokens"],
    }
