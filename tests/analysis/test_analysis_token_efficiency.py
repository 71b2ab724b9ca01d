"""Token efficiency: the numbers are ratios of sums, the intervals are paired, and nothing is claimed where texts differ."""

import json
from pathlib import Path

import numpy as np
import pytest
from synthetic_study import write_run, write_sweep

from analysis.efficiency.measure import FEW_TEXTS, SavedText, gain_of, measure_study, paper_rows
from analysis.efficiency.tokens import draw_token_efficiency, interval_lines, token_efficiency_table
from analysis.load import load_study
from analysis.table import as_csv, as_latex, as_markdown
from swallow_exp.artefact.paths import ReportPaths, RunPaths, fertility_file
from swallow_exp.record.store import read_result, write_result
from swallow_exp.record.token_counts import PAPER_GAIN, PAPER_REDUCTION, PAPER_TOKEN_RATIO, read_fertility, write_fertility

DOCUMENTS = 120
TASK = "mini_choice"


def write_counts(out: Path, run_id: str, vocabulary: str, *, ratio: float, corpora: tuple[str, ...] = ("japanese", "english")) -> None:
    """Documents of any length; Japanese ones take `ratio` of their base tokens, more or less."""
    references = {}
    for corpus in corpora:
        rng = np.random.default_rng([*corpus.encode()])
        characters = rng.integers(20, 3_000, size=DOCUMENTS if corpus != "few" else FEW_TEXTS - 1)
        before = np.round(characters * rng.normal(1.2, 0.05, size=len(characters))).astype(int)
        wobble = rng.normal(1.0, 0.08, size=len(characters)) if ratio < 1 else 1.0
        after = before if corpus == "english" else np.round(before * ratio * wobble).astype(int)
        facts = {
            "vocabulary_digest": vocabulary,
            "corpus_digest": corpus,
            "tokenizer": vocabulary,
            "is_base": "yes" if ratio == 1 else "no",
        }
        columns = {
            "text": [""] * len(characters),
            "document_id": [f"d{i}" for i in range(len(characters))],
            "characters": characters.tolist(),
            "bytes": (3 * characters).tolist(),
            "tokens": after.tolist(),
            "base_tokens": before.tolist(),
        }
        write_fertility(fertility_file(out, f"{vocabulary}-0000000", f"{corpus}-1111111"), columns, facts)
        references[corpus] = {"folder": f"artefacts/corpus/{corpus}-1111111", "digest": corpus}
    inputs = {"vocabulary": {"folder": f"artefacts/vocabulary/{vocabulary}-0000000", "digest": vocabulary}, "corpora": references}
    RunPaths.of(out, run_id).inputs.write_text(json.dumps(inputs), encoding="utf-8")


def write_answers(out: Path, run_id: str, tokens_a_character: float, answer: str) -> None:
    """The last checkpoint's result of TASK, with what was generated."""
    folder = RunPaths.of(out, run_id).evaluation(2_000_000, TASK)
    result = read_result(folder)
    assert result is not None
    rng = np.random.default_rng(7)
    items = []
    for i in range(200):
        characters = int(rng.integers(3, 40))
        items.append(
            {
                "item_id": f"{TASK}-{i:04d}",
                "cluster": f"c{i // 2}",
                "prediction": answer,
                "stat:accuracy:both": [1.0],
                "generated_tokens": round(characters * tokens_a_character * float(rng.normal(1, 0.1))),
                "generated_characters": characters,
            }
        )
    write_result(folder, result, items)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Two vocabularies at one seed, counted."""
    cells = [{"run_id": f"{v}-s0", "choices": {"vocabulary": v}, "seed": 0, "label": v} for v in ("base", "ja")]
    contrast = {
        "factor": "vocabulary",
        "level": "ja",
        "baseline_level": "base",
        "run_id": "ja-s0",
        "baseline_run_id": "base-s0",
        "label": "x",
    }
    write_sweep(tmp_path, ["none"], cells=cells, contrasts=[contrast], axes={"vocabulary": ["base", "ja"]}, baseline={"vocabulary": "base"})
    for vocabulary, ratio in (("base", 1.0), ("ja", 0.6)):
        write_run(tmp_path, f"{vocabulary}-s0", "none", tasks=(TASK, "heldout_japanese"), marks=(0.0, 1.0))
        write_counts(tmp_path, f"{vocabulary}-s0", vocabulary, ratio=ratio)
    return tmp_path


def rows_of(out: Path) -> dict[tuple[str, str], SavedText]:
    return {(row.text, row.vocabulary): row for row in measure_study(load_study(out, "parallel"))}


def test_held_out_numbers_are_ratios_of_sums_and_pairs_narrow_the_interval(out: Path) -> None:
    rows = rows_of(out)
    ours, theirs = rows["japanese", "ja"], rows["japanese", "base"]
    (record,) = [r for r in read_fertility(out, "ja-s0") if r.text == "japanese"]
    ratio = record.tokens_N.sum() / record.base_tokens_N.sum()
    assert ours.reduction == pytest.approx(100 * (1 - ratio))
    assert ours.gain == pytest.approx(100 * (1 / ratio - 1))
    assert ours.tokens_per_character == pytest.approx(record.tokens_N.sum() / record.characters_N.sum())
    assert (ours.documents, ours.characters, ours.tokens) == (DOCUMENTS, record.characters_N.sum(), record.tokens_N.sum())
    assert theirs.tokens == record.base_tokens_N.sum() and theirs.reduction is None and theirs.gain is None
    assert rows["english", "ja"].reduction == 0.0 and rows["english", "ja"].reduction_interval == (0.0, 0.0)
    # the same interval from the residuals of a ratio of sums (the delta method), which knows that documents are paired
    residual = record.tokens_N - ratio * record.base_tokens_N
    error = 100 * residual.std() * np.sqrt(DOCUMENTS) / record.base_tokens_N.sum()
    low, high = ours.reduction_interval
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.15)
    assert low < ours.reduction < high
    assert ours.gain_interval == (pytest.approx(gain_of(low)), pytest.approx(gain_of(high)))


def test_seeds_are_summed_item_by_item_and_a_seed_without_its_partner_is_left_out(out: Path) -> None:
    sweep = json.loads((out / "sweeps" / "parallel.json").read_text(encoding="utf-8"))
    for seed in (1, 2):
        for v in ("base", "ja"):
            write_run(out, f"{v}-s{seed}", "none", seed=seed, tasks=(TASK,), marks=(0.0, 1.0))
            sweep["cells"].append({"run_id": f"{v}-s{seed}", "choices": {"vocabulary": v}, "seed": seed, "label": v})
        sweep["contrasts"].append({**sweep["contrasts"][0], "run_id": f"ja-s{seed}", "baseline_run_id": f"base-s{seed}"})
    (out / "sweeps" / "parallel.json").write_text(json.dumps(sweep), encoding="utf-8")
    for seed, rates in enumerate(((1.2, 0.6), (1.4, 0.8), (None, 9.0))):
        for vocabulary, rate in zip(("base", "ja"), rates, strict=True):
            if rate is not None:
                write_answers(out, f"{vocabulary}-s{seed}", rate, "猫。")
    ours = rows_of(out)[TASK, "ja"]
    assert ours.documents == 200
    assert ours.tokens_per_character == pytest.approx(0.7, rel=0.02)
    assert ours.reduction == pytest.approx(100 * (1 - 0.7 / 1.3), abs=1.0)


def test_the_paper_stands_beside_as_printed_and_as_it_can_be_true(out: Path) -> None:
    printed, read = list(rows_of(out).values())[-2:]
    assert [printed, read] == paper_rows() and {printed.source, read.source} == {"paper"}
    assert (printed.reduction, printed.gain) == (pytest.approx(56.2), pytest.approx(78.0))
    assert gain_of(printed.reduction) == pytest.approx(128.3, abs=0.05)  # so the printed two contradict each other
    assert read.reduction == pytest.approx(43.8) and round(read.gain) == 78
    # a mean over text could only reconcile them if 22% of the tokens were text that expansion leaves alone; the mixture has 5%
    unchanged = (1 / (1 + PAPER_GAIN) - (1 - PAPER_REDUCTION)) / PAPER_REDUCTION
    mixture = 10 / (10 + 90 / (1 - PAPER_REDUCTION))
    assert (round(unchanged, 2), round(mixture, 3)) == (0.22, 0.046)
    assert 1 / (mixture + (1 - mixture) * (1 - PAPER_REDUCTION)) - 1 == pytest.approx(1.15, abs=0.01)
    assert PAPER_TOKEN_RATIO == PAPER_REDUCTION


def test_generated_text_is_compared_item_by_item(out: Path) -> None:
    write_answers(out, "base-s0", 1.25, "猫がいる。")
    write_answers(out, "ja-s0", 0.75, "犬がいた。")
    ours, theirs = rows_of(out)[TASK, "ja"], rows_of(out)[TASK, "base"]
    assert ours.source == "generated" and ours.documents == 200
    assert ours.characters_per_token == pytest.approx(1 / 0.75, rel=0.02)
    assert ours.gain == pytest.approx(100 * (ours.characters_per_token / theirs.characters_per_token - 1))
    low, high = ours.gain_interval
    assert low < 100 * (1.25 / 0.75 - 1) < high and high - low < 10
    assert theirs.gain is None


def test_answers_in_another_script_are_shown_and_not_compared(out: Path) -> None:
    write_answers(out, "base-s0", 0.25, "a cat.")
    write_answers(out, "ja-s0", 0.75, "犬がいた。")
    ours = rows_of(out)[TASK, "ja"]
    assert ours.characters_per_token == pytest.approx(1 / 0.75, rel=0.02)
    assert ours.reduction is None and ours.gain is None and ours.gain_interval is None


def test_a_few_documents_give_no_interval(out: Path) -> None:
    write_counts(out, "ja-s0", "ja", ratio=0.6, corpora=("few",))
    row = rows_of(out)["few", "ja"]
    assert row.reduction == pytest.approx(40, abs=6) and row.reduction_interval is None
    table = token_efficiency_table(load_study(out, "parallel"))
    assert ["—" in row[9] for row in table.rows if row[0] == "few"] == [True]


def test_one_level_with_two_tokenizers_is_named_apart_and_two_levels_with_one_share_a_row(out: Path) -> None:
    for name, vocabulary in (("ja2", "ja"), ("ja3", "other")):
        write_run(out, f"{name}-s0", "none", tasks=(TASK,), marks=(1.0,))
        write_counts(out, f"{name}-s0", vocabulary, ratio=0.6)
    sweep = json.loads((out / "sweeps" / "parallel.json").read_text(encoding="utf-8"))
    sweep["cells"] += [
        {"run_id": f"{n}-s0", "choices": {"vocabulary": v, "x": n}, "seed": 0, "label": n} for n, v in (("ja2", "zeros"), ("ja3", "ja"))
    ]
    (out / "sweeps" / "parallel.json").write_text(json.dumps(sweep), encoding="utf-8")
    named = [vocabulary for text, vocabulary in rows_of(out) if text == "japanese"]
    assert named == ["base", "ja, zeros (ja-0000000)", "ja (other-0000000)"]


def test_the_table_and_the_figure_say_the_same(out: Path) -> None:
    write_answers(out, "base-s0", 1.25, "猫がいる。")
    write_answers(out, "ja-s0", 0.75, "犬がいた。")
    study, paths = load_study(out, "parallel"), ReportPaths.of(out, "parallel")
    table, figure = token_efficiency_table(study), draw_token_efficiency(study, paths)
    assert table is not None and figure is not None
    assert token_efficiency_table(study) == table
    assert as_csv(table).splitlines()[-2].startswith('"Swallow Corpus, as printed",paper,paper,,,,,,56.2,,78.0,')
    (row,) = [row for row in table.rows if row[:2] == ("japanese", "ja")]
    assert f"| {row[8]} | {row[9]} |" in as_markdown(table) and r"\toprule" in as_latex(table)
    assert f"japanese, ja: {row[8]}% {row[9]} fewer tokens" in figure.alt
    assert [s for s in ("svg", "pdf", "png") if not paths.figure("token_efficiency", s).stat().st_size] == []


def test_nothing_counted_nothing_shown(out: Path) -> None:
    for path in (out / "fertility").rglob("*.parquet"):
        path.unlink()
    study = load_study(out, "parallel")  # as a study that was finished before documents were counted
    assert token_efficiency_table(study) is None
    assert draw_token_efficiency(study, ReportPaths.of(out, "parallel")) is None
    assert interval_lines(read_fertility(out, "ja-s0")) == []


def test_a_study_of_one_vocabulary_shows_it_without_the_paper(out: Path) -> None:
    sweep = json.loads((out / "sweeps" / "parallel.json").read_text(encoding="utf-8"))
    (out / "sweeps" / "parallel.json").write_text(json.dumps({**sweep, "cells": sweep["cells"][:1], "contrasts": []}), encoding="utf-8")
    study = load_study(out, "parallel")
    table = token_efficiency_table(study)
    assert [row[:3] for row in table.rows] == [("japanese", "base", "held out"), ("english", "base", "held out")]
    assert "Paper" not in table.caption
    assert draw_token_efficiency(study, ReportPaths.of(out, "parallel")) is None


def test_the_lines_of_the_vocabulary_verb(out: Path) -> None:
    lines = interval_lines(read_fertility(out, "ja-s0"))
    row = rows_of(out)["japanese", "ja"]
    assert f"{row.reduction:.1f}% [" in lines[1] and "(120 documents, " in lines[1] and lines[2].strip().startswith("english")
    assert interval_lines(read_fertility(out, "base-s0")) == []
