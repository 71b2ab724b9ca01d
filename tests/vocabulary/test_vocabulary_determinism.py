"""The same corpus and config give the same pieces, scores and ids; what gives other pieces is in the digest."""

import dataclasses
import hashlib
import os
import pty
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import unidic_lite

from swallow_exp.artefact.errors import RequestError
from swallow_exp.vocabulary import train
from swallow_exp.vocabulary.build_vocabulary import build_vocabulary
from swallow_exp.vocabulary.segment import find_dictionary, make_segmenter
from swallow_exp.vocabulary.tokenizer import load_tokenizer, model_path, tokenizer_digest
from swallow_exp.vocabulary.twin import EDGE_STRINGS


@pytest.mark.parametrize(("threads", "processes"), [(1, 1), (2, 3), (7, 2)])
def test_threads_and_processes_change_nothing(
    threads, processes, expand_config, base_path, corpora, expanded, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: threads)
    config = dataclasses.replace(expand_config, processes=processes)
    again = build_vocabulary(config, base_tokenizer=base_path, corpora=corpora, out=tmp_path)
    assert tokenizer_digest(again) == tokenizer_digest(expanded)
    assert model_path(again).read_bytes() == model_path(expanded).read_bytes()
    texts = [*EDGE_STRINGS, "王様は市場でコンピューターを売りました。The old king"]
    assert load_tokenizer(again).encode(texts, num_threads=threads) == load_tokenizer(expanded).encode(texts, num_threads=1)


@pytest.fixture
def full_unidic(monkeypatch, tmp_path) -> Path:
    """The package unidic with its dictionary downloaded, as far as one can tell from outside."""
    folder = tmp_path / "dicdir"
    folder.mkdir()
    for path in Path(unidic_lite.DICDIR).iterdir():
        if path.name != "version":
            (folder / path.name).symlink_to(path)
    (folder / "version").write_text("unidic-3.1.0+2021-08-31\n")
    monkeypatch.setitem(sys.modules, "unidic", SimpleNamespace(DICDIR=str(folder)))
    return folder


def test_the_full_dictionary_is_used_and_recorded(full_unidic, expand_config, base_path, corpora, expanded, tmp_path) -> None:
    assert (found := find_dictionary()).name == "unidic" and found.folder == full_unidic
    assert make_segmenter("mecab", normalization="nfkc")("本を読んだ。") == ["本 を 読ん だ 。"]
    built = build_vocabulary(expand_config, base_tokenizer=base_path, corpora=corpora, out=tmp_path / "out")
    assert built.counts["dictionary"].startswith("unidic unidic-3.1.0+2021-08-31 (")
    assert expanded.counts["dictionary"].startswith("unidic-lite 2.1.2 (")
    assert built.digest != expanded.digest
    assert tokenizer_digest(built) == tokenizer_digest(expanded)  # the pieces are the same: it is the same dictionary underneath


def test_an_empty_unidic_is_passed_over(full_unidic) -> None:
    (full_unidic / "sys.dic").unlink()
    assert find_dictionary().name == "unidic-lite"


def test_no_dictionary_is_named(monkeypatch) -> None:
    for package in ("unidic", "unidic_lite"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(RequestError, match=r"no UniDic is installed; .*pip install unidic-lite"):
        find_dictionary()


WATCHED = """
import hashlib, sys
from pathlib import Path
from swallow_exp.vocabulary.train import train_pieces
proto = train_pieces(Path(sys.argv[1]), vocab_size=600, normalization="nfkc")
print(len(proto.pieces), hashlib.sha256(proto.SerializeToString()).hexdigest())
try:
    train_pieces(Path(sys.argv[1]), vocab_size=20, normalization="nfkc")
except ValueError as error:
    print(error)
print("afterwards", file=sys.stderr)
"""


def test_a_bar_is_drawn_while_pieces_are_trained_and_changes_nothing(tmp_path) -> None:
    lines = tmp_path / "lines.txt"
    words = [f"w{number * 31337 % 5003:x} q{number % 977:x}" for number in range(4_000)]
    lines.write_text("\n".join(words) + "\n", encoding="utf-8")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", WATCHED, str(lines)]
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True, env=env) as process:
        os.close(theirs)
        assert process.stdout is not None
        seen = b""
        while True:
            try:
                more = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not more:
                break
            seen += more
        printed = process.stdout.read()
    os.close(ours)
    assert process.returncode == 0, seen
    assert "train" in seen.decode() and "/600" in seen.decode()
    assert b"trainer_interface" not in seen  # SentencePiece's own log stays in the pipe
    assert seen.decode().rstrip().endswith("afterwards")  # stderr is the terminal again
    trained, refusal = printed.splitlines()
    assert "too small for the single characters" in refusal
    proto = train.train_pieces(lines, vocab_size=600, normalization="nfkc")
    assert trained == f"{len(proto.pieces)} {hashlib.sha256(proto.SerializeToString()).hexdigest()}"
