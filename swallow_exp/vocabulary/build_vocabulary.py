"""Corpora + base tokenizer -> the vocabulary of a run: a SentencePiece model, its Hugging Face twin, its fertility.

(1) sample    documents of the asked language, segmented into words    -> lines (temporary)
(2) train     SentencePiece BPE                                        -> candidates, or a whole tokenizer (scratch)
(3) merge     candidates into the base (expand)                        -> tokenizer.model, funnel
(4) export    exact twin, checked on held-out text                     -> hf/
(5) measure   tokens per character, ratio to the base                  -> fertility.json

Reads   corpora (train and held-out), the base tokenizer's SentencePiece file
Writes  <out>/artefacts/vocabulary/<name>-<hash7>/{tokenizer.model, hf/, fertility.json, manifest.json}
Source  paper 3.3, E.1
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import digest_of, write_bytes_atomic, write_json_atomic
from swallow_exp.artefact.manifest import Artefact, build_artefact
from swallow_exp.artefact.paths import artefact_folder
from swallow_exp.artefact.progress import say, track
from swallow_exp.artefact.units import format_count
from swallow_exp.config.schema import VocabularyConfig
from swallow_exp.corpus.build_corpus import read_documents, read_pairs
from swallow_exp.vocabulary.fertility import measure_fertility
from swallow_exp.vocabulary.merge import expand_base, script_pattern
from swallow_exp.vocabulary.model_file import ModelProto, check_base, copy_model, model_digest, parse_model, read_model, set_nfkc
from swallow_exp.vocabulary.sample import choose_corpora, write_training_text
from swallow_exp.vocabulary.segment import find_dictionary
from swallow_exp.vocabulary.tokenizer import HUGGING_FACE_FOLDER, MODEL_NAME, model_path
from swallow_exp.vocabulary.train import train_pieces
from swallow_exp.vocabulary.twin import write_twin

FERTILITY_NAME = "fertility.json"
CHECKED_LINES, CHECKED_DOCUMENTS, CHECKED_DOCUMENT_CHARACTERS = 2_000, 50, 10_000  # per source, for the twin's self-check
NOT_IDENTITY = ("name", "processes", "init")  # fields that cannot change a piece: label, speed, and how the model's rows start


def heldout_streams(corpora: Mapping[str, Artefact]) -> dict[str, Callable[[], Iterator[str]]]:
    """Held-out text of each source, from its start at each call; pairs give one stream per language, as <source>_en and <source>_ja."""

    def texts(corpus: Artefact, side: str | None) -> Iterator[str]:
        if side is None:
            return (document.text for document in read_documents(corpus, "heldout"))
        return (getattr(pair, side) for pair in read_pairs(corpus, "heldout"))

    streams: dict[str, Callable[[], Iterator[str]]] = {}
    for source in sorted(corpora):
        sides = (None,) if corpora[source].counts["kind"] == "documents" else ("en", "ja")
        for side in sides:
            streams[source if side is None else f"{source}_{side}"] = partial(texts, corpora[source], side)
    return streams


def _check_texts(texts: Iterator[str]) -> Iterator[str]:
    documents = list(islice(texts, CHECKED_DOCUMENTS))
    yield from (document[:CHECKED_DOCUMENT_CHARACTERS] for document in documents)
    yield from islice((line for document in chain(documents, texts) for line in document.split("\n") if line), CHECKED_LINES)


def _train(config: VocabularyConfig, corpora: Mapping[str, Artefact], folder: Path) -> tuple[ModelProto, dict[str, int]]:
    assert config.vocab_size is not None
    lines = folder / "training_text.partial"
    try:
        counts = write_training_text(choose_corpora(corpora, config.language), lines, config=config)
        if not counts["words"]:
            raise RequestError(
                f"the documents for vocabulary={config.name} hold no word",
                expected="text",
                remedy="look at the corpora of vocabulary.language",
            )
        say(f"vocabulary {config.name}: train {config.vocab_size:,} pieces on {format_count(counts['words'])} words")
        scratch = config.method == "scratch"
        proto = train_pieces(
            lines,
            vocab_size=config.vocab_size,
            normalization=config.normalization,
            scratch=scratch,
            required_characters=config.required_characters if scratch else "",
        )
    finally:
        lines.unlink(missing_ok=True)
    return proto, counts


def _make_model(
    config: VocabularyConfig, base: ModelProto | None, corpora: Mapping[str, Artefact], folder: Path
) -> tuple[ModelProto, dict[str, Any]]:
    if config.method == "base":
        proto = copy_model(base)
        if config.normalization == "nfkc":
            set_nfkc(proto)
        return proto, {}
    trained, text = _train(config, corpora, folder)
    if base is None:
        return trained, {"training_text": text}
    if len(trained.pieces) < (config.vocab_size or 0):
        say(f"vocabulary {config.name}: this text gives only {len(trained.pieces):,} of the {config.vocab_size:,} pieces asked for")
    proto, funnel = expand_base(
        base,
        trained,
        scripts=config.scripts,
        extra_characters=config.extra_characters,
        multiple_of=config.multiple_of,
        normalization=config.normalization,
    )
    say(f"vocabulary {config.name}: add {funnel['added']:,} of them to the {len(base.pieces):,} of the base")
    return proto, {"funnel": {"asked": config.vocab_size, **funnel}, "training_text": text}


def _measure(proto: ModelProto, base: ModelProto | None, heldout: Mapping[str, Callable[[], Iterator[str]]]) -> dict[str, dict[str, Any]]:
    """Fertility by source; sources without held-out text are absent."""
    import sentencepiece

    processor, before = (
        None if model is None else sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString()) for model in (proto, base)
    )
    measured = {
        source: measure_fertility(stream(), processor, base=before) for source, stream in track(heldout.items(), "fertility", len(heldout))
    }
    return {source: numbers for source, numbers in measured.items() if numbers}


def measure_pairs(vocabulary: Artefact, *, base_tokenizer: Path | None, corpora: Mapping[str, Artefact]) -> dict[str, dict[str, Any]]:
    """Fertility on both sides of the pairs in `corpora`, for a report. No part of the artefact: a vocabulary does not depend on pairs."""
    pairs = {name: corpus for name, corpus in corpora.items() if corpus.counts["kind"] == "pairs"}
    base = read_model(base_tokenizer) if vocabulary.manifest["request"]["method"] != "scratch" and pairs else None
    return _measure(read_model(model_path(vocabulary)), base, heldout_streams(pairs))


def _check_request(config: VocabularyConfig, corpora: Mapping[str, Artefact]) -> None:
    assert config.method in ("base", "expand", "scratch"), config.method
    if config.method == "base":
        return
    if config.vocab_size is None:
        raise RequestError(
            f"vocabulary={config.name} (method: {config.method}) has no vocab_size",
            expected="the number of pieces to train",
            remedy="set vocabulary.vocab_size",
        )
    if config.method == "scratch" and config.vocab_size % config.multiple_of:
        raise RequestError(
            f"vocabulary.vocab_size={config.vocab_size}",
            expected=f"a multiple of vocabulary.multiple_of={config.multiple_of}",
            remedy=f"use {-(-config.vocab_size // config.multiple_of) * config.multiple_of}",
        )
    script_pattern(config.scripts, config.extra_characters)
    choose_corpora(corpora, config.language)


def build_vocabulary(config: VocabularyConfig, *, base_tokenizer: Path | None, corpora: Mapping[str, Artefact], out: Path) -> Artefact:
    """The vocabulary artefact of `config`, built when missing.

    base_tokenizer  SentencePiece file of the base model; not read for method scratch
    corpora         source -> corpus: train split for pieces (document sources of config.language), held-out split for check and fertility
    Raises RequestError: no or unusable base tokenizer, no documents, a vocab_size that cannot be, nothing to add, a twin that is not exact.
    """
    _check_request(config, corpora)
    base = None
    if config.method != "scratch":
        base = read_model(base_tokenizer)
        check_base(base, name=str(base_tokenizer))
    request = {name: value for name, value in dataclasses.asdict(config).items() if name not in NOT_IDENTITY}
    made_from = {f"corpus:{name}": corpora[name].digest for name in sorted(corpora)}
    if base is not None:
        made_from["base_tokenizer"] = model_digest(base)
    if config.method != "base" and config.segmenter == "mecab":
        made_from["dictionary"] = find_dictionary().label

    def build(folder: Path) -> dict[str, Any]:
        proto, facts = _make_model(config, base, corpora, folder)
        unchanged = base_tokenizer is not None and proto == base
        data = base_tokenizer.read_bytes() if base_tokenizer is not None and unchanged else proto.SerializeToString()
        parse_model(data, name=config.name)
        write_bytes_atomic(folder / MODEL_NAME, data)
        heldout = heldout_streams(corpora)
        texts = chain.from_iterable(_check_texts(stream()) for stream in heldout.values())
        checked = write_twin(proto, folder / HUGGING_FACE_FOLDER, texts=track(texts, "check the Hugging Face form"))
        fertility = _measure(proto, base, heldout)
        write_json_atomic(folder / FERTILITY_NAME, fertility)
        base_size = len(proto.pieces) if base is None else len(base.pieces)
        return {
            "base_size": base_size,
            "size": len(proto.pieces),
            "added": len(proto.pieces) - base_size,
            "funnel": {},
            **facts,
            **({"dictionary": made_from["dictionary"]} if "dictionary" in made_from else {}),
            "tokenizer_digest": model_digest(proto),
            "twin_texts": checked,
            "fertility": fertility,
        }

    digest = digest_of({"request": request, "made_from": made_from})
    folder = artefact_folder(out, "vocabulary", config.name, digest)
    return build_artefact(folder, build, kind="vocabulary", digest=digest, request=request, made_from=made_from)
