"""Several processes on one evaluation: the same result as one, written by the first; a lost process ends the others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from patience import PATIENCE_SECONDS, wait_until

from swallow_exp.artefact.processes import free_port
from swallow_exp.config.schema import SuiteConfig
from swallow_exp.evaluate.launch import RANK_VARIABLES, launch_evaluation

SUITE = SuiteConfig(name="small", tasks=["mini_choice", "mini_reading"], limit=40, batch_size=8, device="cpu")


def _results(out: Path) -> dict[str, tuple[dict[str, Any], pd.DataFrame]]:
    found = {}
    for path in sorted(out.glob("models/*/evaluations/tokens_0/*/result.json")):
        result = json.loads(path.read_text())
        result.pop("seconds")
        found[path.parent.name] = (result, pd.read_parquet(path.parent / "items.parquet"))
    return found


def _alone(out: Path, export: Path, suite: SuiteConfig = SUITE) -> dict[str, Any]:
    from swallow_exp.evaluate.models import open_model
    from swallow_exp.evaluate.run import evaluate_model

    assert not evaluate_model(out, open_model(out, str(export)), suite=suite).failures
    return _results(out)


def _equal(some: dict[str, Any], others: dict[str, Any]) -> None:
    assert list(some) == list(others) == SUITE.tasks
    for name in some:
        assert some[name][0] == others[name][0]
        pd.testing.assert_frame_equal(some[name][1], others[name][1], check_exact=True)


def test_two_processes_write_what_one_writes(tmp_path: Path, random_export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert launch_evaluation(tmp_path / "two", [], suite=SUITE, model=str(random_export), processes=2) == 0
    two = _results(tmp_path / "two")
    _equal(two, _alone(tmp_path / "one", random_export))
    (events,) = (tmp_path / "two").glob("models/*/events.jsonl")
    rows = [json.loads(line) for line in events.read_text().splitlines()]
    assert [row["task"] for row in rows if row["kind"] == "evaluation"] == SUITE.tasks


def _command(out: Path, export: Path, suite: SuiteConfig = SUITE) -> list[str]:
    return ["-m", "swallow_exp.evaluate.worker", "--out", str(out), "--suite", json.dumps(asdict(suite)), "--model", str(export)]


def _environment(**changes: str) -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if name not in RANK_VARIABLES}, "OMP_NUM_THREADS": "1", **changes}


@pytest.mark.slow
def test_torchrun(tmp_path: Path, random_export: Path) -> None:
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(free_port())]
    done = subprocess.run([*start, *_command(tmp_path / "two", random_export)], env=_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("tasks asked") == 1
    _equal(_results(tmp_path / "two"), _alone(tmp_path / "one", random_export))


LONG = SuiteConfig(name="long", tasks=["mini_reading", "mini_choice", "mini_question", "mini_arithmetic"], batch_size=2, device="cpu")


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_lost_process_ends_the_others(victim: int, tmp_path: Path, random_export: Path) -> None:
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    command = [sys.executable, *_command(tmp_path, random_export, LONG)]
    workers = [
        subprocess.Popen(command, env=_environment(**shared, RANK=str(n), LOCAL_RANK=str(n)), stderr=subprocess.PIPE, text=True)
        for n in range(2)
    ]
    wait_until(lambda: any(tmp_path.glob("models/*/evaluations/tokens_0/*/result.json")))
    workers[victim].kill()
    other = workers[1 - victim]
    _, said = other.communicate(timeout=PATIENCE_SECONDS)
    workers[victim].communicate()
    assert other.returncode == 1 and "another process of this evaluation is gone" in said and "Traceback" not in said
    finished = _results(tmp_path)
    assert 0 < len(finished) < len(LONG.tasks)


@pytest.mark.slow
def test_the_launcher_says_who_was_lost(tmp_path: Path, random_export: Path) -> None:
    script = (
        "import json, sys; from pathlib import Path; from swallow_exp.config.schema import SuiteConfig;"
        "from swallow_exp.evaluate.launch import launch_evaluation;"
        "out, export, suite = sys.argv[1:];"
        "sys.exit(launch_evaluation(Path(out), [], suite=SuiteConfig(**json.loads(suite)), model=export, processes=2))"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path), str(random_export), json.dumps(asdict(LONG))]
    launcher = subprocess.Popen(arguments, env=_environment(), stderr=subprocess.PIPE, text=True)
    wait_until(lambda: any(tmp_path.glob("models/*/evaluations/tokens_0/*/result.json")))
    children = [int(pid) for pid in Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()]
    assert len(children) == 2
    os.kill(children[1], signal.SIGKILL)
    _, said = launcher.communicate(timeout=PATIENCE_SECONDS)
    assert launcher.returncode == 1 and "process 1 by SIGKILL" in said, said
    assert launch_evaluation(tmp_path, [], suite=LONG, model=str(random_export), processes=2) == 0
    assert list(_results(tmp_path)) == sorted(LONG.tasks)


def test_a_share_that_fails_fails_the_question_and_nobody_is_left_behind() -> None:
    from swallow_exp.artefact.errors import RunFailed
    from swallow_exp.evaluate.crew import Ask, Crew

    class First(Crew):
        def _send(self, order: Any) -> None:
            sent.append(order)

        def _gather(self) -> list[tuple[str, Any]]:
            gathered.append(True)
            return [("done", None), answers.pop(0)]

    class Second(Crew):
        def _receive(self) -> Any:
            return orders.pop(0)

        def _answer(self, answer: tuple[str, Any]) -> None:
            given.append(answer)

    class Engine:
        def score_part(self, asked: list[int], part: int, parts: int) -> dict[int, int]:
            return {index: 10 // one for index, one in enumerate(asked) if index % parts == part}

    sent: list[Any] = []
    gathered: list[bool] = []
    answers: list[tuple[str, Any]] = [("done", {1: 5}), ("failed", "OutOfMemoryError: 3 GiB"), ("done", {})]
    first = First(0, 2)
    assert first.ask(Engine(), Ask("score_part", [1, 2], {})) == [{0: 10}, {1: 5}]
    with pytest.raises(RunFailed, match="process 1: OutOfMemoryError"):
        first.ask(Engine(), Ask("score_part", [1, 2], {}))
    with pytest.raises(ZeroDivisionError):
        first.ask(Engine(), Ask("score_part", [0, 2], {}))
    assert len(sent) == len(gathered) == 3, "the answers of the others are always taken"
    given: list[tuple[str, Any]] = []
    orders: list[Any] = [None]
    second = Second(1, 2)
    assert second.follow() == 0 and not given
    orders += [Ask("score_part", [1, 0], {}), Ask("no_such_method", [1, 2], {}), None]
    assert second.follow() == 0
    assert [state for state, _ in given] == ["failed", "failed"] and "Error" in given[0][1]
