"""What every held-out document costs in tokens under a finished vocabulary, and under its base: counts of single documents.

(1) look    <out>/fertility/<vocabulary>/<corpus>.parquet of these digests    -> nothing to do
(2) count   held-out documents, the same ones as fertility.json                -> characters, bytes, tokens, tokens of the base
(3) write   one row a document (two sides of pairs: two rows)                  -> the file

Cheap (seconds), and apart from the artefact: it can be added to a vocabulary, and to a study, that was made before.

Reads   a vocabulary, the base tokenizer's SentencePiece file, corpora (held-out split)
Writes  <out>/fertility/<vocabulary>/<corpus>.parquet
Source  paper 5.1
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.manifest import Artefact
from swallow_exp.artefact.paths import fertility_file
from swallow_exp.artefact.progress import progress_bar
from swallow_exp.corpus.build_corpus import read_documents, read_pairs
from swallow_exp.record.token_counts import COLUMNS, has_fertility, write_fertility
from swallow_exp.vocabulary.fertility import HELDOUT_CHARACTERS
from swallow_exp.vocabulary.model_file import model_digest, read_model
from swallow_exp.vocabulary.tokenizer import Processor, load_tokenizer

PAIR_SIDES = ("en", "ja")


def record_fertility(vocabulary: Artefact, *, base_tokenizer: Path | None, corpora: Mapping[str, Artefact], out: Path) -> None:
    """Count what is missing of the held-out documents of `corpora`; corpora that hold nothing out are left out.

    Raises RequestError when there is something to count and `base_tokenizer` is missing or not what the vocabulary was made from.
    """
    missing = []
    for corpus in corpora.values():
        path, facts = fertility_file(out, vocabulary.id, corpus.id), _facts(vocabulary, corpus)
        if corpus.counts["heldout"]["documents"] and not has_fertility(path, facts):
            missing.append((corpus, path, facts))
    if not missing:
        return
    tokenizer, base = load_tokenizer(vocabulary), _base_of(vocabulary, base_tokenizer)
    total = sum(min(corpus.counts["heldout"]["characters"], HELDOUT_CHARACTERS) for corpus, _, _ in missing) / 1e6
    with progress_bar("held-out tokens", total, unit="M characters") as advance:
        for corpus, path, facts in missing:
            columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
            for side, document_id, text in _heldout(corpus):
                before = None if base is None else len(base.encode(text))
                row = (side, document_id, len(text), len(text.encode("utf-8")), len(tokenizer.encode(text)), before)
                for name, value in zip(COLUMNS, row, strict=True):
                    columns[name].append(value)
                advance(len(text) / 1e6)
            write_fertility(path, columns, facts)


def _facts(vocabulary: Artefact, corpus: Artefact) -> dict[str, str]:
    tokenizer = str(vocabulary.counts["tokenizer_digest"])
    return {
        "vocabulary_digest": vocabulary.digest,
        "corpus_digest": corpus.digest,
        "tokenizer": tokenizer,
        "is_base": "yes" if vocabulary.manifest["made_from"].get("base_tokenizer") == tokenizer else "no",
    }


def _base_of(vocabulary: Artefact, base_tokenizer: Path | None) -> Processor | None:
    expected = vocabulary.manifest["made_from"].get("base_tokenizer")
    if expected is None:
        return None
    if model_digest(read_model(base_tokenizer)) != expected:
        raise RequestError(
            f"base tokenizer {base_tokenizer} is not the one vocabulary {vocabulary.id} was made from",
            expected=f"pieces, scores and normaliser of digest {expected[:12]}",
            remedy="set base_model.tokenizer to that file",
        )
    assert base_tokenizer is not None
    return load_tokenizer(base_tokenizer)


def _heldout(corpus: Artefact) -> Iterator[tuple[str, str, str]]:
    """(side, id, text) from the start of the held-out split until each side has HELDOUT_CHARACTERS, as fertility.json takes them."""
    if corpus.counts["kind"] == "documents":
        rows = ((("", document.id, document.text),) for document in read_documents(corpus, "heldout"))
        yield from _limited(rows, ("",))
    else:
        sides = (tuple((side, pair.id, getattr(pair, side)) for side in PAIR_SIDES) for pair in read_pairs(corpus, "heldout"))
        yield from _limited(sides, PAIR_SIDES)


def _limited(rows: Iterator[tuple[tuple[str, str, str], ...]], sides: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    taken = dict.fromkeys(sides, 0)
    for row in rows:
        for side, document_id, text in row:
            if taken[side] < HELDOUT_CHARACTERS:
                taken[side] += len(text)
                yield side, document_id, text
        if min(taken.values()) >= HELDOUT_CHARACTERS:
            return
