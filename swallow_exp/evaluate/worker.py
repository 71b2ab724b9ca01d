"""The evaluator process: `python -m swallow_exp.evaluate.worker --out OUT [--suite JSON] (--model FOLDER | RUN_ID ...)`.

Under torchrun, or with RANK and WORLD_SIZE set, one of several: the first one evaluates, the others compute their share (crew.py).

Exit codes: 0 everything evaluated; 1 some checkpoint failed, the rest is done; 2 the request is wrong; 75 stopped by a signal,
run me again.

Reads/Writes  as run.py
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from swallow_exp.artefact.errors import EXIT_DONE, EXIT_FAILED, EXIT_PREEMPTED, SwallowError
from swallow_exp.artefact.processes import die_with_parent
from swallow_exp.artefact.progress import say
from swallow_exp.config.schema import SuiteConfig

if TYPE_CHECKING:
    from swallow_exp.evaluate.run import Summary

ENVIRONMENT = {"TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false"}  # read by libraries while they are imported


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m swallow_exp.evaluate.worker", description="Evaluate the checkpoints of runs.")
    parser.add_argument("--out", type=Path, required=True, help="output root")
    parser.add_argument("--tasks", action="append", metavar="NAME[,NAME]", help="instead of the tasks of each run's suite")
    parser.add_argument("--suite", metavar="JSON", help="a suite instead of each run's own")
    parser.add_argument("--model", metavar="FOLDER", help="a model that no run made: Hugging Face folder or hub name")
    parser.add_argument("run_ids", nargs="*", metavar="RUN_ID")
    return parser


class _Stopped(BaseException):
    """A stop signal came. No Exception: libraries that are being imported turn those into errors of their own."""


class _StopSignals:
    """Raise _Stopped at the first stop signal, and remember it in case someone swallows it."""

    def __init__(self) -> None:
        self.name = ""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.name = signal.Signals(number).name
        raise _Stopped


def _evaluate(options: argparse.Namespace, suite: SuiteConfig | None) -> Summary | None:
    """What was done; None in a process that only helped."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return _lead(options, suite, {})
    from swallow_exp.evaluate.crew import Crew, ProcessLost

    crew = Crew.join(os.environ)
    if crew.rank:
        crew.follow()
        return None
    try:
        summary = _lead(options, suite, {"load": crew.load})
    except ProcessLost:
        raise
    except Exception:
        crew.dismiss()
        raise
    crew.dismiss()
    return summary


def _lead(options: argparse.Namespace, suite: SuiteConfig | None, loader: dict[str, Any]) -> Summary:
    from swallow_exp.evaluate.models import open_model
    from swallow_exp.evaluate.run import evaluate_model, evaluate_runs

    tasks = [name for group in options.tasks for name in group.split(",") if name] if options.tasks else None
    if options.model is None:
        return evaluate_runs(options.out, options.run_ids, tasks=tasks, suite=suite, **loader)
    assert suite is not None, "a model has no suite of its own"
    model = open_model(options.out, options.model, network=suite.network)
    summary = evaluate_model(options.out, model, suite=suite, tasks=tasks, **loader)
    say(f"evaluate: results in {model.paths(options.out).folder}")
    return summary


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate; returns the exit code and never raises for the user's mistakes."""
    die_with_parent()
    options = _parser().parse_args(arguments)
    suite = SuiteConfig(**json.loads(options.suite)) if options.suite else None
    # before anything heavy is imported: offline unless the suite allows the network, quiet, one tokenizer thread
    offline = {} if suite is not None and suite.network else {"HF_HUB_OFFLINE": "1"}
    for name, value in {**ENVIRONMENT, **offline}.items():
        os.environ.setdefault(name, value)
    stop = _StopSignals()
    started = time.monotonic()
    try:
        summary = _evaluate(options, suite)
    except SwallowError as error:
        say(f"evaluate: {error}")
        return error.exit_code
    except BaseException:
        if not stop.name:
            raise
    if stop.name:
        if os.environ.get("RANK", "0") == "0":  # one process speaks for all
            say("evaluate: stopped; finished tasks are kept, the same command continues")
        return EXIT_PREEMPTED
    if summary is None:
        return EXIT_DONE
    say(
        f"evaluate: {summary.evaluated} tasks asked, {summary.reused} taken over, {summary.already_done} already there,"
        f" {len(summary.failures)} checkpoints failed ({time.monotonic() - started:.0f} s)"
    )
    for name, reason in summary.absent.items():
        say(f"evaluate: absent: {name}: {reason}")
    return EXIT_FAILED if summary.failures else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
