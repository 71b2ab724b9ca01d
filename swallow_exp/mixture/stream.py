"""The stream of packed sequences: a pure function of (plan, index).

A sequence is a window of sequence_length + 1 tokens of one shard, cut every sequence_length tokens: its first
sequence_length tokens are the input, its last sequence_length the targets. Documents are packed without padding. Resuming needs
one integer, and the number of processes changes nothing.

attention packed     across the ends of documents, positions and masks are not reset (as in the authors' training scripts)
attention document   inside each document: every sequence says at which place of its document each input token stands

Reads  artefacts/mixture/*/{plan.json, source.npy, index.npy, steps.npy}, artefacts/tokens/*
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from swallow_exp.artefact.check import require_sound
from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.manifest import Artefact, find_artefact
from swallow_exp.artefact.units import token_marks
from swallow_exp.mixture.build_plan import PLAN_NAME, STEP_COLUMNS
from swallow_exp.tokens.shard import TokenShard, open_shard


@dataclass(frozen=True)
class PackedSequence:
    """tokens: (T + 1,) int64; loss: (T,) bool, flags of the targets tokens[1:] (read-only).

    positions   (T,) int64, with attention document: place of each input token in its document, 0 at every document's first token and
                at the sequence's first token; None with attention packed
    """

    tokens: npt.NDArray[np.int64]
    loss: npt.NDArray[np.bool_]
    positions: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Progress:
    """Totals after some optimizer steps: loss-bearing targets, all targets, bytes of text."""

    trained_tokens: int
    positions: int
    text_bytes: int


class SequenceStream:
    """Random access to every sequence of a plan, in training order."""

    def __init__(self, plan: Artefact, shards: Mapping[str, TokenShard], *, attention: str = "packed") -> None:
        """`shards` maps each source of the plan to its open shard."""
        assert attention in ("packed", "document"), attention
        facts = read_json(plan.folder / PLAN_NAME)
        self.sequence_length = int(facts["sequence_length"])
        self.global_batch_sequences = int(facts["global_batch_sequences"])
        self.budget_tokens = int(facts["budget_tokens"])
        self.budget_counts = str(facts.get("budget_counts", STEP_COLUMNS[0]))
        self._names = [str(source["name"]) for source in facts["sources"]]
        opened = [shards[name] for name in self._names]
        # plain arrays over the maps: slicing a memmap object costs more than the copy of a sequence
        self._tokens = [np.asarray(shard.tokens) for shard in opened]
        self._loss = [None if shard.loss is None else np.asarray(shard.loss) for shard in opened]
        self._ends = [shard.offsets for shard in opened] if attention == "document" else None
        self._source = np.asarray(np.load(plan.folder / "source.npy", mmap_mode="r"))
        self._index = np.asarray(np.load(plan.folder / "index.npy", mmap_mode="r"))
        self._steps = np.load(plan.folder / "steps.npy")
        self._all_trained = np.ones(self.sequence_length, dtype=np.bool_)
        self._all_trained.flags.writeable = False

    def __len__(self) -> int:
        """Sequences of the whole run."""
        return len(self._source)

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return len(self._steps) - 1

    def __getitem__(self, position: int) -> PackedSequence:
        """The sequence at `position` of the stream. A negative or too large position raises IndexError."""
        if position < 0:
            raise IndexError(position)
        source, length = int(self._source[position]), self.sequence_length
        start = int(self._index[position]) * length
        end = start + length + 1
        tokens = self._tokens[source][start:end].astype(np.int64)
        flags = self._loss[source]
        loss = self._all_trained if flags is None else flags[start + 1 : end].astype(np.bool_)
        positions = None if self._ends is None else places_in_documents(self._ends[source], start, length)
        return PackedSequence(tokens, loss, positions)

    def source_name(self, position: int) -> str:
        """The source of the sequence at `position`."""
        return self._names[int(self._source[position])]

    def progress(self, step: int) -> Progress:
        """Totals after `step` optimizer steps."""
        trained_tokens, positions, text_bytes = (int(value) for value in self._steps[step])
        return Progress(trained_tokens, positions, text_bytes)

    def step_of_mark(self, mark_tokens: int) -> int:
        """First step at or past the mark, in the count the budget names ("20B" is the first step at or past 20,000,000,000)."""
        counted = self._steps[:, STEP_COLUMNS.index(self.budget_counts)]
        return min(int(np.searchsorted(counted, mark_tokens)), self.num_steps)

    def mark_steps(self, every_tokens: int) -> dict[int, int]:
        """{step: mark} of every checkpoint, token 0 and the end included; marks in the count the budget names."""
        return {self.step_of_mark(mark): mark for mark in token_marks(self.budget_tokens, every_tokens)}


def places_in_documents(ends: npt.NDArray[np.int64], start: int, length: int) -> npt.NDArray[np.int64]:
    """Place of each of the tokens [start, start + length) in its document, counted from the window's start in its first. (length,).

    ends   (documents,) where each document ends in the shard; looked up in O(log documents)
    """
    first, last = ends.searchsorted(start, side="right"), ends.searchsorted(start + length - 1, side="right")
    borders = np.empty(last - first + 2, dtype=np.int64)
    borders[0], borders[-1] = 0, length
    borders[1:-1] = ends[first:last]
    borders[1:-1] -= start
    begins = np.repeat(borders[:-1], borders[1:] - borders[:-1])
    return np.subtract(_counted(length), begins, out=begins)


@lru_cache(maxsize=4)
def _counted(length: int) -> npt.NDArray[np.int64]:
    counted = np.arange(length, dtype=np.int64)
    counted.flags.writeable = False
    return counted


def open_stream(out: Path, inputs: Mapping[str, Any], *, attention: str = "packed") -> SequenceStream:
    """The stream of a run whose inputs.json is `inputs` (folders relative to the output root `out`).

    attention   the mixture's: packed | document. The plan and its order do not depend on it.
    Raises RequestError when the plan or a shard is gone, or is not what was written.
    """
    plan = _input(out, inputs["mixture"])
    require_sound(plan)
    shards = {name: open_shard(_input(out, source)) for name, source in inputs["tokens"].items()}
    return SequenceStream(plan, shards, attention=attention)


def _input(out: Path, reference: Mapping[str, str]) -> Artefact:
    artefact = find_artefact(out / reference["folder"])
    if artefact is None or artefact.digest != reference["digest"]:
        raise RequestError(
            f"{out / reference['folder']} {'is not there' if artefact is None else 'is another artefact now'}",
            expected=f"the finished artefact {reference['digest'][:12]} that the run is made from",
            remedy="run the run's `swallow train` command: it builds what is missing",
        )
    return artefact
