"""Held-out documents are counted one by one: by hand, beside fertility.json, once, and without touching the artefact."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.manifest import Artefact
from swallow_exp.artefact.paths import fertility_file
from swallow_exp.corpus.build_corpus import read_documents
from swallow_exp.record.schema import FertilityRecord
from swallow_exp.record.token_counts import read_counts
from swallow_exp.vocabulary import heldout
from swallow_exp.vocabulary.heldout import record_fertility
from swallow_exp.vocabulary.tokenizer import load_tokenizer


def counts_of(vocabulary: Artefact, corpora: dict[str, Artefact], out: Path) -> dict[str, FertilityRecord]:
    references = {name: {"folder": f"x/{artefact.id}", "digest": artefact.digest} for name, artefact in corpora.items()}
    found = read_counts(out, {"folder": f"x/{vocabulary.id}", "digest": vocabulary.digest}, references)
    return {record.text: record for record in found}


def digest_of_folder(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def counted(expanded, base_path, corpora, tmp_path_factory) -> tuple[Path, dict[str, FertilityRecord]]:
    out, before = tmp_path_factory.mktemp("counted"), digest_of_folder(expanded.folder)
    record_fertility(expanded, base_tokenizer=base_path, corpora=corpora, out=out)
    assert digest_of_folder(expanded.folder) == before
    return out, counts_of(expanded, corpora, out)


def test_every_document_is_counted_by_itself(counted, expanded, base, corpora) -> None:
    record = counted[1]["japanese"]
    documents = list(read_documents(corpora["japanese"], "heldout"))
    after, before = load_tokenizer(expanded), load_tokenizer(base)
    assert record.document_ids == tuple(document.id for document in documents)
    assert record.characters_N.tolist() == [len(document.text) for document in documents]
    assert record.bytes_N.tolist() == [len(document.text.encode("utf-8")) for document in documents]
    assert record.tokens_N.tolist() == [len(after.encode(document.text)) for document in documents]
    assert record.base_tokens_N.tolist() == [len(before.encode(document.text)) for document in documents]


def test_the_sums_are_those_of_fertility_json(counted, expanded) -> None:
    fertility = json.loads((expanded.folder / "fertility.json").read_text(encoding="utf-8"))
    assert counted[1].keys() == fertility.keys() == {"english", "japanese", "pairs_en", "pairs_ja"}
    for text, row in fertility.items():
        record = counted[1][text]
        sums = [int(array.sum()) for array in (record.characters_N, record.bytes_N, record.tokens_N, record.base_tokens_N)]
        assert [len(record.document_ids), *sums] == [row[n] for n in ("documents", "characters", "bytes", "tokens", "base_tokens")]


def test_the_cut_is_that_of_fertility_json(expanded, base_path, corpora, tmp_path, monkeypatch) -> None:
    from swallow_exp.vocabulary.fertility import take_characters

    monkeypatch.setattr(heldout, "HELDOUT_CHARACTERS", 200)
    record_fertility(expanded, base_tokenizer=base_path, corpora=corpora, out=tmp_path)
    records = counts_of(expanded, corpora, tmp_path)
    for name in ("english", "japanese"):
        whole = [len(text) for text in take_characters((d.text for d in read_documents(corpora[name], "heldout")), 200)]
        assert records[name].characters_N.tolist() == whole
    for side in ("pairs_en", "pairs_ja"):  # both sides stop at the same number of characters, not at the same pair
        sums = np.cumsum(records[side].characters_N)
        assert sums[-1] >= 200 > sums[-2]


def test_nothing_is_counted_twice(counted, expanded, corpora) -> None:
    # no base tokenizer is needed where nothing is missing
    before = digest_of_folder(counted[0])
    record_fertility(expanded, base_tokenizer=None, corpora=corpora, out=counted[0])
    assert digest_of_folder(counted[0]) == before
    torn = fertility_file(counted[0], expanded.id, corpora["english"].id)
    torn.write_bytes(b"PAR1")
    with pytest.raises(RequestError):
        record_fertility(expanded, base_tokenizer=None, corpora=corpora, out=counted[0])


def test_a_base_is_known_as_one_and_scratch_has_none(base, base_path, expand_config, corpora, tmp_path) -> None:
    import dataclasses

    from swallow_exp.vocabulary.build_vocabulary import build_vocabulary

    config = dataclasses.replace(expand_config, name="base", method="base", vocab_size=None, normalization="none")
    plain = build_vocabulary(config, base_tokenizer=base_path, corpora=corpora, out=tmp_path)
    record_fertility(plain, base_tokenizer=base_path, corpora=corpora, out=tmp_path)
    for record in counts_of(plain, corpora, tmp_path).values():
        assert record.is_base
        np.testing.assert_array_equal(record.tokens_N, record.base_tokens_N)
    record_fertility(base, base_tokenizer=None, corpora=corpora, out=tmp_path)
    assert all(not record.is_base and record.base_tokens_N is None for record in counts_of(base, corpora, tmp_path).values())


def test_another_base_tokenizer_is_refused(expanded, corpora, tmp_path) -> None:
    with pytest.raises(RequestError, match="is not the one vocabulary"):
        record_fertility(expanded, base_tokenizer=expanded.folder / "tokenizer.model", corpora=corpora, out=tmp_path)
    assert not (tmp_path / "fertility").exists()
