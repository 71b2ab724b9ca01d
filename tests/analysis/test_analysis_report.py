"""The report as a whole: every file is there, says what is missing, fetches nothing, and comes out the same twice."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic_study import item_statistics, write_null_study, write_run, write_sweep, write_task

from analysis.__main__ import main
from analysis.claims.compare import compare_contrasts
from analysis.figures.loss import smoothed
from analysis.figures.study import panels_of
from analysis.load import load_study
from analysis.report import build_report
from analysis.scores import comparison_table
from analysis.table import as_latex
from analysis.wording import plain, signed, tokens_text

TASKS = ("mini_choice", "mini_arithmetic", "mini_en_ja", "heldout_japanese")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("study")
    write_sweep(root, ["none", "mixed", "staged", "never"], question="Does <parallel> text help & how? 対訳は?")
    write_run(root, "none-s0", "none", tasks=TASKS, marks=(0.0, 0.5, 1.0))
    write_run(root, "mixed-s0", "mixed", tasks=TASKS, marks=(0.0, 0.5, 1.0), effects={"mini_en_ja": 1.2})
    write_run(root, "staged-s0", "staged", tasks=TASKS[:2], marks=(0.0, 0.5), state="running")
    write_null_study(root, "none-s0")
    build_report(root, "parallel")
    return root


# what a study without the paper's tasks, of one vocabulary, can fill
PAPER_FIGURES = ("figure1", "figure2", "figure3", "figure5", "figure8")
PAPER_TABLES = ("table1", "table10", "appendix_d4")


@pytest.fixture(scope="module")
def page(out: Path) -> str:
    return (out / "reports" / "parallel" / "index.html").read_text(encoding="utf-8")


def test_every_file_of_the_report_is_there(out: Path) -> None:
    folder = out / "reports" / "parallel"
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    tables = {
        f"tables/{t}.{s}"
        for t in ("comparison", "changes", "flips", "forgetting", "cost", "runs", *PAPER_TABLES)
        for s in ("csv", "md", "tex", "html")
    }
    figures = {f"figures/{f}.{s}" for f in ("changes", "learning", "forgetting", *PAPER_FIGURES) for s in ("svg", "pdf", "png")}
    flips = {name for name in names if name.startswith("flips/")}
    assert names - flips == tables | figures | {"index.html", "claims.json", "tables/provenance.csv"}
    assert "flips/mixed-vs-none--mini_choice.jsonl" in flips and "flips/beginnings.json" in flips


def test_the_same_records_give_the_same_bytes(out: Path) -> None:
    folder = out / "reports" / "parallel"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    build_report(out, "parallel", processes=2)  # pdf and png by another process
    assert {path: path.read_bytes() for path in before} == before


def test_files_of_an_earlier_report_do_not_pass_for_those_of_this_one(out: Path) -> None:
    folder = out / "reports" / "parallel"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for stale in ("figures/figure7.svg", "tables/table4_japanese.tex"):
        (folder / stale).write_text("of an earlier report", encoding="utf-8")
    build_report(out, "parallel")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_more_contrasts_than_one_drawing_holds_are_told(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.report.MOST_CONTRASTS", 1)
    shutil.copytree(out, tmp_path / "copy")
    page = build_report(tmp_path / "copy", "parallel").read_text(encoding="utf-8")
    assert "contrasts are too many for one drawing" in page
    assert not list((tmp_path / "copy" / "reports" / "parallel" / "figures").glob("changes.*"))


def test_claims_hold_every_contrast_on_every_task(out: Path) -> None:
    document = json.loads((out / "reports" / "parallel" / "claims.json").read_text(encoding="utf-8"))
    claims = {(claim["level"], claim["task"]): claim for claim in document["claims"]}
    assert len(claims) == 3 * len(TASKS)
    assert claims["mixed", "mini_en_ja"]["verdict"] == "improved"
    assert claims["mixed", "mini_choice"]["p_holm"] >= claims["mixed", "mini_choice"]["p"]
    assert claims["never", "mini_choice"]["verdict"] == "not compared"
    assert claims["never", "mini_choice"]["score"] is None
    assert document["method"]["estimand"] == "effect of the choice over runs and items"
    assert document["method"]["num_comparisons"] == len(TASKS) + 2


def test_missing_values_are_shown_as_missing(out: Path) -> None:
    tables = out / "reports" / "parallel" / "tables"
    rows = {row["cell"]: row for row in csv.DictReader((tables / "comparison.csv").read_text(encoding="utf-8").splitlines())}
    assert rows["never"]["mini_choice ↑"] == "" and rows["never"]["heldout_japanese ↓"] == ""
    staged = next(row for cell, row in rows.items() if cell.startswith("staged"))
    assert "unfinished, 1M tokens" in staged["cell"]
    assert staged["mini_en_ja ↑"] == "" and float(staged["mini_choice ↑"]) > 0
    assert re.search(r"^\| never \| — \| — \| — \| — \|$", (tables / "comparison.md").read_text(encoding="utf-8"), re.M)
    assert r"never & --- & --- & --- & --- \\" in (tables / "comparison.tex").read_text(encoding="utf-8")


def test_the_best_of_a_column_is_bold_in_its_direction(out: Path) -> None:
    table = comparison_table(load_study(out, "parallel"))
    for column, name in enumerate(table.columns[1:], start=1):
        values = {i: round(v, 3) for i, line in enumerate(table.values) if (v := line[column]) is not None}
        best = (min if name.endswith("↓") else max)(values, key=lambda i: values[i])
        assert (best, column) in table.best or len(set(values.values())) == 1
    assert r"\bfseries" in as_latex(table) and r"\toprule" in as_latex(table)
    assert "_" not in re.sub(r"\\_|\\label\{.*?\}", "", as_latex(table))


def test_the_page_speaks_plainly(page: str) -> None:
    text = re.sub(r"<[^>]+>", "", page)
    assert "Does &lt;parallel&gt; text help &amp; how? 対訳は?" in page
    assert re.search(r"mini_en_ja \+\d+\.\d points \[\d+\.\d,\s\d+\.\d\].*: improved\.", text)
    assert "mini_choice" in text and ": inconclusive." in text
    assert "no such run yet" in text and "the run is running" in text
    assert "null study null, 12 runs; 10 degrees of freedom" in text
    assert "none-s0" in text


def test_figures_on_the_page_follow_the_colour_scheme(page: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", page, re.S)
    assert len(drawings) == 8
    for drawing in drawings:
        assert "var(--ink)" in drawing
        assert not re.findall(r"#[0-9a-f]{6}\b", drawing.replace("url(#", "url("))


def test_hollow_markers_are_inconclusive(out: Path) -> None:
    from analysis.figures.study import changes_figure
    from analysis.figures.style import PAPER

    study = load_study(out, "parallel")
    claims = compare_contrasts(study)
    figure = changes_figure(study, claims)
    faces = [line.get_markerfacecolor() for axes in figure.axes for line in axes.lines if line.get_marker() not in (None, "None", "")]
    compared = [claim for claim in claims if claim.difference is not None]
    assert len(faces) == len(compared)
    assert faces.count(PAPER) == sum(claim.verdict == "inconclusive" for claim in compared)


def test_floor_measures_have_a_panel_in_points(out: Path) -> None:
    panels = {panel.title: panel for panel in panels_of(compare_contrasts(load_study(out, "parallel")))}
    assert panels["Baseline at the floor"].measures == ("mini_arithmetic",) and panels["Baseline at the floor"].in_points
    assert panels["Held-out text"].measures == ("heldout_japanese",)
    assert "mini_arithmetic" not in panels["Scores"].measures


def test_a_sweep_without_contrasts_or_training_log_still_has_a_page(tmp_path: Path) -> None:
    write_sweep(tmp_path, ["none"])
    write_run(tmp_path, "none-s0", "none", tasks=("mini_choice",), marks=(0.0,))
    assert not (tmp_path / "runs" / "none-s0" / "events.jsonl").exists()
    text = build_report(tmp_path, "parallel").read_text(encoding="utf-8")
    assert "asks for no contrast" in text
    assert not (tmp_path / "reports" / "parallel" / "figures" / "figure8.svg").exists()


def test_a_task_with_two_metrics_names_them(tmp_path: Path) -> None:
    write_sweep(tmp_path, ["none"])
    write_run(tmp_path, "none-s0", "none", tasks=(), marks=(1.0,))
    statistics = item_statistics("mini_choice", 0.5, 1)
    metric = {"aggregate": "mean", "higher_is_better": True, "score": 50.0, "num_items": len(statistics), "metric": "accuracy"}
    write_task(tmp_path, "none-s0", 2_000_000, "mini_choice", statistics, metrics=[{**metric, "profile": p} for p in ("paper", "fair")])
    table = comparison_table(load_study(tmp_path, "parallel"))
    assert table.columns == ("cell", "mini_choice (fair) ↑", "mini_choice (paper) ↑")


def test_command_line_names_the_page_or_what_is_wrong(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(out), "parallel"]) == 0
    assert capsys.readouterr().out.strip().endswith("index.html")
    assert main(["--out", str(out), "unknown"]) == 2
    error = capsys.readouterr().err
    assert "unknown.json" in error and "parallel" in error and error.count("\n") == 1


def test_nothing_heavy_is_imported() -> None:
    """A report needs no model: none of these may be loaded by it, and nothing at all of pandas or matplotlib on import."""
    code = (
        "import sys, analysis.report; heavy = {'torch', 'lightning', 'hydra', 'omegaconf', 'lm_eval', 'wandb', 'transformers', "
        "'pandas', 'matplotlib'}; print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_numbers_in_words() -> None:
    assert (plain(-0.04, 1), plain(-1.25, 2), signed(3.0, 1), signed(0.0, 1), signed(-2.0, 0)) == ("0.0", "−1.25", "+3.0", "0.0", "−2")
    assert [tokens_text(n) for n in (0, 999, 1_500, 20_000_000_000)] == ["0", "999", "1.5k", "20B"]


def test_smoothing_keeps_length_and_level() -> None:
    import numpy as np

    noisy = 2.0 + 0.1 * np.random.default_rng(0).normal(size=600)
    smooth = smoothed(noisy)
    assert len(smooth) == 600 and smooth.std() < 0.6 * noisy.std() and abs(smooth.mean() - 2.0) < 0.02


def test_without_a_japanese_font_figures_are_drawn_all_the_same(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings are errors in this suite: missing glyphs must not raise one."""
    from analysis.figures import style
    from swallow_exp.artefact.paths import ReportPaths

    monkeypatch.setattr(style, "font_families", lambda: ("DejaVu Sans",))
    with style.figure_style():
        figure = style.new_figure(1.0)
        figure.add_subplot().set_title("対訳コーパス $5")
    svg = style.save_figure(figure, "title", ReportPaths(tmp_path))
    assert "<svg" in svg and (tmp_path / "figures" / "title.pdf").stat().st_size > 500


def test_saved_figures_carry_no_date_and_no_program_name(out: Path) -> None:
    figures = out / "reports" / "parallel" / "figures"
    assert "dc:date" not in (figures / "changes.svg").read_text(encoding="utf-8")
    assert b"CreationDate" not in (figures / "changes.pdf").read_bytes()
    assert b"Software" not in (figures / "changes.png").read_bytes()
