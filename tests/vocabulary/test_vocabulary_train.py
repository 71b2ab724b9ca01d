"""Training pieces: the same bytes on every machine, fewer candidates than asked are fine, fertility on edge texts."""

import os

import pytest
import sentencepiece

from swallow_exp.vocabulary.fertility import measure_fertility, take_characters
from swallow_exp.vocabulary.tokenizer import load_continuation, load_tokenizer
from swallow_exp.vocabulary.train import train_pieces


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "a, b 日本.txt"  # SentencePiece splits plain strings at commas
    path.write_text("".join(f"王様 は {number} の 手紙 を 売り まし た 。\nthe king sells {number} letters\n" for number in range(300)))
    return path


def test_paths_and_threads_leave_no_trace(lines, tmp_path, monkeypatch) -> None:
    first = train_pieces(lines, vocab_size=320, normalization="nfkc")
    moved = lines.rename(tmp_path / "elsewhere.txt")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert train_pieces(moved, vocab_size=320, normalization="nfkc").SerializeToString() == first.SerializeToString()
    assert "elsewhere" not in str(first.trainer_spec) and not first.trainer_spec.input


def test_candidates_may_be_fewer_than_asked(lines) -> None:
    assert 300 < len(train_pieces(lines, vocab_size=5_000, normalization="nfkc").pieces) < 5_000


def test_required_characters_become_pieces(lines) -> None:
    proto = train_pieces(lines, vocab_size=320, normalization="none", scratch=True, required_characters='鬱鬱,"')
    surfaces = [piece.piece for piece in proto.pieces]
    assert len(surfaces) == 320
    assert surfaces.count("鬱") == 1 and {",", '"'} <= set(surfaces)


def test_fertility_counts_by_hand(base) -> None:
    processor = load_tokenizer(base)
    measured = measure_fertility(["the fox", "猫"], processor)
    tokens = processor.encode("the fox") + processor.encode("猫")
    assert measured["tokens"] == len(tokens)
    assert measured["tokens_per_character"] == len(tokens) / 8
    assert measured["characters_per_token"] == 8 / len(tokens)
    assert measured["byte_fallback_share"] == 3 / len(tokens)
    assert measured["bytes"] == 10
    assert "token_ratio" not in measured


def test_no_heldout_text_is_no_number(base) -> None:
    assert measure_fertility([], load_tokenizer(base)) == {}
    assert measure_fertility([""], load_tokenizer(base), base=load_tokenizer(base)) == {}


def test_text_is_taken_up_to_a_limit() -> None:
    assert list(take_characters(["aaa", "bbb", "ccc"], limit=4)) == ["aaa", "bbb"]


def test_a_continuation_has_no_word_mark_of_its_own(base) -> None:
    whole, continued = load_tokenizer(base), load_continuation(base)
    assert isinstance(whole, sentencepiece.SentencePieceProcessor)
    assert whole.encode("the") == continued.encode(" the")
    assert continued.decode(continued.encode("the")) == "the"
    assert continued.encode("the")[0] != whole.encode("the")[0]
