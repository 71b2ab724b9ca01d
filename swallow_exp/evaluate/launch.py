"""Start the evaluator in a process of its own, or in several, and wait: torch, transformers and lm-eval stay out of the caller.

SIGINT and SIGTERM are passed on; the evaluator stops between two writes and leaves nothing half-written. Of several processes the first
one answers; when one is lost, the others end too.
Reads/Writes  nothing itself.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from swallow_exp.artefact.errors import EXIT_DONE, EXIT_FAILED, EXIT_PREEMPTED, EXIT_WRONG_REQUEST
from swallow_exp.artefact.processes import Children, free_port
from swallow_exp.artefact.progress import say
from swallow_exp.config.schema import SuiteConfig

RANK_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
WORKER = (sys.executable, "-m", "swallow_exp.evaluate.worker")
FINE = (None, EXIT_DONE, EXIT_PREEMPTED)


def launch_evaluation(
    out: Path,
    run_ids: Sequence[str],
    *,
    tasks: Sequence[str] | None = None,
    suite: SuiteConfig | None = None,
    model: str | None = None,
    processes: int = 1,
    fork: bool = False,
) -> int:
    """Evaluate what is missing of `run_ids`, or of one `model` (folder or hub name); returns the evaluator's exit code (1: killed).

    suite      instead of each run's own; needed for a model
    processes  that share every question: one a GPU, or a few on a processor
    fork       whether the evaluator is a copy of this process, which has imported already what it needs
    """
    if not run_ids and model is None:
        return EXIT_DONE
    arguments = ["--out", str(out)]
    for task in tasks or ():
        arguments += ["--tasks", task]
    if suite is not None:
        arguments += ["--suite", json.dumps(asdict(suite))]
    if model is not None:
        arguments += ["--model", model]
    arguments += ["--", *run_ids]
    port = str(free_port())
    with Children() as children:
        for rank in range(processes):
            environment = _environment(rank, processes, port)
            if fork:
                children.fork(partial(_work, arguments), environment=environment)
            else:
                children.start([*WORKER, *arguments], environment=environment)
        code = _wait(children)
    return code if code in (EXIT_DONE, EXIT_FAILED, EXIT_WRONG_REQUEST, EXIT_PREEMPTED) else EXIT_FAILED


def _work(arguments: Sequence[str]) -> int:
    from swallow_exp.evaluate.worker import main

    return main(arguments)


def _environment(rank: int, processes: int, port: str) -> dict[str, str]:
    """With one process, drop inherited ranks: the caller may itself run under torchrun."""
    common = {name: value for name, value in os.environ.items() if name not in RANK_VARIABLES}
    if processes == 1:
        return common
    own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    return {**common, **own, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}


def _wait(children: Children) -> int:
    """The first process's exit code, once all have ended; 1 when another one was lost, which takes the rest with it."""
    first, *others = children.processes

    def over() -> bool:
        return first.poll() is not None or any(process.poll() not in FINE for process in others)

    children.wait(over)
    children.end()
    if children.stop.count and first.returncode == -signal.SIGTERM:
        return EXIT_PREEMPTED  # the signal came before the evaluator could listen, when there was nothing to finish
    killed = [f"process {rank} by {signal.Signals(-p.returncode).name}" for rank, p in enumerate(children.processes) if p.returncode < 0]
    if killed:
        rest = "; the others were stopped" if others else ""
        say(f"evaluate: ended: {', '.join(killed)}{rest}; finished tasks are kept, the same command continues")
    return first.returncode if all(process.returncode in FINE for process in others) else EXIT_FAILED
