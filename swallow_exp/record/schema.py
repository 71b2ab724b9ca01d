"""Rows of the record as frozen dataclasses: the fields are the columns.

RunRecord          one training run (one cell at one seed)
EvaluationRecord   one metric of one task at one checkpoint
HealthRecord       counts behind one task at one checkpoint that tell a bad score from a broken question
OverlapRecord      how much of one task's items the training text of a run contains
CurveRecord        one row of the training curve
ItemStatistics     the statistics of every item of one EvaluationRecord, for paired intervals
FertilityRecord    characters and tokens of every held-out document of one source under one vocabulary
GenerationRecord   characters and tokens of every generated answer of one task at one checkpoint

`aggregate` says how item statistics become a score (see aggregate.py): mean | ratio | bleu.
Scores are 0-100 as in the paper, except `ratio` metrics (bits per byte), which are plain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class RunRecord:
    """One training run. `choices` maps identity group -> level name."""

    run_id: str
    choices: Mapping[str, str]
    seed: int
    state: str
    trained_tokens: int | None = None
    budget_tokens: int | None = None


@dataclass(frozen=True)
class EvaluationRecord:
    """One metric of one task at one checkpoint of one run."""

    run_id: str
    trained_tokens: int
    suite: str
    task: str
    task_version: str
    profile: str  # paper | fair | both (no difference between the two)
    metric: str
    aggregate: str  # mean | ratio | bleu
    higher_is_better: bool
    num_fewshot: int
    num_items: int
    score: float
    prompt_digest: str
    checkpoint_digest: str  # weights, config and tokenizer: equal only where everything that answers is equal
    source: str = "ours"  # ours | paper
    folder: str = ""  # of the result, where it is not the task's name (a task asked once for each profile)
    fraction: float | None = None  # share of the dataset's items that was asked; None = all
    settings_digest: str = ""  # of how it was evaluated: batch size, dtype, device, versions; "" = not known


@dataclass(frozen=True)
class HealthRecord:
    """What went wrong, or nearly, in one task at one checkpoint: counts of items and shares (names: evaluate/rows.py)."""

    run_id: str
    trained_tokens: int
    task: str
    profile: str
    num_items: int
    health: Mapping[str, float]
    remarks: tuple[str, ...] = ()
    fraction: float | None = None  # share of the dataset's items that was asked; None = all


@dataclass(frozen=True)
class OverlapRecord:
    """Items of one task whose n-grams are in the training text of a run (evaluate/overlap.py). The same for every checkpoint."""

    run_id: str
    task: str
    profile: str
    prompt_digest: str
    num_items: int
    question_measured: int  # items whose question is long enough to have an n-gram
    question_half: int  # of these: at least half of its n-grams are in the training text
    gold_measured: int  # items that have an n-gram with a part of the gold answer
    gold_any: int  # of these: at least one of them is in the training text
    gold_half: int
    corpora: tuple[str, ...]


@dataclass(frozen=True)
class CurveRecord:
    """One row of the training curve."""

    run_id: str
    trained_tokens: int
    step: int
    loss: float
    learning_rate: float
    text_bytes: float | None = None
    flops: float | None = None
    grad_norm: float | None = None
    tokens_per_second: float | None = None


@dataclass(frozen=True)
class ItemStatistics:
    """Sufficient statistics of each item: `statistics` has shape (num_items, num_statistics)."""

    item_ids: tuple[str, ...]
    clusters: tuple[str, ...]
    statistics: npt.NDArray[np.float64]
    aggregate: str = "mean"
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FertilityRecord:
    """Held-out documents of one source under one vocabulary and under its base tokenizer. Arrays have shape (num_documents,).

    <s> and </s> are not counted. `base_tokens_N` is None for a vocabulary without a base (method scratch).
    """

    vocabulary: str  # id of the artefact
    tokenizer: str  # digest: equal digests give equal ids on every text
    is_base: bool  # the vocabulary is its base tokenizer, unchanged
    corpus: str  # id of the artefact
    text: str  # name of the source; <source>_en and <source>_ja for the sides of pairs
    document_ids: tuple[str, ...]
    characters_N: npt.NDArray[np.int64]
    bytes_N: npt.NDArray[np.int64]
    tokens_N: npt.NDArray[np.int64]
    base_tokens_N: npt.NDArray[np.int64] | None


@dataclass(frozen=True)
class GenerationRecord:
    """Greedy answers of one task at one checkpoint, as they were generated: before a stop string or a budget cut them.

    The end token is not counted. Arrays have shape (num_items,).
    """

    run_id: str
    trained_tokens: int
    task: str
    profile: str
    prompt_digest: str
    item_ids: tuple[str, ...]
    clusters: tuple[str, ...]
    characters_N: npt.NDArray[np.int64]
    tokens_N: npt.NDArray[np.int64]
    answers: tuple[str, ...]  # what was left after the cut
