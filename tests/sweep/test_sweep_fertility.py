"""Held-out tokens come with a vocabulary, and are added to a run that was finished before they were counted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.cli import run_verb
from swallow_exp.config.compose import compose_config
from swallow_exp.record.identity import identity_of
from swallow_exp.record.token_counts import read_fertility
from swallow_exp.sweep import follow
from swallow_exp.sweep.build import base_tokenizer, build_stages, reference_of

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


@pytest.fixture
def finished(made: tuple[Path, list[str]], tmp_path: Path) -> RunPaths:
    """A run as an older version left it: made from the expansion, without counts."""
    root, words = made
    out = tmp_path / "out"
    shutil.copytree(root / "out", out, ignore=shutil.ignore_patterns("fertility"))
    composed = compose_config([*words, f"paths.out={out}"], [LEVELS])
    built = build_stages(composed.config, upto="vocabulary")
    assert built.vocabulary is not None
    shutil.rmtree(out / "fertility")
    run = RunPaths.of(out, "run-aaaaaaa")
    run.folder.mkdir(parents=True)
    reference = reference_of(built.vocabulary, out)
    corpora = {name: reference_of(corpus, out) for name, corpus in built.corpora.items()}
    inputs = {"weights": reference, "vocabulary": reference, "mixture": reference, "tokens": {}, "corpora": corpora}
    run.inputs.write_text(json.dumps(inputs), encoding="utf-8")
    run.config.write_text(yaml.safe_dump(composed.plain, allow_unicode=True), encoding="utf-8")
    run.identity.write_text(json.dumps(identity_of(composed.plain)), encoding="utf-8")
    return run


def test_a_finished_run_is_counted_when_it_is_evaluated(finished: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "launch_evaluation", lambda *args, **kwargs: 0)
    assert read_fertility(finished.out, finished.run_id) == []
    before = {path: path.read_bytes() for path in finished.out.rglob("*") if path.is_file()}
    assert follow.evaluate_run(finished.out, finished, follow=False) == 0
    records = read_fertility(finished.out, finished.run_id)
    manifest = read_json(finished.out / read_json(finished.inputs)["vocabulary"]["folder"] / "manifest.json")
    sums = {record.text: [int(record.tokens_N.sum()), int(record.base_tokens_N.sum())] for record in records}  # type: ignore[union-attr]
    stored = {text: [row["tokens"], row["base_tokens"]] for text, row in manifest["counts"]["fertility"].items()}
    assert stored.keys() < sums.keys() == {"miniature_japanese", "miniature_english", "miniature_pairs_en", "miniature_pairs_ja"}
    assert {text: sums[text] for text in stored} == stored and sums["miniature_japanese"][0] < sums["miniature_japanese"][1]
    assert {path: path.read_bytes() for path in before} == before  # nothing that was there is another one now


def test_evaluation_goes_on_without_the_base_tokenizer(
    finished: RunPaths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(follow, "launch_evaluation", lambda out, run_ids, **kwargs: asked.extend(run_ids) or 0)
    config = yaml.safe_load(finished.config.read_text(encoding="utf-8"))
    config["base_model"]["tokenizer"] = str(finished.out / "gone.model")
    finished.config.write_text(yaml.safe_dump(config), encoding="utf-8")
    assert follow.evaluate_run(finished.out, finished, follow=False) == 0
    assert asked == [finished.run_id]
    assert "held-out documents were not counted" in capsys.readouterr().err
    finished.inputs.unlink()
    assert follow.evaluate_run(finished.out, finished, follow=False) == 0
    assert "no inputs.json" in capsys.readouterr().err


def test_the_vocabulary_verb_prints_the_intervals(made: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    root, words = made
    assert base_tokenizer(compose_config(words, [LEVELS]).config) == root / "tokenizer.model"
    assert run_verb(["vocabulary", *words, "--config-dir", str(LEVELS)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (start,) = [number for number, line in enumerate(lines) if "95% intervals over held-out documents" in line]
    assert lines[start + 1].split()[0] == "miniature_japanese" and "% [" in lines[start + 1]
