"""The four uses of a parallel corpus, from text to plan: Table 8's 5.6 : 5.6 : 2.8, stages, and directions kept apart."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_shards import config_of

from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.manifest import Artefact
from swallow_exp.config import Config, SourceConfig, VocabularyConfig, compose_config
from swallow_exp.corpus.build_corpus import build_corpus, read_pairs
from swallow_exp.mixture.build_plan import PLAN_NAME, build_plan
from swallow_exp.mixture.stream import SequenceStream
from swallow_exp.tokens.build_shards import build_tokens
from swallow_exp.tokens.encode import directions
from swallow_exp.tokens.shard import open_shard
from swallow_exp.vocabulary.build_vocabulary import build_vocabulary
from swallow_exp.vocabulary.tokenizer import load_tokenizer

CELLS = ("ntp_mixed", "ntp_two_staged", "ti_mixed", "ti_two_staged")
DATA = os.environ.get("SWALLOW_TEST_DATA")
NOUNS = [("fox", "狐"), ("king", "王様"), ("farmer", "農夫"), ("sailor", "船乗り"), ("teacher", "先生"), ("whale", "鯨"), ("cat", "猫")]
THINGS = [("letter", "手紙"), ("flower", "花"), ("stone", "石"), ("fish", "魚"), ("lamp", "灯り")]


@dataclass(frozen=True)
class World:
    """Corpora and a tokenizer under one output root."""

    out: Path
    pairs: Artefact
    documents: Artefact
    vocabulary: Artefact


def rows(count: int) -> list[tuple[str, str]]:
    made = []
    for number in range(count):
        noun, thing = NOUNS[number % 7], THINGS[number % 5]
        more = " and rests" * (number % 4), "そして休む" * (number % 4)
        made.append((f"The {noun[0]} finds {number} {thing[0]}s{more[0]}.", f"{noun[1]}が{thing[1]}を{number}個見つける{more[1]}。"))
    return made


@pytest.fixture(scope="module")
def made_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    out = tmp_path_factory.mktemp("pairs_world")
    (out / "pairs.tsv").write_text("".join(f"a\tb\t0.8\t{en}\t{ja}\n" for en, ja in rows(700)), encoding="utf-8")
    (out / "text.jsonl").write_text("".join(json.dumps({"text": f"{en} {en}"}) + "\n" for en, _ in rows(3000)), encoding="utf-8")
    pairs = SourceConfig(name="pairs", language="en-ja", kind="pairs", files=["pairs.tsv"], heldout_fraction=0.01)
    text = SourceConfig(name="text", language="en", files=["text.jsonl"], heldout_fraction=0.01)
    documents = build_corpus(text, out=out, data=out)
    scratch = VocabularyConfig(name="small", method="scratch", vocab_size=400, language="en", required_characters="の。が")
    vocabulary = build_vocabulary(scratch, base_tokenizer=None, corpora={"text": documents}, out=out)
    return World(out, build_corpus(pairs, out=out, data=out), documents, vocabulary)


@pytest.fixture(scope="module")
def real_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """8,568 sentence pairs and the Llama 2 tokenizer."""
    if DATA is None:
        pytest.skip("SWALLOW_TEST_DATA is not set")
    out, data = tmp_path_factory.mktemp("real_world"), Path(DATA)
    pairs = SourceConfig(name="pairs", language="en-ja", kind="pairs", files=["parallel/lo_help.jparacrawl.tsv"], heldout_fraction=0.01)
    text = SourceConfig(name="text", language="ja", files=["ja/aozora_pd.jsonl"], heldout_fraction=0.01)
    documents = build_corpus(text, out=out, data=data)
    base = VocabularyConfig(name="base", method="base")
    vocabulary = build_vocabulary(base, base_tokenizer=data / "llama2_tokenizer.model", corpora={"text": documents}, out=out)
    return World(out, build_corpus(pairs, out=out, data=data), documents, vocabulary)


def cell_config(level: str, *, length: int, batch: int, tokens: int) -> Config:
    config = config_of(f"parallel={level}")
    config.optim = dataclasses.replace(config.optim, sequence_length=length, global_batch_sequences=batch)
    config.budget = dataclasses.replace(config.budget, tokens=tokens)
    sources = {"text": SourceConfig(name="text"), "pairs": SourceConfig(name="pairs", kind="pairs")}
    config.mixture = dataclasses.replace(
        config.mixture, sources=sources, weights={"text": 1.0}, parallel_source="pairs", max_repetition=99.0
    )
    return config


def plan_of(world: World, config: Config) -> tuple[dict[str, Any], SequenceStream]:
    shards = {
        "text": build_tokens(world.documents, world.vocabulary, out=world.out),
        "pairs": build_tokens(world.pairs, world.vocabulary, out=world.out, parallel=config.parallel),
    }
    plan = build_plan(config, shards, out=world.out)
    return read_json(plan.folder / PLAN_NAME), SequenceStream(plan, {name: open_shard(shard) for name, shard in shards.items()})


def pairs_facts(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    (found,) = [source for source in facts["sources"] if source["name"] == "pairs"]
    return found  # type: ignore[no-any-return]


def check_table8(world: World, *, length: int, tokens: int, tolerance: float) -> dict[str, int]:
    """Trained tokens of the parallel corpus in the plans of the four cells are as 2 : 2 : 1 : 1."""
    plans = {level: plan_of(world, cell_config(level, length=length, batch=4, tokens=tokens))[0] for level in CELLS}
    trained = {level: int(pairs_facts(plan)["trained_tokens"]) for level, plan in plans.items()}
    assert trained["ntp_mixed"] == trained["ntp_two_staged"] == pairs_facts(plans["ntp_mixed"])["positions"]
    assert trained["ntp_mixed"] / trained["ti_two_staged"] == pytest.approx(2.0, rel=tolerance)
    assert trained["ti_mixed"] == pytest.approx(trained["ti_two_staged"], rel=tolerance)
    for level, plan in plans.items():
        assert plan["trained_tokens"] >= tokens
        assert [stage["name"] for stage in plan["stages"]] == (["parallel", "mixture"] if "two_staged" in level else ["mixture"])
        positions = pairs_facts(plan)["positions"]
        assert positions > trained[level] if level.startswith("ti") else positions == trained[level]
    return trained


def test_table8_comes_out_of_the_plans(made_world: World) -> None:
    check_table8(made_world, length=64, tokens=200_000, tolerance=0.005)


def test_table8_comes_out_of_real_pairs(real_world: World) -> None:
    trained = check_table8(real_world, length=512, tokens=4_000_000, tolerance=0.005)
    assert trained["ntp_mixed"] > 1_000_000


def together(world: World, level: str, *, length: int, tokens: int) -> tuple[int, float]:
    """Pairs whose two directions begin in one packed sequence: how many there are, and how many chance would put there."""
    config = cell_config(level, length=length, batch=4, tokens=tokens)
    _, stream = plan_of(world, config)
    shard = open_shard(build_tokens(world.pairs, world.vocabulary, out=world.out, parallel=config.parallel))
    begins = np.concatenate([[0], shard.offsets[:-1]])
    window = {tuple(shard.tokens[shard.span(k)].tolist()): int(begin) // length for k, begin in enumerate(begins)}
    processor = load_tokenizer(world.vocabulary)
    count = total = 0
    for pair in read_pairs(world.pairs, "train"):
        both = [(1, *processor.encode(one.prompt + one.target), 2) for one in directions(pair, config.parallel)]
        if both[0] in window and both[1] in window:
            total += 1
            count += window[both[0]] == window[both[1]]
    sizes = np.bincount(begins // length).astype(np.float64)
    documents = sizes.sum()
    chance = total * float((sizes * (sizes - 1)).sum()) / (documents * (documents - 1))
    assert total > 0.95 * world.pairs.counts["train"]["documents"] * (len(window) / len(begins))
    assert len(stream) > 0
    return count, chance


@pytest.mark.parametrize("level", ["ntp_mixed", "ti_two_staged"])
def test_directions_of_a_pair_share_a_sequence_by_chance_only(level: str, made_world: World) -> None:
    count, chance = together(made_world, level, length=1024, tokens=150_000)
    assert 2 < chance < 40
    assert abs(count - chance) < 4 * chance**0.5


def test_directions_of_real_pairs_share_a_sequence_by_chance_only(real_world: World) -> None:
    count, chance = together(real_world, "ntp_mixed", length=4096, tokens=2_000_000)
    assert abs(count - chance) < 4 * chance**0.5


def test_templates_are_the_papers_and_the_japanese_ones_are_there() -> None:
    """Paper E.2, both in English; NLP2024 A.2 has the one for Japanese to English in Japanese."""
    english = "Please translate the following {} text into {}."
    for order in ("mixed", "two_staged"):
        ours, japanese = (compose_config([f"parallel=ti_{order}{suffix}"]).config.parallel for suffix in ("", "_ja"))
        assert ours.instruction_ja_en == english.format("Japanese", "English")
        assert ours.instruction_en_ja == japanese.instruction_en_ja == english.format("English", "Japanese")
        assert japanese.instruction_ja_en == "次の日本語を英語に翻訳してください。"
        assert ours.order == japanese.order == order
