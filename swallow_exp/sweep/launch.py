"""Carry runs out: one run (build, train, evaluate, publish), or many cells, each in a process of its own.

A cell that dies takes nothing else along; success is what status.json says, not the exit code alone.

Reads/Writes  runs/*, logs/<run_id>.log
"""

from __future__ import annotations

import os
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
from swallow_exp.sweep.board import Board
from swallow_exp.sweep.build import await_run, build_stages, output_root, prepare_run, run_paths
from swallow_exp.sweep.cells import TRAIN, CellJob, goal_of, run_here, share_cells
from swallow_exp.sweep.expand import Cell
from swallow_exp.sweep.follow import publish_meanwhile, publish_runs
from swallow_exp.sweep.lease import keep_lease
from swallow_exp.train.fit import is_trained
from swallow_exp.train.launch import launch_training
from swallow_exp.train.nodes import NodeRank

PATIENCE_SECONDS = 120.0  # for the publication at the end of a job; `swallow publish` sends what it leaves


def carry_out(composed: Composed, *, train_only: bool = False) -> int:
    """Build what is missing, train, and unless `train_only` evaluate every checkpoint and publish. Returns an exit code; safe to repeat.

    Its first node holds the run's lease, as a sweep would. Raises RequestError while another process carries the run out.
    """
    layout = Layout.of(composed.config.strategy, composed.config.machine)
    if layout.nodes > 1 and NodeRank.of(os.environ, nodes=layout.nodes).rank > 0:
        return _carry_out(composed, layout, first_node=False, train_only=train_only)
    lease = cell_lease(output_root(composed.config), run_paths(composed).run_id)
    goal = goal_of(composed, train_only=train_only)
    return keep_lease(lease, goal, lambda: _carry_out(composed, layout, first_node=True, train_only=train_only))


def _carry_out(composed: Composed, layout: Layout, *, first_node: bool, train_only: bool) -> int:
    config = composed.config
    run = prepare_run(composed) if first_node else await_run(composed)
    if is_trained(run):
        say(f"{run.run_id}: trained already")
    else:
        say(f"{run.run_id}: training to {config.budget.tokens:,} tokens")
        with publish_meanwhile(run, config.tracking) if first_node else nullcontext():
            code = launch_training(run, processes=layout.processes, nodes=layout.nodes)
        if code == EXIT_PREEMPTED:
            tokens = int(read_status(run.status).get("trained_tokens") or 0)
            say(f"swallow: {run.run_id} stopped, saved at {tokens:,} tokens; the same command continues")
        if code != EXIT_DONE:
            return code
    if not first_node or train_only:
        return EXIT_DONE  # the first node evaluates and publishes
    out = output_root(config)
    if config.suite.tasks:
        code = launch_evaluation(out, [run.run_id])
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
    log: Path

    @property
    def ok(self) -> bool:
        """Trained by its own word and ended well."""
        return self.exit_code == EXIT_DONE


def run_cells(
    cells: Sequence[Cell], *, out: Path, jobs: int, config_dirs: Sequence[Path] = (), command: Sequence[str] = TRAIN
) -> list[CellResult]:
    """Run what is not finished on this machine, `jobs` at a time; all are tried whatever happens to some."""
    cell_jobs = {cell.run_id: CellJob.of(cell, out, config_dirs, command) for cell in cells}
    by_id = {cell.run_id: cell for cell in cells}

    def launch(free: Sequence[CellJob]) -> dict[str, int]:
        codes = _build_shared([by_id[job.run_id] for job in free])
        with Board([by_id[job.run_id] for job in free], out) as board:
            return codes | run_here([job for job in free if job.run_id not in codes], at_once=jobs, board=board)

    return results_of(cells, cell_jobs, share_cells(list(cell_jobs.values()), launch))


def results_of(cells: Sequence[Cell], jobs: Mapping[str, CellJob], codes: Mapping[str, int]) -> list[CellResult]:
    """In the order of the cells."""
    return [CellResult(cell, codes[cell.run_id], jobs[cell.run_id].log) for cell in cells]


def _build_shared(cells: Sequence[Cell]) -> dict[str, int]:
    """Artefacts that cells share, once, here, where their progress bars can be seen; exit codes of cells that cannot have theirs."""
    codes = {}
    for cell in cells:
        try:
            build_stages(cell.composed.config, upto="mixture")
        except SwallowError as error:
            say(f"{cell.run_id}: {error}")
            codes[cell.run_id] = error.exit_code
    return codes


def sweep_exit_code(results: Sequence[CellResult]) -> int:
    """0 all done; 75 something was preempted; 1 (or 2 when every failure is a wrong request) otherwise."""
    codes = {result.exit_code for result in results}
    if codes <= {EXIT_DONE}:
        return EXIT_DONE
    if EXIT_PREEMPTED in codes:
        return EXIT_PREEMPTED
    return EXIT_WRONG_REQUEST if codes <= {EXIT_DONE, EXIT_WRONG_REQUEST} else EXIT_FAILED


def list_failures(name: str, results: Sequence[CellResult]) -> str:
    """One line when all is well; otherwise every cell that is not done, with its log."""
    bad = [result for result in results if not result.ok]
    if not bad:
        return f"{name}: {len(results)} cells done; `swallow report {name}` shows them"
    lines = [f"{name}: {len(bad)} of {len(results)} cells are not done; the same command retries only those"]
    words = {EXIT_PREEMPTED: "stopped, saved"}
    lines += [f"  {r.cell.run_id}: {words.get(r.exit_code, f'exit {r.exit_code}')}, log {r.log}" for r in bad]
    return "\n".join(lines)


def default_jobs(config: Config) -> int:
    """Cells at a time: as many as the cores carry on a CPU; one where a device is shared."""
    if config.machine.accelerator != "cpu":
        return 1
    cores = usable_cores()
    per_cell = Layout.of(config.strategy, config.machine).processes * (config.machine.threads or cores)
    return max(1, cores // per_cell)
