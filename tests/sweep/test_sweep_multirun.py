"""The same grid through Hydra's launchers: the same cells, the same answers."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE_SECONDS

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config.compose import compose_config
from swallow_exp.sweep.multirun import carry_out_job, choose_launcher, launch_through, open_sweeper, scheduler_words
from swallow_exp.sweep.runs import CellResult, list_failures, sweep_exit_code

PLUGINS = {"joblib": "hydra_plugins.hydra_joblib_launcher", "submitit_local": "hydra_plugins.hydra_submitit_launcher"}


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def through(grid: Any, launcher: str) -> list[CellResult]:
    from hydra.core.plugins import Plugins

    first = compose_config([f"paths.out={grid.out}"]).config
    words = ["hydra.launcher.n_jobs=4"] if launcher == "joblib" else []
    with open_sweeper(launcher, words, first, "grid") as sweeper:

        def launcher_of(task: Any) -> Any:
            return Plugins.instance().instantiate_launcher(hydra_context=sweeper.hydra_context, task_function=task, config=sweeper.config)

        fake = [word for job in grid.jobs()[:1] for word in job.command[:2]]
        return launch_through(launcher_of, grid.cells, out=grid.out, command=fake)


@pytest.mark.parametrize("launcher", ["basic", "joblib", "submitit_local"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::ResourceWarning")  # the launchers' own
def test_failures_are_listed_retried_and_done_once(make_grid: Callable[..., Any], launcher: str) -> None:
    if launcher in PLUGINS and not _installed(PLUGINS[launcher]):
        pytest.skip(f"the {launcher} launcher of Hydra is not installed")
    grid = make_grid(3 if launcher == "basic" else 12)
    broken = [1] if launcher == "basic" else [2, 5, 11]
    grid.break_cells(broken)
    first = through(grid, launcher)
    assert sweep_exit_code(first) == 1
    assert [line.split(":")[0].strip() for line in list_failures("sweep", first).splitlines()[1:]] == [f"cell-{n}" for n in broken]
    grid.broken.unlink()
    assert sweep_exit_code(through(grid, launcher)) == 0
    assert grid.launches() == [2 if number in broken else 1 for number in range(len(grid.cells))]
    assert sweep_exit_code(through(grid, launcher)) == 0
    assert sum(grid.launches()) == len(grid.cells) + len(broken)


def test_a_launcher_that_loses_a_job_leaves_the_others_counted(make_grid: Callable[..., Any]) -> None:
    grid = make_grid(2)

    class Losing:
        def __init__(self, task: Any) -> None:
            self.task = task

        def launch(self, overrides: Any, initial_job_idx: int) -> Any:
            carry_out_job(self.task.jobs["cell-0"])
            raise RuntimeError("job 2 died")

    fake = grid.jobs()[0].command[:2]
    results = launch_through(Losing, grid.cells, out=grid.out, command=fake)
    assert [result.exit_code for result in results] == [0, 1]


def test_launcher_is_named_in_either_way() -> None:
    assert choose_launcher(None, ["seed=0,1"]) == ("cells", [], ["seed=0,1"])
    words = ["hydra.launcher.n_jobs=2", "seed=0,1"]
    assert choose_launcher("joblib", words) == choose_launcher(None, ["hydra/launcher=joblib", *words]) == ("joblib", words[:1], words[1:])
    with pytest.raises(RequestError, match="joblib and basic"):
        choose_launcher("basic", ["hydra/launcher=joblib"])
    with pytest.raises(RequestError, match="add --launcher"):
        choose_launcher(None, words)


def test_a_launcher_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="launcher nowhere"), open_sweeper("nowhere", [], compose_config([]).config, "grid"):
        raise AssertionError


def test_scheduler_of_the_machine_reaches_submitit() -> None:
    words = ["machine.accelerator=gpu", "machine.nodes=2", "machine.processes_per_node=8", "strategy.data_parallel=16"]
    words += ["machine.scheduler.hours=1.5", "machine.scheduler.queue=long", "machine.scheduler.setup=[module load cuda]"]
    config = compose_config(words).config
    asked = scheduler_words("submitit_slurm", config)
    assert {"hydra.launcher.timeout_min=90", "hydra.launcher.nodes=2", "hydra.launcher.gpus_per_node=8"} <= set(asked)
    assert {"hydra.launcher.partition=long", "hydra.launcher.tasks_per_node=1", "hydra.launcher.setup=['module load cuda']"} <= set(asked)
    assert scheduler_words("joblib", config) == []
    assert not any("partition" in word for word in scheduler_words("submitit_local", config))


def test_notice_under_slurm_queues_the_job_again(make_grid: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import signal
    import sys
    from dataclasses import replace

    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setattr("swallow_exp.sweep.multirun.REQUEUE_SECONDS", 0.0)
    notice = f"os.kill({os.getpid()}, {int(signal.SIGUSR1)})"
    saving = f"import os, signal, sys, time; signal.signal(15, lambda *_: sys.exit(75)); {notice}; time.sleep(600)"
    job = replace(make_grid(1).jobs()[0], command=(sys.executable, "-c", saving))
    assert carry_out_job(job) == 75
    assert (tmp_path / "asked").read_text() == "requeue 77\n"


def test_plan_only_says_what_would_be_done(swallow: Callable[..., Any]) -> None:
    done = swallow("train", "-m", "vocabulary=base,miniature_ja", "seed=0,1", "--plan-only")
    assert done.returncode == 0, done.stderr
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["launch"] * 4


def app(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A Hydra app of somebody's own, with this project's sweeper."""
    line = [sys.executable, str(Path(__file__).with_name("hydra_app.py")), "-m", "hydra/sweeper=swallow", *words]
    env = {**os.environ, "SWALLOW_OUT": str(tmp_path / "out")}
    return subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)


def test_any_hydra_app_can_use_the_sweeper(tmp_path: Path) -> None:
    planned = app(tmp_path, "+sweep=miniature", "parallel=none", "hydra.sweeper.plan_only=true")
    assert planned.returncode == 0, planned.stderr
    assert [line.split()[-1] for line in planned.stdout.splitlines()] == ["launch"] * 6 and "6 of the 12 cells" in planned.stderr
    tried = app(tmp_path, "seed=0,1")  # whose base model is not there
    assert tried.returncode == 2 and "2 of 2 cells are not done" in tried.stdout
    logs = sorted((tmp_path / "out" / "logs").iterdir())
    assert len(logs) == 2 and all("run `swallow demo` first" in log.read_text() for log in logs)
    refused = app(tmp_path, "vocabulary=base,nothing")
    assert (
        refused.returncode == 2 and "Traceback" not in refused.stderr and refused.stderr.startswith("swallow: vocabulary=nothing; expected")
    )
