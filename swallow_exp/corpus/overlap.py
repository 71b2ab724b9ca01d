"""Which of some wanted n-grams the training text of a corpus contains: one pass over its train split.

(1) read     train.jsonl.zst           -> texts of documents, both sides of pairs
(2) find     batches of texts          -> places of the wanted n-grams in them (ngrams.py), in worker processes
(3) mark     places                    -> one mark a wanted n-gram, kept on disk while the pass goes on

A pass that was killed goes on from its last state; a state for other n-grams is not used. Memory: see ngrams.py.

Reads   <out>/artefacts/corpus/<id>/train.jsonl.zst    Reads/Writes  `state`, removed at the end
"""

from __future__ import annotations

import io
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from swallow_exp.artefact.files import write_bytes_atomic
from swallow_exp.artefact.manifest import Artefact
from swallow_exp.artefact.progress import progress_bar
from swallow_exp.artefact.workers import in_batches, map_batches
from swallow_exp.corpus.build_corpus import read_documents, read_pairs
from swallow_exp.corpus.ngrams import Finder, Indices, Marks, NgramQuery, in_pieces

BATCH_CHARACTERS = 1 << 19  # that go to a worker at once
LOOK_CHARACTERS = 1 << 18  # that are looked at together: arrays of a few MiB
STATE_SECONDS = 60.0  # between two states

Texts = tuple[str, ...]


def find_in_training_text(corpus: Artefact, wanted: NgramQuery, *, state: Path, processes: int = 1) -> Marks:
    """For each kind of n-gram a mark for each wanted one: does the train split contain it? Every wanted kind is a key."""
    documents, marks = read_marks(state, corpus, wanted) or (0, wanted.unmarked())
    total = int(corpus.counts["train"]["documents"])
    batches = in_batches(islice(_texts(corpus), documents, None), lambda texts: sum(map(len, texts)), BATCH_CHARACTERS)
    saved = time.monotonic()
    with progress_bar(f"overlap with {corpus.id}", total, unit="documents") as advance:
        advance(documents)
        for count, found in map_batches(batches, _finder, (wanted,), processes=processes):
            for kind, places in found.items():
                marks[kind][places] = True
            documents += count
            advance(count)
            if time.monotonic() - saved > STATE_SECONDS:
                write_marks(state, corpus, wanted, marks, documents=documents)
                saved = time.monotonic()
    state.unlink(missing_ok=True)
    return marks


def _texts(corpus: Artefact) -> Iterator[Texts]:
    read = read_pairs if corpus.counts["kind"] == "pairs" else read_documents
    return (document.texts for document in read(corpus, "train"))


def _finder(wanted: NgramQuery) -> Callable[[Sequence[Texts]], tuple[int, dict[str, Indices]]]:
    find = Finder(wanted)

    def work(batch: Sequence[Texts]) -> tuple[int, dict[str, Indices]]:
        pieces = (piece for texts in batch for text in texts for piece in in_pieces(text))
        found: dict[str, list[Indices]] = {}
        for group in in_batches(pieces, len, LOOK_CHARACTERS):
            for kind, places in find(group).items():
                found.setdefault(kind, []).append(places)
        return len(batch), {kind: np.unique(np.concatenate(places)) for kind, places in found.items()}

    return work


def write_marks(path: Path, corpus: Artefact, wanted: NgramQuery, marks: Marks, *, documents: int) -> None:
    """Write the marks, one bit each, of the first so many `documents`."""
    buffer = io.BytesIO()
    packed = {f"marks_{kind}": np.packbits(values) for kind, values in marks.items()}
    facts = {"corpus": corpus.digest, "ngrams": wanted.digest, "documents": documents}
    np.savez_compressed(buffer, allow_pickle=False, **packed, **{name: np.array(fact) for name, fact in facts.items()})
    write_bytes_atomic(path, buffer.getvalue())


def read_marks(path: Path, corpus: Artefact, wanted: NgramQuery) -> tuple[int, Marks] | None:
    """(documents, marks) of a file; None when it is missing or torn, or of another corpus or other n-grams."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
        if (held["corpus"].item(), held["ngrams"].item()) != (corpus.digest, wanted.digest):
            return None
        bits = {kind: np.unpackbits(held[f"marks_{kind}"], count=len(hashes)) for kind, hashes in wanted.hashes.items()}
        return int(held["documents"].item()), {kind: values.astype(np.bool_) for kind, values in bits.items()}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
