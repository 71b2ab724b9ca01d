"""One training process of a run: python -m swallow_exp.train.worker RUN_FOLDER

(1) signals   remembered from the first moment on, acted upon at the end of a step
(2) done?     a finished run returns at once, before torch is imported
(3) lock      one trainer a run
(4) fit       train; status.json says how it ended

Reads   runs/<run_id>/{config.yaml, inputs.json}; RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT
Writes  runs/<run_id>/*
Exit    0 trained, 75 stopped on purpose with its state saved, 2 wrong request, 1 failed
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import EXIT_DONE, EXIT_FAILED, EXIT_PREEMPTED, RequestError, SwallowError
from swallow_exp.artefact.files import make_folder, read_json
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.artefact.processes import die_with_parent
from swallow_exp.artefact.progress import say
from swallow_exp.checkpoint.state import FailedElsewhere
from swallow_exp.config import Config
from swallow_exp.record.inputs import ROLES, is_reference
from swallow_exp.record.status import read_status, write_status
from swallow_exp.train.failures import FAILURES_VARIABLE, answer_stack_requests, failure_of, write_failure
from swallow_exp.train.guards import AgreedStop
from swallow_exp.train.stopping import StopRequest

LOCK_WAIT_SECONDS = 10.0  # assumed: a killed trainer is gone by then


def main(arguments: Sequence[str]) -> int:
    """Train the run in the folder given; returns the exit code."""
    stop = StopRequest()
    stop.install()
    die_with_parent()
    if len(arguments) != 1:
        say("usage: python -m swallow_exp.train.worker RUN_FOLDER")
        return 2
    run = RunPaths(Path(arguments[0]).resolve())
    rank = int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0)
    first_process = rank == 0
    launched = os.environ.get(FAILURES_VARIABLE)  # by train/launch.py, which says which failure came first
    if launched:
        answer_stack_requests(Path(launched), rank)
    try:
        return train_run(run, first_process=first_process, stop=stop)
    except SwallowError as error:
        if launched:
            write_failure(Path(launched), failure_of(rank, error, ours=not isinstance(error, _Locked)))
        elif first_process or not isinstance(error, (AgreedStop, FailedElsewhere)):  # what all processes agreed on is said once
            say(str(error))
        if first_process and not isinstance(error, _Locked):
            _note_failure(run, error)
        return error.exit_code
    except BaseException as error:
        if launched:
            write_failure(Path(launched), failure_of(rank, error))
        else:
            traceback.print_exc()
        if first_process:
            _note_failure(run, error)
        return EXIT_FAILED


class _Locked(RequestError):
    """Another process trains this run: its status is not ours to write."""


def train_run(run: RunPaths, *, first_process: bool, stop: StopRequest) -> int:
    """Train under the run's lock and write its status. Returns the exit code."""
    from swallow_exp.train.fit import fit_run, is_trained

    if is_trained(run):
        return EXIT_DONE
    config, inputs = read_run(run)
    with _lock(run) if first_process else contextlib.nullcontext():
        if first_process:
            attempts = int(read_status(run.status).get("attempts", 0)) + 1
            write_status(run.status, "running", attempts=attempts)
        from swallow_exp.train.strategy import Processes

        outcome = fit_run(run, config, inputs, processes=Processes.of(os.environ), stop=stop)
        if first_process:
            facts: dict[str, Any] = {"trained_tokens": outcome.trained_tokens, "step": outcome.step}
            if outcome.state == "preempted":
                facts["cause"] = stop.cause
            write_status(run.status, outcome.state, **facts)
    _leave_process_group()
    return EXIT_PREEMPTED if outcome.state == "preempted" else EXIT_DONE


def read_run(run: RunPaths) -> tuple[Config, dict[str, Any]]:
    """The resolved config and the inputs of a run. Raises RequestError when the folder holds no prepared run."""
    inputs = read_json(run.inputs)
    if not isinstance(inputs, dict) or not all(is_reference(inputs.get(role)) for role in ROLES) or not run.config.exists():
        raise RequestError(
            f"{run.folder} has no {run.config.name} and {run.inputs.name}",
            expected="a run folder that `swallow train` prepared",
            remedy="start the run with `swallow train`",
        )
    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(OmegaConf.load(run.config))
    assert isinstance(plain, dict)
    return Config.of({str(key): value for key, value in plain.items()}), inputs


@contextlib.contextmanager
def _lock(run: RunPaths) -> Iterator[None]:
    """Held by the first process of a run; the system frees it when that process dies."""
    from filelock import FileLock, Timeout

    make_folder(run.folder)
    lock = FileLock(str(run.lock))
    try:
        lock.acquire(timeout=LOCK_WAIT_SECONDS)
    except Timeout as error:
        status = read_status(run.status)
        raise _Locked(
            f"run {run.run_id} is being trained already (process {status.get('pid')} on {status.get('host')})",
            expected="one trainer a run",
            remedy="wait for it, or stop it",
        ) from error
    try:
        yield
    finally:
        lock.release()


def _note_failure(run: RunPaths, error: BaseException) -> None:
    first_line = str(error).splitlines()[0] if str(error) else ""
    cause = first_line if isinstance(error, AgreedStop) else f"{type(error).__name__}: {first_line}"
    with contextlib.suppress(OSError, SwallowError):  # the disk may be the cause
        write_status(run.status, "failed", cause=cause)


def _leave_process_group() -> None:
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    if code == EXIT_FAILED:
        os._exit(code)  # clean-up at exit would wait for processes that may be gone
    sys.exit(code)
