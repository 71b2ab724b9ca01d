"""Token shards: the files, their order and their reader.

A shard is a folder with
    tokens.bin    every document's ids one after the other; little-endian uint16 when the tokenizer has <= 65,536 pieces, else uint32
    offsets.npy   int64, shape (documents,): where each document ends in tokens.bin, in tokens; the first starts at 0
    loss.bin      uint8, one per token: 1 = this token is a training target. Only where some token is not; absent means all are
    meta.json     format_version, dtype, documents, tokens, trained_tokens, text_bytes, tokenizer_digest, vocab_size,
                  bos, eos (null: not every document has it), shuffle_seed

Documents lie in the order they are to be packed. tokens.bin has no header: it can be mapped as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import numpy.typing

from swallow_exp.artefact.check import require_sound
from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import HashedFile, read_json, user_disk, write_json_atomic
from swallow_exp.artefact.manifest import Artefact
from swallow_exp.artefact.progress import progress_bar

TOKENS_NAME, OFFSETS_NAME, LOSS_NAME, META_NAME = "tokens.bin", "offsets.npy", "loss.bin", "meta.json"
SHARD_FORMAT_VERSION = 1
LARGEST_UINT16_VOCABULARY = 65_536
COPY_DOCUMENTS = 1 << 14

Ids = numpy.typing.NDArray[Any]
Ends = numpy.typing.NDArray[numpy.int64]


def token_dtype(vocab_size: int) -> numpy.dtype[Any]:
    """Smallest of little-endian uint16 and uint32 that holds every id."""
    return numpy.dtype("<u2" if vocab_size <= LARGEST_UINT16_VOCABULARY else "<u4")


@dataclass(frozen=True)
class TokenShard:
    """An open shard. Nothing of it is held in memory.

    tokens   memmap uint16 | uint32, shape (num_tokens,)
    offsets  memmap int64, document ends, shape (num_documents,)
    loss     memmap uint8, shape (num_tokens,), or None when every token is a target
    """

    tokens: Ids
    offsets: Ends
    loss: numpy.typing.NDArray[numpy.uint8] | None
    text_bytes: int
    trained_tokens: int
    tokenizer_digest: str
    meta: Mapping[str, Any]

    @property
    def num_tokens(self) -> int:
        """All tokens, <s> and </s> included."""
        return len(self.tokens)

    @property
    def num_documents(self) -> int:
        """Documents."""
        return len(self.offsets)

    def span(self, document: int) -> slice:
        """Where document number `document` lies."""
        return slice(int(self.offsets[document - 1]) if document else 0, int(self.offsets[document]))


def _copy_spans(source: Path, target: Path, *, dtype: numpy.dtype[Any], starts: Ends, ends: Ends) -> str:
    """Returns the sha256 of what was written."""
    mapped = numpy.memmap(source, dtype=dtype, mode="r")
    with user_disk(target), HashedFile(target) as handle, progress_bar("shuffle", len(starts), unit="documents") as advance:
        for first in range(0, len(starts), COPY_DOCUMENTS):  # in blocks: the spans of all documents as Python numbers would not fit
            block = slice(first, first + COPY_DOCUMENTS)
            spans = zip(starts[block].tolist(), ends[block].tolist(), strict=True)
            for start, end in spans:
                handle.write(mapped[start:end].tobytes())
            advance(len(starts[block]))
    return handle.sha256


def shuffled_order(count: int, *, seed: int) -> Ends:
    """Numbers 0..count-1 in the order of a 64-bit mix of (seed, number); int64, shape (count,).

    A pure function of both, on every machine and with every library version: the mix is the finaliser of splitmix64, because
    NumPy's own shuffles may change between versions.
    """
    with numpy.errstate(over="ignore"):  # arithmetic modulo 2**64 is meant
        start = numpy.uint64(seed % (1 << 64)) * numpy.uint64(0xD1342543DE82EF95)
        key = start + (numpy.arange(count, dtype=numpy.uint64) + numpy.uint64(1)) * numpy.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            key = (key ^ (key >> numpy.uint64(shift))) * numpy.uint64(factor)
        key ^= key >> numpy.uint64(31)
    return numpy.argsort(key, kind="stable").astype(numpy.int64)


def write_shuffled(unshuffled: Path, folder: Path, *, offsets: Ends, order: Ends, dtype: numpy.dtype[Any]) -> dict[str, str]:
    """Copy the documents of the folder `unshuffled` to `folder` in `order`, with their new offsets. File -> sha256 of the large ones."""
    assert len(offsets) == len(order)
    starts = numpy.concatenate([numpy.zeros(1, dtype=numpy.int64), offsets[:-1]])
    spans = {"starts": starts[order], "ends": offsets[order]}
    checksums = {TOKENS_NAME: _copy_spans(unshuffled / TOKENS_NAME, folder / TOKENS_NAME, dtype=dtype, **spans)}
    if (unshuffled / LOSS_NAME).exists():
        flags = _copy_spans(unshuffled / LOSS_NAME, folder / LOSS_NAME, dtype=numpy.dtype(numpy.uint8), **spans)
        checksums[LOSS_NAME] = flags
    ends = numpy.cumsum((offsets - starts)[order], dtype=numpy.int64).astype("<i8")
    with user_disk(folder):
        numpy.save(folder / OFFSETS_NAME, ends)
    return checksums


def write_meta(folder: Path, meta: Mapping[str, Any]) -> None:
    """meta.json: the shard is whole."""
    write_json_atomic(folder / META_NAME, {"format_version": SHARD_FORMAT_VERSION, **meta})


def open_shard(tokens: Artefact | Path, *, tokenizer: str | None = None, check: bool = True) -> TokenShard:
    """Map a shard.

    tokenizer   digest of the tokenizer its ids must be of; None: any
    check       hold the files against the manifest's sha256s, once per version of a file; false where the caller does it
    Raises RequestError when its files are not what was written, do not fit together, or its ids are another tokenizer's.
    """
    folder = tokens.folder if isinstance(tokens, Artefact) else tokens
    meta = read_json(folder / META_NAME)
    paths = {name: folder / name for name in (TOKENS_NAME, OFFSETS_NAME, LOSS_NAME)}
    try:
        assert isinstance(meta, dict) and meta["format_version"] == SHARD_FORMAT_VERSION
        dtype = numpy.dtype(meta["dtype"])
        offsets = numpy.load(paths[OFFSETS_NAME], mmap_mode="r", allow_pickle=False)
        assert paths[TOKENS_NAME].stat().st_size == meta["tokens"] * dtype.itemsize
        assert len(offsets) == meta["documents"] and int(offsets[-1]) == meta["tokens"]
        has_loss = meta["trained_tokens"] != meta["tokens"]
        assert not has_loss or paths[LOSS_NAME].stat().st_size == meta["tokens"]
    except (AssertionError, OSError, KeyError, ValueError, EOFError) as error:
        raise RequestError(
            f"token shard {folder} is damaged or of another version",
            expected=f"tokens.bin, offsets.npy and meta.json of format {SHARD_FORMAT_VERSION} that fit together",
            remedy="remove the folder and run the same command again",
        ) from error
    recorded = tokens.manifest.get("made_from", {}).get("tokenizer") if isinstance(tokens, Artefact) else None
    for expected, whose in ((tokenizer, "this vocabulary"), (recorded, "its own manifest")):
        if expected is not None and meta["tokenizer_digest"] != expected:
            raise RequestError(
                f"token shard {folder} has ids of another tokenizer ({meta['tokenizer_digest'][:12]}) than {whose} ({expected[:12]})",
                expected="ids of the tokenizer the run uses",
                remedy="remove the folder and run the same command again",
            )
    if check and isinstance(tokens, Artefact):
        require_sound(tokens)
    return TokenShard(
        tokens=numpy.memmap(paths[TOKENS_NAME], dtype=dtype, mode="r"),
        offsets=offsets,
        loss=numpy.memmap(paths[LOSS_NAME], dtype=numpy.uint8, mode="r") if has_loss else None,
        text_bytes=int(meta["text_bytes"]),
        trained_tokens=int(meta["trained_tokens"]),
        tokenizer_digest=str(meta["tokenizer_digest"]),
        meta=meta,
    )
