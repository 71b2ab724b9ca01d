"""Whole runs: results and rows on disk, reuse of equal checkpoints, continuing after a kill, wrong requests, the process itself."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE_SECONDS, wait_until

from swallow_exp.artefact.errors import EXIT_DONE, EXIT_FAILED, EXIT_PREEMPTED, EXIT_WRONG_REQUEST, RequestError
from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.evaluate import run as evaluation
from swallow_exp.evaluate.launch import launch_evaluation
from swallow_exp.evaluate.run import evaluate_runs
from swallow_exp.record.events import read_events
from swallow_exp.record.store import read_evaluations, read_items, read_result

MakeRun = Callable[..., str]
MINI = ["mini_choice", "mini_question", "mini_ja_en_instructed"]
HELDOUT = [
    "heldout_miniature_english",
    "heldout_miniature_japanese",
    "heldout_miniature_pairs_en_ja",
    "heldout_miniature_pairs_ja_en",
]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of tasks as they are really asked; also counts how often a model is loaded ("load")."""
    names: list[str] = []
    ask, load = evaluation.evaluate_task, evaluation.load_checkpoint
    monkeypatch.setattr(evaluation, "evaluate_task", lambda model, task: (names.append(task.name), ask(model, task))[1])
    monkeypatch.setattr(evaluation, "load_checkpoint", lambda *a, **k: (names.append("load"), load(*a, **k))[1])
    return names


def test_every_checkpoint_gets_results_items_and_rows(
    tmp_path: Path, make_run: MakeRun, random_export: Path, knowing_export: Path, asked: list[str]
) -> None:
    run_id = make_run("a", {0: (random_export, "d0"), 2048: (knowing_export, "d1")}, [f"suite.tasks=[{','.join(MINI)},heldout]"])
    summary = evaluate_runs(tmp_path, [run_id])
    assert (summary.evaluated, summary.reused, summary.already_done, summary.failures) == (14, 0, 0, [])
    assert asked == ["load", *MINI, *HELDOUT] * 2
    records = list(read_evaluations(tmp_path, run_id))
    assert {(r.trained_tokens, r.task) for r in records} == {(n, t) for n in (0, 2048) for t in [*MINI, *HELDOUT]}
    question = {r.trained_tokens: r for r in records if r.task == "mini_question"}
    assert question[2048].score == 100.0 > question[0].score
    assert question[2048].num_items == 6 and question[2048].suite == "miniature"
    assert len({(r.trained_tokens, r.checkpoint_digest) for r in records}) == 2
    for record in records:
        items = read_items(tmp_path, record)
        assert len(items.item_ids) == record.num_items == 6
        from swallow_exp.record.aggregate import score_of_items

        assert score_of_items(items.statistics, record.aggregate) == pytest.approx(record.score)
    rows = list(read_events(RunPaths.of(tmp_path, run_id).events, "evaluation"))
    assert {(r["trained_tokens"], r["task"], r["metric"], r["score"]) for r in rows} == {
        (r.trained_tokens, r.task, r.metric, r.score) for r in records
    }
    assert len(rows) == len(records) == 2 * (len(MINI) + len(HELDOUT))


def test_a_second_evaluation_does_nothing(tmp_path: Path, make_run: MakeRun, random_export: Path, asked: list[str]) -> None:
    run_id = make_run("a", {0: (random_export, "d0")}, ["suite.tasks=[mini_choice,heldout]"])
    evaluate_runs(tmp_path, [run_id])
    run = RunPaths.of(tmp_path, run_id)
    before = {p: p.stat().st_mtime_ns for p in [*run.folder.rglob("*.json"), *run.folder.rglob("*.parquet"), run.events]}
    asked.clear()
    summary = evaluate_runs(tmp_path, [run_id])
    assert (summary.evaluated, summary.already_done, asked) == (0, 5, [])
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_equal_checkpoints_are_asked_once(tmp_path: Path, make_run: MakeRun, random_export: Path, asked: list[str]) -> None:
    tasks = ["suite.tasks=[mini_choice,mini_en_ja]"]
    first, second = make_run("a", {0: (random_export, "same")}, tasks), make_run("b", {0: (random_export, "same")}, [*tasks, "seed=1"])
    other = make_run("c", {0: (random_export, "other")}, tasks)
    summary = evaluate_runs(tmp_path, [first, second, other])
    assert (summary.evaluated, summary.reused) == (4, 2)
    assert asked.count("load") == 2
    mine, theirs = (RunPaths.of(tmp_path, r).evaluation(0, "mini_en_ja") for r in (second, first))
    assert read_json(mine / "result.json")["reused_from"] == first
    assert "reused_from" not in read_json(theirs / "result.json")
    assert (mine / "items.parquet").read_bytes() == (theirs / "items.parquet").read_bytes()
    assert [r.score for r in read_evaluations(tmp_path, second)] == [r.score for r in read_evaluations(tmp_path, first)]
    rows = list(read_events(RunPaths.of(tmp_path, second).events, "evaluation"))
    assert len(rows) == 2 and {row["reused_from"] for row in rows} == {first}


def test_reuse_across_processes_but_not_across_settings(tmp_path: Path, make_run: MakeRun, random_export: Path, asked: list[str]) -> None:
    tasks = ["suite.tasks=[mini_choice]"]
    evaluate_runs(tmp_path, [make_run("a", {0: (random_export, "same")}, tasks)])
    assert evaluate_runs(tmp_path, [make_run("b", {0: (random_export, "same")}, tasks)]).reused == 1
    assert evaluate_runs(tmp_path, [make_run("c", {0: (random_export, "same")}, [*tasks, "suite.batch_size=3"])]).reused == 0
    assert evaluate_runs(tmp_path, [make_run("d", {0: (random_export, "same")}, [*tasks, "suite.limit=5"])]).reused == 0


class _Killed(BaseException):
    """Stands for a kill: nothing may catch it."""


def test_continues_after_a_kill_between_and_inside_tasks(
    tmp_path: Path, make_run: MakeRun, random_export: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = make_run("a", {0: (random_export, "d0")}, [f"suite.tasks=[{','.join(MINI)}]"])
    run = RunPaths.of(tmp_path, run_id)

    def killed(*args: Any) -> None:
        raise _Killed

    with monkeypatch.context() as patch:  # after the first result was written, before its rows were
        patch.setattr(evaluation, "append_evaluation_rows", lambda some: killed() if some else 0)
        with pytest.raises(_Killed):
            evaluate_runs(tmp_path, [run_id])
    assert read_result(run.evaluation(0, MINI[0])) is not None and not list(read_events(run.events))
    with monkeypatch.context() as patch:  # inside the second task, with a torn folder left behind
        run.evaluation(0, MINI[1]).mkdir()
        (run.evaluation(0, MINI[1]) / "items.parquet").write_bytes(b"torn")
        patch.setattr(evaluation, "write_outcome", killed)
        with pytest.raises(_Killed):
            evaluate_runs(tmp_path, [run_id])
    assert [row["task"] for row in read_events(run.events)] == [MINI[0]]
    asked.clear()
    summary = evaluate_runs(tmp_path, [run_id])
    assert (summary.evaluated, summary.already_done, asked) == (2, 1, ["load", *MINI[1:]])
    assert [row["task"] for row in read_events(run.events)] == [MINI[0], MINI[1], MINI[2]]
    assert all(len(read_items(tmp_path, r).item_ids) == 6 for r in read_evaluations(tmp_path, run_id))


def test_a_result_of_other_weights_is_replaced(tmp_path: Path, make_run: MakeRun, random_export: Path, asked: list[str]) -> None:
    run_id = make_run("a", {0: (random_export, "d0")}, ["suite.tasks=[mini_choice]"])
    evaluate_runs(tmp_path, [run_id])
    run, other = (
        RunPaths.of(tmp_path, run_id),
        RunPaths.of(tmp_path, make_run("b", {0: (random_export, "d9")}, ["suite.tasks=[mini_choice]"])),
    )
    (before,) = read_evaluations(tmp_path, run_id)
    shutil.copytree(other.checkpoint_export(0), run.checkpoint_export(0), dirs_exist_ok=True)
    run.checkpoint_index.write_bytes(other.checkpoint_index.read_bytes())
    assert evaluate_runs(tmp_path, [run_id]).evaluated == 1
    (after,) = read_evaluations(tmp_path, run_id)
    assert after.checkpoint_digest != before.checkpoint_digest


def test_a_missing_export_fails_alone(tmp_path: Path, make_run: MakeRun, random_export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = make_run("a", {0: (tmp_path / "gone", "d0"), 2048: (random_export, "d1")}, ["suite.tasks=[mini_choice]"])
    summary = evaluate_runs(tmp_path, [run_id])
    assert summary.evaluated == 1 and len(summary.failures) == 1
    assert "a at 0 tokens" in summary.failures[0]
    assert [r.trained_tokens for r in read_evaluations(tmp_path, run_id)] == [2048]
    assert "failed: a at 0 tokens" in capsys.readouterr().err


def test_truncated_weights_are_named_and_fail_alone(tmp_path: Path, make_run: MakeRun, random_export: Path) -> None:
    cut = tmp_path / "cut"
    shutil.copytree(random_export, cut)
    os.truncate(cut / "model.safetensors", 50_000)
    run_id = make_run("a", {0: (cut, "d0"), 2048: (random_export, "d1")}, ["suite.tasks=[mini_choice]"])
    summary = evaluate_runs(tmp_path, [run_id])
    assert summary.evaluated == 1
    (failure,) = summary.failures
    assert "a at 0 tokens" in failure and "model.safetensors has 50,000 bytes where its header says" in failure


def test_wrong_requests(tmp_path: Path, make_run: MakeRun, random_export: Path, asked: list[str]) -> None:
    run_id = make_run("a", {0: (random_export, "d0")}, ["suite.tasks=[mini_choice]"])
    with pytest.raises(RequestError, match=r"unknown task 'mini_chioce'.*mini_choice, .*heldout"):
        evaluate_runs(tmp_path, [run_id], tasks=["mini_choice", "mini_chioce"])
    with pytest.raises(RequestError, match=r"unknown task 'heldout_x'.*heldout_miniature_pairs_en_ja"):
        evaluate_runs(tmp_path, [run_id], tasks=["heldout_x"])
    with pytest.raises(RequestError, match="run 'nothere'"):
        evaluate_runs(tmp_path, [run_id, "nothere"])
    assert asked == []


def test_named_tasks_instead_of_the_suite(tmp_path: Path, make_run: MakeRun, random_export: Path) -> None:
    run_id = make_run("a", {0: (random_export, "d0")}, ["suite=none", "suite.limit=4"])
    assert evaluate_runs(tmp_path, [run_id]).evaluated == 0
    assert evaluate_runs(tmp_path, [run_id], tasks=["heldout_miniature_english"]).evaluated == 1


def test_the_process_and_its_exit_codes(tmp_path: Path, make_run: MakeRun, random_export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    run_id = make_run("-run", {0: (random_export, "d0")}, ["suite.tasks=[mini_choice]"])
    assert launch_evaluation(tmp_path, []) == EXIT_DONE
    assert launch_evaluation(tmp_path, [run_id], tasks=["mini_choice", "mini_question"]) == EXIT_DONE
    assert {r.task for r in read_evaluations(tmp_path, run_id)} == {"mini_choice", "mini_question"}


def test_exit_codes_of_the_worker(
    tmp_path: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from swallow_exp.evaluate import worker

    monkeypatch.setattr(signal, "signal", lambda *_: None)
    gone = make_run("a", {0: (tmp_path / "gone", "d0")}, ["suite.tasks=[mini_choice]"])
    assert worker.main(["--out", str(tmp_path), gone]) == EXIT_FAILED
    capsys.readouterr()
    assert worker.main(["--out", str(tmp_path), "--tasks", "x,mini_choice", gone]) == EXIT_WRONG_REQUEST
    assert capsys.readouterr().err.count("\n") == 1


def test_a_signal_to_the_launcher_stops_the_evaluator(tmp_path: Path, make_run: MakeRun, random_export: Path) -> None:
    tokens = range(0, 200 * 1024, 1024)
    run_id = make_run("a", {n: (random_export, f"d{n}") for n in tokens}, ["suite.tasks=[mini_en_ja,mini_question]", "suite.limit=40"])
    code = f"import sys; from pathlib import Path; from swallow_exp.evaluate.launch import launch_evaluation as l; sys.exit(l(Path({str(tmp_path)!r}), [{run_id!r}]))"  # noqa: E501
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    run = RunPaths.of(tmp_path, run_id)
    wait_until(lambda: list(read_events(run.events)), process, pause=0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=PATIENCE_SECONDS) == EXIT_PREEMPTED
    done = list(read_evaluations(tmp_path, run_id))
    assert 0 < len(done) < 3 * len(tokens)
    assert all(len(read_items(tmp_path, record).item_ids) == 40 for record in done)


def test_light_modules_stay_light() -> None:
    code = (
        "import sys, swallow_exp.evaluate.launch, swallow_exp.evaluate.suite, swallow_exp.evaluate.worker;"
        "print([m for m in ('torch', 'transformers', 'lm_eval', 'sacrebleu', 'tokenizers', 'pyarrow') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
