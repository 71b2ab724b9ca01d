"""Batches are a pure function of (stream, step, rank)."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tiny_run import GLOBAL_BATCH, SEQUENCE_LENGTH, FakeSequence, FakeStream

from swallow_exp.config.schema import BudgetConfig
from swallow_exp.train.data import IGNORED, StepBatches, mark_steps_of


def batches(stream: FakeStream, rank: int, num_processes: int, start_step: int = 0) -> StepBatches:
    return StepBatches(stream, global_batch_sequences=GLOBAL_BATCH, start_step=start_step, rank=rank, num_processes=num_processes)


@pytest.mark.parametrize("num_processes", [1, 2, 4, 8])
def test_processes_share_a_step_without_overlap_or_gap(num_processes: int) -> None:
    stream = FakeStream(300)
    parts = [batches(stream, rank, num_processes)[3] for rank in range(num_processes)]
    whole = [stream[3 * GLOBAL_BATCH + row] for row in range(GLOBAL_BATCH)]
    tokens = np.stack([sequence.tokens for sequence in whole])
    flags = np.stack([sequence.loss for sequence in whole])
    assert torch.equal(torch.cat([part.inputs_RT for part in parts]), torch.tensor(tokens[:, :-1]))
    targets = torch.cat([part.targets_RT for part in parts]).numpy()
    assert (targets[flags] == tokens[:, 1:][flags]).all()
    assert (targets[~flags] == IGNORED).all() and not flags.all()
    assert {part.num_trained for part in parts} == {int(flags.sum())}


def test_processes_hold_different_numbers_of_trained_targets() -> None:
    stream = FakeStream(300)
    first, second = (int((batches(stream, rank, 2)[0].targets_RT != IGNORED).sum()) for rank in (0, 1))
    assert first > 3 * second > 0  # what a mean over processes would get wrong


def test_iteration_starts_at_the_step_of_the_saved_state() -> None:
    stream = FakeStream(300)
    resumed = list(batches(stream, 0, 2, start_step=17))
    assert len(resumed) == stream.num_steps - 17
    assert torch.equal(resumed[0].inputs_RT, batches(stream, 0, 2)[17].inputs_RT)
    assert len(batches(stream, 0, 2, start_step=17)) == stream.num_steps
    assert resumed[0].inputs_RT.shape == (GLOBAL_BATCH // 2, SEQUENCE_LENGTH)


def test_positions_come_with_their_rows() -> None:
    class Documents(FakeStream):
        def __getitem__(self, position: int) -> FakeSequence:
            return dataclasses.replace(super().__getitem__(position), positions=np.arange(SEQUENCE_LENGTH) % (position + 2))

    parts = [batches(Documents(300), rank, 2)[1].positions_RT for rank in (0, 1)]
    expected = np.stack([np.arange(SEQUENCE_LENGTH) % (position + 2) for position in range(GLOBAL_BATCH, 2 * GLOBAL_BATCH)])
    assert torch.equal(torch.cat([part for part in parts if part is not None]), torch.tensor(expected))
    assert batches(FakeStream(300), 0, 2)[1].positions_RT is None


def test_marks_just_before_the_end_join_the_others() -> None:
    class Steps:
        """Steps of 100 tokens, 20 of them."""

        def step_of_mark(self, mark_tokens: int) -> int:
            return -(-mark_tokens // 100)

        def mark_steps(self, every_tokens: int) -> dict[int, int]:
            return {self.step_of_mark(mark): mark for mark in (*range(0, 2_000, every_tokens), 2_000)}

    budget = BudgetConfig(name="b", tokens=2_000, checkpoint_every_tokens=900, final_checkpoints=3, final_checkpoint_every_tokens=100)
    assert mark_steps_of(Steps(), budget) == {0: 0, 9: 900, 18: 1_800, 20: 2_000, 17: 1_700, 19: 1_900}  # type: ignore[arg-type]
    assert budget.marks() == [0, 900, 1_700, 1_800, 1_900, 2_000]
    budget.final_checkpoints = 0
    assert list(mark_steps_of(Steps(), budget)) == [0, 9, 18, 20]  # type: ignore[arg-type]
