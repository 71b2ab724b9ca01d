"""Carry runs out: one run (build, train, evaluate, publish), or many cells, each in a process of its own.

A cell that dies takes nothing else along. Success is what status.json says, not the exit code alone.

Reads/Writes  runs/*, logs/<run_id>.log
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from swallow_exp.artefact.errors import EXIT_DONE, EXIT_FAILED, EXIT_PREEMPTED, EXIT_WRONG_REQUEST, SwallowError
from swallow_exp.artefact.paths import cell_lease
from swallow_exp.artefact.processes import usable_cores
from swallow_exp.artefact.progress import say
from swallow_exp.config import Composed, Config
from swallow_exp.config.layout import Layout
from swallow_exp.evaluate.launch import launch_evaluation
from swallow_exp.record.status import read_status
from swallow_exp.sweep.board import Board, describe_end
from swallow_exp.sweep.cells import PROCESS, CellJob, request_digest, run_locally, run_shared
from swallow_exp.sweep.expand import Cell
from swallow_exp.sweep.follow import publish_meanwhile, publish_runs
from swallow_exp.sweep.lease import keep_lease, read_lease
from swallow_exp.sweep.prepare import await_run, build_stages, output_root, prepare_run, run_paths
from swallow_exp.sweep.warm import prepare_apart
from swallow_exp.train.fit import is_trained
from swallow_exp.train.launch import launch_training
from swallow_exp.train.nodes import NodeRank

PATIENCE_SECONDS = 120.0  # for the publication at the end of a job; `swallow publish` sends what it leaves


def carry_out(composed: Composed, *, train_only: bool = False, fork: bool = False) -> int:
    """Build what is missing, train, and unless `train_only` evaluate every checkpoint and publish. Returns an exit code; safe to repeat.

    With `fork` these are copies of this process, which has imported what they need (sweep/warm.py).

    Its first node holds the run's lease, as a sweep would. Raises RequestError while another process carries the run out.
    """
    layout = Layout.of(composed.config.strategy, composed.config.machine)
    if layout.nodes > 1 and NodeRank.of(os.environ, nodes=layout.nodes).rank > 0:
        return _carry_out(composed, layout, first_node=False, train_only=train_only)
    lease = cell_lease(output_root(composed.config), run_paths(composed).run_id)
    request = request_digest(composed, train_only=train_only)
    return keep_lease(lease, request, lambda: _carry_out(composed, layout, first_node=True, train_only=train_only, fork=fork))


def _carry_out(composed: Composed, layout: Layout, *, first_node: bool, train_only: bool, fork: bool = False) -> int:
    config = composed.config
    fork = fork and threading.active_count() == 1  # a copy of a process with threads may wait for a lock that nobody frees
    if fork:
        code = prepare_apart(composed)
        if code != EXIT_DONE:
            return code
        run = run_paths(composed)
    else:
        run = prepare_run(composed) if first_node else await_run(composed)
    if is_trained(run):
        say(f"{run.run_id}: trained already")
    else:
        say(f"{run.run_id}: training to {config.budget.tokens:,} tokens")
        with publish_meanwhile(run, config.tracking) if first_node else nullcontext():
            code = launch_training(run, processes=layout.processes, nodes=layout.nodes, fork=fork)
        if code == EXIT_PREEMPTED:
            tokens = int(read_status(run.status).get("trained_tokens") or 0)
            say(f"swallow: {run.run_id} stopped, saved at {tokens:,} tokens; the same command continues")
        if code != EXIT_DONE:
            return code
    if not first_node or train_only:
        return EXIT_DONE  # the first node evaluates and publishes
    out = output_root(config)
    if config.suite.tasks:
        code = launch_evaluation(out, [run.run_id], fork=fork)
        if code != EXIT_DONE:
            return code
    if config.tracking.wandb_mode is not None:
        # a view: its failure is said, the run stays done, and devices are not held for long by a server that hangs
        publish_runs(out, [run.run_id], mode=config.tracking.wandb_mode, timeout_seconds=PATIENCE_SECONDS)
    return EXIT_DONE


@dataclass(frozen=True)
class CellResult:
    """How one cell ended."""

    cell: Cell
    exit_code: int
    job: CellJob
    refusal: str | None = None  # why its artefacts could not be built

    @property
    def ok(self) -> bool:
        """Whether it is trained by its own account and ended well."""
        return self.exit_code == EXIT_DONE

    @property
    def how(self) -> str:
        """How it ended, in a few words, with its log where there is one."""
        if self.refusal is not None:
            return f"refused: {self.refusal}"
        if read_lease(self.job.lease).get("token") == self.job.before:
            return "not started"
        log = f", log {self.job.log}" if self.job.log.is_file() else ""
        return f"{describe_end(self.job.run, self.exit_code)}{log}"


def run_cells(cells: Sequence[Cell], *, out: Path, jobs: int, command: Sequence[str] = PROCESS) -> list[CellResult]:
    """Run what is not finished on this machine, `jobs` cells at a time; all cells are tried whatever happens to some."""
    cell_jobs = {cell.run_id: CellJob.of(cell, out, command) for cell in cells}
    by_id = {cell.run_id: cell for cell in cells}
    refusals: dict[str, SwallowError] = {}

    def launch(free: Sequence[CellJob]) -> dict[str, int]:
        refused = _build_shared([by_id[job.run_id] for job in free])
        refusals.update(refused)
        left = [job for job in free if job.run_id not in refused]
        with Board([by_id[job.run_id] for job in left], out) as board:
            return {run_id: error.exit_code for run_id, error in refused.items()} | run_locally(left, at_once=jobs, board=board)

    codes = run_shared(list(cell_jobs.values()), launch)
    return results_of(cells, cell_jobs, codes, {run_id: str(error) for run_id, error in refusals.items()})


def results_of(
    cells: Sequence[Cell], jobs: Mapping[str, CellJob], codes: Mapping[str, int], refusals: Mapping[str, str] | None = None
) -> list[CellResult]:
    """In the order of the cells."""
    return [CellResult(cell, codes[cell.run_id], jobs[cell.run_id], (refusals or {}).get(cell.run_id)) for cell in cells]


def _build_shared(cells: Sequence[Cell]) -> dict[str, SwallowError]:
    """Build what cells share once, here, where it can be watched; why some cells cannot have theirs, by run_id."""
    refused: dict[str, SwallowError] = {}
    for cell in cells:
        try:
            build_stages(cell.composed.config, upto="mixture", tell=say)
        except SwallowError as error:
            refused[cell.run_id] = error
    return refused


def sweep_exit_code(results: Sequence[CellResult]) -> int:
    """0 all done; 75 something was preempted; 1 (or 2 when every failure is a wrong request) otherwise."""
    codes = {result.exit_code for result in results}
    if codes <= {EXIT_DONE}:
        return EXIT_DONE
    if EXIT_PREEMPTED in codes:
        return EXIT_PREEMPTED
    return EXIT_WRONG_REQUEST if codes <= {EXIT_DONE, EXIT_WRONG_REQUEST} else EXIT_FAILED


def list_failures(name: str, results: Sequence[CellResult]) -> str:
    """One line when all is well; otherwise every cell that is not done, those with one and the same end together."""
    bad = [result for result in results if not result.ok]
    cells = f"{len(results)} {'cell' if len(results) == 1 else 'cells'}"
    if not bad:
        return f"{name}: {cells} done; `swallow report {name}` shows {'it' if len(results) == 1 else 'them'}"
    by_end: dict[str, list[str]] = {}
    for result in bad:
        by_end.setdefault(result.how, []).append(result.cell.run_id)
    lines = [f"{name}: {len(bad)} of {cells} {'is' if len(bad) == 1 else 'are'} not done; the same command continues with what is left"]
    for how, run_ids in by_end.items():
        if how.startswith("refused: "):
            lines += [f"  {how}", *(f"    {run_id}" for run_id in run_ids)]
        else:
            lines += [f"  {run_id}: {how}" for run_id in run_ids]
    return "\n".join(lines)


def default_jobs(config: Config) -> int:
    """Cells at a time: as many as the cores carry on a CPU; one where a device is shared."""
    if config.machine.accelerator != "cpu":
        return 1
    cores = usable_cores()
    per_cell = Layout.of(config.strategy, config.machine).processes * (config.machine.threads or cores)
    return max(1, cores // per_cell)
