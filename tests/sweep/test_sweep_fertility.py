"""Held-out tokens come with a vocabulary."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from swallow_exp.cli import run_verb
from swallow_exp.config.compose import compose_config
from swallow_exp.record.token_counts import read_counts
from swallow_exp.sweep.prepare import base_tokenizer, build_stages, reference_of

LEVELS = Path(__file__).resolve().parents[1] / "data" / "levels"
SMALL = [
    "mixture=miniature",
    *[f"mixture.sources.miniature_{name}.max_documents={count}" for name, count in (("japanese", 700), ("english", 700), ("pairs", 100))],
    *[f"mixture.sources.miniature_{name}.heldout_fraction=0.1" for name in ("japanese", "english", "pairs")],
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """An output root with an expansion, and the overrides that ask for it."""
    root = tmp_path_factory.mktemp("fertility")
    common = [*SMALL, f"paths.out={root / 'out'}"]
    scratch = compose_config([*common, "base_model=miniature_random", "vocabulary=my_base"], [LEVELS]).config
    vocabulary = build_stages(scratch, upto="vocabulary").vocabulary
    assert vocabulary is not None
    shutil.copy(vocabulary.folder / "tokenizer.model", root / "tokenizer.model")
    words = [*common, "base_model=tiny_llama2", f"base_model.tokenizer={root / 'tokenizer.model'}", "vocabulary=my_expansion"]
    build_stages(compose_config(words, [LEVELS]).config, upto="vocabulary")
    return root, words


def test_counts_come_with_the_vocabulary(made: tuple[Path, list[str]]) -> None:
    root, words = made
    built = build_stages(compose_config(words, [LEVELS]).config, upto="vocabulary")
    assert built.vocabulary is not None
    out = root / "out"
    corpora = {name: reference_of(corpus, out) for name, corpus in built.corpora.items()}
    records = read_counts(out, reference_of(built.vocabulary, out), corpora)
    sums = {record.text: [int(record.tokens_N.sum()), int(record.base_tokens_N.sum())] for record in records}  # type: ignore[union-attr]
    stored = {text: [row["tokens"], row["base_tokens"]] for text, row in built.vocabulary.counts["fertility"].items()}
    assert stored.keys() < sums.keys() == {"miniature_japanese", "miniature_english", "miniature_pairs_en", "miniature_pairs_ja"}
    assert {text: sums[text] for text in stored} == stored and sums["miniature_japanese"][0] < sums["miniature_japanese"][1]


def test_the_vocabulary_verb_prints_the_intervals(made: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    root, words = made
    assert base_tokenizer(compose_config(words, [LEVELS]).config) == root / "tokenizer.model"
    assert run_verb(["vocabulary", *words, "--config-dir", str(LEVELS)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (start,) = [number for number, line in enumerate(lines) if "95% intervals over held-out documents" in line]
    assert lines[start + 1].split()[0] == "miniature_japanese" and "% [" in lines[start + 1]
