"""Segmentation: words, symbols, long lines, worker processes."""

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swallow_exp.vocabulary.segment import LINE_CHARACTERS, cut_line, make_segmenter, segment_texts

MECAB = make_segmenter("mecab", normalization="nfkc")


def test_mecab_gives_words_and_symbols_stand_alone() -> None:
    assert MECAB("ｺﾝﾋﾟｭｰﾀｰで「本」を読んだ。") == ["コンピューター で 「 本 」 を 読ん だ 。"]
    assert MECAB("C++とA/Bテスト")[0].split() == ["C", "+", "+", "と", "A", "/", "B", "テスト"]


def test_the_long_vowel_mark_is_no_symbol() -> None:
    assert MECAB("ラーメン") == ["ラーメン"]


@pytest.mark.parametrize(("method", "expected"), [("whitespace", ["a b . c"]), ("none", ["a  b. c"])])
def test_other_methods(method: str, expected: list[str]) -> None:
    assert make_segmenter(method, normalization="none")("a  b. c\n\n \n") == expected


def test_normalization_is_only_done_when_asked() -> None:
    assert make_segmenter("none", normalization="none")("Ａ①") == ["Ａ①"]
    assert make_segmenter("none", normalization="nfkc")("Ａ①") == ["A1"]


def test_control_characters_do_not_end_the_text() -> None:
    assert MECAB("日本語\x00を\u2028読む\x85よ▁ね")[0].replace(" ", "") == "日本語を読むよね"


def test_lines_far_beyond_the_buffer_lose_nothing() -> None:
    text = "日本語の長い文です。" * 5_000 + "あ" * 30_000  # 240 KB in one line, the end without any place to cut
    lines = MECAB(text)
    assert "".join(lines).replace(" ", "") == text
    assert max(len(line.replace(" ", "")) for line in lines) <= LINE_CHARACTERS


def test_long_lines_are_cut_after_sentences_where_possible() -> None:
    parts = list(cut_line("短い文。" * 10, limit=11))
    assert set(parts) == {"短い文。短い文。"}


@given(st.text(alphabet="あ。 a\n", max_size=60), st.integers(1, 9))
@settings(derandomize=True, max_examples=200, deadline=None)
def test_cutting_keeps_every_character(line: str, limit: int) -> None:
    parts = list(cut_line(line, limit=limit))
    assert "".join(parts) == line
    assert all(len(part) <= limit for part in parts)


@given(st.text(max_size=80))
@settings(derandomize=True, max_examples=200, deadline=None)
def test_segmenting_only_moves_spaces(text: str) -> None:
    squeeze = re.compile(r"[\s\x00-\x1f\x7f\u2581\x85]+")
    normal = make_segmenter("none", normalization="nfkc")
    assert squeeze.sub("", "".join(MECAB(text))) == squeeze.sub("", "".join(normal(text)))
    assert all("  " not in line and line == line.strip() for line in MECAB(text))
    if unicodedata.is_normalized("NFKC", text) and text.isascii():
        assert squeeze.sub("", "".join(MECAB(text))) == squeeze.sub("", text)


def test_worker_processes_change_nothing() -> None:
    texts = [f"これは{number}番目の文章です。\n二行目。" for number in range(400)] + ["", "あ" * 300_000, "終わり。"]
    alone = list(segment_texts(texts, method="mecab", normalization="nfkc"))
    together = list(segment_texts(iter(texts), method="mecab", normalization="nfkc", processes=2))
    assert together == alone
    assert len(alone) == len(texts)
