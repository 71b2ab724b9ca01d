"""The lines of the paper's Tables 1-10, whoever measured them: the tables are functions of these.

ScoreRow       Tables 4, 5, 9    a model and its score on every task
TaskRow        Tables 2, 3       a task as it was asked
ShapeRow       Table 1           architecture and recipe
LayoutRow      Table 6           how one model was spread over devices
ThroughputRow  Table 7, D.4      what the devices did
PairsRow       Table 8           one use of a parallel corpus
ModelRow       Table 10          what a model was trained on, and where it is

None: not known. Never 0.
Reads/Writes  nothing.  Source  paper Tables 1-10, Appendix D.4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swallow_exp.record.schema import EvaluationRecord


@dataclass(frozen=True)
class ScoreRow:
    """A model: task -> score 0-100. `odd`: tasks that were asked differently from the rest of their column."""

    label: str
    size: str  # rows of one size stand together; the best among them is bold
    scores: Mapping[str, float | None]
    odd: frozenset[str] = frozenset()
    printed_average: float | None = None  # of a published row

    def average(self, tasks: Sequence[str]) -> float | None:
        """Mean over exactly these tasks; None when one is missing, not a number, or was asked differently."""
        found = [self.scores.get(task) for task in tasks]
        whole = [score for score in found if score is not None and math.isfinite(score)]
        if not tasks or len(whole) < len(tasks) or self.odd & set(tasks):
            return None
        return sum(whole) / len(whole)


def score_row(label: str, size: str, records: Sequence[EvaluationRecord], *, printed_average: float | None = None) -> ScoreRow:
    """The row of one model from its records, one a task."""
    scores: dict[str, float | None] = {record.task: record.score for record in records}
    assert len(scores) == len(records), [record.task for record in records]
    return ScoreRow(label, size, scores, printed_average=printed_average)


@dataclass(frozen=True)
class TaskRow:
    """A task: what its column says."""

    column: str
    benchmark: str
    category: str  # QA, RC, AS, AR, CR, MT
    instances: str
    num_fewshot: str
    metric: str


@dataclass(frozen=True)
class ShapeRow:
    """Architecture and recipe of one model."""

    label: str
    hidden_size: int | None = None
    num_heads: int | None = None
    num_layers: int | None = None
    context_length: int | None = None
    grouped_queries: bool | None = None
    tokens: float | None = None
    learning_rate: float | None = None


@dataclass(frozen=True)
class LayoutRow:
    """Degrees of parallelism of one model."""

    label: str
    data_parallel: int | None = None
    tensor_parallel: int | None = None
    pipeline_parallel: int | None = None
    sequence_parallel: bool | None = None
    distributed_optimizer: bool | None = None

    @property
    def devices(self) -> int | None:
        """Devices it takes: the product of the three degrees."""
        degrees = (self.data_parallel, self.tensor_parallel, self.pipeline_parallel)
        known = [degree for degree in degrees if degree is not None]
        return math.prod(known) if len(known) == len(degrees) else None


@dataclass(frozen=True)
class ThroughputRow:
    """Speed of one training run, and its computation. execution_efficiency: a share of 1."""

    label: str
    nodes: int | None = None
    tflops_per_device: float | None = None
    execution_efficiency: float | None = None
    flops: float | None = None


@dataclass(frozen=True)
class PairsRow:
    """One use of a parallel corpus. label: empty where format and order say it all."""

    format: str  # next_token_prediction | translation_instruction
    order: str  # mixed | two_staged
    tokens: float | None = None
    label: str = ""


@dataclass(frozen=True)
class ModelRow:
    """A model that was evaluated."""

    label: str
    training: str
    where: str
    is_run: bool = field(default=False)  # `where` is a run of ours, not a name on Hugging Face
