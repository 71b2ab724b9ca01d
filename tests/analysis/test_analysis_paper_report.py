"""`swallow report --source paper` and `--beside-paper`: what they write, what they print, what they refuse."""

import io
import json
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from paper_study import LLAMA_7B, shifted, write_cell, write_study
from synthetic_study import write_run, write_sweep

from analysis.paper.figure1 import draw_figure1
from analysis.paper.published import paper_scores, tasks_of
from analysis.paper.published_tables import published_tables
from analysis.paper.report import build_paper_report
from analysis.paper.statements import paper_statements
from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.paths import ReportPaths, sweep_file
from swallow_exp.cli import run_verb


def report(*words: str) -> int:
    return run_verb(["report", *words])


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The output root, and what the command printed."""
    root, printed = tmp_path_factory.mktemp("published"), io.StringIO()
    with redirect_stdout(printed):
        assert report("--source", "paper", "--out", str(root / "new")) == 0
    return root / "new", printed.getvalue().splitlines()


@pytest.fixture(scope="module")
def out(published: tuple[Path, list[str]]) -> Path:
    return published[0]


def test_every_table_the_figure_and_the_statements_are_written(out: Path) -> None:
    folder = out / "reports" / "paper"
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    tables = {f"tables/{table.name}.{suffix}" for table in published_tables() for suffix in ("csv", "md", "tex", "html")}
    assert names == tables | {f"figures/figure1.{suffix}" for suffix in ("svg", "pdf", "png")} | {"index.html", "statements.json"}
    written = json.loads((folder / "statements.json").read_text(encoding="utf-8"))
    assert [statement["key"] for statement in written] == [statement.key for statement in paper_statements()]
    assert {statement["verdict"] for statement in written} == {"falls out", "does not fall out", "cannot be computed"}


def test_the_page_holds_everything_and_fetches_nothing(out: Path) -> None:
    page = (out / "reports" / "paper" / "index.html").read_text(encoding="utf-8")
    assert "http" not in page and "@import" not in page and "<script" not in page and page.count("<h1>") == 1
    for address in re.findall(r'(?:href|src)="([^"#][^"]*)"', page):
        assert (out / "reports" / "paper" / address).is_file()
    assert page.count('role="region" aria-label="Table: table') == 11
    rows = re.findall(r'<tr><th scope="row">[^<]*</th>.*?</tr>', page)
    verdicts = [match[1] for row in rows if (match := re.search(r"</span> ([a-z ]+)</td>", row))]
    assert len(verdicts) == len(paper_statements()) and verdicts[0] == "does not fall out"
    assert f"{len(paper_statements())} statements" in page and not re.findall(
        r"#[0-9a-f]{6}\b", re.findall(r"<svg.*?</svg>", page, re.S)[0]
    )


def test_figure1_has_a_bar_for_every_task_and_size_and_no_interval(out: Path, tmp_path: Path) -> None:
    drawn = draw_figure1(ReportPaths(tmp_path))
    assert len(re.findall(r"[+−]\d+\.\d% \(\d+b\)", drawn.alt)) == 14 * 3
    assert "NIILC +75.1% (7b)" in drawn.alt and "GSM8K −19.9% (7b)" in drawn.alt
    assert "No items: no interval" in drawn.caption
    assert (out / "reports" / "paper" / "figures" / "figure1.svg").read_text(encoding="utf-8") == drawn.svg


def test_a_sweep_called_paper_keeps_its_report(tmp_path: Path) -> None:
    path = sweep_file(tmp_path, "paper")
    path.parent.mkdir(parents=True)
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(RequestError, match="belongs to the sweep"):
        build_paper_report(tmp_path)


def test_the_command_prints_every_claim_and_the_page(published: tuple[Path, list[str]]) -> None:
    lines = published[1]
    assert len(lines) == len(paper_statements()) + 2
    assert any(re.match(r"ok  section 4\.1: MGSM improves by 36–63% \| \+36\.0 to \+63\.2%", line) for line in lines)
    assert any(line.startswith("NO  Table 9: Avg of Table 9") for line in lines) and any(
        line.startswith("--  section 5.2.2") for line in lines
    )
    assert lines[-1].startswith("file://") and lines[-1].endswith("reports/paper/index.html")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--source", "paper", "main"], "no name with --source paper"),
        (["--source", "theirs", "main"], "ours or paper"),
        (["--source", "ours"], "one sweep's name"),
        ([], "one sweep's name"),
        (["--source", "paper", "--beside-paper"], "one of the two"),
        (["--beside-paper"], "one sweep's name"),
    ],
)
def test_combinations_that_mean_nothing_are_refused(words: list[str], told: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=told) as refused:
        report(*words, "--out", str(tmp_path))
    assert refused.value.exit_code == 2 and not list(tmp_path.iterdir())


def test_beside_paper_prints_and_writes_both_with_the_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # the report itself is tested elsewhere, and takes seconds
    monkeypatch.setattr("analysis.report.build_report", lambda out, name, processes: ReportPaths.of(out, name).index)
    final = {task.task: paper_scores()["swallow_7b", task.task] for task in tasks_of("table4_english")}
    write_study(tmp_path, [write_cell(tmp_path, [*LLAMA_7B, "vocabulary=ja_16k"], final=shifted(final, -2.0))])
    assert report("main", "--beside-paper", "--out", str(tmp_path)) == 0
    printed = capsys.readouterr().out
    assert re.search(r"Swallow-7b, difference +(−2\.0 +){6}−2\.0\n", printed)
    tables = tmp_path / "reports" / "main" / "tables"
    assert {path.name for path in tables.glob("beside_paper*")} == {f"beside_paper_english.{s}" for s in ("csv", "md", "tex", "html")}
    assert "not compared: none of the Japanese tasks" in printed


def test_beside_paper_of_a_study_without_the_papers_models_writes_nothing(tmp_path: Path) -> None:
    write_sweep(tmp_path, ["none"])
    write_run(tmp_path, "none-s0", "none", tasks=("mini_choice",), marks=(1.0,))
    with pytest.raises(RequestError, match="--beside-paper"):
        report("parallel", "--beside-paper", "--out", str(tmp_path))
    assert not (tmp_path / "reports").exists()
