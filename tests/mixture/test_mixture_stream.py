"""Streams: a pure function of (plan, index), the same for every world size and resume point; documents tile it; positions restart."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_shards import B, T, config_of, make_shard, open_plan

from swallow_exp.artefact.manifest import Artefact
from swallow_exp.mixture.stream import SequenceStream, open_stream, places_in_documents
from swallow_exp.train.data import IGNORED, StepBatches


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artefact]:
    root = tmp_path_factory.mktemp("shards")
    flags = (np.arange(801) % 3 == 0).astype(np.uint8)
    lengths = [1, 2, 30, 7, 8, 1, 1, 16, 200, 135]
    return {
        "miniature_japanese": make_shard(root, "ja", 1601, first_id=0, lengths=[*lengths, 1200]),
        "miniature_english": make_shard(root, "en", 401, first_id=10_000, lengths=lengths),
        "miniature_pairs": make_shard(root, "pairs", 801, first_id=20_000, flags=flags, lengths=[*([9] * 89)]),
    }


@pytest.fixture(scope="module")
def stream(shards: dict[str, Artefact], tmp_path_factory: pytest.TempPathFactory) -> SequenceStream:
    return open_plan(config_of("parallel=ti_mixed", "optim.global_batch_sequences=64"), shards, tmp_path_factory.mktemp("out"))[1]


def batches(stream: SequenceStream, rank: int, num_processes: int, start_step: int = 0) -> StepBatches:
    return StepBatches(stream, global_batch_sequences=64, start_step=start_step, rank=rank, num_processes=num_processes)


@pytest.mark.parametrize("num_processes", [1, 2, 4, 8, 16, 32, 64])
def test_every_world_size_sees_the_same_global_order(num_processes: int, stream: SequenceStream) -> None:
    for step in range(stream.num_steps):
        parts = [batches(stream, rank, num_processes)[step] for rank in range(num_processes)]
        together = np.concatenate([part.inputs_RT.numpy() for part in parts])
        assert (together == np.stack([stream[step * 64 + row].tokens[:-1] for row in range(64)])).all()
        flagged = sum(int((part.targets_RT != IGNORED).sum()) for part in parts)
        assert {part.num_trained for part in parts} == {flagged}


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_resuming_anywhere_equals_the_straight_run(stream: SequenceStream, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, stream.num_steps))
    num_processes = data.draw(st.sampled_from([1, 2, 8, 64]))
    rank = data.draw(st.integers(0, num_processes - 1))
    straight = list(batches(stream, rank, num_processes))
    resumed = list(batches(stream, rank, num_processes, start_step=start))
    assert len(resumed) == stream.num_steps - start
    for one, other in zip(straight[start:], resumed, strict=True):
        assert (one.inputs_RT == other.inputs_RT).all() and (one.targets_RT == other.targets_RT).all()


def test_flags_sum_to_the_trained_tokens_of_the_plan(stream: SequenceStream) -> None:
    trained = sum(batch.num_trained for batch in batches(stream, 0, 4))
    assert trained == stream.progress(stream.num_steps).trained_tokens
    assert trained < stream.progress(stream.num_steps).positions == len(stream) * T


ENGLISH = config_of("mixture=miniature_en", "optim.global_batch_sequences=1")


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 60), min_size=8, max_size=60).filter(lambda lengths: sum(lengths) > 3 * T * B),
    seed=st.integers(0, 9),
    epochs=st.integers(1, 3),
)
def test_every_document_comes_once_an_epoch(lengths: list[int], seed: int, epochs: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The windows of one epoch tile the shard: every target token once, from the second to the last whole sequence's end."""
    root = tmp_path_factory.mktemp("tiles")
    shard = make_shard(root, "en", sum(lengths), first_id=0, lengths=lengths)
    available = (sum(lengths) - 1) // T
    config = dataclasses.replace(ENGLISH, seed=seed, budget=dataclasses.replace(ENGLISH.budget, tokens=epochs * available * T))
    _, stream = open_plan(config, {"miniature_english": shard}, root / "out")
    for epoch in range(epochs):
        targets = [stream[i].tokens[1:] for i in range(epoch * available, (epoch + 1) * available)]
        assert sorted(np.concatenate(targets).tolist()) == list(range(1, available * T + 1))
    assert len(stream) == epochs * available


@given(st.lists(st.integers(1, 25), min_size=1, max_size=40), st.data())
def test_places_restart_at_every_document(lengths: list[int], data: st.DataObject) -> None:
    total = sum(lengths)
    length = data.draw(st.integers(1, total))
    start = data.draw(st.integers(0, total - length))
    plain = [place for document in lengths for place in range(document)]
    begins = list(itertools.accumulate([0, *lengths[:-1]]))
    expected = [token - max(start, max(begin for begin in begins if begin <= token)) for token in range(start, start + length)]
    places = places_in_documents(np.cumsum(lengths), start, length)
    assert places.dtype == np.int64 and places.tolist() == expected
    if start == 0:
        assert expected == plain[:length]


def test_positions_are_given_with_attention_inside_documents(shards: dict[str, Artefact], tmp_path: Path) -> None:
    words = ["parallel=ti_mixed"]
    _, packed = open_plan(config_of(*words), shards, tmp_path)
    plan, inside = open_plan(config_of(*words, "mixture.attention=document"), shards, tmp_path)
    begins = {}
    for name, first_id in (("miniature_japanese", 0), ("miniature_english", 10_000), ("miniature_pairs", 20_000)):
        ends = np.load(shards[name].folder / "offsets.npy")
        begins[first_id] = {first_id, *(first_id + ends[:-1]).tolist()}
    restarts = 0
    for i in range(len(inside)):
        sequence = inside[i]
        assert packed[i].positions is None and (packed[i].tokens == sequence.tokens).all() and (packed[i].loss == sequence.loss).all()
        assert sequence.positions is not None and sequence.positions.shape == (T,) and sequence.positions[0] == 0
        starts = begins[int(sequence.tokens[0]) // 10_000 * 10_000]
        for place in range(1, T):
            begins_here = int(sequence.tokens[place]) in starts
            assert sequence.positions[place] == (0 if begins_here else sequence.positions[place - 1] + 1)
            restarts += begins_here
    assert restarts > 50
    inputs = {
        "mixture": {"folder": plan.folder.relative_to(tmp_path), "digest": plan.digest},
        "tokens": {name: {"folder": artefact.folder, "digest": "made"} for name, artefact in shards.items()},
    }
    for artefact in shards.values():
        (artefact.folder / "manifest.json").write_text('{"digest": "made"}', encoding="utf-8")
    opened = open_stream(tmp_path, inputs, attention="document")[3].positions
    assert opened is not None and (opened == inside[3].positions).all()
    assert open_stream(tmp_path, inputs)[3].positions is None


def test_there_is_nothing_before_and_after_the_stream(stream: SequenceStream) -> None:
    for position in (-1, len(stream)):
        with pytest.raises(IndexError):
            stream[position]


def test_flags_of_plain_sources_cannot_be_written(shards: dict[str, Artefact], tmp_path: Path) -> None:
    """They are one array for all sequences."""
    _, plain = open_plan(config_of(), shards, tmp_path)
    with pytest.raises(ValueError, match="read-only"):
        plain[0].loss[0] = False
