"""Pairs: JParaCrawl's layouts, messy rows, and a round trip of any text."""

from __future__ import annotations

import gzip
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.manifest import Artefact
from swallow_exp.config.schema import SourceConfig
from swallow_exp.corpus.build_corpus import build_corpus, read_pairs
from swallow_exp.corpus.inputs import InputFile
from swallow_exp.corpus.pairs import read_pairs_of

FRONT = {5: "example.com\texample.jp\t0.800\t", 4: "http://example.com\t0.785\t", 2: ""}


def source(name: str, **changes: Any) -> SourceConfig:
    base = {"name": "pairs", "kind": "pairs", "language": "en-ja", "files": [name], "heldout_fraction": 0.0}
    return SourceConfig(**{**base, **changes})


def build(tmp_path: Path, name: str, content: bytes, **changes: Any) -> Artefact:
    (tmp_path / name).write_bytes(content)
    return build_corpus(source(name, **changes), out=tmp_path / "out", data=tmp_path)


def sides(corpus: Artefact, split: str = "train") -> list[tuple[str, str]]:
    return [(pair.en, pair.ja) for pair in read_pairs(corpus, split)]


def refused(tmp_path: Path, name: str, content: bytes, **changes: Any) -> str:
    with pytest.raises(RequestError) as caught:
        build(tmp_path, name, content, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("columns", [5, 4, 2])
@pytest.mark.parametrize("name", ["a.tsv", "en-ja.bicleaner05.txt"])
def test_layouts(tmp_path: Path, columns: int, name: str) -> None:
    rows = [
        ("Hello.", "こんにちは。"),
        ('He said "no', "「いいえ」"),
        ("1\u20282", "一\u0085二"),
        ("A  B", "ア\u3000イ"),
        ("cr\rin", "改\r行"),
    ]
    content = "".join(f"{FRONT[columns]}{en}\t{ja}\r\n" for en, ja in rows).encode()
    corpus = build(tmp_path, name, content)
    assert sides(corpus) == rows
    assert [pair.id for pair in read_pairs(corpus, "train")] == [f"{name}:{number}" for number in range(1, 6)]
    assert corpus.counts["train"]["characters"] == sum(len(en) + len(ja) for en, ja in rows)
    assert corpus.counts["train"]["bytes"] == sum(len((en + ja).encode()) for en, ja in rows)


def test_messy_rows_are_counted_by_reason(tmp_path: Path) -> None:
    front = "e\tj\t"
    rows = [
        f"{front}0.8\tone\t一",
        f"{front}0.8\ttwo\t二",
        f"{front}0.8\tone\t一",  # duplicate
        f"{front}0.9\t one \t一\u3000",  # the same pair once more
        f"{front}0.8\tone\t壱",  # another translation is another pair
        f"{front}0.8\t\t三",
        f"{front}0.8\tthree\t \u3000",
        f"{front}nan\tfour\t四",
        f"{front}n/a\tfive\t五",
        f"{front}0.8\tsix",  # four columns, but not of this file's layout
        f"{front}0.8\tsix\t六\textra",
        "no tab",
        "",
        f"{front}0.8\tlast\t終",
    ]
    corpus = build(tmp_path, "a.tsv", "\n".join(rows).encode())
    assert sides(corpus) == [("one", "一"), ("two", "二"), ("one", "壱"), ("last", "終")]
    assert corpus.counts["dropped"] == {"duplicate": 2, "empty side": 2, "nan score": 2, "wrong column count": 3, "blank line": 1}
    assert sum(corpus.counts["dropped"].values()) + corpus.counts["train"]["documents"] == len(rows)


BREAKS = ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\r", "\u3000", "\ufeff"]


@pytest.mark.parametrize(("columns", "end"), [(5, "\n"), (5, "\r\n"), (4, "\n"), (4, "\r\n")])
def test_every_kind_of_mess(tmp_path: Path, columns: int, end: str) -> None:
    """What other readers break at stays text; what is no pair is dropped under its own reason."""
    front = {5: "example.com\texample.jp\t{}\t", 4: "http://example.com\t{}\t"}[columns]
    ok = front.format("0.8")
    kept = [(f"in{mark}side {number}", f"行の{mark}中 {number}") for number, mark in enumerate(BREAKS)]
    kept += [('"quoted', "「『」"), ('"two" "words"', "''"), ("back\\slash\\t", "\\n"), ("NULL", "nan"), ("a  b", "あ\u3000\u3000い")]
    rows = [f"{ok}{en}\t{ja}" for en, ja in kept]
    rows += [f"{ok}\u3000{en}\u3000\t \u3000{ja}" for en, ja in kept[:3]]  # around a text it is not text: duplicates
    rows += [f"{ok}\tja", f"{ok}en\t", f"{ok}\u3000\tja", f"{ok}en\t\u3000 \u2028\x0b"]
    rows += [f"{front.format(score)}en {score}\tja" for score in ("nan", "NaN", "inf", "-inf", "1e999", "", " ", "-", "0,8")]
    rows += [f"{ok}en", f"{ok}en\tja\t", f"{ok}en\tja\tmore\tcolumns", "no tab", "en\tja"]
    rows += ["", " ", "\u3000", "\t" * (columns - 1)]
    content = b"\xef\xbb\xbf" + end.join(rows).encode()
    corpus = build(tmp_path, "a.tsv", content)
    assert sides(corpus) == kept
    dropped = {"duplicate": 3, "empty side": 4, "nan score": 9, "wrong column count": 5, "blank line": 4}
    assert corpus.counts["dropped"] == dropped
    assert len(rows) == len(kept) + sum(dropped.values())
    (tmp_path / "b.tsv.gz").write_bytes(gzip.compress(content, mtime=0))
    packed = build_corpus(source("b.tsv.gz"), out=tmp_path / "out", data=tmp_path)
    assert (sides(packed), packed.counts["dropped"]) == (kept, dropped)


def test_a_malformed_first_row_does_not_decide_the_layout(tmp_path: Path) -> None:
    corpus = build(tmp_path, "a.tsv", "broken\tline\ne\tj\t0.8\tone\t一\ne\tj\t0.8\ttwo\t二\n".encode())
    assert sides(corpus) == [("one", "一"), ("two", "二")]
    assert corpus.counts["dropped"] == {"wrong column count": 1}


def test_normalisation_before_duplicates(tmp_path: Path) -> None:
    content = "one\tｶﾞ\none\tガ\n".encode()
    assert len(sides(build(tmp_path, "a.tsv", content))) == 2
    folded = build(tmp_path, "a.tsv", content, normalization="nfkc")
    assert sides(folded) == [("one", "ガ")]
    assert folded.counts["dropped"] == {"duplicate": 1}


def test_json_lines_and_parquet(tmp_path: Path) -> None:
    rows = [{"en": " one ", "ja": "一", "key": "k1"}, {"en": "two", "ja": "二", "key": "k2"}, {"en": "", "ja": "三", "key": "k3"}]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    parquet.write_table(pa.Table.from_pylist([*rows, {"en": "four", "ja": None, "key": "k4"}]), tmp_path / "b.parquet")
    from_json = build(tmp_path, "a.jsonl", content, id_field="key")
    from_parquet = build(tmp_path, "b.parquet", (tmp_path / "b.parquet").read_bytes(), id_field="key")
    assert list(read_pairs(from_json, "train")) == list(read_pairs(from_parquet, "train"))
    assert [pair.id for pair in read_pairs(from_json, "train")] == ["k1", "k2"]
    assert from_json.counts["dropped"] == {"empty side": 1}
    assert from_parquet.counts["dropped"] == {"empty side": 2}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.tsv", b"no tabs here\nnor here\n", ["a.tsv:1 has no tab", "2, 4 or 5 columns"]),
        ("a.tsv", b"\n\nno tabs here\n", ["a.tsv:3 has no tab"]),
        ("a.tsv", b"a\tb\tc\na\tb\tc\n", ["a.tsv:1 has 3 columns"]),
        ("a.tsv", b"\n \n", ["only blank lines"]),
        ("a.tsv", b"", ["a.tsv is empty"]),
        ("a.tsv", b"one\t\n\ttwo\n", ["no pairs left", "2 empty side"]),
        ("a.tsv", b"one\t\x88\xea\n", ["a.tsv:1 is not UTF-8"]),
        ("a.tsv", "日本語です\tJapanese\nはい\tyes\nx\ty\n".encode(), ["2 of 3 pairs", "swap"]),
        ("a.csv", b"one,two\n", ["unknown extension", ".tsv"]),
        ("a.jsonl", b'{"en": "x"}\n', ["a.jsonl:1 has no field 'ja' (it has: en)"]),
        ("a.jsonl", b'{"en": "x", "ja": null}\n', ["a.jsonl:1", "'ja' is null"]),
    ],
)
def test_refused(tmp_path: Path, name: str, content: bytes, words: list[str]) -> None:
    message = refused(tmp_path, name, content)
    assert all(word in message for word in words), message


def test_rows_past_the_first_thousand_follow_the_layout(tmp_path: Path) -> None:
    rows = [f"e\tj\t0.8\tline {number}\t行 {number}" for number in range(1_500)]
    corpus = build(tmp_path, "a.tsv", ("\n".join([*rows, "late\t遅い"]) + "\n").encode(), heldout_fraction=0.1)
    assert corpus.counts["dropped"] == {"wrong column count": 1}
    found = sides(corpus) + sides(corpus, "heldout")
    assert Counter(found) == Counter((f"line {number}", f"行 {number}") for number in range(1_500))


SIDE = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\t\n\0\ufeff"), max_size=20)
SCORE = st.one_of(st.floats().map(str), st.sampled_from(["", "x", "NaN", "-inf", "0.800"]))


@settings(deadline=None)
@given(rows=st.lists(st.tuples(SCORE, SIDE, SIDE), max_size=30), columns=st.sampled_from([2, 4, 5]), end=st.sampled_from(["\n", "\r\n"]))
def test_any_text_survives_and_every_row_is_accounted_for(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]], columns: int, end: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.tsv"
    front = {2: "", 4: "s\t{}\t", 5: "e\tj\t{}\t"}[columns]
    anchor = (front.format("1"), "anchor", "錨")  # at least one line, so that the file is not empty
    lines = [anchor, *((front.format(score), en, ja) for score, en, ja in rows)]
    path.write_bytes("".join(f"{start}{en}\t{ja}{end}" for start, en, ja in lines).encode())
    dropped: Counter[str] = Counter()
    read = [(pair.en, pair.ja) for _, pair in read_pairs_of(InputFile(path, "any.tsv", ".tsv"), source("any.tsv"), dropped)]
    expected, reasons = [("anchor", "錨")], Counter[str]()
    for score, en, ja in rows:
        if not (front + en + "\t" + ja).strip():
            reasons["blank line"] += 1
        elif columns > 2 and not _finite(score):
            reasons["nan score"] += 1
        elif en.strip() and ja.strip():
            expected.append((en.strip(), ja.strip()))
        else:
            reasons["empty side"] += 1
    assert read == expected
    assert dropped == reasons


def _finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
