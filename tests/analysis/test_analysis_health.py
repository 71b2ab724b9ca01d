"""What is behind the scores is on the page, in the status and in the claims; results of other tests are marked, not mixed in."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from synthetic_study import BUDGET, item_statistics, write_run, write_sweep, write_task

from analysis.claims.compare import compare_contrasts
from analysis.figures.curves import curves_of
from analysis.health import health_table, overlap_table, worries
from analysis.load import load_study
from analysis.report import build_report
from analysis.scores import comparison_table
from analysis.table import as_csv
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.inspect.status import status_rows, status_table
from swallow_exp.record.health import CHANCE, GOLD_SEEN, PART, QUESTION_SEEN, chance_level, is_chance, worries_of, write_overlap
from swallow_exp.record.schema import HealthRecord
from swallow_exp.record.store import write_absent

CELLS = ("none", "mixed")
LABELLED = {"truncated": 0, "empty": 0, "at_budget": 3, "invalid": 30, "majority_share": 0.4, "num_predicted": 4, "num_gold": 3}
REASON = "jsquad needs /data/jsquad/valid-v1.1.json"


def entry_of(task: str, profile: str, corpora: dict[str, str], *counts: int) -> dict[str, Any]:
    names = ("num_items", "question_measured", "question_half", "gold_measured", "gold_any", "gold_half")
    return {"task": task, "profile": profile, "prompt_digest": "p", "corpora": corpora, **dict(zip(names, counts, strict=True))}


def add_overlap(out: Path, run_id: str, corpora: dict[str, str], *, seen: int) -> None:
    run = RunPaths.of(out, run_id)
    for profile in ("paper", "fair"):
        write_overlap(run, f"jnli-{profile}", entry_of("jnli", profile, corpora, 200, 190, seen, 180, seen, 2), {"item_id": ["a"]})
    write_overlap(run, "mini_choice", entry_of("mini_choice", "both", corpora, 200, 200, 0, 200, 0, 0), {"item_id": ["a"]})


@pytest.fixture
def out(tmp_path: Path) -> Path:
    write_sweep(tmp_path, CELLS)
    for cell in CELLS:
        run_id = f"{cell}-s0"
        write_run(tmp_path, run_id, cell, tasks=(), marks=(0.0, 0.5, 1.0))
        for tokens in (0, BUDGET // 2, BUDGET):
            plain = {"truncated": 0, "majority_share": 0.3, "num_predicted": 4}
            statistics = item_statistics("mini_choice", tokens / BUDGET + (cell == "mixed"), tokens + len(cell))
            write_task(tmp_path, run_id, tokens, "mini_choice", statistics, health=plain)
            labelled = {**LABELLED, "balanced_accuracy": 36.0 if cell == "none" else 55.0}
            stuck = {"majority_share": 0.98, "num_predicted": 2} if cell == "none" else {}
            write_task(tmp_path, run_id, tokens, "mini_reading", statistics, health=labelled | stuck)
            cut = {"truncated": 2, "empty": 40, "at_budget": 130, "majority_share": 0.2, "num_predicted": 150}
            write_task(tmp_path, run_id, tokens, "mini_arithmetic", item_statistics("mini_arithmetic", 1, 3), health=cut, fraction=0.1)
        write_absent(RunPaths.of(tmp_path, run_id), {"jsquad": REASON, **({"xlsum": "other files"} if cell == "mixed" else {})})
    add_overlap(tmp_path, "none-s0", {"wiki": "d1"}, seen=1)
    add_overlap(tmp_path, "mixed-s0", {"wiki": "d1", "pairs": "d2"}, seen=60)
    return tmp_path


def test_worries_name_task_share_and_cell(out: Path) -> None:
    found = worries(load_study(out, "parallel"))
    assert found["prompts lost their start"] == ["mini_arithmetic 1%"]  # everywhere, so no cell is named
    assert found["one answer to everything"] == ["in none: mini_reading 98%"]
    assert found[CHANCE] == ["in none: mini_reading 36%"] and found[PART] == ["mini_arithmetic 10%"]
    assert found["answers are no label"] == ["mini_reading 15%"]
    assert found[QUESTION_SEEN] == ["in mixed: jnli 30%"] and GOLD_SEEN not in found


@pytest.mark.parametrize(
    ("balanced", "labels", "items", "chance"),
    [(33.3, 3, 2434, True), (36.0, 3, 100, True), (36.0, 3, 2434, False), (56.0, 2, 2434, False)],
)
def test_chance_is_a_matter_of_labels_and_items(balanced: float, labels: int, items: int, chance: bool) -> None:
    record = HealthRecord("r", 1, "jnli", "fair", items, {"num_gold": labels, "balanced_accuracy": balanced})
    assert chance_level(record) == pytest.approx(100 / labels) and is_chance(record) == chance
    unlabelled = HealthRecord("r", 1, "jnli", "fair", items, {"majority_share": 0.2})
    assert chance_level(unlabelled) is None and not list(worries_of(unlabelled))


def test_every_task_of_every_run_is_in_the_table(out: Path) -> None:
    table = health_table(load_study(out, "parallel"))
    assert table is not None
    rows = {(row["cell"], row["task"]): row for row in csv.DictReader(as_csv(table).splitlines())}
    assert len(rows) == len(CELLS) * 3
    reading = rows["none", "mini_reading"]
    assert float(reading["no label"]) == 0.15 and float(reading["one answer"]) == 0.98 and float(reading["balanced"]) == 36.0
    assert reading["items"] == "200.0" and float(reading["chance"]) == pytest.approx(100 / 3)
    assert rows["none", "mini_choice"]["balanced"] == rows["none", "mini_choice"]["empty"] == ""
    assert rows["mixed", "mini_arithmetic"]["part"] == "0.1"


def test_overlap_is_listed_by_training_text_not_by_run(out: Path) -> None:
    table = overlap_table(load_study(out, "parallel"))
    assert table is not None
    rows = {(row[0], row[2]): row for row in table.rows}
    assert len(rows) == 4  # two tasks, two training texts; both profiles have the same items
    assert rows["jnli", "wiki, pairs"][1:] == ("mixed", "wiki, pairs", "200", "95%", "32%", "90%", "33%", "1.1%")
    assert rows["jnli", "wiki"][5] == "0.5%"


def test_the_page_and_the_status_say_it_and_name_what_is_absent(out: Path) -> None:
    page = build_report(out, "parallel").read_text(encoding="utf-8")
    for words in ("Whether the scores can be trusted", "One answer to everything", "in none: mini_reading 98%", "13 characters"):
        assert words in page
    assert page.count("jsquad could not be asked") == 1 and f"<strong>every cell</strong>: jsquad could not be asked: {REASON}" in page
    assert "<strong>mixed</strong>: xlsum could not be asked" in page and "2 tasks could not be asked" in page
    of_the_paper = {f"{t}.csv" for t in ("table1", "table10", "appendix_d4")}  # those that need no task of the paper
    assert {p.name for p in (out / "reports/parallel/tables").glob("*.csv")} - of_the_paper == {
        f"{t}.csv" for t in ("comparison", "changes", "flips", "forgetting", "health", "overlap", "cost", "runs", "provenance")
    }
    missing = json.loads((out / "reports/parallel/claims.json").read_text(encoding="utf-8"))["missing"]
    assert {"label": "every cell", "run_id": "", "reason": f"jsquad could not be asked: {REASON}"} in missing

    shown = status_table(status_rows(out), as_json=False)
    assert f"none-s0: absent: jsquad: {REASON}" in shown and "none-s0: one answer to everything: mini_reading 98%" in shown
    assert f"mixed-s0: {QUESTION_SEEN}: jnli (fair) 30%, jnli (paper) 30%" in shown
    assert f"none-s0: {QUESTION_SEEN}" not in shown and f"none-s0: {PART}: mini_arithmetic 10%" in shown


def test_a_claim_from_constant_answers_says_so(out: Path) -> None:
    claims = {claim.task: claim for claim in compare_contrasts(load_study(out, "parallel"))}
    assert "degenerate: none-s0 gives one answer to 98% of the items" in claims["mini_reading"].warnings
    assert not any("degenerate" in warning or "chance" in warning for warning in claims["mini_choice"].warnings)


def test_without_health_the_page_says_that_nothing_is_known(tmp_path: Path) -> None:
    write_sweep(tmp_path, CELLS)
    for cell in CELLS:
        write_run(tmp_path, f"{cell}-s0", cell, tasks=("mini_choice",), marks=(1.0,))
    study = load_study(tmp_path, "parallel")
    assert health_table(study) is None and overlap_table(study) is None and worries(study) == {}
    page = build_report(tmp_path, "parallel").read_text(encoding="utf-8")
    assert "hold no counts" in page and "was not measured" in page and "Nothing stands out" not in page


def test_results_of_other_tests_are_refused_by_name_and_marked(out: Path) -> None:
    part = item_statistics("mini_choice", 2.0, 1)[:20]
    write_task(out, "mixed-s0", BUDGET, "mini_choice", part, prompt_digest="another-test-of-20", fraction=0.1)
    study = load_study(out, "parallel")
    claim = next(c for c in compare_contrasts(study) if c.task == "mini_choice")
    (note,) = (note for note in claim.notes if "asked differently" in note)
    assert "mini_choice, share of the items 0.1 and all, items 20 and 200, prompts another-test and mini_choice-" in note
    assert claim.verdict == "not compared" and claim.difference is None
    table = comparison_table(study)
    column = next(j for j, name in enumerate(table.columns) if name.startswith("mini_choice"))
    marked = [row[0] for row in table.rows if row[column].endswith("‡")]
    assert marked == ["mixed"] and "‡" in table.caption and not any(i == len(table.rows) - 1 and j == column for i, j in table.best)
    measure = next(m for m in study.measures if m.task == "mini_choice")
    ends = [curve.places[-1] for curve in curves_of(study, study.cells, [measure]).values()]
    assert ends == [BUDGET, BUDGET // 2]  # the point of the other test is no point of this curve


def test_seeds_that_were_asked_differently_are_not_pooled(tmp_path: Path) -> None:
    write_sweep(tmp_path, CELLS, seeds=(0, 1))
    for cell in CELLS:
        for seed in (0, 1):
            write_run(tmp_path, f"{cell}-s{seed}", cell, seed=seed, tasks=("mini_choice",), marks=(1.0,))
            if seed:
                write_task(tmp_path, f"{cell}-s1", BUDGET, "mini_choice", item_statistics("mini_choice", 1, 9), prompt_digest="newer")
    study = load_study(tmp_path, "parallel")
    (claim,) = compare_contrasts(study)
    assert claim.run_ids == ("mixed-s0",) and any("mixed-s1 was asked differently than mixed-s0" in note for note in claim.notes)
    assert [row[1] for row in comparison_table(study).rows] == ["—‡", "—‡"]
