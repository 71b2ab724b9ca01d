"""What a sweep shows while its cells run: one bar a cell on a terminal, one line a finished cell elsewhere.

Reads  runs/<run_id>/status.json        Writes  the console
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from swallow_exp.artefact.errors import EXIT_DONE, EXIT_PREEMPTED
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.artefact.progress import is_interactive, say
from swallow_exp.artefact.units import format_count
from swallow_exp.record.status import read_status
from swallow_exp.sweep.expand import Cell
from swallow_exp.sweep.progress import count_results


def cell_state(state: str, tokens: int, budget: int, results: int) -> str:
    """What a cell whose process runs is doing, in a few words; the state may be that of an earlier attempt."""
    if state == "running" and tokens:
        return f"training, {format_count(tokens)} of {format_count(budget)} tokens"
    return f"evaluating, {results} results" if state == "trained" else "starting"


class Board:
    """One bar a cell on a terminal; one line a finished cell elsewhere."""

    def __init__(self, cells: Sequence[Cell], out: Path) -> None:
        """Of these cells, under the output root `out`."""
        self._cells, self._out = cells, out
        self._tasks: dict[str, int] = {}
        self._open: set[str] = set()  # cells whose process runs
        self._bars: object | None = None

    def __enter__(self) -> Board:
        """Show the bars."""
        if is_interactive():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (TextColumn("{task.description:<28}"), BarColumn(), TextColumn("{task.fields[state]}"), TimeElapsedColumn())
            bars = Progress(*columns, console=Console(stderr=True))
            for cell in self._cells:
                self._tasks[cell.run_id] = bars.add_task(cell.label, total=cell.composed.config.budget.tokens, state="waiting", start=False)
            bars.start()
            self._bars = bars
        return self

    def __exit__(self, *_: object) -> None:
        """Leave them as they are."""
        if self._bars is not None:
            self._bars.stop()  # type: ignore[attr-defined]

    def started(self, run_id: str) -> None:
        """The cell's process runs."""
        self._open.add(run_id)
        if self._bars is not None:
            self._bars.start_task(self._tasks[run_id])  # type: ignore[attr-defined]

    def refresh(self) -> None:
        """Read how far the cells are."""
        if self._bars is None:
            return
        for cell in self._cells:
            if cell.run_id in self._open:
                run, budget = RunPaths.of(self._out, cell.run_id), cell.composed.config.budget.tokens
                status = read_status(run.status)
                tokens = min(int(status.get("trained_tokens") or 0), budget)
                state = cell_state(status["state"], tokens, budget, count_results(run))
                self._bars.update(self._tasks[cell.run_id], completed=tokens, state=state)  # type: ignore[attr-defined]

    def finished(self, run_id: str, exit_code: int, log: Path) -> None:
        """The cell's process has ended."""
        self._open.discard(run_id)
        words = {EXIT_DONE: "done", EXIT_PREEMPTED: "stopped, saved"}.get(exit_code, f"FAILED (exit {exit_code}), see {log}")
        if self._bars is None or exit_code != EXIT_DONE:
            say(f"{run_id}: {words}")
        if self._bars is not None:
            task = self._tasks[run_id]
            self._bars.update(task, state=words.split(",")[0])  # type: ignore[attr-defined]
            self._bars.stop_task(task)  # type: ignore[attr-defined]
