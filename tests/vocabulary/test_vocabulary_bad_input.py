"""Text and files no vocabulary can be made from: one line, exit 2, nothing half-written. And a line no buffer holds, which must work."""

import dataclasses
import json

import pytest

from swallow_exp import cli
from swallow_exp.artefact.errors import RequestError
from swallow_exp.vocabulary.build_vocabulary import build_vocabulary
from swallow_exp.vocabulary.model_file import read_model

BINARY = bytes(range(256)) * 40


def test_a_corpus_in_the_wrong_language(expand_config, base_path, maker, tmp_path) -> None:
    corpora = {"claimed": maker.make_corpus(tmp_path, "claimed", "ja", [maker.english(number) for number in range(80)])}
    with pytest.raises(
        RequestError, match=r"no trained piece is left to add .*other_script \d.*added 0.*Hiragana, Katakana, Han"
    ) as caught:
        build_vocabulary(expand_config, base_tokenizer=base_path, corpora=corpora, out=tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_text_without_a_word(expand_config, base_path, maker, tmp_path) -> None:
    corpora = {"marks": maker.make_corpus(tmp_path, "marks", "ja", ["\u2581\u2581 \u2581"] * 40)}
    with pytest.raises(RequestError, match="hold no word"):
        build_vocabulary(expand_config, base_tokenizer=base_path, corpora=corpora, out=tmp_path / "out")


def test_a_line_longer_than_mecabs_buffer_is_cut_and_nothing_is_lost(expand_config, base_path, maker, tmp_path) -> None:
    line = "".join(maker.japanese(number).replace("\n", "") for number in range(200))
    assert len(line.encode()) > 3 * 8192 and "\n" not in line
    corpora = {"long": maker.make_corpus(tmp_path, "long", "ja", [line + str(number) for number in range(12)])}
    built = build_vocabulary(expand_config, base_tokenizer=base_path, corpora=corpora, out=tmp_path)
    counts = built.counts["training_text"]
    assert counts["lines"] >= 3 * counts["documents"]
    spaces = counts["words"]  # one after each word, or the line's end
    assert counts["bytes"] - spaces >= corpora["long"].counts["train"]["bytes"] * 0.99


@pytest.fixture
def user(tmp_path, monkeypatch, base_path, maker):
    """A user's folder with levels of their own; say what the source's file holds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWALLOW_OUT", str(tmp_path / "out"))
    monkeypatch.setenv("SWALLOW_DATA", str(tmp_path))
    (tmp_path / "base.model").write_bytes(base_path.read_bytes())
    (tmp_path / "good.jsonl").write_text("".join(json.dumps({"text": maker.japanese(number)}) + "\n" for number in range(60)))
    levels = tmp_path / "levels"
    for name in ("source", "mixture", "vocabulary"):
        (levels / name).mkdir(parents=True)
    source(tmp_path, "good.jsonl")
    (levels / "mixture" / "mine.yaml").write_text("name: mine\nweights: {mine: 1.0}\ndefaults:\n  - /source@sources.mine: mine\n")
    (levels / "vocabulary" / "mine.yaml").write_text(
        "name: mine\nmethod: expand\nvocab_size: 400\nlanguage: ja\nsegmenter: mecab\nscripts: [Hiragana, Katakana, Han]\n"
    )
    return tmp_path


def source(folder, name: str) -> None:
    (folder / "levels" / "source" / "mine.yaml").write_text(f"name: mine\nlanguage: ja\nfiles: [{name}]\nheldout_fraction: 0.1\n")


def only(folder, name: str, content: bytes) -> None:
    source(folder, name)
    (folder / name).write_bytes(content)


def unigram(folder) -> None:
    proto = read_model(folder / "base.model")
    proto.trainer_spec.model_type = 1
    (folder / "base.model").write_bytes(proto.SerializeToString())


def no_bytes(folder) -> None:
    proto = read_model(folder / "base.model")
    proto.trainer_spec.byte_fallback = False
    for piece in proto.pieces:
        piece.type = 1 if piece.type == 6 else piece.type
    (folder / "base.model").write_bytes(proto.SerializeToString())


def truncated(folder) -> None:
    data = (folder / "base.model").read_bytes()
    (folder / "base.model").write_bytes(data[: len(data) // 2])


CASES = {
    "nothing is wrong": (lambda folder: None, [], None),
    "vocab_size below the character count": (lambda folder: None, ["vocabulary.vocab_size=280"], ["vocab_size=280", "at least"]),
    "no BPE": (unigram, [], ["base.model", "is not BPE"]),
    "no byte fallback": (no_bytes, [], ["base.model", "no byte fallback"]),
    "truncated model": (truncated, [], ["base.model", "only a part"]),
    "empty corpus": (lambda folder: only(folder, "empty.jsonl", b""), [], ["empty.jsonl"]),
    "empty text file": (lambda folder: only(folder, "empty.txt", b"\n\n \n"), [], ["mine"]),
    "binary corpus": (lambda folder: only(folder, "binary.jsonl", BINARY), [], ["binary.jsonl"]),
    "binary text file": (lambda folder: only(folder, "binary.txt", BINARY), [], ["binary.txt"]),
    "wrong language": (
        lambda folder: only(
            folder, "en.jsonl", "".join(json.dumps({"text": f"The {n}th fox sells {n} keys."}) + "\n" for n in range(60)).encode()
        ),
        [],
        ["no trained piece is left", "Hiragana"],
    ),
    "accelerator unknown": (lambda folder: None, ["machine.encoder=fast"], ["machine.encoder=fast", "kitoken"]),
}


@pytest.mark.parametrize("case", CASES)
def test_the_command_says_it_in_one_line(case, user, capsys) -> None:
    arrange, overrides, words = CASES[case]
    arrange(user)
    command = ["vocabulary", "mixture=mine", "vocabulary=mine", "base_model=miniature_random", "parallel=none", "--config-dir", "levels"]
    command += [f"base_model.tokenizer={user / 'base.model'}", *overrides]
    with pytest.raises(SystemExit) as stopped:
        raise SystemExit(cli.main(command))
    printed = capsys.readouterr()
    if words is None:
        assert stopped.value.code == 0, printed.err
        assert "token_ratio = tokens after / tokens before" in printed.out and "1 / 0.562 = 1.78" in printed.out
        assert "funnel: asked 400" in printed.out and "split by unidic" in printed.out
        return
    assert stopped.value.code == 2, printed.err
    refusals = [line for line in printed.err.splitlines() if line.startswith("swallow: ")]
    assert len(refusals) == 1 and "Traceback" not in printed.err
    assert all(word in refusals[0] for word in [*words, "; expected "]), refusals[0]
    made = [path for path in (user / "out").rglob("*") if path.parent.name == "vocabulary" and path.is_dir()]
    assert made == [] and not list((user / "out").rglob("*.partial*"))


def test_a_vocabulary_that_is_asked_too_much_of_text_takes_what_there_is(expand_config, base_path, corpora, tmp_path) -> None:
    config = dataclasses.replace(expand_config, vocab_size=20_000)
    funnel = build_vocabulary(config, base_tokenizer=base_path, corpora=corpora, out=tmp_path).counts["funnel"]
    assert funnel["asked"] == 20_000 > funnel["trained"]
