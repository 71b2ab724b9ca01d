"""Which documents train the pieces, and the file of segmented lines they become.

(1) choose    document sources of the asked language, in name order                       -> corpora
(2) sample    documents in the order of a hash of source and id, until the byte limit     -> a hash limit, the same on every machine
(3) segment   their text, in corpus order                                                 -> one file of lines of words

Reads   train split of corpora
Writes  the file of lines it is given (a temporary of the build)
Source  paper E.1 ("a randomly sampled subset of the word-segmented Swallow Corpus")
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.manifest import Artefact
from swallow_exp.artefact.progress import progress_bar, track
from swallow_exp.config.schema import VocabularyConfig
from swallow_exp.corpus.build_corpus import read_documents
from swallow_exp.vocabulary.segment import segment_texts


def choose_corpora(corpora: Mapping[str, Artefact], language: str | None) -> dict[str, Artefact]:
    """Document sources of `language` (null: of every language), by name. Raises RequestError when there is no document."""
    documents = {name: corpora[name] for name in sorted(corpora) if corpora[name].counts["kind"] == "documents"}
    chosen = {name: corpus for name, corpus in documents.items() if language in (None, corpus.counts["language"])}
    if not any(corpus.counts["train"]["documents"] for corpus in chosen.values()):
        given = ", ".join(f"{name} ({corpus.counts['language']})" for name, corpus in documents.items())
        raise RequestError(
            f"no document of language {language or 'any'} to train pieces on (document sources: {given or 'none'})",
            expected="at least one document source of that language with text",
            remedy="correct vocabulary.language, or add such a source to the mixture",
        )
    return chosen


def _document_hash(source: str, document_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{source}\x00{document_id}".encode(), digest_size=8).digest(), "big")


def sample_limit(corpora: Mapping[str, Artefact], max_bytes: int | None) -> int:
    """Highest document hash that is in the sample: whole documents in hash order until `max_bytes` are reached, at least one."""
    everything = 1 << 64
    if max_bytes is None or sum(corpus.counts["train"]["bytes"] for corpus in corpora.values()) <= max_bytes:
        return everything
    hashes, sizes = array("Q"), array("q")
    for name, corpus in corpora.items():
        for document in track(read_documents(corpus, "train"), f"sample {name}", corpus.counts["train"]["documents"]):
            hashes.append(_document_hash(name, document.id))
            sizes.append(len(document.text.encode("utf-8")))
    order = numpy.argsort(numpy.asarray(hashes, dtype=numpy.uint64), kind="stable")
    taken = numpy.cumsum(numpy.asarray(sizes, dtype=numpy.int64)[order])
    last = min(int(numpy.searchsorted(taken, max_bytes)), len(order) - 1)
    return hashes[int(order[last])]


def write_training_text(corpora: Mapping[str, Artefact], path: Path, *, config: VocabularyConfig) -> dict[str, int]:
    """Write the segmented lines of the sampled documents to `path`; returns how many documents, lines, words and bytes."""
    limit = sample_limit(corpora, config.max_training_bytes)
    totals = {"documents": 0, "lines": 0, "words": 0, "bytes": 0}
    expected = sum(corpus.counts["train"]["documents"] for corpus in corpora.values())

    def texts() -> Iterator[str]:
        for name, corpus in corpora.items():
            for document in read_documents(corpus, "train"):
                if _document_hash(name, document.id) <= limit:
                    yield document.text

    with path.open("w", encoding="utf-8", newline="\n") as handle, progress_bar("segment", expected, unit="documents") as advance:
        segmented = segment_texts(texts(), method=config.segmenter, normalization=config.normalization, processes=config.processes)
        for lines in segmented:
            for line in lines:
                handle.write(line + "\n")
                totals["words"] += len(line.split())
            totals["documents"] += 1
            totals["lines"] += len(lines)
            advance(1)
    totals["bytes"] = path.stat().st_size
    return totals
