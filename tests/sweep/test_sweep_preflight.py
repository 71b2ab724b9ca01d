"""What would refuse a cell later on is said before anything starts, once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config.compose import compose_config
from swallow_exp.sweep.preflight import missing_text, pairs_past_budget, sample_source
from swallow_exp.sweep.prepare import build_stages

PAIRS = 3_000


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("base")
    sizes = [f"mixture.sources.miniature_english.max_documents={400}"]
    words = ["base_model=miniature_random", "vocabulary=miniature_en", "mixture=miniature_en", *sizes, f"paths.out={out}"]
    vocabulary = build_stages(compose_config(words).config, upto="vocabulary").vocabulary
    assert vocabulary is not None
    return vocabulary.folder / "tokenizer.model"


@pytest.fixture
def levels(tmp_path: Path) -> Path:
    """A user's own levels and text."""
    pages = {
        "source/my_en": "name: my_en\nkind: documents\nlanguage: en\nfiles: [en.txt]\nheldout_fraction: 0.0\n",
        "source/my_pairs": "name: my_pairs\nkind: pairs\nlanguage: en-ja\nfiles: [pairs.tsv]\nheldout_fraction: 0.0\n",
        "mixture/mine": "defaults:\n  - /source@sources.my_en: my_en\n  - /source@sources.my_pairs: my_pairs\n  - _self_\n"
        "name: mine\nweights: {my_en: 1.0}\nparallel_source: my_pairs\n",
    }
    for name, text in pages.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "en.txt").write_text("".join(f"The cat sat on mat {n}.\n" for n in range(600)), encoding="utf-8")
    rows = "".join(f"The cat sat on mat {n}.\t猫はマット{n}の上に座った。\n" for n in range(PAIRS))
    (tmp_path / "pairs.tsv").write_text(rows, encoding="utf-8")
    return tmp_path


def config_of(levels: Path, tokenizer: Path, *words: str) -> Any:
    common = ["base_model=tiny_llama2", f"base_model.tokenizer={tokenizer}", "mixture=mine", "vocabulary=base", "optim=miniature"]
    return compose_config([*common, f"paths.data={levels}", f"paths.out={levels}/out", *words], [levels]).config


@pytest.mark.parametrize("format_of_pairs", ["ntp_mixed", "ti_mixed"])
def test_the_estimate_is_near_the_shard(levels: Path, tokenizer: Path, format_of_pairs: str) -> None:
    config = config_of(levels, tokenizer, f"parallel={format_of_pairs}", "budget.tokens=100_000_000")
    sample = sample_source(config.mixture.sources["my_pairs"], levels, tokenizer)
    tokens = build_stages(config, upto="tokens").tokens
    assert sample is not None and tokens is not None
    counted = tokens["my_pairs"].counts["trained_tokens"]
    estimated = sample.side_tokens * (2 if format_of_pairs == "ntp_mixed" else 1)
    assert counted * 0.8 < estimated < counted / 0.8
    for budget, refused in ((counted // 2, True), (counted * 2, False)):
        small = config_of(levels, tokenizer, f"parallel={format_of_pairs}", f"budget.tokens={budget}")
        assert (pairs_past_budget(small) is not None) == refused
    assert pairs_past_budget(config_of(levels, levels / "nowhere.model", f"parallel={format_of_pairs}", "budget.tokens=1024")) is None


def test_bytes_per_token_are_those_of_the_text(levels: Path, tokenizer: Path) -> None:
    config = config_of(levels, tokenizer)
    sample = sample_source(config.mixture.sources["my_en"], levels, tokenizer)
    tokens = build_stages(config, upto="tokens").tokens
    assert sample is not None and tokens is not None
    text = (levels / "en.txt").stat().st_size - 600
    assert sample.bytes_per_token == pytest.approx(text / tokens["my_en"].counts["tokens"], rel=0.15)


def test_missing_text_names_its_source(levels: Path, tokenizer: Path) -> None:
    assert missing_text(config_of(levels, tokenizer)) is None
    (levels / "elsewhere").mkdir()
    error = missing_text(config_of(levels, tokenizer, f"paths.data={levels}/elsewhere"))
    assert isinstance(error, RequestError) and "source my_en: no file matches en.txt" in str(error)


def test_a_sweep_is_refused_before_it_starts(levels: Path, tokenizer: Path, swallow: Callable[..., Any]) -> None:
    words = ["base_model=tiny_llama2", f"base_model.tokenizer={tokenizer}", "mixture=mine", "vocabulary=base", "optim=miniature"]
    grid = ["parallel=none,ntp_mixed", "seed=0,1", "budget=smoke", "suite=none", f"paths.data={levels}", "--config-dir", str(levels)]
    for verb in (["train", "-m"], ["train", "-m", "--plan-only"], ["plan"]):
        done = swallow(*verb, *words, *grid)
        assert (done.returncode, done.stdout) == (2, ""), done
        assert done.stderr.count("the pairs of my_pairs alone have about") == 1 and len(done.stderr.splitlines()) == 1
    (levels / "en.txt").unlink()
    done = swallow("train", "-m", *words, *grid)
    assert done.returncode == 2 and done.stderr.count("no file matches en.txt") == 1
    (levels / "pairs.tsv").unlink()
    planned = swallow("plan", *words, *grid)
    assert planned.returncode == 0 and planned.stdout.count("training refuses: source my_en: no file matches") == 1
