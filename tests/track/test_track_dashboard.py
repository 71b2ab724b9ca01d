"""The W&B dashboard of a sweep: what it is made from, and what a server on loopback knows after it was pushed."""

import base64
import importlib.util
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dashboard_study import EVALUATIONS, LEVELS, NAME, run_id, write_answers, write_claims, write_study, write_sweep
from wandb_server import FakeWandbServer, Fault
from wandb_views import REPORT, WORKSPACE, ViewStore

from swallow_exp import cli
from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.paths import RunPaths, pushed_dashboard, sweep_file
from swallow_exp.record.events import append_events
from swallow_exp.track.dashboard import answers_markdown, changes_markdown, read_board, read_claims, shown_name, verdict_sentences
from swallow_exp.track.rows import metric_names, read_metric_rows
from swallow_exp.track.wandb_views import _Builder

LATE_ROW = {"kind": "train", "trained_tokens": 21_000_000, "step": 21, "loss": 2, "mfu": 0.4}
needs_views = pytest.mark.skipif(importlib.util.find_spec("wandb_workspaces") is None, reason="wandb-workspaces is not installed")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An output root with one finished sweep and its claims."""
    root = tmp_path / "out"
    write_study(root)
    write_claims(root)
    write_answers(root, "none", 0.3)
    write_answers(root, "ntp_mixed", 0.96)
    return root


def test_a_board_names_what_the_publisher_sends(out: Path) -> None:
    board = read_board(out, NAME)
    sent = {name for level in LEVELS for name in metric_names(read_metric_rows(RunPaths.of(out, run_id(level)).events))}
    assert set(board.metrics) == sent
    assert board.factors == ("parallel",)
    assert board.baseline_run_id == run_id("none")
    assert board.curves == ("train/loss",) and board.scores == EVALUATIONS
    assert board.health == ("train/grad_norm", "train/tokens_per_second")
    append_events(RunPaths.of(out, run_id("none")).events, [LATE_ROW])
    assert read_board(out, NAME).health == ("train/grad_norm", "train/tokens_per_second", "train/mfu")


def test_claims_become_sentences_and_a_table_with_intervals(out: Path) -> None:
    claims = read_claims(out, NAME)
    assert verdict_sentences(claims) == [
        "ntp_mixed vs none. improved: wmt_en_ja; inconclusive: qa.",
        "ntp_two_staged vs none. equivalent: qa.",
    ]
    table = changes_markdown(claims).splitlines()
    assert len(table) == 2 + 3 and len({line.count("|") for line in table}) == 1
    assert table[2] == "| ntp_mixed vs none | wmt_en_ja | improved | 40 | 50 | +10 points [+5, +15] | +25% [+12, +39] |"
    assert table[4].endswith("| +0.1 points [-0.1, +0.3] | - |")


def test_answers_that_are_mostly_one_are_told(out: Path) -> None:
    board = read_board(out, NAME)
    assert [(one.run, one.task, one.majority_share) for one in board.answers] == [("none", "qa", 0.3), ("ntp_mixed", "qa", 0.96)]
    table = answers_markdown(board.answers).splitlines()
    assert table[0] == "Answers at the last checkpoints, 1 of 2 results to look at:"
    assert table[4:] == ["| ntp_mixed | qa | 96% | one answer to everything (96%) |"]
    assert "nothing to know of 1 results" in answers_markdown(board.answers[:1])


def test_without_a_report_there_are_no_claims(tmp_path: Path) -> None:
    write_study(tmp_path)
    assert read_board(tmp_path, NAME).claims == ()


def test_a_run_is_shown_by_what_sets_it_apart(out: Path) -> None:
    assert shown_name(out, NAME, run_id("ntp_mixed")) == "ntp_mixed"
    assert shown_name(out, None, run_id("ntp_mixed")) == run_id("ntp_mixed")
    assert shown_name(out, NAME, "another") == "another"
    sweep = read_json(sweep_file(out, NAME))
    sweep["cells"][1]["seed"] = 1
    sweep_file(out, NAME).write_text(json.dumps(sweep))
    assert shown_name(out, NAME, run_id("ntp_mixed")) == "ntp_mixed s1"
    sweep["cells"][2] |= {"seed": 1, "label": "ntp_mixed"}
    sweep_file(out, NAME).write_text(json.dumps(sweep))
    assert shown_name(out, NAME, run_id("ntp_mixed")) == run_id("ntp_mixed")  # two of one name: neither has it


@pytest.mark.parametrize("name", ["absent", "../sweeps/pairs", ""])
def test_an_unknown_sweep_is_one_line(out: Path, name: str) -> None:
    with pytest.raises(RequestError, match=rf"no sweep {name} under .*; expected one of {NAME}; check"):
        read_board(out, name)


def test_a_sweep_without_rows_is_one_line(tmp_path: Path) -> None:
    write_study(tmp_path, written=False)
    with pytest.raises(RequestError, match=r"no run of sweep pairs has written anything yet.*swallow train -m \+sweep=pairs"):
        read_board(tmp_path, NAME)


@pytest.fixture
def server() -> Iterator[FakeWandbServer]:
    with FakeWandbServer() as fake:
        fake.views = ViewStore({"ablation", "other"})  # type: ignore[attr-defined]
        fake.operations.update(fake.views.operations)  # type: ignore[attr-defined]
        yield fake
    assert fake.unknown == []


def push(swallow: Any, server: FakeWandbServer, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    done = swallow("dashboard", "push", NAME, *words, **{"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "x" * 40, **environment})
    assert isinstance(done, subprocess.CompletedProcess)
    return done


def views_of(server: FakeWandbServer) -> tuple[Any, Any]:
    """The one workspace and the one report."""
    store: ViewStore = server.views  # type: ignore[attr-defined]
    (workspace,), (report,) = store.of_type(WORKSPACE), store.of_type(REPORT)
    return workspace, report


@needs_views
def test_pushed_twice_there_is_one_workspace_and_one_report_of_what_was_published(out: Path, server: FakeWandbServer, swallow: Any) -> None:
    first = push(swallow, server)
    assert first.returncode == 0, first.stderr
    workspace, report = views_of(server)
    report_url = f"{server.url}/tester/ablation/reports/swallow_exp-{NAME}--{report.node_id}"
    assert first.stdout.split() == ["workspace", f"{server.url}/tester/ablation?nw={workspace.name[3:-2]}", "report", report_url]
    assert read_json(pushed_dashboard(out, NAME))["/ablation"]["report_id"] == report.node_id
    assert_workspace(workspace, set(metric_names(read_metric_rows(RunPaths.of(out, run_id("none")).events))))
    assert_report(report)
    pushed_dashboard(out, NAME).unlink()  # as from another machine
    write_sweep(out, ("none",), name="another")
    append_events(RunPaths.of(out, run_id("none")).events, [LATE_ROW])
    second = push(swallow, server)
    assert second.returncode == 0 and second.stdout == first.stdout
    workspace, report = views_of(server)
    assert (workspace.times_saved, report.times_saved) == (2, 2)
    assert "train/mfu" in json.dumps(workspace.spec) and "train/mfu" in json.dumps(report.spec)
    shared = {"key": {"section": "run", "name": "name"}, "op": "IN", "value": [run_id("none")], "disabled": False, "connector": "OR"}
    assert workspace.spec["section"]["runSets"][0]["filters"]["filters"] == [GROUP, shared]


GROUP = {"key": {"section": "run", "name": "group"}, "op": "=", "value": NAME, "disabled": False}
LINES = ["Learning curves: every run", "Learning curves by parallel", "Health"]
SECTIONS = [*LINES[:2], "Final scores", "Relative change", "What differs between runs", "Health"]


def assert_workspace(workspace: Any, published: set[str]) -> None:
    """Its panels name exactly what the publisher sends, over trained tokens, unsmoothed, grouped by the flat keys of the config."""
    settings, runset = workspace.spec["section"]["settings"], workspace.spec["section"]["runSets"][0]
    assert (settings["xAxis"], settings["smoothingType"], settings["smoothingWeight"]) == ("trained_tokens", "none", 0)
    assert runset["filters"]["filters"] == [GROUP]
    assert base64.b64decode(runset["baselineRunId"]).decode() == f"Run:v1:{run_id('none')}:ablation:tester"
    saved = workspace.spec["section"]["panelBankConfig"]["sections"]
    sections = {section["name"]: [panel["config"] for panel in section["panels"]] for section in saved}
    assert list(sections) == SECTIONS
    assert {config["metrics"][0] for panels in sections.values() for config in panels if "metrics" in config} <= published
    assert "| ntp_mixed | qa | 96% |" in sections["Health"].pop()["value"]
    for config in (config for title in LINES for config in sections[title]):
        assert (config["xAxis"], config["smoothingType"]) == ("trained_tokens", "none")
    grouped = sections["Learning curves by parallel"]
    assert [config["metrics"] for config in grouped] == [["train/loss"], *([name] for name in EVALUATIONS)]
    assert {(c["groupBy"], c["groupAgg"], c["groupArea"]) for c in grouped} == {("axis_parallel.value", "mean", "minmax")}
    assert [config["metrics"] for config in sections["Final scores"]] == [[name] for name in EVALUATIONS]
    assert "+25% [+12, +39]" in sections["Relative change"][0]["value"]
    assert sections["What differs between runs"] == [{"diffOnly": True}]


def assert_report(report: Any) -> None:
    """Question, expectation and verdicts in words; the same panels, for the sweep's runs only."""
    text = json.dumps(report.spec, ensure_ascii=False)
    for words in ("Does a parallel corpus help 翻訳?", "Expected: translation improves", "improved: wmt_en_ja", "+25% [+12, +39]"):
        assert words in text
    grids = [block["metadata"] for block in report.spec["blocks"] if block["type"] == "panel-grid"]
    assert len(grids) == len(SECTIONS) - 1  # the relative change is text here
    assert all(grid["runSets"][0]["filters"]["filters"] == [GROUP] for grid in grids)
    panels = [panel for grid in grids for panel in grid["panelBankSectionConfig"]["panels"]]
    assert "| ntp_mixed | qa | 96% |" in panels[-1]["config"]["value"]
    lines = [panel["config"] for panel in panels if panel["viewType"] == "Run History Line Plot"]
    assert {name for config in lines for name in config["metrics"]} >= {"train/loss", *EVALUATIONS, "train/grad_norm"}
    assert {(config["xAxis"], config["smoothingType"]) for config in lines} == {("trained_tokens", "none")}
    assert "axis_parallel.value" in {config.get("groupBy") for config in lines}


@needs_views
def test_the_report_is_found_by_its_id_then_by_its_title(out: Path) -> None:
    builder = _Builder(read_board(out, NAME), "tester", "ablation", None, None, None)
    there = [SimpleNamespace(id="1", display_name="renamed"), SimpleNamespace(id="2", display_name="title")]
    api = SimpleNamespace(reports=lambda path: there)
    assert builder.find_report(api, "title", "1") == "1"
    assert builder.find_report(api, "title", "deleted") == "2"
    assert builder.find_report(api, "another", None) == ""


@needs_views
def test_wrong_requests_of_a_push_are_one_line_and_keep_nothing(out: Path, server: FakeWandbServer, swallow: Any) -> None:
    for words, environment, said in (
        (
            ["--project", "absent"],
            {},
            "no W&B project tester/absent; expected a project with the sweep's runs; publish first: swallow publish",
        ),
        ([], {"WANDB_API_KEY": ""}, "expected a login"),
    ):
        done = push(swallow, server, *words, **environment)
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and said in done.stderr, done.stderr
    server.faults.append(lambda call: Fault(400) if call.name == "upsertView" else None)
    done = push(swallow, server)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "W&B refused or could not be reached" in done.stderr
    assert not pushed_dashboard(out, NAME).exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "swallow dashboard with 0 names; expected open NAME or push NAME"),
        ("close pairs", "swallow dashboard close; expected open or push"),
        ("open pairs --project p", "swallow dashboard open with --project; expected a flag of this action"),
        ("push pairs --port 7000", "swallow dashboard push with --port; expected a flag of this action"),
        ("push absent", "no sweep absent under"),
        ("open pairs --port seven", "--port seven; expected a whole number above 0"),
    ],
)
def test_wrong_words_are_one_line(
    out: Path, words: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWALLOW_OUT", str(out))
    with pytest.raises(SystemExit) as ended:
        cli.main(["dashboard", *words.split()])
    errors = capsys.readouterr().err
    assert ended.value.code == 2 and errors.count("\n") == 1 and errors.startswith(f"swallow: {said}"), errors


def test_a_missing_extra_is_named(out: Path, swallow: Any, tmp_path: Path) -> None:
    (tmp_path / "wandb_workspaces").mkdir()
    (tmp_path / "wandb_workspaces" / "__init__.py").write_text("raise ImportError('not here')")
    done = swallow("dashboard", "push", NAME)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "pip install 'swallow_exp[dashboard]'" in done.stderr
