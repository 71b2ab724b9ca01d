"""Another language needs YAML, no code; and normalisation is an axis of its own."""

import dataclasses
import itertools
from pathlib import Path

import pytest
import regex

from swallow_exp.config import compose_config
from swallow_exp.vocabulary.build_vocabulary import build_vocabulary
from swallow_exp.vocabulary.model_file import read_model
from swallow_exp.vocabulary.tokenizer import load_tokenizer, model_path
from swallow_exp.vocabulary.twin import EDGE_STRINGS, first_difference, make_twin

LEVELS = Path(__file__).resolve().parents[1] / "data" / "levels"
WORDS = {
    "ko": (
        ["여우가", "임금님은", "농부가"],
        ["시장에서", "조용한 숲에서", "겨울 항구에서"],
        ["편지를", "붉은 꽃을", "책 12권을"],
        ["찾았다.", "팔았습니다!"],
    ),
    "ru": (
        ["лиса", "король", "рыбак"],
        ["на рынке", "в тихом лесу", "зимой в порту"],
        ["находит", "прячет", "продаёт"],
        ["письмо.", "красный цветок!"],
    ),
}


def texts(language: str) -> list[str]:
    sentences = [" ".join(parts) for parts in itertools.product(*WORDS[language])]
    return [" ".join(sentences[(number * step) % len(sentences)] for step in (1, 5, 7)) + f"\n{number}" for number in range(120)]


@pytest.mark.parametrize(("level", "language", "script"), [("korean", "ko", r"\p{Hangul}"), ("russian", "ru", r"\p{Cyrillic}")])
def test_another_language_is_a_yaml_file(level, language, script, base, base_path, corpora, maker, tmp_path) -> None:
    config = compose_config([f"vocabulary={level}"], [LEVELS]).config.vocabulary
    sources = {
        "english": corpora["english"],
        "theirs": maker.make_corpus(tmp_path, "theirs", language, texts(language)),
    }
    built = build_vocabulary(config, base_tokenizer=base_path, corpora=sources, out=tmp_path)
    proto = read_model(model_path(built))
    added = [piece.piece for piece in proto.pieces[base.counts["size"] :]]
    assert len(added) == built.counts["added"] >= 24 and len(proto.pieces) % config.multiple_of == 0
    assert all(regex.fullmatch(f"{script}+", surface) for surface in added)
    assert sum(len(surface) > 1 for surface in added) >= 8
    fertility = built.counts["fertility"]
    assert fertility["theirs"]["token_ratio"] < 0.6
    assert fertility["english"]["token_ratio"] == 1.0
    assert "dictionary" not in built.counts and "dictionary" not in built.manifest["made_from"]
    plain, after = load_tokenizer(base), load_tokenizer(built)
    assert all(plain.encode(maker.english(number)) == after.encode(maker.english(number)) for number in range(20))
    twin = make_twin(proto)
    twin.encode_special_tokens = True
    assert first_difference(twin, after, [*EDGE_STRINGS, *texts(language)]) is None


@pytest.mark.parametrize(("method", "normalization"), list(itertools.product(("base", "expand"), ("none", "nfkc"))))
def test_expansion_and_normalisation_are_two_axes(method, normalization, expand_config, base, base_path, corpora, tmp_path) -> None:
    config = dataclasses.replace(expand_config, method=method, normalization=normalization)
    built = build_vocabulary(config, base_tokenizer=base_path, corpora=corpora, out=tmp_path)
    processor = load_tokenizer(built)
    assert (processor.encode("Ａ①ｶﾞ") == processor.encode("A1ガ")) is (normalization == "nfkc")
    assert (built.counts["added"] > 0) is (method == "expand")
    assert read_model(model_path(built)).normalizer_spec.name == ("nfkc" if normalization == "nfkc" else "identity")
    assert (built.counts["fertility"]["japanese"]["token_ratio"] < 0.9) is (method == "expand")


def test_shipped_levels_hold_both_axes() -> None:
    shipped = [compose_config([f"vocabulary={level}"]).config.vocabulary for level in ("base", "base_nfkc", "ja_16k", "ja_16k_identity")]
    assert [(level.method, level.normalization) for level in shipped] == [
        ("base", "none"),
        ("base", "nfkc"),
        ("expand", "nfkc"),
        ("expand", "none"),
    ]
    assert dataclasses.replace(shipped[3], name=shipped[2].name, normalization="nfkc") == shipped[2]
