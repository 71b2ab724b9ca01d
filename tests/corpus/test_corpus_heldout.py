"""Held out and train never meet, by id or by text, whatever the files look like and whatever is added later."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from swallow_exp.config.schema import SourceConfig
from swallow_exp.corpus.build_corpus import build_corpus, read_documents, read_pairs
from swallow_exp.corpus.write import is_heldout

FRACTION = 0.3
KINDS = [("documents", "ja"), ("documents", "en"), ("pairs", "en-ja")]
ID = st.integers(0, 40).map(lambda number: f"d{number}")
WORD = st.sampled_from(["a", "b", "c", "あ", "い", "\u2028x", " y\u3000"])
Row = tuple[str, str, str]  # id, two texts
ROWS = st.lists(st.tuples(ID, WORD, WORD), min_size=1, max_size=25)
Split = dict[str, list[tuple[str, tuple[str, ...]]]]


def split_of(folder: Path, kind: str, language: str, files: dict[str, list[Row]]) -> Split:
    """{train, heldout} -> (id, texts) of a corpus of these files."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, rows in files.items():
        lines = [{"id": i, "en": one, "ja": two + "です"} if kind == "pairs" else {"id": i, "text": one + two} for i, one, two in rows]
        (folder / name).write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    config: dict[str, Any] = {"name": "c", "kind": kind, "language": language, "id_field": "id", "heldout_fraction": FRACTION}
    corpus = build_corpus(SourceConfig(files=["*.jsonl"], **config), out=folder / "out", data=folder)
    read = read_pairs if kind == "pairs" else read_documents
    return {split: [(row.id, row.texts) for row in read(corpus, split)] for split in ("train", "heldout")}


@pytest.mark.parametrize(("kind", "language"), KINDS)
@settings(deadline=None, max_examples=12)
@given(first=ROWS, second=ROWS)
def test_disjoint_by_id_and_by_text(
    tmp_path_factory: pytest.TempPathFactory, kind: str, language: str, first: list[Row], second: list[Row]
) -> None:
    """Ids and texts repeat here as much as they like."""
    split = split_of(tmp_path_factory.getbasetemp() / "heldout", kind, language, {"a.jsonl": first, "b.jsonl": second})
    train, heldout = split["train"], split["heldout"]
    assert train
    ids = [row_id for rows in split.values() for row_id, _ in rows]
    assert len(ids) == len(set(ids))
    stems = {name: {row_id.split("#")[0] for row_id, _ in rows} for name, rows in split.items()}  # twins of one id lie on one side,
    all_held = all(is_heldout(stem, FRACTION) for stem in stems["train"])  # unless all were held out and one had to train
    assert all_held or not stems["train"] & stems["heldout"]
    assert not {texts for _, texts in heldout} & {texts for _, texts in train}


@pytest.mark.parametrize(("kind", "language"), KINDS)
@settings(deadline=None, max_examples=8)
@given(ids=st.lists(ID, min_size=2, max_size=20, unique=True), cut=st.integers(1, 19), more=st.integers(0, 20))
def test_stable_when_files_change_places_and_documents_are_added(
    tmp_path_factory: pytest.TempPathFactory, kind: str, language: str, ids: list[str], cut: int, more: int
) -> None:
    assume(any(not is_heldout(row_id, FRACTION) for row_id in ids))
    rows = [(row_id, f"text of {row_id}", "文") for row_id in ids]
    folder = tmp_path_factory.getbasetemp() / "stable"
    before = split_of(folder, kind, language, {"a.jsonl": rows[:1], "b.jsonl": rows[1:]})
    assert {row_id for row_id, _ in before["heldout"]} == {row_id for row_id in ids if is_heldout(row_id, FRACTION)}
    renamed = split_of(folder, kind, language, {"z.jsonl": rows[:1], "y.jsonl": rows[1:]})
    added = [(f"new{number}", f"new text {number}", "文") for number in range(more)]
    longer = split_of(folder, kind, language, {"m.jsonl": [*added, *rows[::-1]]})
    for split in ("train", "heldout"):
        assert set(renamed[split]) == set(before[split])
        assert {row for row in longer[split] if not row[0].startswith("new")} == set(before[split])
