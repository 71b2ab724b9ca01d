"""Processes, threads and the library that encodes change no byte of a shard; an encoder with other ids is refused."""

import importlib.util
import sys
from types import SimpleNamespace

import pytest

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config import compose_config
from swallow_exp.tokens import blocks
from swallow_exp.tokens.build_shards import build_tokens
from swallow_exp.tokens.encoder import check_encoder, check_same_ids, make_encode
from swallow_exp.vocabulary.tokenizer import load_tokenizer, model_path
from swallow_exp.vocabulary.twin import EDGE_STRINGS

FILES = ("tokens.bin", "offsets.npy", "meta.json")


def files_of(tokens) -> dict[str, bytes]:
    names = [*FILES, *(["loss.bin"] if (tokens.folder / "loss.bin").exists() else [])]
    return {name: (tokens.folder / name).read_bytes() for name in names}


@pytest.mark.parametrize("kind", ["documents", "pairs"])
def test_processes_and_batches_change_no_byte(kind, japanese, pairs, expanded, instructed, world, tmp_path, monkeypatch) -> None:
    corpus, parallel = (japanese, None) if kind == "documents" else (pairs, instructed)
    first = build_tokens(corpus, expanded, out=world, parallel=parallel)
    monkeypatch.setattr(blocks, "BATCH_CHARACTERS", 300)
    for processes in (1, 2, 3):
        again = build_tokens(corpus, expanded, out=tmp_path / str(processes), parallel=parallel, processes=processes)
        assert again.digest == first.digest
        assert files_of(again) == files_of(first)
        assert again.counts == first.counts


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_change_no_id(threads, expanded) -> None:
    processor = load_tokenizer(expanded)
    texts = [*EDGE_STRINGS, "狐が市場で手紙を見つける。The fox finds 12 letters."] * 20
    encode = make_encode("sentencepiece", processor, threads=threads)
    assert [ids.tolist() for ids in encode(texts)] == [processor.encode(text) for text in texts]


def test_a_missing_accelerator_is_named(monkeypatch, japanese, expanded, tmp_path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"encoder=kitoken, and the package kitoken is not installed; .*swallow_exp\[fast\]"):
        check_encoder("kitoken")
    with pytest.raises(RequestError, match="not installed"):
        build_tokens(japanese, expanded, out=tmp_path, encoder="kitoken")
    assert not list(tmp_path.rglob("*"))


def test_an_unknown_encoder_is_refused() -> None:
    with pytest.raises(RequestError, match=r"machine.encoder=tiktoken; expected one of sentencepiece, kitoken"):
        compose_config(["machine.encoder=tiktoken"])


class Pretender:
    """A kitoken of the test: SentencePiece's ids, or wrong ones for one text."""

    def __init__(self, model: bytes, spoil: str | None) -> None:
        import sentencepiece

        self.processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.spoil, self.seen = spoil, []

    def encode(self, text: str, specials: bool) -> list[int]:
        assert specials is False
        self.seen.append(text)
        ids = self.processor.encode(text)
        return ids[:-1] if text == self.spoil else ids


def pretend(monkeypatch, spoil: str | None = None) -> list[Pretender]:
    made: list[Pretender] = []

    def make(model: bytes) -> Pretender:
        made.append(Pretender(model, spoil))
        return made[-1]

    library = SimpleNamespace(Kitoken=SimpleNamespace(from_sentencepiece=make))
    monkeypatch.setitem(sys.modules, "kitoken", library)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: library)
    return made


def test_the_accelerator_never_changes_ids(monkeypatch, japanese, expanded, world, tmp_path) -> None:
    reference = build_tokens(japanese, expanded, out=world)
    pretend(monkeypatch)
    assert files_of(build_tokens(japanese, expanded, out=tmp_path / "same", encoder="kitoken")) == files_of(reference)
    pretend(monkeypatch, spoil=EDGE_STRINGS[10])
    with pytest.raises(RequestError, match=r"machine.encoder=kitoken gives other ids for .* as SentencePiece gives; set machine.encoder="):
        build_tokens(japanese, expanded, out=tmp_path / "other", encoder="kitoken")
    assert not [path for path in (tmp_path / "other").rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_hard_texts_go_to_sentencepiece(monkeypatch, expanded) -> None:
    hard = ["\u0628\u0651\u064e", "か\u3099", "ᄒ\u1161ᆫ", "ｶﾞ", "\U0001d400"]
    easy = ["が", "한글", "the fox\ufe0e", "ー", "🦊", "𠮷"]
    made = pretend(monkeypatch, spoil=hard[0])
    processor = load_tokenizer(expanded)
    encode = make_encode("kitoken", processor, threads=1)
    assert [list(ids) for ids in encode([*hard, *easy])] == [processor.encode(text) for text in [*hard, *easy]]
    assert made[0].seen == easy


@pytest.mark.skipif(importlib.util.find_spec("kitoken") is None, reason="kitoken is not installed")
@pytest.mark.parametrize("vocabulary", ["base", "expanded"])
def test_kitoken_itself(vocabulary, japanese, request, world, tmp_path) -> None:
    vocabulary = request.getfixturevalue(vocabulary)
    processor = load_tokenizer(model_path(vocabulary))
    check_same_ids(make_encode("kitoken", processor, threads=1), processor, ["The fox  finds 12.\n\n" * 9], name="kitoken")
    reference = build_tokens(japanese, vocabulary, out=world)
    assert files_of(build_tokens(japanese, vocabulary, out=tmp_path, encoder="kitoken", processes=2)) == files_of(reference)
