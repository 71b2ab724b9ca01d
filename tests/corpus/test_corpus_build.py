"""The corpus artefact: what is in it, what decides it, and what is refused."""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from pyarrow import parquet

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.manifest import Artefact
from swallow_exp.config.schema import SourceConfig
from swallow_exp.corpus.build_corpus import build_corpus, read_documents, read_pairs
from swallow_exp.corpus.write import is_heldout

ODD_TEXTS = [
    "日本語\u3000の文\u2028二行目\u0085三行目",
    'quote " and \\ and\ttab',
    "line\r\nfeed\nand \x0b\x0c",
    "\u3000字下げ",
    "emoji 😀 ｶﾞ ㍻",
]


def source(files: Sequence[str] | str, **changes: Any) -> SourceConfig:
    entries = [files] if isinstance(files, str) else list(files)
    return SourceConfig(**{"name": "text", "language": "ja", "files": entries, "heldout_fraction": 0.0, **changes})


def pair_source(files: Sequence[str] | str, **changes: Any) -> SourceConfig:
    return source(files, **{"kind": "pairs", "language": "en-ja", **changes})


def write_jsonl(path: Path, rows: Sequence[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8"))
    return path


def build(tmp_path: Path, config: SourceConfig, out: str = "out") -> Artefact:
    return build_corpus(config, out=tmp_path / out, data=tmp_path)


def texts(corpus: Artefact, split: str = "train") -> list[str]:
    return [document.text for document in read_documents(corpus, split)]


def refused(tmp_path: Path, config: SourceConfig) -> str:
    with pytest.raises(RequestError) as caught:
        build(tmp_path, config)
    message = str(caught.value)
    assert "\n" not in message
    kept = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert kept == [], "a refused corpus leaves no files"
    return message


# ---- formats ----


def test_every_format_gives_the_same_documents(tmp_path: Path) -> None:
    rows = [{"text": text, "other": 1} for text in ODD_TEXTS]
    plain = write_jsonl(tmp_path / "a.jsonl", rows).read_bytes()
    (tmp_path / "b.jsonl.gz").write_bytes(compress(plain))
    (tmp_path / "c.jsonl.zst").write_bytes(zstandard.compress(plain))
    parquet.write_table(pa.table({"text": ODD_TEXTS, "other": [1] * 5}), tmp_path / "d.parquet", row_group_size=2)
    for name in ("a.jsonl", "b.jsonl.gz", "c.jsonl.zst", "d.parquet"):
        corpus = build(tmp_path, source(name))
        documents = list(read_documents(corpus, "train"))
        assert [document.text for document in documents] == ODD_TEXTS, name
        assert [document.id for document in documents] == [f"{name}:{number}" for number in range(1, 6)]
        assert {document.language for document in documents} == {"ja"}


def test_a_line_of_plain_text_is_a_document(tmp_path: Path) -> None:
    content = "\ufeff一行目\u2028まだ一行目\r\n\r\n  二行目\u0085も  \n\u3000\nlast".encode()
    (tmp_path / "a.txt").write_bytes(content)
    (tmp_path / "b.txt.gz").write_bytes(compress(content[:20]) + compress(content[20:]))
    (tmp_path / "c.TXT.ZST").write_bytes(zstandard.compress(content[:20]) + zstandard.compress(content[20:]))
    for name in ("a.txt", "b.txt.gz", "c.TXT.ZST"):
        corpus = build(tmp_path, source(name))
        assert texts(corpus) == ["一行目\u2028まだ一行目", "  二行目\u0085も  ", "last"]
        assert corpus.counts["dropped"] == {"blank line": 2}


def test_a_stray_nul_is_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x" * 200 + "\0\nnext\n")
    assert texts(build(tmp_path, source("a.txt"))) == ["x" * 200 + "\0", "next"]


def test_counts_checksums_and_inputs(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "sub" / "a.jsonl", [{"text": "日本"}, {"text": " \u3000\n"}, {"text": "abc"}])
    path.write_bytes(path.read_bytes() + b"\n")
    corpus = build(tmp_path, source("sub/*.jsonl", license="CC0"))
    counts = corpus.counts
    assert counts["train"] == {"documents": 2, "characters": 5, "bytes": 9}
    assert counts["heldout"] == {"documents": 0, "characters": 0, "bytes": 0}
    assert counts["dropped"] == {"empty text": 1, "blank line": 1}
    assert (counts["language"], counts["kind"], counts["license"]) == ("ja", "documents", "CC0")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert counts["inputs"] == [{"file": "sub/a.jsonl", "bytes": path.stat().st_size, "sha256": sha256}]
    for name, digest in counts["sha256"].items():
        assert hashlib.sha256((corpus.folder / name).read_bytes()).hexdigest() == digest
    assert list(read_documents(corpus, "heldout")) == []


def test_normalisation_is_a_choice(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"text": "ｶﾞ①\u3000Ａ"}])
    plain, folded = build(tmp_path, source("a.jsonl")), build(tmp_path, source("a.jsonl", normalization="nfkc"))
    assert texts(plain) == ["ｶﾞ①\u3000Ａ"]
    assert texts(folded) == ["ガ1 A"]
    assert plain.digest != folded.digest


# ---- identity ----


def test_the_same_request_is_built_once_and_paths_do_not_matter(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "here" / "a.jsonl", [{"text": "x"}])
    write_jsonl(tmp_path / "there" / "a.jsonl", [{"text": "x"}])
    first = build_corpus(source("a.jsonl"), out=tmp_path / "out", data=tmp_path / "here")
    stamp = (first.folder / "manifest.json").stat().st_mtime_ns
    again = build_corpus(source(str(tmp_path / "there" / "*.jsonl")), out=tmp_path / "out", data=tmp_path / "elsewhere")
    assert again.folder == first.folder
    assert (again.folder / "manifest.json").stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    "changes", [{"heldout_fraction": 0.5}, {"max_documents": 1}, {"id_field": "id"}, {"language": "en"}, {"text_field": "title"}]
)
def test_a_deciding_field_makes_another_artefact(tmp_path: Path, changes: dict[str, Any]) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"text": "x", "id": 1, "title": "t"}, {"text": "y", "id": 2, "title": "u"}])
    assert build(tmp_path, source("a.jsonl")).digest != build(tmp_path, source("a.jsonl", **changes)).digest


def test_a_changed_byte_in_the_middle_makes_another_artefact(tmp_path: Path) -> None:
    rows = [{"text": "x" * 100_000} for _ in range(40)]
    write_jsonl(tmp_path / "a.jsonl", rows)
    first = build(tmp_path, source("a.jsonl"))
    rows[20] = {"text": "y" * 100_000}
    write_jsonl(tmp_path / "a.jsonl", rows)
    second = build(tmp_path, source("a.jsonl"))
    assert first.digest != second.digest
    assert "y" * 100_000 in texts(second)


def test_files_with_one_name_in_two_folders_keep_distinct_ids(tmp_path: Path) -> None:
    for folder in ("x/one", "x/two"):
        write_jsonl(tmp_path / folder / "a.jsonl", [{"text": folder}])
    inside = build_corpus(source(["x/one/a.jsonl", "x/**/*.jsonl"]), out=tmp_path / "out", data=tmp_path)
    outside = build_corpus(source(str(tmp_path / "x" / "*" / "a.jsonl")), out=tmp_path / "out", data=tmp_path / "empty")
    assert [document.id for document in read_documents(inside, "train")] == ["x/one/a.jsonl:1", "x/two/a.jsonl:1"]
    assert [document.id for document in read_documents(outside, "train")] == ["one/a.jsonl:1", "two/a.jsonl:1"]


def test_a_name_with_wildcard_characters_is_taken_literally(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a[1].jsonl", [{"text": "bracket"}])
    write_jsonl(tmp_path / "a1.jsonl", [{"text": "plain"}])
    assert texts(build(tmp_path, source("a[1].jsonl"))) == ["bracket"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse file names that are not UTF-8")
def test_a_file_name_that_is_not_utf8(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"text": "x"}]).rename(tmp_path / os.fsdecode(b"\x93\xfa.jsonl"))
    assert [document.id for document in read_documents(build(tmp_path, source("*.jsonl")), "train")] == ["\\udc93\\udcfa.jsonl:1"]


# ---- ids ----


def test_repeated_ids_are_dropped_or_made_unique_on_one_side(tmp_path: Path) -> None:
    rows = [{"id": number % 20, "text": f"text {number % 60}"} for number in range(80)]
    write_jsonl(tmp_path / "a.jsonl", rows)
    corpus = build(tmp_path, source("a.jsonl", id_field="id", heldout_fraction=0.5))
    documents = {split: list(read_documents(corpus, split)) for split in ("train", "heldout")}
    ids = [document.id for split in documents.values() for document in split]
    assert len(ids) == len(set(ids)) == 60
    assert corpus.counts["dropped"] == {"duplicate": 20}
    assert corpus.counts["renamed_ids"] == 40
    stems = {split: {document.id.split("#")[0] for document in found} for split, found in documents.items()}
    assert not stems["train"] & stems["heldout"]
    assert stems["heldout"] == {str(number) for number in range(20) if is_heldout(str(number), 0.5)}
    assert "3#a.jsonl:24" in ids


@pytest.mark.parametrize(("value", "shown"), [(None, "null"), (True, "true or false"), (1.5, "a number"), ("", "empty"), ([], "a list")])
def test_ids_that_are_none(tmp_path: Path, value: Any, shown: str) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"id": 1, "text": "x"}, {"id": value, "text": "y"}])
    message = refused(tmp_path, source("a.jsonl", id_field="id"))
    assert "a.jsonl:2" in message and shown in message and "id_field" in message


# ---- held out ----


def test_the_split_is_by_id_alone(tmp_path: Path) -> None:
    rows = [{"id": f"d{number}", "text": f"t{number}"} for number in range(400)]
    write_jsonl(tmp_path / "a.jsonl", rows)
    write_jsonl(tmp_path / "b.jsonl", list(reversed(rows[:300])))
    config = {"id_field": "id", "heldout_fraction": 0.25}
    forward, backward = build(tmp_path, source("a.jsonl", **config)), build(tmp_path, source("b.jsonl", **config))
    held = {document.id for document in read_documents(forward, "heldout")}
    assert held == {row["id"] for row in rows if is_heldout(row["id"], 0.25)}
    assert 60 < len(held) < 140
    assert {document.id for document in read_documents(backward, "heldout")} == held & {row["id"] for row in rows[:300]}


@pytest.mark.parametrize("count", [1, 2, 5])
def test_at_least_one_document_stays_in_train(tmp_path: Path, count: int) -> None:
    names = [name for name in (f"d{number}" for number in range(1_000)) if is_heldout(name, 0.1)][:count]
    assert len(names) == count
    trained = set()
    for order, ids in enumerate((names, names[::-1])):
        write_jsonl(tmp_path / f"{order}.jsonl", [{"id": name, "text": name} for name in ids])
        corpus = build(tmp_path, source(f"{order}.jsonl", id_field="id", heldout_fraction=0.1))
        assert corpus.counts["train"]["documents"] == 1
        assert corpus.counts["heldout"]["documents"] == count - 1
        everything = texts(corpus) + texts(corpus, "heldout")
        assert sorted(everything) == sorted(names)
        trained.add(texts(corpus)[0])
    assert len(trained) == 1, "which one stays does not depend on the order"


def test_nothing_is_kept_back_once_train_has_a_document(tmp_path: Path) -> None:
    held = [f"d{number}" for number in range(1_000) if is_heldout(f"d{number}", 0.1)][:3]
    free = next(f"d{number}" for number in range(1_000) if not is_heldout(f"d{number}", 0.1))
    write_jsonl(tmp_path / "a.jsonl", [{"id": name, "text": name} for name in [*held, free]])
    corpus = build(tmp_path, source("a.jsonl", id_field="id", heldout_fraction=0.1))
    assert texts(corpus) == [free]
    assert sorted(texts(corpus, "heldout")) == sorted(held)


def test_what_train_holds_too_is_not_held_out(tmp_path: Path) -> None:
    rows = [{"id": f"d{number}", "text": f"text {number % 150}"} for number in range(200)]
    write_jsonl(tmp_path / "a.jsonl", rows)
    corpus = build(tmp_path, source("a.jsonl", id_field="id", heldout_fraction=0.3))
    train = [row["text"] for row in rows if not is_heldout(row["id"], 0.3)]
    held = [row["text"] for row in rows if is_heldout(row["id"], 0.3)]
    kept = [text for text in held if text not in train]
    assert 0 < len(kept) < len(held)
    assert texts(corpus) == train
    assert texts(corpus, "heldout") == kept
    assert corpus.counts["dropped"] == {"held-out text that is in train": len(held) - len(kept)}
    assert corpus.counts["heldout"] == {"documents": len(kept), "characters": sum(map(len, kept)), "bytes": sum(map(len, kept))}
    assert sorted(path.name for path in corpus.folder.iterdir()) == ["heldout.jsonl.zst", "manifest.json", "train.jsonl.zst"]


def test_max_documents_counts_what_is_left(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"text": ""}, *({"text": f"t{number}"} for number in range(9))])
    (tmp_path / "b.jsonl").write_text("not JSON, and not needed")
    corpus = build(tmp_path, source("*.jsonl", max_documents=4))
    assert texts(corpus) == ["t0", "t1", "t2", "t3"]
    assert [entry["file"] for entry in corpus.counts["inputs"]] == ["a.jsonl"]


# ---- bundled text ----


@pytest.mark.parametrize(("part", "language"), [("english", "en"), ("japanese", "ja")])
def test_bundled_documents(tmp_path: Path, part: str, language: str) -> None:
    config = source(f"miniature:{part}", language=language, max_documents=200, heldout_fraction=0.1)
    corpus = build(tmp_path, config)
    again = build_corpus(config, out=tmp_path / "other", data=tmp_path / "nowhere")
    kept = corpus.counts["train"]["documents"] + corpus.counts["heldout"]["documents"]
    assert kept + sum(corpus.counts["dropped"].values()) == 200
    assert not set(texts(corpus)) & set(texts(corpus, "heldout"))
    assert corpus.counts["sha256"] == again.counts["sha256"]
    assert corpus.counts["heldout"]["documents"] > 0
    assert all(document.language == language for document in read_documents(corpus, "train"))


def test_bundled_pairs(tmp_path: Path) -> None:
    corpus = build(tmp_path, pair_source("miniature:pairs", max_documents=200, heldout_fraction=0.1))
    kept = corpus.counts["train"]["documents"] + corpus.counts["heldout"]["documents"]
    assert kept + sum(corpus.counts["dropped"].values()) == 200
    assert all(pair.en.isascii() and not pair.ja.isascii() for pair in read_pairs(corpus, "train"))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (source("miniature:klingon", max_documents=5), ["miniature:klingon", "miniature:japanese"]),
        (source("miniature:japanese"), ["max_documents"]),
        (source("miniature:english", max_documents=5), ["kind=documents language=en"]),
        (source("miniature:pairs", max_documents=5), ["kind=pairs language=en-ja"]),
        (source(["miniature:japanese", "a.jsonl"], max_documents=5), ["only entry"]),
    ],
)
def test_bundled_text_asked_for_wrongly(tmp_path: Path, config: SourceConfig, words: list[str]) -> None:
    message = refused(tmp_path, config)
    assert all(word in message for word in words), message


# ---- refused files ----


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("none/*.jsonl", ["no file matches none/*.jsonl", "none, which does not exist", "paths.data="]),
        ("*.jsonl", ["no file matches *.jsonl", "which holds none"]),
        ("a.jsonl", ["no file matches a.jsonl"]),
        ("folder", ["is a folder", "folder/*.jsonl"]),
        ("fol*", ["only folders"]),
        ("https://example.org/a.jsonl", ["no file matches"]),
    ],
)
def test_files_that_are_not_there(tmp_path: Path, pattern: str, words: list[str]) -> None:
    (tmp_path / "folder").mkdir()
    message = refused(tmp_path, source(pattern))
    assert all(word in message for word in words), message


def test_a_source_without_files(tmp_path: Path) -> None:
    assert "no files" in refused(tmp_path, source([]))


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a", "a.gz", "a.parquet.gz", "a.tsv", "a.jsonl.bz2"])
def test_unknown_extensions(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    message = refused(tmp_path, source(name))
    assert name in message and "unknown extension" in message and ".jsonl, .parquet, .txt" in message


compress = functools.partial(gzip.compress, mtime=0)  # the time of day would stand in the tests' names

GOOD = b'{"text": "good"}\n'


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", b"", ["a.jsonl is empty"]),
        ("a.jsonl.gz", compress(b""), ["a.jsonl.gz is empty"]),
        ("a.jsonl.zst", zstandard.compress(b""), ["a.jsonl.zst is empty"]),
        ("a.jsonl", GOOD + b"\n" + b'{"text": \n', ["a.jsonl:3 is not valid JSON", "column"]),
        ("a.jsonl", GOOD + b'{"text": "cut', ["a.jsonl:2 is not valid JSON"]),
        ("a.jsonl", b"[" * 100_000 + b"\n", ["a.jsonl:1 is not valid JSON"]),
        ("a.jsonl", b'{"text": ' + b"9" * 5_000 + b"}\n", ["a.jsonl:1 is not valid JSON"]),
        ("a.jsonl", GOOD + b'["text"]\n', ["a.jsonl:2", "no object (a list)"]),
        ("a.jsonl", GOOD + b"null\n", ["a.jsonl:2", "no object (null)"]),
        ("a.jsonl", GOOD + b'{"body": "x", "title": "y"}\n', ["a.jsonl:2 has no field 'text'", "body, title", "text_field"]),
        ("a.jsonl", b"{}\n", ["a.jsonl:1 has no field 'text' (it has: none)"]),
        ("a.jsonl", GOOD + b'{"text": 5}\n', ["a.jsonl:2", "'text' is a number"]),
        ("a.jsonl", GOOD + b'{"text": null}\n', ["a.jsonl:2", "'text' is null"]),
        ("a.jsonl", GOOD + b'{"text": ["x"]}\n', ["a.jsonl:2", "'text' is a list"]),
        ("a.jsonl", GOOD + b'{"text": "\\ud83d"}\n', ["a.jsonl:2", "surrogate", "\\ud83d"]),
        ("a.jsonl", GOOD + '{"text": "日本"}\n'.encode("cp932"), ["a.jsonl:2 is not UTF-8", "0x93", "iconv"]),
        ("a.jsonl", '{"text": "x"}\n'.encode("utf-16"), ["a.jsonl is UTF-16"]),
        ("a.jsonl", compress(GOOD), ["a.jsonl is gzip data"]),
        ("a.txt", zstandard.compress(GOOD), ["a.txt is zstandard data"]),
        ("a.txt", b"PK\x03\x04rest", ["a.txt is a zip archive"]),
        ("a.txt", b"\x7fELF\0\0\0", ["a.txt is a binary file"]),
        ("a.txt", "x\n".encode("utf-16-le") * 50, ["a.txt is a binary file"]),
        ("a.jsonl.gz", compress(GOOD * 500)[:-20], ["a.jsonl.gz ends too early"]),
        ("a.jsonl.gz", GOOD, ["a.jsonl.gz cannot be decompressed"]),
        ("a.jsonl.gz", compress(compress(GOOD)), ["a.jsonl.gz is gzip data"]),
        ("a.jsonl.gz", compress(GOOD)[:-8] + b"\xff" * 8, ["a.jsonl.gz cannot be decompressed"]),
        ("a.jsonl.zst", zstandard.compress(GOOD * 500)[:-5], ["a.jsonl.zst ends too early"]),
        ("a.jsonl.zst", zstandard.compress(GOOD) + zstandard.compress(GOOD)[:6], ["a.jsonl.zst ends too early"]),
        ("a.jsonl.zst", GOOD, ["a.jsonl.zst cannot be decompressed"]),
        ("a.parquet", GOOD, ["a.parquet cannot be read as parquet"]),
        ("a.parquet", b"PAR1" + GOOD, ["a.parquet cannot be read as parquet"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refused_contents(tmp_path: Path, name: str, content: bytes, words: list[str]) -> None:
    (tmp_path / name).write_bytes(content)
    message = refused(tmp_path, source(name))
    assert all(word in message for word in words), message


def test_a_truncated_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"text": [f"text {number}" for number in range(5_000)]}), path)
    path.write_bytes(path.read_bytes()[:-100])
    assert "a.parquet cannot be read as parquet" in refused(tmp_path, source("a.parquet"))


def test_parquet_columns(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"body": ["x"], "n": [1]}), tmp_path / "a.parquet")
    assert "no field 'text' (it has: body, n)" in refused(tmp_path, source("a.parquet"))
    assert "a.parquet:1: field 'n' is a number" in refused(tmp_path, source("a.parquet", text_field="n"))
    parquet.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "b.parquet")
    assert "b.parquet is empty" in refused(tmp_path, source("b.parquet"))
    parquet.write_table(pa.table({"text": ["x", None, " "]}), tmp_path / "c.parquet")
    corpus = build(tmp_path, source("c.parquet"))
    assert corpus.counts["dropped"] == {"null text": 1, "empty text": 1}


def test_a_corpus_with_nothing_left_says_what_was_dropped(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": ""}\n\n{"text": "  "}\n')
    message = refused(tmp_path, source("a.jsonl"))
    assert "no documents left" in message and "2 empty text" in message and "1 blank line" in message


def test_one_bad_file_among_good_ones_leaves_nothing(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"text": "x"}] * 100)
    (tmp_path / "b.jsonl").write_bytes(GOOD + b"{\n")
    assert "b.jsonl:2" in refused(tmp_path, source("*.jsonl"))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"kind": "poems"}, "kind=poems"),
        ({"normalization": "nfd"}, "normalization=nfd"),
        ({"heldout_fraction": 1.0}, "heldout_fraction=1.0"),
        ({"heldout_fraction": float("nan")}, "heldout_fraction=nan"),
        ({"max_documents": 0}, "max_documents=0"),
        ({"kind": "pairs"}, "language=ja"),
    ],
)
def test_a_wrong_source(tmp_path: Path, changes: dict[str, Any], word: str) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"text": "x"}])
    assert word in refused(tmp_path, source("a.jsonl", **changes))


def test_plain_text_has_no_id_field(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x\n")
    assert "id_field" in refused(tmp_path, source("a.txt", id_field="id"))


def test_a_damaged_artefact_is_named_with_what_to_do(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"text": f"text {number}"} for number in range(500)])
    corpus = build(tmp_path, source("a.jsonl"))
    file = corpus.folder / "train.jsonl.zst"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(RequestError, match=r"train\.jsonl\.zst ends too early.*remove the folder"):
        list(read_documents(corpus, "train"))


# ---- cost ----


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    lines = (json.dumps({"text": f"{number}番目の" + "長い文章です。" * 700}, ensure_ascii=False) for number in range(4_000))
    content = "\n".join(lines).encode()
    assert len(content) > 50_000_000
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.compress(content))
    script = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from swallow_exp.config.schema import SourceConfig\nfrom swallow_exp.corpus.build_corpus import build_corpus, read_documents\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "source = SourceConfig(name='big', language='ja', files=['a.jsonl.zst'])\n"
        "corpus = build_corpus(source, out=Path(sys.argv[1]), data=Path(sys.argv[1]))\n"
        "rows = sum(1 for split in ('train', 'heldout') for _ in read_documents(corpus, split))\n"
        "heavy = sorted({'torch', 'transformers', 'lightning', 'lm_eval', 'pandas'} & set(sys.modules))\n"
        "print(rows, peak() - before, heavy)"
    )
    result = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    rows, grown_kib, heavy = result.stdout.split(maxsplit=2)
    assert int(rows) == 4_000
    assert heavy.strip() == "[]"
    scale = 1 if sys.platform != "darwin" else 1024
    assert int(grown_kib) / scale < 25_000, "half of the file's text at most"


def test_counts_add_up(tmp_path: Path) -> None:
    rows = [{"text": f"{text} {number}"} for number in range(40) for text in ODD_TEXTS]
    write_jsonl(tmp_path / "a.jsonl", rows)
    corpus = build(tmp_path, source("a.jsonl", heldout_fraction=0.3))
    assert corpus.counts["dropped"] == {}
    assert Counter(texts(corpus) + texts(corpus, "heldout")) == Counter(row["text"] for row in rows)
    for split in ("train", "heldout"):
        stored = texts(corpus, split)
        assert corpus.counts[split] == {
            "documents": len(stored),
            "characters": sum(map(len, stored)),
            "bytes": sum(len(text.encode()) for text in stored),
        }
