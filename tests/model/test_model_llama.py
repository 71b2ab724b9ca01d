"""The real Llama 2 tokenizer and an expansion of it, where they are at hand (SWALLOW_TEST_DATA)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from swallow_exp.model.rows import AddedPieces, added_rows, row_facts
from swallow_exp.vocabulary.tokenizer import added_piece_segments, load_tokenizer


@pytest.fixture(scope="module")
def data() -> Path:
    folder = os.environ.get("SWALLOW_TEST_DATA")
    if not folder:
        pytest.skip("SWALLOW_TEST_DATA names no folder with llama2_tokenizer.model and golden/; the same is tested on a small tokenizer")
    return Path(folder)


def test_rows_of_the_real_expansion(data: Path) -> None:
    base, golden = data / "llama2_tokenizer.model", data / "golden" / "expanded_swallow_style_43488.model"
    segments = added_piece_segments(golden, base)
    table = torch.randn(32_000, 64, generator=torch.Generator().manual_seed(0)) * 0.02
    rows = added_rows(table, AddedPieces(segments, "subword_mean"), name="embedding")
    tokenizer = load_tokenizer(golden)

    def row(piece: str) -> torch.Tensor:
        number = tokenizer.piece_to_id(piece)
        assert number >= 32_000, piece
        return rows[number - 32_000]

    assert rows.shape == (11_488, 64)
    for one, other in (("ない", "いな"), ("から", "らか"), ("こと", "とこ"), ("また", "たま"), ("また", "たまたま")):
        assert torch.equal(row(one), row(other)), (one, other)
    assert not torch.equal(row("ない"), row("から"))
    facts = row_facts(table, rows)
    assert facts.sharing == 1_236  # 10.8%
    assert facts.added_norm / facts.base_norm == pytest.approx(0.59, abs=0.03)
