"""Rows of added pieces against the plainest computation of each initialisation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from swallow_exp.config import VOCABULARY_INITS
from swallow_exp.model import rows as room
from swallow_exp.model.rows import AddedPieces, added_rows, median_norm, row_facts, subword_mean

TABLE = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
SEGMENTS = [[3, 4], [4, 3], [5, 6, 7], [8], [9, 9, 10], [3, 4, 3, 4]]


def rows(init: str, table: torch.Tensor = TABLE, *, seed: int = 0, name: str = "embedding") -> torch.Tensor:
    return added_rows(table, AddedPieces(SEGMENTS, init, seed, deviation=0.5), name=name)


def test_mean_of_rows() -> None:
    table = torch.tensor([[0.0, 0.0], [1.0, 10.0], [4.0, 40.0]])
    assert subword_mean(table, [[1], [1, 2], [1, 1, 2]]).tolist() == [[1.0, 10.0], [2.5, 25.0], [2.0, 20.0]]


def test_every_initialisation_is_what_it_says() -> None:
    mean = torch.stack([TABLE[segment].mean(0) for segment in SEGMENTS])
    assert torch.allclose(rows("subword_mean"), mean, atol=1e-6)
    assert torch.allclose(rows("subword_mean_with_prefix"), mean, atol=1e-6)  # the segments themselves differ
    assert torch.equal(rows("first_subword"), TABLE[[segment[0] for segment in SEGMENTS]])
    assert torch.equal(rows("last_subword"), TABLE[[segment[-1] for segment in SEGMENTS]])
    assert torch.allclose(rows("global_mean"), TABLE.mean(0).expand(len(SEGMENTS), -1), atol=1e-6)
    matched = rows("subword_mean_norm_matched")
    assert torch.allclose(matched.norm(dim=1), TABLE.norm(dim=1).median().expand(len(SEGMENTS)), rtol=1e-5)
    assert torch.allclose(torch.nn.functional.cosine_similarity(matched, mean), torch.ones(len(SEGMENTS)), atol=1e-6)


def test_random_rows_depend_on_seed_and_table_alone() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = rows("normal")
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(first, rows("normal")) and torch.equal(first, rows("normal", TABLE + 1))
    assert not torch.equal(first, rows("normal", seed=1)) and not torch.equal(first, rows("normal", name="head"))
    many = added_rows(TABLE, AddedPieces([[3]] * 20_000, "normal", 0, deviation=0.5), name="embedding")
    assert float(many.std()) == pytest.approx(0.5, rel=0.01) and abs(float(many.mean())) < 0.01


@pytest.mark.parametrize("init", VOCABULARY_INITS)
def test_rows_do_not_depend_on_how_they_are_cut_into_blocks(init: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rows(init)
    assert whole.dtype == torch.float32 and len(whole) == len(SEGMENTS)
    monkeypatch.setattr(room, "BLOCK_NUMBERS", 2 * TABLE.shape[1])
    assert torch.allclose(rows(init), whole, atol=1e-6)
    half = rows(init, TABLE.bfloat16())
    assert half.dtype == torch.bfloat16
    assert torch.allclose(half.float(), rows(init, TABLE.bfloat16().float()), rtol=1e-2, atol=1e-6)  # rounded once, at the end


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 39), min_size=1, max_size=12), st.randoms(), st.integers(1, 3))
def test_pieces_of_the_same_subwords_get_the_same_row_to_the_bit(segment: list[int], random: object, times: int) -> None:
    shuffled = list(segment) * times
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for init in ("subword_mean", "subword_mean_norm_matched"):
        one, other = added_rows(TABLE, AddedPieces([segment, shuffled], init), name="embedding")
        assert torch.equal(one, other)


def test_sharing_and_norms_are_counted() -> None:
    facts = row_facts(TABLE, rows("subword_mean"))
    assert facts.sharing == 3  # [3, 4], [4, 3] and [3, 4, 3, 4]
    assert facts.base_norm == pytest.approx(float(TABLE.norm(dim=1).median()))
    assert facts.added_norm == pytest.approx(float(rows("subword_mean").norm(dim=1).median()))
    assert row_facts(TABLE, rows("global_mean")).sharing == len(SEGMENTS)
    assert row_facts(TABLE, rows("normal")).sharing == 0
    assert median_norm(torch.ones(3, 4).bfloat16()) == 2.0


def test_an_odd_number_of_rows_has_a_median() -> None:
    assert median_norm(torch.from_numpy(np.diag([1.0, 2.0, 5.0]).astype(np.float32))) == 2.0
