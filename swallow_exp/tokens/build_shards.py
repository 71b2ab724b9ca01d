"""Corpus + vocabulary -> one token shard.

(1) encode    train documents in corpus order, part by part, into the work folder -> ids, flags, document lengths
(2) shuffle   a permutation of documents that depends on the seed alone           -> order
(3) copy      documents in that order                                             -> tokens.bin, offsets.npy, loss.bin
(4) finish    meta.json

Text is never held in memory as a whole; document ends are (8 bytes each). On disk the work folder is as large as the shard until
the shard is done. The two directions of a pair are documents of their own, so the shuffle moves them apart. Building twice gives the
same bytes, whatever the encoder, the number of processes, and how often a build was killed on the way: the next one goes on from
the last finished part.

Reads   train split of the corpus, tokenizer.model of the vocabulary
Writes  <out>/artefacts/tokens/<corpus>-<vocabulary>[-<format>]-<hash7>/, and <the same>.work/ meanwhile
Source  paper 3.1 (documents packed), E.2 (parallel formats)
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from swallow_exp.artefact.check import require_sound
from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import digest_of
from swallow_exp.artefact.manifest import Artefact, build_artefact, package_versions, work_folder
from swallow_exp.artefact.paths import artefact_folder
from swallow_exp.artefact.progress import is_interactive, progress_bar, say
from swallow_exp.config.schema import ParallelConfig
from swallow_exp.corpus.build_corpus import read_documents, read_pairs
from swallow_exp.tokens.blocks import Block, encoded_blocks
from swallow_exp.tokens.encoder import check_encoder, check_same_ids, make_encode
from swallow_exp.tokens.parts import PartsWriter
from swallow_exp.tokens.shard import shuffled_order, token_dtype, write_meta, write_shuffled
from swallow_exp.vocabulary.model_file import BOS_ID, EOS_ID
from swallow_exp.vocabulary.tokenizer import load_tokenizer, model_path, tokenizer_digest

SHORT_FORMATS = {"next_token_prediction": "ntp", "translation_instruction": "ti"}


def _template(parallel: ParallelConfig | None) -> dict[str, str | None] | None:
    """What of `parallel` decides the shard's bytes: not its name, not when it is used, not how often."""
    if parallel is None:
        return None
    template = {"format": parallel.format, "separator": parallel.separator}
    if parallel.format == "translation_instruction":
        template |= {"instruction_ja_en": parallel.instruction_ja_en, "instruction_en_ja": parallel.instruction_en_ja}
    return template


def _encode_rest(parts: PartsWriter, blocks: Callable[[int], Iterator[Block]], *, expected: int, corpus: Artefact) -> None:
    """Bring `parts` to `expected` documents; blocks(n) are the documents behind the first n."""
    done = parts.total("documents")
    if parts.found and is_interactive():
        say(f"tokens of {corpus.id}: an earlier build finished {done:,} of {expected:,} documents, continuing behind them")
    with progress_bar("encode", expected, unit="documents") as advance:

        def counted() -> Iterator[Block]:
            for block in blocks(done):
                yield block
                advance(len(block.lengths))

        advance(done)
        if done < expected:
            parts.write(counted())
    if parts.total("documents") != expected:
        raise RequestError(
            f"corpus {corpus.id} gives {parts.total('documents'):,} documents where its manifest says {expected:,}",
            expected="a corpus as it was built",
            remedy=f"remove the folder {corpus.folder}; it will be built again",
        )


def _check_request(corpus: Artefact, parallel: ParallelConfig | None) -> None:
    pairs = corpus.counts["kind"] == "pairs"
    if pairs != (parallel is not None and parallel.format is not None):
        raise RequestError(
            f"corpus {corpus.id} holds {corpus.counts['kind']} and the parallel format is {parallel.format if parallel else None}",
            expected="a parallel format for pairs, and none for documents",
            remedy="choose parallel=... for the pairs, or a document source",
        )
    if not corpus.counts["train"]["documents"]:
        raise RequestError(
            f"corpus {corpus.id} has no document to train on",
            expected="at least one document outside the held-out split",
            remedy="give the source more text, or lower its heldout_fraction",
        )


def build_tokens(
    corpus: Artefact,
    vocabulary: Artefact,
    *,
    out: Path,
    parallel: ParallelConfig | None = None,
    seed: int = 0,
    encoder: str = "sentencepiece",
    processes: int = 1,
) -> Artefact:
    """The token shard of one corpus under one vocabulary, built when missing.

    parallel   how pairs become documents; given exactly when the corpus holds pairs
    seed       of the document shuffle; recorded
    encoder    sentencepiece | kitoken (tokens/encoder.py); processes: how many encode. Neither changes a byte.
    Raises RequestError when the corpus has no document to train on, parallel and corpus do not fit, or the encoder gives other ids.
    """
    _check_request(corpus, parallel)
    check_encoder(encoder)
    pairs = corpus.counts["kind"] == "pairs"
    parallel = parallel if pairs else None
    read: Callable[[Artefact, str], Iterator[Any]] = read_pairs if pairs else read_documents
    expected = corpus.counts["train"]["documents"] * (2 if pairs else 1)
    digest_of_tokenizer = tokenizer_digest(vocabulary)
    request = {"template": _template(parallel), "seed": seed}
    made_from = {"corpus": corpus.digest, "tokenizer": digest_of_tokenizer}

    parts = [artefact.folder.name.rsplit("-", 1)[0] for artefact in (corpus, vocabulary)]
    name = "-".join([*parts, *([SHORT_FORMATS[str(parallel.format)]] if parallel else [])])
    digest = digest_of({"request": request, "made_from": made_from})
    folder = artefact_folder(out, "tokens", name, digest)
    work, checksums = work_folder(folder), dict[str, str]()

    def blocks(skip: int) -> Iterator[Block]:
        items = itertools.islice(read(corpus, "train"), skip // (2 if pairs else 1), None)
        return encoded_blocks(items, model_path(vocabulary), parallel=parallel, encoder=encoder, processes=processes)

    def build(partial: Path) -> dict[str, Any]:
        require_sound(corpus)
        require_sound(vocabulary)
        processor = load_tokenizer(vocabulary)
        if encoder != "sentencepiece":
            texts = (text for item in read(corpus, "train") for text in ((item.en, item.ja) if pairs else (item.text,)))
            check_same_ids(make_encode(encoder, processor, threads=1), processor, texts, name=encoder)
        with_loss = parallel is not None and parallel.format == "translation_instruction"
        made_for = {"digest": digest, "sentencepiece": package_versions()["sentencepiece"]}
        with PartsWriter(work, made_for, dtype=token_dtype(processor.get_piece_size()), with_loss=with_loss) as writer:
            _encode_rest(writer, blocks, expected=expected, corpus=corpus)
        offsets = writer.offsets
        checksums.update(write_shuffled(work, partial, offsets=offsets, order=shuffled_order(len(offsets), seed=seed), dtype=writer.dtype))
        counts: dict[str, Any] = {
            "documents": len(offsets),
            "tokens": int(offsets[-1]),
            "trained_tokens": writer.total("trained_tokens"),
            "dtype": writer.dtype.name,
            "text_bytes": writer.total("text_bytes"),
            "inexact_borders": writer.total("inexact_borders"),
        }
        special = {"bos": BOS_ID, "eos": EOS_ID, "shuffle_seed": seed, "tokenizer_digest": digest_of_tokenizer}
        special["vocab_size"] = processor.get_piece_size()
        write_meta(partial, {**counts, **special, "dtype": writer.dtype.str})
        return counts

    return build_artefact(folder, build, kind="tokens", digest=digest, request=request, made_from=made_from, work=work, checksums=checksums)
