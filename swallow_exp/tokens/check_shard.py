"""Does a token shard say the truth about itself? Every fact that can be counted is counted.

Reads   tokens.bin, offsets.npy, loss.bin, meta.json; a stretch at a time, nothing but the document ends is held in memory
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy
import numpy.typing

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.manifest import Artefact
from swallow_exp.tokens.shard import TokenShard, open_shard

STRETCH = 1 << 22  # tokens, or documents, looked at together
SAME_FACTS = ("documents", "tokens", "trained_tokens", "text_bytes")


def check_shard(tokens: Artefact | Path, *, vocab_size: int | None = None) -> list[str]:
    """What is wrong with a shard, one clause each; nothing when all is well.

    vocab_size   pieces of its tokenizer, when the caller knows it; else what the shard itself says, if it does
    """
    try:
        shard = open_shard(tokens)
    except RequestError as error:
        return [error.given]
    wrong = [*_ends(shard), *_loss(shard)]
    if not wrong:
        wrong += _frames(shard)
        largest = vocab_size if vocab_size is not None else shard.meta.get("vocab_size")
        if largest is not None:
            wrong += _ids(shard, int(largest))
    if isinstance(tokens, Artefact):
        wrong += _counts(shard, tokens.counts)
    return wrong


def _stretches(length: int) -> Iterator[slice]:
    return (slice(first, min(first + STRETCH, length)) for first in range(0, length, STRETCH))


def _ends(shard: TokenShard) -> list[str]:
    lengths = numpy.diff(shard.offsets, prepend=0)
    falling = int((lengths <= 0).sum())
    return [f"{falling:,} documents of offsets.npy end where they start, or before"] if falling else []


def _frames(shard: TokenShard) -> list[str]:
    wrong = []
    starts = numpy.concatenate([numpy.zeros(1, dtype=numpy.int64), shard.offsets[:-1]])
    for name, special, places in (("start", shard.meta.get("bos"), starts), ("end", shard.meta.get("eos"), shard.offsets - 1)):
        if special is not None:
            others = sum(int((shard.tokens[places[part]] != special).sum()) for part in _stretches(len(places)))
            if others:
                wrong.append(f"{others:,} documents do not {name} with token {special}")
    return wrong


def _ids(shard: TokenShard, vocab_size: int) -> list[str]:
    beyond = sum(int((shard.tokens[part] >= vocab_size).sum()) for part in _stretches(shard.num_tokens))
    return [f"{beyond:,} tokens are no ids of a vocabulary of {vocab_size:,} pieces"] if beyond else []


def _loss(shard: TokenShard) -> list[str]:
    if shard.loss is None:
        return []
    trained = sum(int((shard.loss[part] == 1).sum()) for part in _stretches(shard.num_tokens))
    others = sum(int((shard.loss[part] > 1).sum()) for part in _stretches(shard.num_tokens))
    wrong = [f"{others:,} flags of loss.bin are neither 0 nor 1"] if others else []
    if trained != shard.trained_tokens:
        wrong.append(f"loss.bin marks {trained:,} tokens where meta.json says {shard.trained_tokens:,}")
    return wrong


def _counts(shard: TokenShard, counts: Mapping[str, Any]) -> list[str]:
    differ = [name for name in SAME_FACTS if counts.get(name) != shard.meta.get(name)]
    return [f"manifest.json and meta.json differ in {', '.join(differ)}"] if differ else []
