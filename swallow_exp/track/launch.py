"""Publish a run from a process of its own, so that a hang in a client library can never hold a run or a command.

Reads/Writes  nothing itself; see publish.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import EXIT_DONE, RequestError, RunFailed
from swallow_exp.artefact.processes import POLL_SECONDS, kill_group, start_process
from swallow_exp.track.sinks import Destination

TIMEOUT_SECONDS = 900.0
LAST_WORDS_LINES = 3
# Left by a W&B run around this process; with WANDB_SERVICE the publisher would share that run's background process.
FOREIGN_VARIABLES = ("WANDB_SERVICE", "WANDB_RUN_ID", "WANDB_RESUME", "WANDB_SWEEP_ID")


def launch_publication(
    out: Path,
    run_id: str,
    destination: Destination,
    *,
    group: str | None = None,
    artifacts: bool = False,
    items_table: bool = False,
    timeout_seconds: float = TIMEOUT_SECONDS,
    stop: threading.Event | None = None,
) -> int:
    """`publish_run` in a subprocess with a time limit, killed at once when `stop` is set; returns the rows sent.

    Raises RequestError as `publish_run` does, RunFailed when the publisher died or ran out of time (repeat it: nothing is lost).
    """
    command = ["swallow_exp.track.worker", str(out), run_id]
    command += [f"--sink={destination.sink}", f"--mode={destination.mode}", f"--project={destination.project}"]
    command += [f"--entity={destination.entity}"] if destination.entity else []
    command += [f"--group={group}"] if group else []
    command += ["--artifacts"] * artifacts + ["--items-table"] * items_table
    return int(run_worker(command, f"publishing {run_id}", timeout_seconds, stop)["rows"])


def run_worker(command: list[str], what: str, timeout_seconds: float, stop: threading.Event | None = None) -> dict[str, Any]:
    """Run a module (its name, then its arguments) that ends with a line of JSON; returns that answer. Killed at once when `stop` is set.

    Raises RequestError or RunFailed when the answer says so, RunFailed when the process died or ran out of time; `what` is what it did.
    """
    try:
        process = start_process(  # one group with wandb's background process
            [sys.executable, "-m", *command, f"--timeout-seconds={timeout_seconds}"],
            environment={name: value for name, value in os.environ.items() if name not in FOREIGN_VARIABLES},
            output=subprocess.PIPE,
            errors=subprocess.PIPE,
        )
    except OSError as error:
        raise RunFailed(f"{what} could not be started: {error.strerror}") from error
    try:
        output, errors = _communicate(process, stop)
    except BaseException:
        kill_group(process)
        process.communicate()
        raise
    if process.returncode == -signal.SIGKILL:
        raise RunFailed(f"{what} was killed or took longer than {timeout_seconds:g} s; repeat the command, nothing is lost")
    answer = _last_json(output)
    if "given" in answer:
        raise RequestError(answer["given"], expected=answer["expected"], remedy=answer["remedy"])
    if "failed" in answer:
        raise RunFailed(answer["failed"])
    if process.returncode == EXIT_DONE and answer:
        return answer
    last_words = " | ".join(errors.strip().splitlines()[-LAST_WORDS_LINES:])
    raise RunFailed(f"{what} ended with exit code {process.returncode}: {last_words}")


def _communicate(process: subprocess.Popen[bytes], stop: threading.Event | None) -> tuple[str, str]:
    while True:
        try:
            output, errors = process.communicate(timeout=None if stop is None else POLL_SECONDS)
            return output.decode(errors="replace"), errors.decode(errors="replace")
        except subprocess.TimeoutExpired:
            if stop is not None and stop.is_set():
                raise RunFailed("stopped; nothing is lost") from None


def _last_json(output: str) -> dict[str, Any]:
    """The worker's answer: the last line of its stdout, or nothing."""
    lines = output.strip().splitlines()
    try:
        answer = json.loads(lines[-1]) if lines else {}
    except json.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}
