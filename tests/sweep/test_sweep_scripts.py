"""Job scripts run as a scheduler would run them, each after what it waits for; what is finished is not written again."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE_SECONDS

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config.compose import compose_config
from swallow_exp.sweep import scripts
from swallow_exp.sweep.grid import Sweep, expand_sweep
from swallow_exp.sweep.scripts import write_scripts

# A scheduler of a few lines: runs what is submitted at once, if what it waits for ended well; notes every call.
SCHEDULER = r"""#!/bin/bash
echo "$(basename "$0") $*" >> {log}
script="${{@: -1}}"; number=$(($(wc -l < {log})))
for wanted in $(grep -oE '(afterok|aftercorr):[0-9]+|hold_jid(_ad)? [0-9]+' <<< "$*" | grep -oE '[0-9]+$'); do
  [ "$(cat {folder}/ended_$wanted)" = 0 ] || {{ echo "$number"; exit 0; }}
done
tasks=$(grep -oE '(--array=|-t )1-[0-9]+' "$script" | grep -oE '[0-9]+$')
ended=0
for task in $(seq 1 "${{tasks:-1}}"); do
  SLURM_JOB_ID=$number SLURM_ARRAY_TASK_ID=$task SGE_TASK_ID=$task bash "$script" < /dev/null >> {folder}/output 2>&1 || ended=$?
done
echo "$ended" > {folder}/ended_$number
echo "$number"
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands of the schedulers, and a `swallow` that notes what it is asked and ends as told."""
    folder = tmp_path / "site"
    folder.mkdir()
    scheduler = SCHEDULER.format(log=folder / "calls", folder=folder)
    notes = {"scontrol": f'echo "scontrol $*" >> {folder}/asked', "srun": 'shift; exec "$@"'}
    swallow = f"""echo "$@" >> {folder}/asked; grep -q "$1" {folder}/preempt 2>/dev/null && rm {folder}/preempt && exit 75; exit 0"""
    (folder / "calls").touch()
    for name in ("sbatch", "qsub"):
        (folder / name).write_text(scheduler)
    for name, text in {**notes, "swallow": swallow}.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
    for name in ("sbatch", "qsub", "scontrol", "srun", "swallow"):
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(scripts, "SWALLOW", ("swallow",))
    return folder


@pytest.fixture
def asked_grid(tmp_path: Path) -> Callable[..., Sweep]:
    def make(*words: str) -> Sweep:
        return expand_sweep(["seed=0,1", f"paths.out={tmp_path}/out", "machine=slurm_cpu", *words])

    return make


def submit(written: list[Path]) -> None:
    done = subprocess.run(["bash", str(written[-1])], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("system", "array"), [("slurm", False), ("slurm", True), ("uge", False), ("uge", True), ("pbs", False)])
def test_stages_run_in_their_order(site: Path, tmp_path: Path, asked_grid: Any, system: str, array: bool) -> None:
    sweep = asked_grid()
    written = write_scripts(sweep, system=system, to=tmp_path / "jobs", array=array)
    assert len(written) == (4 if array else 6)
    submit(written)
    asked = [line.split() for line in (site / "asked").read_text().splitlines()]
    verbs = [line[0] for line in asked]
    assert verbs == (["weights"] * 2 + ["train"] * 2 + ["evaluate"] * 2 if array else ["weights"] * 2 + ["train", "evaluate"] * 2)
    assert all("--train-only" in line for line in asked if line[0] == "train")
    assert [line[1] for line in asked if line[0] == "evaluate"] == [cell.run_id for cell in sweep.cells]
    assert {re.search(r"seed=(\d)", " ".join(line)).group(1) for line in asked if line[0] == "train"} == {"0", "1"}  # type: ignore[union-attr]


def test_what_waits_for_a_failure_does_not_run(site: Path, tmp_path: Path, asked_grid: Any) -> None:
    (site / "swallow").write_text(f'#!/bin/bash\necho "$1" >> {site}/asked\n[ "$1" != train ]\n')
    submit(write_scripts(asked_grid(), system="slurm", to=tmp_path / "jobs"))
    assert set((site / "asked").read_text().split()) == {"weights", "train"}


@pytest.mark.parametrize(("fails", "code", "asked"), [("publish", 0, ["evaluate", "publish"]), ("evaluate", 1, ["evaluate"])])
def test_a_job_ends_as_its_evaluation_does_whether_or_not_it_could_be_published(
    site: Path, tmp_path: Path, asked_grid: Any, fails: str, code: int, asked: list[str]
) -> None:
    (site / "swallow").write_text(f'#!/bin/bash\necho "$1" >> {site}/asked\n[ "$1" != {fails} ]\n')
    sweep = asked_grid("tracking=offline")
    write_scripts(sweep, system="slurm", to=tmp_path / "jobs")
    job = tmp_path / "jobs" / f"evaluate_{sweep.cells[0].run_id}.sh"
    done = subprocess.run(["bash", str(job)], env={**os.environ, "SLURM_JOB_ID": "7"}, capture_output=True, text=True, check=False)
    assert (done.returncode, (site / "asked").read_text().split()) == (code, asked)
    assert ("not published: swallow publish" in done.stderr) == (fails == "publish")


@pytest.mark.parametrize("system", ["slurm", "uge", "pbs"])
def test_a_preempted_job_is_queued_again(site: Path, tmp_path: Path, asked_grid: Any, system: str) -> None:
    sweep = asked_grid()
    write_scripts(sweep, system=system, to=tmp_path / "jobs")
    (site / "preempt").write_text("train\n")
    train = tmp_path / "jobs" / f"train_{sweep.cells[0].run_id}.sh"
    done = subprocess.run(["bash", str(train)], env={**os.environ, "SLURM_JOB_ID": "7"}, capture_output=True, text=True, check=False)
    asked = [line.split()[0] for line in (site / "asked").read_text().splitlines()]
    if system == "slurm":
        assert (done.returncode, asked) == (75, ["train", "scontrol"])
    elif system == "uge":
        assert (done.returncode, asked) == (99, ["train"])
    else:
        assert (done.returncode, asked) == (75, ["train", "train", "evaluate"])


@pytest.mark.parametrize("system", ["uge", "pbs"])
def test_a_signal_of_the_scheduler_reaches_the_run(site: Path, tmp_path: Path, asked_grid: Any, system: str) -> None:
    (site / "swallow").write_text(f'#!/bin/bash\ntrap "exit 3" TERM\ntouch {site}/ready\nwhile :; do sleep 0.05; done\n')
    sweep = asked_grid()
    write_scripts(sweep, system=system, to=tmp_path / "jobs")
    until_ready = f"while [ ! -e {site}/ready ]; do sleep 0.05; done"
    script = f"bash {tmp_path}/jobs/train_{sweep.cells[0].run_id}.sh & job=$!; {until_ready}; kill -USR1 $job; wait $job"
    assert subprocess.run(["bash", "-c", script], check=False, timeout=PATIENCE_SECONDS).returncode == 3


def test_header_asks_for_what_the_machine_says(tmp_path: Path, asked_grid: Any) -> None:
    words = [
        "machine=slurm_h100x16",
        "strategy.data_parallel=16",
        "machine.scheduler.queue=long",
        "machine.scheduler.options=[--exclusive]",
    ]
    sweep = asked_grid(*words)
    written = write_scripts(sweep, system="slurm", to=tmp_path / "jobs")
    train = next(path for path in written if path.name.startswith("train")).read_text()
    for line in ("--nodes=2", "--gpus-per-node=8", "--partition=long", "--exclusive", "--time=1440", "--signal=USR1@600"):
        assert f"#SBATCH {line}\n" in train
    prepare = written[0].read_text()
    assert "--gpus" not in prepare and "#SBATCH --nodes=1\n" in prepare
    with pytest.raises(RequestError, match=r"machine\.nodes=2 with pbs"):
        write_scripts(sweep, system="pbs", to=tmp_path / "jobs")


def test_wrong_requests(tmp_path: Path, asked_grid: Any) -> None:
    sweep = asked_grid()
    with pytest.raises(RequestError, match="--system lsf"):
        write_scripts(sweep, system="lsf", to=tmp_path)
    with pytest.raises(RequestError, match="--array with pbs"):
        write_scripts(sweep, system="pbs", to=tmp_path, array=True)
    (tmp_path / "own.sh").write_text("{{ nothing_of_that_name }}")
    with pytest.raises(RequestError, match="nothing_of_that_name"):
        write_scripts(sweep, system="pbs", to=tmp_path / "jobs", template=tmp_path / "own.sh")


def test_shipped_machines_ask_for_time_to_save() -> None:
    for name in ("slurm_cpu", "slurm_h100x8"):
        machine = compose_config([f"machine={name}", "strategy.data_parallel=" + ("8" if "x8" in name else "1")]).config.machine
        assert 0 < machine.scheduler.notice_seconds < machine.scheduler.hours * 3600 / 10
