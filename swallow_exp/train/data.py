"""Step -> this process's part of the step's sequences. A pure function of (stream, step, rank): resuming needs one integer.

Step g owns sequences [g * B, (g + 1) * B) of the stream; process r of P takes its contiguous B / P of them.

Legend: R rows of this process, T sequence_length.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from swallow_exp.artefact.units import final_marks
from swallow_exp.config.schema import BudgetConfig
from swallow_exp.mixture.stream import SequenceStream
from swallow_exp.model.loss import IGNORED


def mark_steps_of(stream: SequenceStream, budget: BudgetConfig) -> dict[int, int]:
    """{step: mark} of every checkpoint a budget asks for, those just before the end too."""
    final = final_marks(budget.tokens, budget.final_checkpoints, budget.final_checkpoint_every_tokens)
    return {stream.step_of_mark(mark): mark for mark in final} | stream.mark_steps(budget.checkpoint_every_tokens)


class StepBatch(NamedTuple):
    """One process's part of one step (a tuple, because Lightning moves tuples to the device)."""

    inputs_RT: torch.Tensor  # int64
    targets_RT: torch.Tensor  # int64, IGNORED where the flag is off
    num_trained: int  # loss-bearing targets of the whole step, over all processes
    first_position: int  # of its rows in the stream; the others follow
    positions_RT: torch.Tensor | None = None  # int64, from 0 in each document; None: attention crosses documents


class StepBatches:
    """Batches of one process, one a step, from `start_step` on. Its length is the whole run's, as Lightning counts from the start."""

    def __init__(self, stream: SequenceStream, *, global_batch_sequences: int, start_step: int, rank: int, num_processes: int) -> None:
        """`rank` of `num_processes` processes that share each step (a tensor group counts as one)."""
        assert global_batch_sequences % num_processes == 0
        assert len(stream) == stream.num_steps * global_batch_sequences
        self._stream = stream
        self._global_batch_sequences = global_batch_sequences
        self._start_step = start_step
        self._rank, self._num_processes = rank, num_processes
        self.waited_seconds = 0.0  # that training has waited for batches

    def __len__(self) -> int:
        """Steps of the whole run."""
        return self._stream.num_steps

    def __getitem__(self, step: int) -> StepBatch:
        """This process's part of step `step`, and how many loss-bearing targets all processes have in it."""
        whole = self._global_batch_sequences
        sequences = [self._stream[position] for position in range(step * whole, (step + 1) * whole)]
        # every process reads the flags of all, so the common denominator costs no communication
        num_trained = int(sum(int(np.count_nonzero(sequence.loss)) for sequence in sequences))
        share = whole // self._num_processes
        own = sequences[self._rank * share : (self._rank + 1) * share]
        tokens = np.stack([sequence.tokens for sequence in own])
        targets = np.where(np.stack([sequence.loss for sequence in own]), tokens[:, 1:], IGNORED)
        positions = [sequence.positions for sequence in own if sequence.positions is not None]
        assert len(positions) in (0, len(own)), "positions come with every sequence or with none"
        return StepBatch(
            torch.from_numpy(tokens[:, :-1].copy()),
            torch.from_numpy(targets),
            num_trained,
            step * whole + self._rank * share,
            torch.from_numpy(np.stack(positions)) if positions else None,
        )

    def __iter__(self) -> Iterator[StepBatch]:
        """From the start step to the end of the run."""
        for step in range(self._start_step, len(self)):
            asked = time.perf_counter()
            batch = self[step]
            self.waited_seconds += time.perf_counter() - asked
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the step decides. (Lightning asks loaders that can resume for a state.)"""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing: the step decides."""
