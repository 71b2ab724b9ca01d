"""A grid through Hydra's launchers (basic, joblib, submitit_local, submitit_slurm): the same cells, leases and answers as without.

(1) compose   hydra.launcher from the machine's scheduler and the command line; Hydra's sweeper of this project drives it
(2) launch    a job a cell: it claims the lease and starts `swallow train` in a process of its own, wherever the launcher put it
(3) answer    what the leases say, whatever a launcher returns or raises

Why two ways: Hydra's launchers know nothing of leases, show no progress, and their own job is no process of its own (basic) or
raises at the first that died (submitit); on one machine they would add only that. They are the way to other machines.

Reads/Writes  <out>/{runs,leases,logs,multirun}
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import EXIT_DONE, EXIT_FAILED, EXIT_PREEMPTED, RequestError, SwallowError
from swallow_exp.artefact.processes import Children, StopSignals
from swallow_exp.artefact.progress import say
from swallow_exp.config.compose import PRIMARY
from swallow_exp.config.levels import shipped_folder
from swallow_exp.config.overrides import set_value
from swallow_exp.config.schema import Config, MachineConfig
from swallow_exp.sweep.cells import PROCESS, CellJob, next_action, run_locally, run_shared, settled_exit_code
from swallow_exp.sweep.expand import Cell
from swallow_exp.sweep.grid import Sweep, expand_sweep, write_sweep
from swallow_exp.sweep.lease import is_held, read_lease
from swallow_exp.sweep.preflight import check_sweep
from swallow_exp.sweep.prepare import output_root
from swallow_exp.sweep.runs import CellResult, list_failures, results_of, sweep_exit_code

HYDRA_WORDS = ("hydra/", "hydra.")
INSTALL = {
    "joblib": "pip install hydra-joblib-launcher==1.2.0",
    "submitit_local": "pip install 'swallow_exp[slurm]'",
    "submitit_slurm": "pip install 'swallow_exp[slurm]'",
}
HERE = "cells"  # our own launcher: this machine, progress bars
REQUEUE_SECONDS = 120.0  # what Slurm may take to end a job that asked to be queued again


def split_hydra_words(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Overrides of Hydra itself (hydra/launcher=, hydra.launcher.*), and the run's."""
    hydra = [word for word in overrides if word.lstrip("+~").startswith(HYDRA_WORDS)]
    return hydra, [word for word in overrides if word not in hydra]


def choose_launcher(named: str | None, overrides: Sequence[str]) -> tuple[str, list[str], list[str]]:
    """Launcher, overrides of Hydra itself, overrides of the run. `--launcher NAME` is short for hydra/launcher=NAME."""
    hydra, plain = split_hydra_words(overrides)
    chosen = [word.partition("=")[2] for word in hydra if word.startswith("hydra/launcher=")]
    if named is not None:
        chosen.append(named)
    if len(set(chosen)) > 1:
        raise RequestError(f"launchers {' and '.join(chosen)}", expected="one", remedy="leave one out")
    hydra = [word for word in hydra if not word.startswith("hydra/launcher=")]
    launcher = chosen[0] if chosen else HERE
    if launcher == HERE and hydra:
        raise RequestError(hydra[0], expected="a launcher of Hydra's", remedy="add --launcher joblib, submitit_local or submitit_slurm")
    return launcher, hydra, plain


@dataclass(frozen=True)
class CellTask:
    """What runs wherever a launcher put it; picklable."""

    jobs: Mapping[str, CellJob]

    def __call__(self, _: Any) -> int | None:
        """Carry out the cell this Hydra job stands for; None when another process holds it."""
        from hydra.core.hydra_config import HydraConfig

        return carry_out_job(self.jobs[str(HydraConfig.get().sweep.subdir)])


def carry_out_job(job: CellJob) -> int | None:
    """One cell in a process of its own. Under Slurm a notice before the time limit has the job queued again, once all is saved."""
    if int(os.environ.get("SLURM_NODEID") or 0) > 0:
        return _join(job)
    stop = StopSignals()
    code = run_locally([job], at_once=1, stop=stop).get(job.run_id)
    slurm_job = os.environ.get("SLURM_JOB_ID")
    if code == EXIT_PREEMPTED and slurm_job is None and stop.count:
        raise KeyboardInterrupt  # nothing that this process would start after it is wanted
    if code == EXIT_PREEMPTED and slurm_job is not None and stop.noticed:
        say(f"{job.run_id}: saved; job {slurm_job} goes back into the queue")
        if subprocess.run(["scontrol", "requeue", slurm_job], check=False).returncode == 0:
            time.sleep(REQUEUE_SECONDS)  # Slurm ends this job
    return code


def _join(job: CellJob) -> int | None:
    """Another node of a Slurm job: takes part once the first one holds the cell."""
    mine = os.environ.get("SLURM_JOB_ID")
    while True:
        record = read_lease(job.lease)
        held, ours = is_held(job.lease), record.get("job") == mine
        if held and not ours:
            return None
        if held and job.is_prepared:
            with Children() as children:
                children.start(job.command)
                children.wait()
            return children.processes[0].returncode
        settled = None if held else settled_exit_code(job, record)
        if settled is not None or (not held and ours and record["token"] != job.before):
            return settled
        time.sleep(1.0)


def launch_grid(
    launcher: str, hydra_words: Sequence[str], cells: Sequence[Cell], name: str, overrides: Sequence[str], config_dirs: Sequence[Path]
) -> list[CellResult]:
    """The sweep `name`, whose `cells` are those of `overrides`, through one of Hydra's launchers.

    Raises RequestError when there is no such launcher, or it cannot be set up as asked.
    """
    with open_sweeper(launcher, hydra_words, cells[0].composed.config, name, config_dirs) as sweeper:
        results: list[CellResult] = sweeper.carry_out(list(overrides))
    return results


@contextlib.contextmanager
def open_sweeper(launcher: str, hydra_words: Sequence[str], first: Config, name: str, config_dirs: Sequence[Path] = ()) -> Iterator[Any]:
    """Hydra's sweeper of this project, set up as hydra.main would; `first` says where and on what the cells run."""
    from hydra import compose, initialize_config_dir
    from hydra._internal.callbacks import Callbacks
    from hydra.core.config_store import ConfigStore
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.plugins import Plugins
    from hydra.errors import HydraException
    from hydra.types import HydraContext
    from omegaconf.errors import OmegaConfBaseException

    words = [
        f"hydra/launcher={launcher}",
        "hydra/sweeper=swallow",
        set_value("hydra.sweep.dir", (output_root(first) / "multirun" / name).absolute()),
        "hydra.output_subdir=null",
        *scheduler_words(launcher, first),
        *hydra_words,
    ]
    if config_dirs:
        paths, folders = ([f"{kind}{folder.resolve()}" for folder in config_dirs] for kind in ("file://", ""))
        words += [_listing("hydra.searchpath", paths), _listing("hydra.sweeper.config_dirs", folders)]
    os.environ.setdefault("SUBMITIT_PREEMPT_SIGNAL", "USR1")  # the notice that `swallow train` saves at
    ConfigStore.instance().store(name="config_schema", node=Config)
    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir=str(shipped_folder("conf")), version_base="1.3", job_name=name):
        try:
            config = compose(config_name=PRIMARY, overrides=words, return_hydra_config=True)
            context = HydraContext(config_loader=GlobalHydra.instance().config_loader(), callbacks=Callbacks(config))
            sweeper = Plugins.instance().instantiate_sweeper(hydra_context=context, task_function=carry_out_job, config=config)
        except (HydraException, OmegaConfBaseException, ImportError) as error:
            remedy = INSTALL.get(launcher, "check hydra/launcher= and hydra.launcher.*")
            reason = " ".join(str(error).split())
            raise RequestError(f"launcher {launcher}: {reason}", expected="one of Hydra's launchers", remedy=remedy) from error
        yield sweeper


def _listing(key: str, values: Sequence[object]) -> str:
    quoted = ",".join(set_value("", value).removeprefix("=") for value in values)
    return f"{key}=[{quoted}]"


def scheduler_words(launcher: str, config: Config) -> list[str]:
    """hydra.launcher.* of submitit from the machine's scheduler; what a user says comes after and wins."""
    if not launcher.startswith("submitit"):
        return []
    machine, scheduler = config.machine, config.machine.scheduler
    wanted: dict[str, object] = {"timeout_min": round(scheduler.hours * 60), "nodes": machine.nodes, "tasks_per_node": 1}
    if machine.accelerator == "gpu":
        wanted["gpus_per_node"] = gpus_per_node(machine)
    wanted |= {"cpus_per_task": scheduler.cpus, "mem_gb": scheduler.memory_gb}
    if launcher == "submitit_slurm":
        wanted |= {"partition": scheduler.queue, "account": scheduler.account, "signal_delay_s": scheduler.notice_seconds}
        if scheduler.setup:
            return [*_set(wanted), _listing("hydra.launcher.setup", scheduler.setup)]
    return _set(wanted)


def _set(wanted: Mapping[str, object]) -> list[str]:
    return [f"hydra.launcher.{key}={value}" for key, value in wanted.items() if value is not None]


def gpus_per_node(machine: MachineConfig) -> int:
    """GPUs to ask for on each node."""
    return machine.scheduler.gpus_per_node or machine.processes_per_node or 1


def sweep_question(sweep: Sweep, launcher_of: Callable[[CellTask], Any], batch: int | None) -> list[CellResult]:
    """The question's cells through a launcher, `batch` jobs at a time (null: all)."""
    out = output_root(sweep.cells[0].composed.config)
    write_sweep(out, sweep.question, sweep.cells, sweep.others)
    return launch_through(launcher_of, sweep.cells, out=out, batch=batch)


def answer_hydra(
    arguments: Sequence[str], folders: Sequence[str], launcher_of: Callable[[CellTask], Any], *, batch: int | None, plan_only: bool
) -> list[CellResult]:
    """`hydra/sweeper=swallow` in an app of somebody's own: every failure is listed.

    A cell is composed from this project's conf/ (and `folders`) and is a `swallow train` of its own; the app's function is not called.
    Raises SystemExit with the exit code of `swallow train -m`, unless all is well.
    """
    try:
        sweep = expand_sweep(arguments, [Path(folder) for folder in folders])
        for remark in sweep.remarks:
            say(remark)
        check_sweep(sweep.question, sweep.cells)
        if plan_only:
            print(list_actions(sweep.cells))
            return []
        results = sweep_question(sweep, launcher_of, batch)
    except SwallowError as error:
        say(f"swallow: {' '.join(str(error).split())}")
        raise SystemExit(error.exit_code) from error
    print(list_failures(sweep.question.name, results))
    if code := sweep_exit_code(results):
        raise SystemExit(code)
    return results


def list_actions(cells: Sequence[Cell]) -> str:
    """What a sweep would do with each cell, a line each."""
    out = output_root(cells[0].composed.config)
    return "\n".join(f"{cell.run_id}  {next_action(CellJob.of(cell, out))}" for cell in cells)


def launch_through(
    launcher_of: Callable[[CellTask], Any],
    cells: Sequence[Cell],
    *,
    out: Path,
    batch: int | None = None,
    command: Sequence[str] = PROCESS,
) -> list[CellResult]:
    """Cells that are not finished, through a Hydra launcher."""
    jobs = {cell.run_id: CellJob.of(cell, out, command) for cell in cells}
    launcher = launcher_of(CellTask(jobs))

    def launch(free: Sequence[CellJob]) -> dict[str, int]:
        codes: dict[str, int] = {}
        size = batch or len(free)
        for start in range(0, len(free), size):
            part = free[start : start + size]
            stopped = _launch_batch(launcher, part, codes)
            if stopped:
                return codes | {job.run_id: EXIT_PREEMPTED for job in free if job.run_id not in codes}
        return codes

    return results_of(cells, jobs, run_shared(list(jobs.values()), launch))


def _launch_batch(launcher: Any, jobs: Sequence[CellJob], codes: dict[str, int]) -> bool:
    """Launch, then enter into `codes` what became of each job; True when the user stopped it."""
    lost = set()
    stopped = False
    try:
        returned = launcher.launch([[f"hydra.sweep.subdir={job.run_id}"] for job in jobs], initial_job_idx=0)
        lost = {job.run_id for job, one in zip(jobs, returned, strict=True) if one.status.name != "COMPLETED"}
    except KeyboardInterrupt:
        stopped = True
    except Exception as error:  # a launcher's own: submitit and joblib raise for a job whose process died, and say no more of the others
        say(f"the launcher says: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
        lost = {job.run_id for job in jobs}
    for job in jobs:
        record = read_lease(job.lease)
        answer = settled_exit_code(job, record)
        if answer is None and record.get("token") != job.before and record.get("exit_code") == EXIT_PREEMPTED:
            answer = EXIT_PREEMPTED
        if answer is None and job.run_id in lost and not is_held(job.lease):
            answer = EXIT_FAILED
        if answer is not None:
            codes[job.run_id] = answer
            if answer != EXIT_DONE:
                say(f"{job.run_id}: exit {answer}, see {job.log}")
    return stopped
