"""Does a token shard say the truth about itself? Every fact that can be counted is counted.

Reads   tokens.bin, offsets.npy, loss.bin, meta.json; a stretch at a time, nothing but the document ends is held in memory
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy
import numpy.typing

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.manifest import Artefact
from swallow_exp.tokens.shard import TokenShard, open_shard

STRETCH = 1 << 22  # tokens, or documents, looked at together
SAME_FACTS = ("documents", "tokens", "trained_tokens", "text_bytes")


def check_shard(tokens: Artefact | Path, *, vocab_size: int | None = None) -> list[str]:
    """What is wrong with a shard whose files are what was written, one clause each; nothing when all is well.

    vocab_size   pieces of its tokenizer, when the caller knows it; else what the shard itself says, if it does
    """
    try:
        shard = open_shard(tokens, check=False)
    except RequestError as error:
        return [error.given]
    wrong = _loss(shard)
    if falling := int((numpy.diff(shard.offsets, prepend=0) <= 0).sum()):
        wrong.insert(0, f"{falling:,} documents of offsets.npy end where they start, or before")
    largest = vocab_size if vocab_size is not None else shard.meta.get("vocab_size")
    if not wrong:
        wrong += _frames(shard)
        beyond = 0 if largest is None else sum(int((shard.tokens[part] >= largest).sum()) for part in _stretches(shard.num_tokens))
        wrong += [f"{beyond:,} tokens are no ids of a vocabulary of {int(largest or 0):,} pieces"] if beyond else []
    if isinstance(tokens, Artefact):
        differ = [name for name in SAME_FACTS if tokens.counts.get(name) != shard.meta.get(name)]
        wrong += [f"manifest.json and meta.json differ in {', '.join(differ)}"] if differ else []
    return wrong


def _stretches(length: int) -> Iterator[slice]:
    return (slice(first, min(first + STRETCH, length)) for first in range(0, length, STRETCH))


def _frames(shard: TokenShard) -> list[str]:
    wrong = []
    starts = numpy.concatenate([numpy.zeros(1, dtype=numpy.int64), shard.offsets[:-1]])
    for name, special, places in (("start", shard.meta.get("bos"), starts), ("end", shard.meta.get("eos"), shard.offsets - 1)):
        if special is not None:
            others = sum(int((shard.tokens[places[part]] != special).sum()) for part in _stretches(len(places)))
            if others:
                wrong.append(f"{others:,} documents do not {name} with token {special}")
    return wrong


def _loss(shard: TokenShard) -> list[str]:
    if shard.loss is None:
        return []
    trained = sum(int((shard.loss[part] == 1).sum()) for part in _stretches(shard.num_tokens))
    others = sum(int((shard.loss[part] > 1).sum()) for part in _stretches(shard.num_tokens))
    wrong = [f"{others:,} flags of loss.bin are neither 0 nor 1"] if others else []
    if trained != shard.trained_tokens:
        wrong.append(f"loss.bin marks {trained:,} tokens where meta.json says {shard.trained_tokens:,}")
    return wrong
