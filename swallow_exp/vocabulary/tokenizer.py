"""What later stages need of a tokenizer: load it, its digest, a reader of text that continues, base subwords of added pieces.

Reads   tokenizer.model of a vocabulary artefact
Source  paper 3.3 and E.1
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.manifest import Artefact
from swallow_exp.vocabulary.model_file import model_digest, read_model, without_dummy_prefix

MODEL_NAME = "tokenizer.model"
HUGGING_FACE_FOLDER = "hf"
SHOWN_LETTERS = 60  # of a text in an error

Processor = Any  # sentencepiece.SentencePieceProcessor: it has no types of its own


def model_path(vocabulary: Artefact | Path) -> Path:
    """The SentencePiece file of a vocabulary artefact, of its folder, or the file itself."""
    path = vocabulary.folder if isinstance(vocabulary, Artefact) else vocabulary
    return path / MODEL_NAME if path.is_dir() else path


def load_tokenizer(vocabulary: Artefact | Path) -> Processor:
    """SentencePieceProcessor: the reference tokenizer. encode(text) adds no <s> and no </s>."""
    import sentencepiece

    path = model_path(vocabulary)
    read_model(path)
    return sentencepiece.SentencePieceProcessor(model_file=str(path))


def load_continuation(vocabulary: Artefact | Path) -> Processor:
    """The same tokenizer for text that continues other text: no dummy prefix, whitespace kept."""
    import sentencepiece

    proto = without_dummy_prefix(read_model(model_path(vocabulary)))
    return sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())


def tokenizer_digest(vocabulary: Artefact | Path) -> str:
    """Hex sha256 over pieces, scores, types and normaliser: equal digests give equal ids on every text."""
    return model_digest(read_model(model_path(vocabulary)))


def added_piece_segments(vocabulary: Artefact | Path, base_tokenizer: Path) -> list[list[int]]:
    """Base-subword ids of each added piece, in the order of the added ids; empty when nothing was added.

    Segmented without the dummy prefix: a piece stands inside running text, the word mark is no part of it.
    Raises RequestError when the vocabulary does not start with the base tokenizer's pieces.
    """
    import sentencepiece

    pieces = [piece.piece for piece in read_model(model_path(vocabulary)).pieces]
    base = read_model(base_tokenizer)
    if pieces[: len(base.pieces)] != [piece.piece for piece in base.pieces]:
        raise RequestError(
            f"vocabulary {model_path(vocabulary)} is no expansion of base tokenizer {base_tokenizer}",
            expected="a vocabulary whose first pieces are the base's",
            remedy="build the vocabulary again with the tokenizer of this base model",
        )
    processor = sentencepiece.SentencePieceProcessor(model_proto=without_dummy_prefix(base).SerializeToString())
    segments: list[list[int]] = processor.encode(pieces[len(base.pieces) :]) if len(pieces) > len(base.pieces) else []
    return segments


def first_difference_of_ids(text: str, expected: list[int], given: list[int]) -> tuple[str, int]:
    """Two segmentations of one text that should be equal: the text as an error shows it, and the first token where they part."""
    start = next((i for i, (a, b) in enumerate(zip(expected, given, strict=False)) if a != b), min(len(expected), len(given)))
    return json.dumps(text if len(text) <= SHOWN_LETTERS else text[:SHOWN_LETTERS] + "...", ensure_ascii=False), start
