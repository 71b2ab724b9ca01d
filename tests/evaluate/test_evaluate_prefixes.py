"""Shared runs of tokens: computed once, each sequence whole, the same plan whatever the order."""

from __future__ import annotations

import random

import pytest

from swallow_exp.evaluate.engine.prefixes import MIN_STEM, Limits, Pack, build_forest, lay_out, plan_packs


def _sequences(seed: int) -> tuple[list[tuple[int, ...]], list[int]]:
    """Shots of all, paragraphs of some, questions, endings; few different ids, so that accidents happen."""
    draw = random.Random(seed)

    def some(low: int, high: int) -> list[int]:
        return [draw.randrange(3, 6) for _ in range(draw.randrange(low, high))]

    shots = some(0, 60)
    sequences, private = [], []
    for _ in range(draw.randrange(1, 6)):
        paragraph = [*shots, *some(0, 40)]
        for _ in range(draw.randrange(1, 5)):
            question = [*paragraph, *some(1, 9)]
            for _ in range(draw.randrange(1, 4)):
                ending = some(1, 5)
                sequences.append((*question, *ending))
                private.append(len(ending))
    return sequences, private


def _plan(sequences: list[tuple[int, ...]], private: list[int], limits: Limits) -> list[Pack]:
    return plan_packs(build_forest(sequences, private, private), limits)


@pytest.mark.parametrize("seed", range(30))
def test_every_sequence_is_read_whole_and_once(seed: int) -> None:
    sequences, private = _sequences(seed)
    limits = Limits(tokens=50, kept=12, rows=5)
    seen: list[int] = []
    for pack in _plan(sequences, private, limits):
        layout = lay_out(pack, sequences)
        stem = [token for node in pack.stem for token in sequences[node.example][node.start : node.end]]
        assert len(stem) == pack.stem_tokens and len(layout.ids) == pack.tokens and len(layout.paths) == pack.rows
        for sequence in layout.paths:
            places = layout.places(sequence)
            assert (*stem, *(layout.ids[place] for place in places)) == sequences[sequence]
            assert [layout.positions[place] for place in places] == list(range(len(stem), len(sequences[sequence])))
        if pack.rows > 1:
            assert pack.tokens <= limits.tokens and pack.rows <= limits.rows and sum(private[s] for s in layout.paths) <= limits.kept
        assert pack.longest == max(len(sequences[s]) for s in layout.paths)
        seen += layout.paths
    assert sorted(seen) == list(range(len(sequences)))


@pytest.mark.parametrize("seed", range(10))
def test_the_plan_does_not_depend_on_the_order(seed: int) -> None:
    sequences, private = _sequences(seed)
    order = random.Random(seed + 1).sample(range(len(sequences)), len(sequences))

    def read(given: list[tuple[int, ...]], own: list[int]) -> list[list[int]]:
        return [lay_out(pack, given).ids for pack in _plan(given, own, Limits(50, 12, 5))]

    assert read(sequences, private) == read([sequences[i] for i in order], [private[i] for i in order])


def test_shots_are_one_stem_and_choices_share_their_question() -> None:
    shots = tuple(range(100, 160))
    sequences = [(*shots, *([10 + question] * 8), 20 + choice) for question in range(12) for choice in range(4)]
    packs = _plan(sequences, [1] * len(sequences), Limits(50, 100, 100))
    assert {tuple((node.start, node.end) for node in pack.stem) for pack in packs} == {((0, 60),)}
    assert sum(pack.tokens for pack in packs) == 12 * (8 + 4)
    assert all(pack.tokens == 48 for pack in packs)  # four questions of 12 tokens


def test_short_runs_are_no_stems() -> None:
    begin = tuple(range(MIN_STEM - 1))
    sequences = [(*begin, *([100 + n] * 30)) for n in range(6)]
    packs = _plan(sequences, [1] * 6, Limits(50, 100, 100))
    assert [pack.stem for pack in packs] == [()] * 6 and all(pack.tokens == MIN_STEM - 1 + 30 for pack in packs)


def test_a_sequence_beyond_every_limit_is_a_pack_of_its_own() -> None:
    sequences = [tuple(range(500)), (1, 2)]
    packs = _plan(sequences, [400, 1], Limits(50, 12, 5))
    assert [pack.tokens for pack in packs] == [500, 2] and all(pack.rows == 1 for pack in packs)
