"""The real Llama 2 tokenizer and the published recipe's size, where the files are at hand (SWALLOW_TEST_DATA)."""

import json
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import regex
import sentencepiece

from swallow_exp.vocabulary.model_file import check_base, read_model
from swallow_exp.vocabulary.twin import first_difference, make_twin, write_twin

JAPANESE = regex.compile(r"[\p{Hiragana}\p{Katakana}\p{Han}ー]")


@pytest.fixture(scope="module")
def data() -> Path:
    folder = os.environ.get("SWALLOW_TEST_DATA")
    if not folder:
        pytest.skip("SWALLOW_TEST_DATA is not set: no real tokenizer to look at")
    return Path(folder)


@pytest.fixture(scope="module")
def llama(data):
    return read_model(data / "llama2_tokenizer.model")


@pytest.fixture(scope="module")
def golden(data):
    text = (data / "golden" / "tokens.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def test_no_japanese_piece_of_two_or_more_characters(llama) -> None:
    check_base(llama, name="llama2")
    assert len(llama.pieces) == 32_000
    assert [piece.piece for piece in llama.pieces if len(piece.piece) > 1 and JAPANESE.search(piece.piece)] == []
    assert sum(bool(JAPANESE.fullmatch(piece.piece)) for piece in llama.pieces) > 800


def test_the_golden_expansion_keeps_the_invariants(data, llama) -> None:
    expanded = read_model(data / "golden" / "expanded_swallow_style_43488.model")
    assert list(expanded.pieces[:32_000]) == list(llama.pieces)
    assert len(expanded.pieces) % 8 == 0
    assert all(not JAPANESE.sub("", piece.piece) for piece in expanded.pieces[32_000:])


def test_english_keeps_its_ids_under_the_golden_expansion(data) -> None:
    before, after = (
        sentencepiece.SentencePieceProcessor(model_file=str(data / name))
        for name in ("llama2_tokenizer.model", "golden/expanded_swallow_style_43488.model")
    )
    rows = (data / "en" / "en_docs.jsonl").read_text(encoding="utf-8").split("\n")[:200]
    lines = [line for row in rows if row for line in json.loads(row)["text"].split("\n")]
    plain = [line for line in lines if unicodedata.is_normalized("NFKC", line) and not JAPANESE.search(line)]
    assert len(plain) > 5_000
    assert before.encode(plain) == after.encode(plain)


@pytest.mark.parametrize(
    ("name", "key"), [("llama2_tokenizer.model", "base_ids"), ("golden/expanded_swallow_style_43488.model", "expanded_ids")]
)
def test_golden_ids_by_both_forms(data, golden, name: str, key: str) -> None:
    proto = read_model(data / name)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(data / name))
    twin = make_twin(proto)
    twin.encode_special_tokens = True
    assert len(golden) > 200
    assert [processor.encode(row["text"]) for row in golden] == [row[key] for row in golden]
    assert first_difference(twin, processor, (row["text"] for row in golden)) is None


def test_the_real_twin_passes_its_own_check(data, golden, tmp_path) -> None:
    for name in ("llama2_tokenizer.model", "golden/expanded_swallow_style_43488.model"):
        counts = write_twin(read_model(data / name), tmp_path / Path(name).stem, texts=(row["text"] for row in golden))
        assert counts["left_out"] == 0


@pytest.mark.parametrize(("source", "expected"), [("ja_wiki", 0.385), ("ja_docs", 0.42), ("aozora_pd", 0.43)])
def test_the_reduction_is_what_the_ratio_says_and_never_the_printed_56_percent(data, source: str, expected: float) -> None:
    from analysis.efficiency.measure import compare_counts

    before, after = (
        sentencepiece.SentencePieceProcessor(model_file=str(data / name))
        for name in ("llama2_tokenizer.model", "golden/expanded_swallow_style_43488.model")
    )
    lines = (data / "ja" / f"{source}.jsonl").read_text(encoding="utf-8").split("\n")[:60]
    texts = [json.loads(line)["text"][:5_000] for line in lines if line]
    counts = [[[len(processor.encode(text)), len(text)] for text in texts] for processor in (after, before)]
    ours, base = (np.array(one, dtype=np.float64) for one in counts)
    reduction, interval = compare_counts(ours, base, [str(index) for index in range(len(texts))], seed=(0, 0))
    assert reduction == pytest.approx(100 * expected, abs=5)
    assert interval is not None and interval[0] < reduction < interval[1] < 50  # paper 1 prints 56.2
