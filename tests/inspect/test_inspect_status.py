"""What status says of made-up runs: how far, how long still, how much, and who fell silent."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from swallow_exp.artefact.files import read_json, write_json_atomic
from swallow_exp.artefact.paths import RunPaths, cell_lease, sweep_file
from swallow_exp.artefact.processes import INTERRUPTED
from swallow_exp.inspect.status import status_rows, status_table
from swallow_exp.record.events import append_events, last_events
from swallow_exp.record.status import STALE_AFTER_SECONDS, write_status
from swallow_exp.sweep.lease import claim_lease


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    run = RunPaths.of(tmp_path, "run")
    run.folder.mkdir(parents=True)
    run.identity.write_text(json.dumps({"budget": {"name": "b", "tokens": 1_000}}), encoding="utf-8")
    run.config.write_text("budget:\n  checkpoint_every_tokens: 500\n", encoding="utf-8")
    row = {"kind": "train", "tokens_per_second": 2.0, "tflops_per_device": 0.5}
    append_events(run.events, [{**row, "trained_tokens": n * 100, "flops": n * 1.8e15} for n in range(1, 5)])
    write_status(run.status, "running", trained_tokens=400, attempts=2)
    for mark, tasks in ((0, ("a", "b")), (400, ("a",))):
        for task in tasks:
            folder = run.evaluation(mark, task)
            folder.mkdir(parents=True)
            (folder / "result.json").write_text("{}", encoding="utf-8")
    (run.evaluation(400, "begun")).mkdir()
    return run


def test_a_running_run(run: RunPaths) -> None:
    write_json_atomic(sweep_file(run.out, "s"), {"cells": [{"run_id": "run", "marks": 3, "tasks": 4}]})
    write_json_atomic(run.publication("wandb-online"), {"destinations": {"/p": {"next": 3, "confirmed": 3, "fragments": []}}})
    (row,) = status_rows(run.out, "s")
    assert row["state"] == "running" and row["attempts"] == 2
    assert row["eta_seconds"] == pytest.approx(300) and row["gpu_hours"] == pytest.approx(4 * 1.8e15 / 0.5e12 / 3600)
    assert (row["checkpoints_planned"], row["results"], row["results_planned"]) == (3, 3, 12)
    assert row["evaluated"] == {"0": ["a", "b"], "400": ["a"]} and row["publish_lag"] == 1
    table = status_table([row], as_json=False)
    assert "400  40%" in table and "0/3" in table and "3/12" in table and "5.0 min" in table and table.endswith("2/4 1/4 .")
    assert json.loads(status_table([row], as_json=True)) == [row]


def test_marks_just_before_the_end_are_planned(run: RunPaths) -> None:
    text = "budget:\n  checkpoint_every_tokens: 500\n  final_checkpoints: 3\n  final_checkpoint_every_tokens: 100\n  other: 1\n"
    run.config.write_text(text, encoding="utf-8")
    assert status_rows(run.out)[0]["checkpoints_planned"] == 6


def test_a_silent_run_is_lost_and_has_no_eta_when_it_ended(run: RunPaths) -> None:
    write_json_atomic(run.status, {"state": "running", "trained_tokens": 400, "heartbeat": time.time() - STALE_AFTER_SECONDS - 1})
    assert status_rows(run.out)[0]["state"] == "lost"
    write_status(run.status, "failed", cause="out of memory")
    (row,) = status_rows(run.out)
    assert row["eta_seconds"] is None and row["publish_lag"] is None and row["results_planned"] is None
    assert "out of memory" in status_table([row], as_json=False)


def test_a_run_whose_processes_are_gone_is_lost_at_once(run: RunPaths) -> None:
    lease = claim_lease(cell_lease(run.out, "run"), "g")
    assert lease is not None
    (row,) = status_rows(run.out)
    assert row["state"] == "running" and row["held_by"] == f"{socket.gethostname()} (process {os.getpid()})"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    status = read_json(run.status)
    write_json_atomic(lease.path, {**lease.record, "pid": gone.pid, "born": "1"})
    assert status_rows(run.out)[0]["state"] == "running"  # its trainer, this process, still writes
    write_json_atomic(run.status, {**status, "pid": gone.pid})
    (row,) = status_rows(run.out)
    assert (row["state"], row["eta_seconds"], row["held_by"]) == ("lost", None, None)
    write_json_atomic(lease.path, {**lease.record, "pid": gone.pid, "place": "another machine"})
    assert status_rows(run.out)[0]["state"] == "running"  # nothing can be said of it from here


def test_evaluation_has_an_eta_while_somebody_carries_it_out(run: RunPaths) -> None:
    write_json_atomic(sweep_file(run.out, "s"), {"cells": [{"run_id": "run", "marks": 3, "tasks": 4}]})
    write_status(run.status, "trained", trained_tokens=1_000)
    result = {"task": "a", "metrics": [], "seconds": 20.0}
    write_json_atomic(run.evaluation(400, "a") / "result.json", result)
    assert status_rows(run.out, "s")[0]["eta_seconds"] is None
    lease = claim_lease(cell_lease(run.out, "run"), "g")
    assert lease is not None
    assert status_rows(run.out, "s")[0]["eta_seconds"] == pytest.approx((12 - 3) * 20.0)


def test_a_glance_at_an_outbox_reads_whole_lines_only(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert last_events(path, "train") == []
    append_events(path, [{"kind": "train", "trained_tokens": n, "pad": "x" * 50} for n in range(200)])
    with path.open("ab") as handle:
        handle.write(b'{"kind": "train", "trained_tok')
    rows = last_events(path, "train", num_bytes=1_000)
    assert 5 < len(rows) < 15 and rows[-1]["trained_tokens"] == 199
    assert [row["trained_tokens"] for row in last_events(path, "train", num_bytes=10**6)] == list(range(200))
    assert last_events(path, "guard") == []


def test_training_is_found_behind_a_long_evaluation(run: RunPaths) -> None:
    score = {"kind": "evaluation", "trained_tokens": 400, "task": "t" * 50, "metric": "accuracy", "profile": "both", "score": 1.0}
    append_events(run.events, [score] * 3_000)
    (row,) = status_rows(run.out)
    assert row["gpu_hours"] == pytest.approx(4 * 1.8e15 / 0.5e12 / 3600) and row["eta_seconds"] == pytest.approx(300)


def test_states_in_the_words_of_a_sweep(run: RunPaths) -> None:
    write_status(run.status, "preempted", cause="SIGTERM")
    assert status_rows(run.out)[0]["state"] == "preempted"
    write_status(run.status, "preempted", cause=INTERRUPTED)
    assert status_rows(run.out)[0]["state"] == "stopped"
    write_status(run.status, "trained")
    for tasks, word in ((1, "done"), (4, "trained")):
        write_json_atomic(sweep_file(run.out, "s"), {"cells": [{"run_id": "run", "marks": 3, "tasks": tasks}]})
        assert status_table(status_rows(run.out, "s"), as_json=False).splitlines()[1].split()[1] == word


def test_hours_of_a_cpu_are_called_so(run: RunPaths) -> None:
    assert "GPU-h" in status_table(status_rows(run.out), as_json=False)
    with run.config.open("a", encoding="utf-8") as config:
        config.write("machine:\n  accelerator: cpu\n")
    (row,) = status_rows(run.out)
    assert row["gpu_hours"] is None and row["cpu_hours"] == pytest.approx(4 * 1.8e15 / 0.5e12 / 3600)
    assert "CPU-h" in status_table([row], as_json=False) and "GPU-h" not in status_table([row], as_json=False)
