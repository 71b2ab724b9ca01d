"""A small world to make tokenizers on: English and Japanese sentences, a base tokenizer trained on the English, its expansion."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from swallow_exp.artefact.manifest import Artefact
from swallow_exp.config import SourceConfig, VocabularyConfig
from swallow_exp.corpus.build_corpus import build_corpus
from swallow_exp.vocabulary.build_vocabulary import build_vocabulary

ENGLISH_WORDS = "the a fox king farmer river market letter finds carries hides sells old quiet red in from under winter 1984 12".split()
JAPANESE_PARTS = (
    ["狐が", "王様は", "農夫が", "船乗りは", "先生が"],
    ["市場で", "古い川の", "静かな森で", "コンピューターを", "冬の港で"],
    ["手紙を", "赤い花を", "1984年の本を", "「ラーメン」を", "林檎を"],
    ["見つけた。", "運んでいる。", "売りました!", "隠さなかった。", "食べたかった…"],
)
BASE_CHARACTERS = "日本のが人、。"


def english(number: int) -> str:
    words = [ENGLISH_WORDS[(number * (7 + 2 * place) + place * place) % len(ENGLISH_WORDS)] for place in range(9)]
    return " ".join(words).capitalize() + ".\n" + "  x = " + words[0] + "(" + words[3] + f", {number})"


def japanese(number: int) -> str:
    sentences = [
        "".join(parts[(number * (3 + place) + place * repeat) % len(parts)] for place, parts in enumerate(JAPANESE_PARTS))
        for repeat in range(3)
    ]
    return "\n".join([*sentences, f"これは{number}冊の本です。"])


def make_corpus(out: Path, name: str, language: str, texts: list[str]) -> Artefact:
    data = out / "data"
    data.mkdir(parents=True, exist_ok=True)
    (data / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts), encoding="utf-8")
    return build_corpus(SourceConfig(name=name, language=language, files=[f"{name}.jsonl"], heldout_fraction=0.2), out=out, data=data)


def make_pairs(out: Path, name: str, rows: list[tuple[str, str]]) -> Artefact:
    data = out / "data"
    data.mkdir(parents=True, exist_ok=True)
    (data / f"{name}.tsv").write_text("".join(f"a\tb\t0.8\t{en}\t{ja}\n" for en, ja in rows), encoding="utf-8")
    source = SourceConfig(name=name, language="en-ja", kind="pairs", files=[f"{name}.tsv"], heldout_fraction=0.2)
    return build_corpus(source, out=out, data=data)


@pytest.fixture(scope="session")
def maker() -> SimpleNamespace:
    """english(number), japanese(number), make_corpus(out, name, language, texts): for tests that need other text."""
    return SimpleNamespace(english=english, japanese=japanese, make_corpus=make_corpus)


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("vocabulary_world")


@pytest.fixture(scope="session")
def corpora(world) -> dict[str, Artefact]:
    return {
        "english": make_corpus(world, "english", "en", [english(number) for number in range(150)]),
        "japanese": make_corpus(world, "japanese", "ja", [japanese(number) for number in range(150)]),
        "pairs": make_pairs(world, "pairs", [(english(n).split("\n")[0], japanese(n).split("\n")[0] + str(n)) for n in range(60)]),
    }


@pytest.fixture(scope="session")
def scratch_config() -> VocabularyConfig:
    return VocabularyConfig(name="small_en", method="scratch", vocab_size=400, language="en", required_characters=BASE_CHARACTERS)


@pytest.fixture(scope="session")
def base(scratch_config, corpora, world) -> Artefact:
    return build_vocabulary(scratch_config, base_tokenizer=None, corpora=corpora, out=world)


@pytest.fixture(scope="session")
def base_path(base) -> Path:
    return base.folder / "tokenizer.model"


@pytest.fixture(scope="session")
def expand_config() -> VocabularyConfig:
    return VocabularyConfig(
        name="small_ja",
        method="expand",
        vocab_size=400,
        language="ja",
        segmenter="mecab",
        normalization="nfkc",
        scripts=["Hiragana", "Katakana", "Han"],
        extra_characters="ー",
    )


@pytest.fixture(scope="session")
def expanded(expand_config, base_path, corpora, world) -> Artefact:
    return build_vocabulary(expand_config, base_tokenizer=base_path, corpora=corpora, out=world)
