"""Cells run once whatever fails, whoever else runs the same sweep, and whenever it is killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import read_json, write_json_atomic
from swallow_exp.artefact.paths import RunPaths, cell_lease
from swallow_exp.artefact.units import format_count
from swallow_exp.config.compose import compose_config
from swallow_exp.record.events import append_events
from swallow_exp.record.identity import identity_of, run_id_of
from swallow_exp.record.status import STALE_AFTER_SECONDS, read_status, write_status
from swallow_exp.sweep import runs
from swallow_exp.sweep.board import Board
from swallow_exp.sweep.cells import next_action, request_digest, run_locally, run_shared, settled_exit_code
from swallow_exp.sweep.lease import claim_lease, is_held, keep_lease, read_lease
from swallow_exp.sweep.prepare import config_text
from swallow_exp.sweep.progress import shown_state
from swallow_exp.sweep.runs import list_failures, results_of, sweep_exit_code
from swallow_exp.train.screen import format_duration

DRILL = Path(__file__).with_name("sweep_drill.py")
ELSEWHERE = {"host": "othernode", "place": "othernode 1", "pid": 1, "born": "1", "job": None, "goal": "g", "exit_code": None}


def test_failures_are_listed_retried_and_done_once(make_grid: Callable[..., Any]) -> None:
    grid = make_grid(12)
    grid.break_cells([2, 5, 11])
    first = grid.run_here()
    assert sweep_exit_code(first) == 1
    listed = list_failures("sweep", first)
    assert "3 of 12 cells are not done" in listed
    assert [line.split(":")[0].strip() for line in listed.splitlines()[1:]] == ["cell-2", "cell-5", "cell-11"]
    assert grid.launches() == [1] * 12
    assert [next_action(job) for job in grid.jobs()].count("retry") == 3
    grid.broken.unlink()
    assert sweep_exit_code(grid.run_here()) == 0
    assert grid.launches() == [2 if number in (2, 5, 11) else 1 for number in range(12)]  # exactly those three
    assert sweep_exit_code(grid.run_here()) == 0
    assert sum(grid.launches()) == 15  # none
    assert {next_action(job) for job in grid.jobs()} == {"finished"}


def test_another_suite_is_asked_of_finished_cells(make_grid: Callable[..., Any]) -> None:
    grid = make_grid(1)
    grid.run_here()
    (job,) = grid.jobs()
    other = replace(job, request="another request")
    record = read_lease(job.lease)
    assert settled_exit_code(job, record) == 0
    assert settled_exit_code(other, record) is None


def test_a_cell_without_its_export_is_not_finished(make_grid: Callable[..., Any]) -> None:
    grid = make_grid(1)
    grid.run_here()
    (job,) = grid.jobs()
    RunPaths.of(grid.out, "cell-0").checkpoint_export(4).rmdir()
    assert settled_exit_code(job, read_lease(job.lease)) is None


def test_two_sweeps_share_the_cells(make_grid: Callable[..., Any]) -> None:
    grid = make_grid(8)
    grid.break_cells([3])
    environment = {**os.environ, "FAKE_CELLS_SECONDS": "0.1"}
    command = [sys.executable, str(DRILL), str(grid.out), "8", "2"]
    sweeps = [subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [sweep.wait(timeout=100) for sweep in sweeps] == [1, 1]  # both list the failure
    assert grid.launches() == [1] * 8  # and it was tried once
    holders = {read_lease(job.lease)["pid"] for job in grid.jobs()}
    assert holders == {sweep.pid for sweep in sweeps}


def test_lease_is_refused_while_held_and_free_once_ended(tmp_path: Path) -> None:
    path = tmp_path / "cell.json"
    lease = claim_lease(path, "g")
    assert lease is not None and is_held(path)
    assert claim_lease(path, "g") is None
    lease.end(1)
    again = claim_lease(path, "g")
    assert again is not None and again.earlier["exit_code"] == 1
    again.give_back()
    assert read_lease(path)["token"] == lease.record["token"]


def test_lease_of_another_machine_goes_stale_by_the_clock_of_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "cell.json"
    write_json_atomic(path, {"token": "theirs", **ELSEWHERE})
    assert is_held(path) and claim_lease(path, "g") is None
    past = time.time() - STALE_AFTER_SECONDS - 5
    os.utime(path, (past, past))
    assert not is_held(path)
    lease = claim_lease(path, "g")
    assert lease is not None
    write_json_atomic(path, {"token": "a third", **ELSEWHERE})
    lease._beaten -= 1000
    assert not lease.beat()  # it has been taken over
    lease.end(0)
    assert read_lease(path)["token"] == "a third"


def test_lease_of_a_number_given_out_again_is_free(tmp_path: Path) -> None:
    path = tmp_path / "cell.json"
    lease = claim_lease(path, "g")
    assert lease is not None
    write_json_atomic(path, {**lease.record, "born": "12345"})
    assert is_held(path) == (not sys.platform.startswith("linux"))


def test_a_run_on_its_own_is_a_cell_to_every_sweep(make_grid: Callable[..., Any]) -> None:
    grid = make_grid(2)
    first, second = grid.jobs()

    def work() -> int:
        assert is_held(first.lease) and next_action(first).startswith("held by")
        with pytest.raises(RequestError, match=r"cell-0 is being carried out already \(process \d+ on "):
            keep_lease(first.lease, first.request, lambda: 0)  # a second one on this machine
        first.run.folder.mkdir(parents=True)
        first.run.config.write_text(first.config, encoding="utf-8")
        return subprocess.run(first.command, check=False).returncode

    assert keep_lease(first.lease, first.request, work) == 0
    assert keep_lease(second.lease, request_digest(grid.cells[1].composed, train_only=True), lambda: 0) == 0  # not all that is asked
    assert [next_action(job) for job in grid.jobs()] == ["finished", "resume"]
    grid.run_here()
    assert grid.launches() == [1, 1]


def test_a_run_on_its_own_leaves_behind_how_it_ended(tmp_path: Path) -> None:
    def fail(error: BaseException) -> Callable[[], int]:
        def work() -> int:
            raise error

        return work

    ways: list[tuple[BaseException, int]] = [(RequestError("a", expected="b", remedy="c"), 2), (KeyboardInterrupt(), 75), (ValueError(), 1)]
    for number, (error, code) in enumerate(ways):
        path = tmp_path / f"{number}.json"
        with pytest.raises(type(error)):
            keep_lease(path, "g", fail(error))
        assert read_lease(path)["exit_code"] == code


def test_the_process_of_a_cell_works_under_the_lease_of_its_sweep(make_grid: Callable[..., Any]) -> None:
    (job,) = make_grid(1).jobs()
    code = "import sys; from pathlib import Path; from swallow_exp.sweep.lease import keep_lease; "
    code += f"sys.exit(keep_lease(Path({str(job.lease)!r}), 'g', lambda: 7))"
    assert run_locally([replace(job, command=(sys.executable, "-c", code))], at_once=1) == {"cell-0": 7}
    assert read_lease(job.lease)["goal"] == job.request


def test_a_run_on_its_own_waits_for_a_holder_elsewhere_only_while_that_may_be_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, looks = tmp_path / "cell.json", list[float]()

    def look(age: float) -> Callable[[float], None]:
        def sleep(seconds: float) -> None:
            looks.append(seconds)
            os.utime(path, (time.time() - age, time.time() - age))

        return sleep

    write_json_atomic(path, {"token": "theirs", **ELSEWHERE})
    monkeypatch.setattr("swallow_exp.sweep.lease.time.sleep", look(0.0))
    with pytest.raises(RequestError, match="carried out already"):  # it gave a sign of life
        keep_lease(path, "g", lambda: 0)
    monkeypatch.setattr("swallow_exp.sweep.lease.time.sleep", look(STALE_AFTER_SECONDS + 5))
    assert keep_lease(path, "g", lambda: 0) == 0 and len(looks) == 2


def test_a_slurm_job_that_was_queued_again_does_not_wait_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cell.json"
    write_json_atomic(path, {"token": "theirs", **ELSEWHERE, "job": "77", "restart": 0})
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    assert is_held(path)  # another node of the same job
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert not is_held(path)
    lease = claim_lease(path, "g")
    assert lease is not None and lease.record["restart"] == 1


def test_a_run_that_was_taken_over_ends_at_once(tmp_path: Path) -> None:
    path = tmp_path / "cell.json"
    code = "import time; from pathlib import Path; from swallow_exp.sweep import lease; lease.BEAT_SECONDS = 0.05; "
    code += f"lease.keep_lease(Path({str(path)!r}), 'g', lambda: time.sleep(60) or 0)"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    while not read_lease(path):
        time.sleep(0.01)
    write_json_atomic(path, {"token": "theirs", **ELSEWHERE})
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1 and "another process has taken this run over" in errors
    assert read_lease(path)["token"] == "theirs"


def test_a_cell_held_elsewhere_is_awaited_and_taken_over(make_grid: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    grid = make_grid(2)
    first = grid.jobs()[0]
    write_json_atomic(first.lease, {"token": "theirs", **ELSEWHERE})
    jobs, looks = grid.jobs(), []

    def pass_time(seconds: float) -> None:
        looks.append(seconds)
        past = time.time() - STALE_AFTER_SECONDS - 5
        os.utime(first.lease, (past, past))

    assert next_action(jobs[0]) == "held by othernode (process 1)"
    real_sleep = time.sleep
    monkeypatch.setattr("swallow_exp.sweep.cells.time.sleep", lambda s: pass_time(s) if s >= 1 else real_sleep(s))
    codes = run_shared(jobs, lambda free: run_locally(free, at_once=2))
    assert codes == {"cell-0": 0, "cell-1": 0} and len(looks) == 1


def test_a_worker_that_leaves_quietly_has_failed(make_grid: Callable[..., Any]) -> None:
    grid = make_grid(1)
    (job,) = grid.jobs()
    quiet = replace(job, command=(sys.executable, "-c", "pass"))
    assert run_locally([quiet], at_once=1) == {"cell-0": 1}
    assert read_lease(job.lease)["exit_code"] == 1


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_as_if_undisturbed(make_grid: Callable[..., Any]) -> None:
    calm, grid = make_grid(6, "calm"), make_grid(6)
    calm.run_here(jobs=3)
    environment = {**os.environ, "FAKE_CELLS_SECONDS": "0.4"}
    command = [sys.executable, str(DRILL), str(grid.out), "6", "2"]
    chance = random.Random(7)
    for _ in range(10):
        sweep = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(1.0, 3.0))
        sweep.send_signal(signal.SIGKILL)
        sweep.wait()
    assert subprocess.run(command, env=environment, check=False).returncode == 0
    assert grid.records() == calm.records()
    assert subprocess.run(command, env=environment, check=False).returncode == 0
    for cell in grid.cells:
        run = RunPaths.of(grid.out, cell.run_id)
        assert (run.folder / "steps").read_text().splitlines() == [f"step {step}" for step in range(4)]  # none twice
        assert read_status(run.status)["attempts"] == len((run.folder / "launches").read_text().splitlines())
        assert read_json(run.folder / "record.json")


def test_a_stopped_sweep_says_what_never_started(make_grid: Callable[..., Any]) -> None:
    grid = make_grid(3)
    first, second, third = grid.jobs()
    saving = "import os, signal, sys, time; signal.signal(15, lambda *_: sys.exit(75)); os.kill(os.getppid(), 2); time.sleep(30)"
    write_status(first.run.status, "preempted", trained_tokens=2, cause="SIGTERM")
    jobs = [replace(first, command=(sys.executable, "-c", saving)), second, third]
    codes = run_locally(jobs, at_once=1)
    assert codes == {"cell-0": 75, "cell-1": 75, "cell-2": 75}
    assert read_status(first.run.status)["cause"] == "Ctrl-C" and shown_state(read_status(first.run.status)) == "stopped"
    results = results_of(grid.cells, {job.run_id: job for job in jobs}, codes, {"cell-2": "a; expected b; c"})
    assert list_failures("sweep", results).splitlines()[1:] == [
        f"  cell-0: stopped, saved at 2 tokens, log {first.log}",
        "  cell-1: not started",
        "  refused: a; expected b; c",
        "    cell-2",
    ]
    assert first.log.is_file() and not second.log.exists()


def test_cells_that_are_refused_for_one_reason_are_said_once(make_grid: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    grid = make_grid(3)

    def refuse(config: Any, upto: str, tell: Any) -> None:
        raise RequestError("too much", expected="less", remedy="take less")

    monkeypatch.setattr(runs, "build_stages", refuse)
    results = grid.run_here()
    assert sweep_exit_code(results) == 2 and grid.launches() == [0, 0, 0]
    listed = list_failures("sweep", results)
    assert listed.count("too much; expected less; take less") == 1 and "log" not in listed
    assert [line.strip() for line in listed.splitlines()[2:]] == ["cell-0", "cell-1", "cell-2"]


def test_progress_without_a_terminal(
    make_grid: Callable[..., Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = make_grid(1)
    (job,) = grid.jobs()
    monkeypatch.setattr("swallow_exp.sweep.board.LINE_SECONDS", 0.0)
    with Board(grid.cells, grid.out) as board:
        board.started(job.run_id, job.log)
        write_status(job.run.status, "running", trained_tokens=500)
        row = {"kind": "train", "trained_tokens": 500, "tokens_per_second": 100.0}
        append_events(job.run.events, [row])
        board.refresh()
        write_status(job.run.status, "failed", cause="no memory")
        board.finished(job.run_id, 1, job.log)
    budget = grid.cells[0].composed.config.budget.tokens
    assert capsys.readouterr().err.splitlines() == [
        f"cell-0: started, log {job.log}",
        f"cell-0: training, 500 of {format_count(budget)} tokens, {format_duration((budget - 500) / 100)} left",
        f"cell-0: FAILED (exit 1): no memory, log {job.log}",
    ]


def test_a_cell_process_carries_out_the_folder_it_is_given(tmp_path: Path) -> None:
    composed = compose_config(["base_model=miniature", f"paths.out={tmp_path}", "seed=3"])
    run = RunPaths.of(tmp_path, run_id_of(identity_of(composed.plain)))
    run.folder.mkdir(parents=True)
    line = [sys.executable, "-m", "swallow_exp.sweep.cell_process", str(run.folder)]
    empty = subprocess.run(line, capture_output=True, text=True, check=False)
    assert empty.returncode == 2 and len(empty.stderr.splitlines()) == 1 and "no readable config.yaml" in empty.stderr
    run.config.write_text(config_text(composed.plain), encoding="utf-8")
    refused = subprocess.run(line, capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and len(refused.stderr.splitlines()) == 1 and "run `swallow demo` first" in refused.stderr
    assert read_lease(cell_lease(tmp_path, run.run_id))["exit_code"] == 2  # of this very run
