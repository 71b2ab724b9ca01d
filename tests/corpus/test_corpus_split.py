"""The split: a function of the id alone."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from swallow_exp.corpus.document import Document
from swallow_exp.corpus.write import SPLITS, SplitWriter, is_heldout, split_file, split_position

IDS = st.text(st.characters(exclude_categories=("Cs",)))
FRACTIONS = st.floats(0.0, 1.0, exclude_max=True)


@settings(deadline=None)
@given(IDS, FRACTIONS, FRACTIONS)
def test_a_larger_fraction_holds_out_all_that_a_smaller_one_does(document_id: str, one: float, other: float) -> None:
    small, large = sorted((one, other))
    assert is_heldout(document_id, large) or not is_heldout(document_id, small)
    assert not is_heldout(document_id, 0.0)


@settings(deadline=None)
@given(IDS)
def test_the_position_is_the_start_of_sha256(document_id: str) -> None:
    assert f"{split_position(document_id):016x}" == hashlib.sha256(document_id.encode()).hexdigest()[:16]


@settings(deadline=None)
@given(st.lists(IDS, min_size=1, max_size=20, unique=True), FRACTIONS, st.data())
def test_neither_order_nor_company_matters(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str], fraction: float, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp()
    split = written(folder, ids, fraction)
    assert written(folder, data.draw(st.permutations(ids)), fraction) == split
    assert split["train"], "train is never empty"
    expected = {name for name in ids if is_heldout(name, fraction)}
    stayed = expected - split["heldout"]
    assert split["heldout"] <= expected
    assert len(stayed) == (1 if len(expected) == len(ids) else 0)
    assert all(split_position(name) >= split_position(other) for name in stayed for other in expected)


def written(folder: Path, ids: list[str], fraction: float) -> dict[str, set[str]]:
    with SplitWriter(folder, fraction) as writer:
        for name in ids:
            writer.add(Document(name, f"text of {name}"), name)
    split = {}
    for name in SPLITS:
        with zstandard.open(split_file(folder, name), "rb") as handle:
            split[name] = {json.loads(line)["id"] for line in handle.read().split(b"\n") if line}
        assert writer.counts[name].documents == len(split[name])
    assert len(split["train"]) + len(split["heldout"]) == len(ids)
    return split


def test_known_ids_stay_where_they_are() -> None:
    """A changed rule would move documents between train and held out of finished corpora."""
    assert [name for name in (f"ja/a.jsonl:{number}" for number in range(1, 61)) if is_heldout(name, 0.1)] == KNOWN_HELDOUT


def test_the_share_is_the_fraction() -> None:
    held = sum(is_heldout(f"document {number}", 0.05) for number in range(20_000))
    assert 880 < held < 1_120  # 1,000 +- 4 standard deviations


KNOWN_HELDOUT = ["ja/a.jsonl:1", "ja/a.jsonl:18", "ja/a.jsonl:29", "ja/a.jsonl:49"]
