"""What a sweep shows while its cells run: a bar per cell on a terminal, a line per cell every so often elsewhere.

Reads  runs/<run_id>/{status.json, events.jsonl}        Writes  the console
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import EXIT_DONE, EXIT_PREEMPTED
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.artefact.progress import LINE_SECONDS, is_interactive, say
from swallow_exp.artefact.units import format_count
from swallow_exp.record.status import read_status
from swallow_exp.sweep.expand import Cell
from swallow_exp.sweep.progress import count_results, pace_of
from swallow_exp.train.screen import format_duration

BAR_SECONDS = 1.0  # between two looks at the files of the cells


def cell_state(state: str, tokens: int, budget: int, results: int) -> str:
    """What a cell whose process runs is doing, in a few words; the state may be that of an earlier attempt."""
    if state == "running" and tokens:
        return f"training, {format_count(tokens)} of {format_count(budget)} tokens"
    return f"evaluating, {results} results" if state == "trained" else "starting"


def describe_end(run: RunPaths, exit_code: int) -> str:
    """How an attempt at a run ended, in a few words."""
    if exit_code == EXIT_DONE:
        return "done"
    status = read_status(run.status)
    if exit_code != EXIT_PREEMPTED:
        cause = " ".join(str(status["cause"]).split()) if status["state"] == "failed" and status.get("cause") else ""
        return f"FAILED (exit {exit_code})" + (f": {cause}" if cause else "")
    if status["state"] == "trained":
        return "stopped while it was evaluated, what is finished is kept"
    tokens = int(status.get("trained_tokens") or 0)
    return f"stopped, saved at {tokens:,} tokens" if tokens else "stopped before the first training step was saved"


class Board:
    """Progress of the cells that run."""

    def __init__(self, cells: Sequence[Cell], out: Path) -> None:
        """Of these cells, under the output root `out`."""
        self._cells, self._out = {cell.run_id: cell for cell in cells}, out
        self._tasks: dict[str, Any] = {}
        self._open: dict[str, float] = {}  # cells whose process runs -> when the last line was written
        self._bars: Any = None
        self._looked = 0.0
        self._done = 0

    def __enter__(self) -> Board:
        """Show the bars."""
        if is_interactive() and self._cells:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (TextColumn("{task.description:<28}"), BarColumn(), TextColumn("{task.fields[state]}"), TimeElapsedColumn())
            self._bars = Progress(*columns, console=Console(stderr=True))
            seeds = {cell.seed for cell in self._cells.values()}
            for cell in self._cells.values():
                budget, name = cell.composed.config.budget.tokens, cell.label + (f" s{cell.seed}" if len(seeds) > 1 else "")
                self._tasks[cell.run_id] = self._bars.add_task(name, total=budget, state="waiting", start=False)
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave them as they are."""
        if self._bars is not None:
            for run_id, task in self._tasks.items():
                if run_id not in self._open and not self._bars.tasks[task].started:
                    self._bars.update(task, state="not started")
            self._bars.stop()

    def started(self, run_id: str, log: Path) -> None:
        """The cell's process runs."""
        self._open[run_id] = time.monotonic()
        self.say(f"{run_id}: started, log {log}")
        if self._bars is not None:
            self._bars.start_task(self._tasks[run_id])

    def refresh(self) -> None:
        """Show how far the cells are, when it is time to."""
        now = time.monotonic()
        if now - self._looked < BAR_SECONDS:
            return
        self._looked = now
        for run_id, told in self._open.items():
            config = self._cells[run_id].composed.config
            if self._bars is None and now - told < LINE_SECONDS:
                continue
            self._open[run_id] = now
            run, budget = RunPaths.of(self._out, run_id), config.budget.tokens
            status = read_status(run.status)
            tokens = min(int(status.get("trained_tokens") or 0), budget)
            state = cell_state(status["state"], tokens, budget, count_results(run))
            eta = pace_of(run, status["state"], tokens, budget)["eta_seconds"] if state.startswith("training") else None
            state += f", {format_duration(eta)} left" if eta is not None else ""
            if self._bars is not None:
                self._bars.update(self._tasks[run_id], completed=tokens, state=state)
            else:
                say(f"{run_id}: {state}")

    def finished(self, run_id: str, exit_code: int, log: Path) -> None:
        """The cell's process has ended."""
        self._open.pop(run_id, None)
        end = describe_end(RunPaths.of(self._out, run_id), exit_code)
        self._done += exit_code == EXIT_DONE
        more = f" ({self._done} of {len(self._cells)})" if exit_code == EXIT_DONE else f", log {log}"
        self.say(f"{run_id}: {end}{more}")
        if self._bars is not None:
            task = self._tasks[run_id]
            self._bars.update(task, state=end.split(",")[0].split(":")[0])
            self._bars.stop_task(task)

    def say(self, line: str) -> None:
        """Above the bars, or as a line."""
        if self._bars is None:
            say(line)
        else:
            self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
