"""Corpus + vocabulary -> one token shard.

(1) encode    train documents in corpus order, streamed to a temporary shard      -> ids, flags, document ends
(2) shuffle   a permutation of documents that depends on the seed alone           -> order
(3) copy      documents in that order                                             -> tokens.bin, offsets.npy, loss.bin
(4) finish    meta.json

Text is never held in memory as a whole; document ends are (8 bytes each). The two directions of a pair are documents of their
own, so the shuffle moves them apart. Building twice gives the same bytes, whatever the encoder and the number of processes.

Reads   train split of the corpus, tokenizer.model of the vocabulary
Writes  <out>/artefacts/tokens/<corpus>-<vocabulary>[-<format>]-<hash7>/
Source  paper 3.1 (documents packed), E.2 (parallel formats)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import digest_of, remove_folder
from swallow_exp.artefact.manifest import Artefact, build_artefact
from swallow_exp.artefact.paths import artefact_folder
from swallow_exp.artefact.progress import progress_bar
from swallow_exp.config.schema import ParallelConfig
from swallow_exp.corpus.build import read_documents, read_pairs
from swallow_exp.tokens.blocks import Block, encoded_blocks
from swallow_exp.tokens.encoder import check_encoder, check_same_ids, make_encode
from swallow_exp.tokens.shard import ShardWriter, token_dtype, write_meta, write_shuffled
from swallow_exp.tokens.shuffle import shuffled_order
from swallow_exp.vocabulary.tokenizer import BOS_ID, EOS_ID, load_tokenizer, model_path, tokenizer_digest

SHORT_FORMATS = {"next_token_prediction": "ntp", "translation_instruction": "ti"}


def _template(parallel: ParallelConfig | None) -> dict[str, str | None] | None:
    """What of `parallel` decides the shard's bytes: not its name, not when it is used, not how often."""
    if parallel is None:
        return None
    template = {"format": parallel.format, "separator": parallel.separator}
    if parallel.format == "translation_instruction":
        template |= {"instruction_ja_en": parallel.instruction_ja_en, "instruction_en_ja": parallel.instruction_en_ja}
    return template


def _write_unshuffled(
    folder: Path, blocks: Iterator[Block], *, vocab_size: int, with_loss: bool, expected: int
) -> tuple[ShardWriter, dict[str, int]]:
    facts = {"text_bytes": 0, "inexact_borders": 0}
    with (
        ShardWriter(folder, dtype=token_dtype(vocab_size), with_loss=with_loss) as writer,
        progress_bar("encode", expected, unit="documents") as advance,
    ):
        for block in blocks:
            writer.add_documents(block.ids, block.lengths, block.flags)
            facts["text_bytes"] += block.text_bytes
            facts["inexact_borders"] += block.inexact_borders
            advance(len(block.lengths))
    return writer, facts


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

    def build(folder: Path) -> dict[str, Any]:
        temporary = folder / "unshuffled.partial"
        processor = load_tokenizer(vocabulary)
        if encoder != "sentencepiece":
            texts = (text for item in read(corpus, "train") for text in ((item.en, item.ja) if pairs else (item.text,)))
            check_same_ids(make_encode(encoder, processor, threads=1), processor, texts, name=encoder)
        blocks = encoded_blocks(read(corpus, "train"), model_path(vocabulary), parallel=parallel, encoder=encoder, processes=processes)
        with_loss = parallel is not None and parallel.format == "translation_instruction"
        writer, facts = _write_unshuffled(temporary, blocks, vocab_size=processor.get_piece_size(), with_loss=with_loss, expected=expected)
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
