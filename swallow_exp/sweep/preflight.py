"""What would refuse a cell once it is under way, found before anything starts.

1. Files   of every source                                         -> missing ones, by cell
2. Sample  the first text of a source, by the tokenizer at hand    -> bytes per token, tokens of all its pairs
3. Pairs   what the parallel corpus takes of the budget, estimated -> refused when it is clearly too much

The exact count of the pairs comes with their shard, and what is found only then is refused then.

Reads  the files of the sources, tokenizer.model of a base model in a local folder
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.paths import user_path
from swallow_exp.artefact.units import format_count
from swallow_exp.config import BaseModelConfig, Config, SourceConfig
from swallow_exp.corpus import miniature
from swallow_exp.corpus.document import Document, Pair
from swallow_exp.corpus.hub import hub_dataset
from swallow_exp.corpus.inputs import MINIATURE_PARTS, find_inputs, miniature_part
from swallow_exp.corpus.pairs import read_pairs_of
from swallow_exp.corpus.read import read_documents_of
from swallow_exp.sweep.cells import CellJob, next_action
from swallow_exp.sweep.expand import Cell
from swallow_exp.sweep.prepare import TOKENIZER_NAME, output_root
from swallow_exp.sweep.question import Question
from swallow_exp.sweep.why import check_one_factor

SAMPLE_ROWS = 2_000  # documents or pairs
SAMPLE_CHARACTERS = 400_000
# assumed: what the exact count may fall short of the estimate by; with pieces added to the vocabulary it is at most halved
SURE, SURE_WITH_NEW_PIECES = 0.8, 0.4


@dataclass(frozen=True)
class TextSample:
    """What the first text of a source says of all of it."""

    bytes_per_token: float
    side_tokens: float  # of pairs: tokens of both sides of all pairs, </s> included


def check_sweep(question: Question, cells: Sequence[Cell]) -> None:
    """Refuse a sweep that could not be carried out or compared. Raises RequestError, once for all cells concerned."""
    check_one_factor(question, cells)
    out = output_root(cells[0].composed.config)
    check_text([cell for cell in cells if next_action(CellJob.of(cell, out)) != "finished"])


def check_text(cells: Sequence[Cell]) -> None:
    """Refuse cells whose text is not there, or whose pairs exceed the budget. Raises RequestError."""
    _missing.cache_clear()  # files may have come since the last look
    found: dict[str, tuple[RequestError, list[str]]] = {}
    for cell in cells:
        for error in (missing_text(cell.composed.config), pairs_past_budget(cell.composed.config)):
            if error is not None:
                found.setdefault(str(error), (error, []))[1].append(cell.label)
    for error, labels in found.values():
        named = ", ".join(dict.fromkeys(labels))
        raise RequestError(f"{error.given} (cells: {named})", expected=error.expected, remedy=error.remedy)


def missing_text(config: Config) -> RequestError | None:
    """Why the files of some source cannot be read; None when all are there."""
    data = user_path(config.paths.data)
    return next((error for source in config.mixture.sources.values() if (error := _missing(_Source(source), data))), None)


def pairs_past_budget(config: Config) -> RequestError | None:
    """Why the pairs do not fit, by an estimate; None when they may fit, or when nothing is known of them."""
    name, parallel, budget = config.mixture.parallel_source, config.parallel, config.budget
    tokenizer = tokenizer_at_hand(config.base_model)
    if parallel.format is None or name is None or tokenizer is None or config.vocabulary.method == "scratch":
        return None
    source = config.mixture.sources[name]
    sample = sample_source(source, user_path(config.paths.data), tokenizer)
    if sample is None:
        return None
    targets_only = parallel.format == "translation_instruction" and budget.counts == "trained_tokens"
    # a pair comes once in either direction, and each time both of its sides are positions
    spent = parallel.epochs * sample.side_tokens * (1.0 - source.heldout_fraction) * (1 if targets_only else 2)
    if spent * (SURE if config.vocabulary.method == "base" else SURE_WITH_NEW_PIECES) < budget.tokens:
        return None
    return RequestError(
        f"parallel={parallel.name}: the pairs of {name} alone have about {format_count(spent)} {budget.counts.replace('_', ' ')}",
        expected=f"fewer than budget.tokens={budget.tokens}",
        remedy="raise the budget, lower parallel.epochs, or cap the pairs with max_documents",
    )


def tokenizer_at_hand(model: BaseModelConfig) -> Path | None:
    """The base model's SentencePiece file, where it lies on this machine."""
    folder = user_path(model.path) if model.path is not None else None
    path = user_path(model.tokenizer) if model.tokenizer is not None else folder / TOKENIZER_NAME if folder is not None else None
    return path if path is not None and path.is_file() else None


class _Source:
    """A source as a key: equal when all its fields are."""

    def __init__(self, source: SourceConfig) -> None:
        self.source = source

    def __hash__(self) -> int:
        return hash(repr(self.source))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Source) and self.source == other.source


@lru_cache
def _missing(key: _Source, data: Path) -> RequestError | None:
    try:
        if miniature_part(key.source) is None and hub_dataset(key.source) is None:
            find_inputs(key.source, data)
    except RequestError as error:
        return error
    return None


def sample_source(source: SourceConfig, data: Path, tokenizer: Path) -> TextSample | None:
    """What the first text of a source says of all of it; None when there is none to be read here."""
    return _sample(_Source(source), data, tokenizer)


@lru_cache
def _sample(key: _Source, data: Path, tokenizer: Path) -> TextSample | None:
    from swallow_exp.vocabulary.tokenizer import load_tokenizer

    try:
        texts, rows, all_rows = _first_texts(key.source, data)
        processor = load_tokenizer(tokenizer)
    except RequestError:  # said where the text is needed
        return None
    num_bytes = sum(len(text.encode()) for text in texts)
    num_tokens = sum(len(ids) + 1 for ids in processor.encode(texts))
    if not rows or not num_bytes:
        return None
    return TextSample(num_bytes / num_tokens, num_tokens * all_rows / rows)


def _first_texts(source: SourceConfig, data: Path) -> tuple[list[str], int, float]:
    """Texts of the first rows, how many rows these are, and about how many there are in all."""
    told = [0.0]
    found = [] if (part := miniature_part(source)) or hub_dataset(source) else find_inputs(source, data)

    def advance(amount: float) -> None:
        told[0] += amount

    texts: list[str] = []
    rows = characters = 0
    for row in itertools.islice(_rows(source, part, found, advance), min(SAMPLE_ROWS, source.max_documents or SAMPLE_ROWS)):
        texts += [row.en, row.ja] if isinstance(row, Pair) else [row.text]
        rows, characters = rows + 1, characters + sum(map(len, texts[-2:]))
        if characters > SAMPLE_CHARACTERS:
            break
    size = sum(one.path.stat().st_size for one in found)
    everything = rows * size / told[0] if told[0] else float(source.max_documents or rows)
    return texts, rows, min(everything, source.max_documents or everything)


def _rows(source: SourceConfig, part: str | None, found: Sequence[Any], advance: Any) -> Iterator[Document | Pair]:
    if part is not None:
        kind, language = MINIATURE_PARTS[part]
        yield from miniature.pairs(SAMPLE_ROWS) if kind == "pairs" else miniature.documents(language, SAMPLE_ROWS)
    read: Any = read_pairs_of if source.kind == "pairs" else read_documents_of
    for one in found:
        for _, row in read(one, source, Counter(), advance):
            yield row
