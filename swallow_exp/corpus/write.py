"""Write the two splits of a corpus while its documents stream by, then take out of heldout what train holds as well.

A document is held out when the first 64 bits of sha256(id), read as a fraction of 2**64, lie below `heldout_fraction`. So neither
order nor the other documents matter, a larger fraction holds out all that a smaller one does, and twins with one id in two corpora
fall on the same side.

Reads/Writes  <folder>/train.jsonl.zst, <folder>/heldout.jsonl.zst
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from swallow_exp.artefact.progress import track
from swallow_exp.corpus.document import Document, Pair
from swallow_exp.corpus.lines import read_lines

SPLITS = ("train", "heldout")
COMPRESSION_LEVEL = 3
POSITIONS = 1 << 64


def split_position(document_id: str) -> int:
    """Where the id falls on the line 0 .. 2**64 - 1."""
    return int.from_bytes(hashlib.sha256(document_id.encode("utf-8")).digest()[:8], "big")


def is_heldout(document_id: str, heldout_fraction: float) -> bool:
    """True when the document is kept away from training."""
    assert 0.0 <= heldout_fraction < 1.0, heldout_fraction
    return split_position(document_id) < heldout_fraction * POSITIONS


def split_file(folder: Path, split: str) -> Path:
    """The file of one split in a corpus artefact."""
    assert split in SPLITS, split
    return folder / f"{split}.jsonl.zst"


@dataclass
class SplitCounts:
    """What one split holds: characters and UTF-8 bytes are those of the texts alone."""

    documents: int = 0
    characters: int = 0
    bytes: int = 0


class SplitWriter:
    """Appends each document to train or heldout. Train is never left empty: if all were held out, the one hashed last stays in train."""

    def __init__(self, folder: Path, heldout_fraction: float) -> None:
        """Nothing is opened before `with`."""
        self.counts = {split: SplitCounts() for split in SPLITS}
        self._folder, self._heldout_fraction = folder, heldout_fraction
        self._files: dict[str, IO[bytes]] = {}
        self._kept_back: tuple[tuple[int, str], Document | Pair] | None = None  # the held-out one hashed last, while train is empty
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> SplitWriter:
        """Open both files."""
        for split in SPLITS:
            self._files[split] = self._stack.enter_context(_open_for_writing(split_file(self._folder, split)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Settle what was kept back, close both files."""
        with self._stack:  # closes the files even when the last line does not fit on the disk
            if kind is None and self._kept_back is not None:
                position, document = self._kept_back
                self._write("train", document, position[1])

    def add(self, document: Document | Pair, unique_id: str) -> None:
        """Split by the document's own id, store it under `unique_id` (twins of one id stay on one side)."""
        if not is_heldout(document.id, self._heldout_fraction):
            self._write("train", document, unique_id)
            if self._kept_back is not None:
                position, kept_back = self._kept_back
                self._kept_back = None
                self._write("heldout", kept_back, position[1])
        elif self.counts["train"].documents:
            self._write("heldout", document, unique_id)
        else:
            earlier, later = self._kept_back, ((split_position(document.id), unique_id), document)
            if earlier is not None and earlier[0] > later[0]:
                earlier, later = later, earlier
            self._kept_back = later
            if earlier is not None:
                self._write("heldout", earlier[1], earlier[0][1])

    def _write(self, split: str, document: Document | Pair, unique_id: str) -> None:
        counts = self.counts[split]
        counts.documents += 1
        for text in document.texts:
            _count(counts, text)
        self._files[split].write(document.to_line(unique_id).encode("utf-8"))


def drop_repeats_of_train(folder: Path, counts: dict[str, SplitCounts], label: str) -> int:
    """Rewrite heldout without the documents whose very text is in train too (they would measure memory); how many those were.

    Holds a hash per held-out document in memory, none per document of train.
    """
    if not counts["heldout"].documents:
        return 0
    held = {_text_hash(text) for text, _ in _stored_texts(folder, "heldout")}
    in_train = track(_stored_texts(folder, "train"), label, counts["train"].documents)
    repeated = held & {mark for text, _ in in_train if (mark := _text_hash(text)) in held}
    if not repeated:
        return 0
    before, kept = counts["heldout"].documents, SplitCounts()
    rewritten = folder / "heldout.rewritten"
    with _open_for_writing(rewritten) as file:
        for text, line in _stored_texts(folder, "heldout"):
            if _text_hash(text) not in repeated:
                _count(kept, text)
                kept.documents += 1
                file.write(f"{line}\n".encode())
    rewritten.replace(split_file(folder, "heldout"))
    counts["heldout"] = kept
    return before - kept.documents


def _stored_texts(folder: Path, split: str) -> Iterator[tuple[str, str]]:
    """(text, line) of every stored document."""
    for _, line in read_lines(split_file(folder, split)):
        yield json.loads(line)["text"], line


def _text_hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8"), digest_size=16).digest()


def _count(counts: SplitCounts, text: str) -> None:
    counts.characters += len(text)
    counts.bytes += len(text.encode("utf-8"))


def _open_for_writing(path: Path) -> IO[bytes]:
    import zstandard

    compressor = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL, write_checksum=True)
    file: IO[bytes] = zstandard.open(path, "wb", cctx=compressor)
    return file
