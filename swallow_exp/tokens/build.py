"""Corpus + vocabulary -> one token shard.

(1) encode    train documents in corpus order, streamed to a temporary shard      -> ids, flags, document ends
(2) shuffle   a permutation of documents that depends on the seed alone           -> order
(3) copy      documents in that order                                             -> tokens.bin, offsets.npy, loss.bin
(4) finish    meta.json

Text is never held in memory as a whole; document ends are (8 bytes each). The two directions of a pair are documents of their
own, so the shuffle moves them apart. Building twice gives the same bytes.

Reads   train split of the corpus, tokenizer.model of the vocabulary
Writes  <out>/artefacts/tokens/<corpus>-<vocabulary>[-<format>]-<hash7>/
Source  paper 3.1 (documents packed), E.2 (parallel formats)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import digest_of, remove_folder
from swallow_exp.artefact.manifest import Artefact, build_artefact
from swallow_exp.artefact.paths import artefact_folder
from swallow_exp.artefact.progress import progress_bar
from swallow_exp.config.schema import ParallelConfig
from swallow_exp.corpus.build import read_documents, read_pairs
from swallow_exp.tokens.encode import Encoded, encode_documents, encode_pairs
from swallow_exp.tokens.shard import ShardWriter, token_dtype, write_meta, write_shuffled
from swallow_exp.tokens.shuffle import shuffled_order
from swallow_exp.vocabulary.tokenizer import BOS_ID, EOS_ID, load_continuation, load_tokenizer, tokenizer_digest

MAX_THREADS = 16
SHORT_FORMATS = {"next_token_prediction": "ntp", "translation_instruction": "ti"}


def _template(parallel: ParallelConfig | None) -> dict[str, str | None] | None:
    """What of `parallel` decides the shard's bytes: not its name, not when it is used, not how often."""
    if parallel is None:
        return None
    template = {"format": parallel.format, "separator": parallel.separator}
    if parallel.format == "translation_instruction":
        template |= {"instruction_ja_en": parallel.instruction_ja_en, "instruction_en_ja": parallel.instruction_en_ja}
    return template


def _encoded(corpus: Artefact, vocabulary: Artefact, parallel: ParallelConfig | None) -> Iterator[Encoded]:
    processor = load_tokenizer(vocabulary)
    if parallel is not None:
        return encode_pairs(read_pairs(corpus, "train"), processor, load_continuation(vocabulary), parallel=parallel)
    threads = min(MAX_THREADS, os.cpu_count() or 1)
    return encode_documents(read_documents(corpus, "train"), processor, threads=threads)


def _write_unshuffled(
    folder: Path, encoded: Iterator[Encoded], *, vocab_size: int, with_loss: bool, expected: int
) -> tuple[ShardWriter, dict[str, int]]:
    facts = {"text_bytes": 0, "inexact_borders": 0}
    with (
        ShardWriter(folder, dtype=token_dtype(vocab_size), with_loss=with_loss) as writer,
        progress_bar("encode", expected, unit="documents") as advance,
    ):
        for document in encoded:
            writer.add(document.ids, document.flags)
            facts["text_bytes"] += document.text_bytes
            facts["inexact_borders"] += not document.exact_border
            advance(1)
    return writer, facts


def build_tokens(corpus: Artefact, vocabulary: Artefact, *, out: Path, parallel: ParallelConfig | None = None, seed: int = 0) -> Artefact:
    """The token shard of one corpus under one vocabulary, built when missing.

    parallel  how pairs become documents; given exactly when the corpus holds pairs
    seed      of the document shuffle; recorded
    Raises RequestError when the corpus has no document to train on, or parallel and corpus do not fit.
    """
    pairs = corpus.counts["kind"] == "pairs"
    if pairs != (parallel is not None and parallel.format is not None):
        raise RequestError(
            f"corpus {corpus.id} holds {corpus.counts['kind']} and the parallel format is {parallel.format if parallel else None}",
            expected="a parallel format for pairs, and none for documents",
            remedy="choose parallel=... for the pairs, or a document source",
        )
    parallel = parallel if pairs else None
    expected = corpus.counts["train"]["documents"] * (2 if pairs else 1)
    if not expected:
        raise RequestError(
            f"corpus {corpus.id} has no document to train on",
            expected="at least one document outside the held-out split",
            remedy="give the source more text, or lower its heldout_fraction",
        )
    digest_of_tokenizer = tokenizer_digest(vocabulary)
    request = {"template": _template(parallel), "seed": seed}
    made_from = {"corpus": corpus.digest, "tokenizer": digest_of_tokenizer}

    def build(folder: Path) -> dict[str, Any]:
        temporary = folder / "unshuffled.partial"
        vocab_size = load_tokenizer(vocabulary).get_piece_size()
        with_loss = parallel is not None and parallel.format == "translation_instruction"
        encoded = _encoded(corpus, vocabulary, parallel)
        writer, facts = _write_unshuffled(temporary, encoded, vocab_size=vocab_size, with_loss=with_loss, expected=expected)
        order = shuffled_order(len(writer.offsets), seed=seed)
        write_shuffled(temporary, folder, offsets=writer.offsets, order=order, dtype=writer.dtype)
        remove_folder(temporary)
        counts = {
            "documents": len(writer.offsets),
            "tokens": int(writer.offsets[-1]),
            "trained_tokens": writer.trained_tokens,
            "dtype": writer.dtype.name,
            **facts,
        }
        special = {"bos": BOS_ID, "eos": EOS_ID, "shuffle_seed": seed, "tokenizer_digest": digest_of_tokenizer}
        write_meta(folder, {**counts, **special, "dtype": writer.dtype.str})
        return counts

    parts = [artefact.folder.name.rsplit("-", 1)[0] for artefact in (corpus, vocabulary)]
    name = "-".join([*parts, *([SHORT_FORMATS[str(parallel.format)]] if parallel else [])])
    digest = digest_of({"request": request, "made_from": made_from})
    folder = artefact_folder(out, "tokens", name, digest)
    return build_artefact(folder, build, kind="tokens", digest=digest, request=request, made_from=made_from)
