"""Two evaluators on one run share its tasks; one that is killed loses the task in hand, which the other asks then."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from patience import PATIENCE_SECONDS

from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.evaluate.run import evaluate_runs
from swallow_exp.record.events import read_events

TASKS = ["mini_choice", "mini_question", "mini_reading", "mini_arithmetic", "mini_en_ja", "mini_ja_en"]

# argv: out, run_id, log, after how many tasks it hangs in the next. One line `pid start|end task` in the log for each.
EVALUATOR = """
import os, sys, time
from pathlib import Path
import torch
from swallow_exp.evaluate import run
torch.set_num_threads(1)
out, run_id, log, hang, hanging = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]
ask, asked = run.evaluate_task, []
def note(word, task):
    with open(log, "a") as handle:
        handle.write(f"{os.getpid()} {word} {task.name}\\n")
def slowly(model, task):
    note("start", task)
    if len(asked) == hang:
        time.sleep(600)
    while hang == 99 and len(asked) == 1 and sum(line.split()[:2] == [hanging, "start"] for line in open(log)) < 2:
        time.sleep(0.02)
    outcome = ask(model, task)
    asked.append(task)
    note("end", task)
    return outcome
run.evaluate_task = slowly
summary = run.evaluate_runs(out, [run_id])
print(summary.evaluated, summary.already_done, summary.failures)
"""


def _start(out: Path, run_id: str, log: Path, hang: int = 99, hanging: int = 0) -> subprocess.Popen[str]:
    """One that hangs in its task number `hang`, or one that awaits that of the process `hanging` in its own second task."""
    command = [sys.executable, "-c", EVALUATOR, str(out), run_id, str(log), str(hang), str(hanging)]
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _results(out: Path, run_id: str) -> dict[str, Any]:
    run = RunPaths.of(out, run_id)
    found = {}
    for task in TASKS:
        result = read_json(run.evaluation(0, task) / "result.json")
        items = pq.read_table(run.evaluation(0, task) / "items.parquet").to_pylist()
        found[task] = (result["metrics"], result["health"], result["prompt_digest"], items)
    return found


def test_a_killed_evaluator_loses_one_task_and_nothing_is_done_twice(
    tmp_path: Path, make_run: Callable[..., str], random_export: Path
) -> None:
    suite = [f"suite.tasks=[{','.join(TASKS)}]"]
    run_id = make_run("shared", {0: (random_export, "d0")}, suite)
    log = tmp_path / "log"
    log.touch()
    doomed = _start(tmp_path, run_id, log, hang=1)
    other = _start(tmp_path, run_id, log, hanging=doomed.pid)

    def words() -> list[list[str]]:
        return [line.split() for line in log.read_text().splitlines()]

    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:  # the doomed one hangs in its second task, the other has done everything else
        mine = [word for pid, word, _ in words() if pid == str(doomed.pid)]
        if mine == ["start", "end", "start"] and sum(word == "end" for _, word, _ in words()) == len(TASKS) - 1:
            break
        time.sleep(0.1)
    else:
        raise AssertionError(words())
    time.sleep(0.5)
    assert other.poll() is None, "it waits for the task that the doomed one holds"
    hanging = [task for pid, word, task in words() if pid == str(doomed.pid)][-1]
    doomed.send_signal(signal.SIGKILL)
    said, errors = other.communicate(timeout=PATIENCE_SECONDS)
    doomed.communicate()
    assert other.returncode == 0, errors
    evaluated = sum(word == "end" for pid, word, _ in words() if pid == str(other.pid))
    assert said.split()[0] == str(evaluated) and evaluated == len(TASKS) - 1
    assert Counter(task for _, word, task in words() if word == "start") == Counter([*TASKS, hanging])
    assert Counter(task for _, word, task in words() if word == "end") == Counter(TASKS)
    rows = [(row["task"], row["metric"]) for row in read_events(RunPaths.of(tmp_path, run_id).events, "evaluation")]
    assert len(rows) == len(set(rows)) == len(TASKS)
    assert evaluate_runs(tmp_path, [run_id]).already_done == len(TASKS)
    assert len(list(read_events(RunPaths.of(tmp_path, run_id).events, "evaluation"))) == len(TASKS)
    shared = _results(tmp_path, run_id)
    shutil.rmtree(RunPaths.of(tmp_path, run_id).folder / "evaluations")
    assert evaluate_runs(tmp_path, [run_id]).evaluated == len(TASKS)  # by one evaluator that nobody disturbs
    assert _results(tmp_path, run_id) == shared
