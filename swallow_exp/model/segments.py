"""Base subwords of every added piece, once tokenizer, table and config are known to fit each other.

Reads  a vocabulary artefact and the base model's tokenizer
"""

from __future__ import annotations

from pathlib import Path

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.manifest import Artefact
from swallow_exp.config import VocabularyConfig
from swallow_exp.vocabulary.tokenizer import added_piece_segments, load_tokenizer

WITH_PREFIX = "subword_mean_with_prefix"


def base_subwords(
    vocabulary: VocabularyConfig, artefact: Artefact, base_tokenizer: Path | None, *, rows: int, where: str
) -> list[list[int]]:
    """Ids of the base subwords of each added piece; none when nothing is added.

    rows   rows of the base model's table; `where` says whose they are.
    Raises RequestError when tokenizer and table do not fit each other.
    """
    base_size, size = int(artefact.counts["base_size"]), int(artefact.counts["size"])
    expands = vocabulary.method == "expand"
    expected_rows = base_size if expands else size
    if rows != expected_rows:
        raise RequestError(
            f"tokenizer/vocabulary mismatch: {where} has {rows:,} embedding rows, "
            f"the {'base ' if expands else ''}tokenizer {expected_rows:,} pieces",
            expected="one row for each piece of the tokenizer the model was trained with",
            remedy="set base_model.tokenizer to this model's own tokenizer, or choose an expanded vocabulary",
        )
    if not expands:
        return []
    if base_tokenizer is None:
        raise RequestError(
            f"vocabulary={vocabulary.name} expands a base tokenizer, and there is none",
            expected="base_model.tokenizer, or tokenizer.model beside the weights",
            remedy="set base_model.tokenizer=/path/to/tokenizer.model",
        )
    segments = added_piece_segments(artefact, base_tokenizer)
    if base_size + len(segments) != size:
        raise RequestError(
            f"tokenizer/vocabulary mismatch: {len(segments):,} added pieces beside {base_size:,} base pieces, but {size:,} in all",
            expected="the base tokenizer the vocabulary was built on",
            remedy="build the vocabulary again",
        )
    if vocabulary.init == WITH_PREFIX and segments:
        tokenizer = load_tokenizer(artefact)
        segments = load_tokenizer(base_tokenizer).encode([tokenizer.id_to_piece(row) for row in range(base_size, size)])
    return segments
