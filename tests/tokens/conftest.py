"""A small base tokenizer and its expansion, and corpora to encode."""

import json
from pathlib import Path

import pytest

from swallow_exp.artefact.manifest import Artefact
from swallow_exp.config import ParallelConfig, SourceConfig, VocabularyConfig
from swallow_exp.corpus.build_corpus import build_corpus
from swallow_exp.vocabulary.build_vocabulary import build_vocabulary

NOUNS = [("fox", "狐"), ("king", "王様"), ("farmer", "農夫"), ("sailor", "船乗り"), ("teacher", "先生")]
THINGS = [("letter", "手紙"), ("flower", "花"), ("stone", "石"), ("fish", "魚"), ("lamp", "灯り"), ("map", "地図")]
PLACES = [("market", "市場"), ("forest", "森"), ("harbor", "港"), ("river", "川")]


def sentence(number: int) -> tuple[str, str]:
    noun, thing, place = NOUNS[number % 5], THINGS[number % 6], PLACES[(number // 7) % 4]
    return f"The {noun[0]} finds {number} {thing[0]}s in the {place[0]}.", f"{noun[1]}が{place[1]}で{thing[1]}を{number}個見つける。"


def corpus_of(out: Path, name: str, language: str, texts: list[str]) -> Artefact:
    data = out / "data"
    data.mkdir(parents=True, exist_ok=True)
    rows = (json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    (data / f"{name}.jsonl").write_text("".join(rows), encoding="utf-8")
    return build_corpus(SourceConfig(name=name, language=language, files=[f"{name}.jsonl"], heldout_fraction=0.1), out=out, data=data)


def pairs_of(out: Path, name: str, rows: list[tuple[str, str]]) -> Artefact:
    data = out / "data"
    data.mkdir(parents=True, exist_ok=True)
    (data / f"{name}.tsv").write_text("".join(f"a\tb\t0.8\t{en}\t{ja}\n" for en, ja in rows), encoding="utf-8")
    source = SourceConfig(name=name, language="en-ja", kind="pairs", files=[f"{name}.tsv"], heldout_fraction=0.1)
    return build_corpus(source, out=out, data=data)


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("tokens_world")


@pytest.fixture(scope="session")
def english(world) -> Artefact:
    return corpus_of(world, "english", "en", [sentence(number)[0] + "\n  two  spaces" for number in range(200)])


@pytest.fixture(scope="session")
def japanese(world) -> Artefact:
    return corpus_of(world, "japanese", "ja", [sentence(number)[1] for number in range(200)])


@pytest.fixture(scope="session")
def pairs(world) -> Artefact:
    return pairs_of(world, "pairs", [sentence(number) for number in range(200)])


@pytest.fixture(scope="session")
def base(world, english) -> Artefact:
    config = VocabularyConfig(name="base", method="scratch", vocab_size=400, language="en", required_characters="の。")
    return build_vocabulary(config, base_tokenizer=None, corpora={"english": english}, out=world)


@pytest.fixture(scope="session")
def expanded(world, base, english, japanese) -> Artefact:
    config = VocabularyConfig(
        name="expanded",
        method="expand",
        vocab_size=340,
        language="ja",
        segmenter="mecab",
        normalization="nfkc",
        scripts=["Hiragana", "Han"],
    )
    corpora = {"english": english, "japanese": japanese}
    return build_vocabulary(config, base_tokenizer=base.folder / "tokenizer.model", corpora=corpora, out=world)


@pytest.fixture(scope="session")
def ntp() -> ParallelConfig:
    return ParallelConfig(name="ntp", format="next_token_prediction", order="mixed")


@pytest.fixture(scope="session")
def instructed() -> ParallelConfig:
    return ParallelConfig(
        name="ti",
        format="translation_instruction",
        order="two_staged",
        instruction_ja_en="次の日本語を英語に翻訳してください。",
        instruction_en_ja="Please translate the following English text into Japanese.",
    )
