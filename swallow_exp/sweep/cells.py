"""Cells as processes. A lease holds each, so that several sweeps on several machines share them.

1. Settled     skip what is finished for this very request, or was tried elsewhere since this sweep began
2. Run         claim the lease, write the run folder's config.yaml, start the cell's process, beat, wait
3. Share       wait for what another process holds, and take it over if that process dies

A cell that dies takes nothing else along. Success is what status.json says and the lease remembers:
the run is trained, and everything after training ended well.

Reads/Writes  <out>/{runs,leases,logs}
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import EXIT_DONE, EXIT_FAILED, EXIT_PREEMPTED
from swallow_exp.artefact.files import digest_of, make_folder, write_text_atomic
from swallow_exp.artefact.paths import RunPaths, cell_lease, logs_folder
from swallow_exp.artefact.processes import INTERRUPTED, POLL_SECONDS, Children, StopSignals, kill_group
from swallow_exp.artefact.progress import say
from swallow_exp.config.compose import Composed
from swallow_exp.record.status import is_stale, read_status, write_status
from swallow_exp.sweep.board import Board
from swallow_exp.sweep.expand import Cell
from swallow_exp.sweep.lease import HANDED_DOWN, Lease, claim_lease, is_held, read_lease
from swallow_exp.sweep.prepare import config_text
from swallow_exp.train.fit import is_trained
from swallow_exp.train.launch import ALLOCATOR

PROCESS = (sys.executable, "-m", "swallow_exp.sweep.cell_process")  # carries the run of a folder out
AWAIT_SECONDS = 2.0  # between two looks at cells that others hold


@dataclass(frozen=True)
class CellJob:
    """What a launcher needs of a cell. It is small, so that it can be sent to another machine."""

    run_id: str
    out: Path
    command: tuple[str, ...]  # carries the cell out, once its run folder holds `config`
    config: str  # text of config.yaml
    request: str  # digest of what is asked beyond the run_id: suite and publication
    before: str | None  # token of the last attempt when this sweep began

    @classmethod
    def of(cls, cell: Cell, out: Path, command: Sequence[str] = PROCESS) -> CellJob:
        """The cell under the output root `out`; `command` gets the run folder as its last argument."""
        run, plain = RunPaths.of(out.absolute(), cell.run_id), cell.composed.plain
        text = config_text({**plain, "paths": {**plain["paths"], "out": str(out.absolute())}})
        before = read_lease(cell_lease(out, cell.run_id)).get("token")
        return cls(cell.run_id, out, (*command, str(run.folder)), text, request_digest(cell.composed), before)

    @property
    def run(self) -> RunPaths:
        """Files of its run."""
        return RunPaths.of(self.out, self.run_id)

    @property
    def lease(self) -> Path:
        """The file that says which process carries it out."""
        return cell_lease(self.out, self.run_id)

    @property
    def log(self) -> Path:
        """What its processes print."""
        return logs_folder(self.out) / f"{self.run_id}.log"

    @property
    def is_prepared(self) -> bool:
        """Whether the run folder holds this very config."""
        return self.run.config.is_file() and self.run.config.read_text(encoding="utf-8") == self.config


def request_digest(composed: Composed, *, train_only: bool = False) -> str:
    """Digest of what is asked of a run beyond its run_id."""
    return digest_of(["train only"] if train_only else [composed.plain["suite"], composed.plain["tracking"]])


Launch = Callable[[Sequence[CellJob]], Mapping[str, int]]  # exit codes by run_id, without those that another process holds


def settled_exit_code(job: CellJob, record: Mapping[str, Any]) -> int | None:
    """The exit code that an earlier attempt settled, by its lease's record; None when there is something to do."""
    code = record.get("exit_code")
    if code is None or record["goal"] != job.request:
        return None
    if code == EXIT_DONE:
        return EXIT_DONE if is_trained(job.run) else None
    tried_elsewhere = record["token"] != job.before and code != EXIT_PREEMPTED
    return int(code) if tried_elsewhere else None


def next_action(job: CellJob) -> str:
    """What a sweep would do with the cell: finished, held by HOST, resume, retry or launch."""
    record = read_lease(job.lease)
    if settled_exit_code(job, record) is not None:
        return "finished"
    if is_held(job.lease):
        return f"held by {record['host']} (process {record['pid']})"
    status = read_status(job.run.status)
    if status["state"] == "failed" or record.get("exit_code") not in (None, EXIT_DONE, EXIT_PREEMPTED):
        return "retry"
    if status["state"] in ("preempted", "trained") or record or is_stale(status):
        return "resume"
    return "launch"


def run_shared(jobs: Sequence[CellJob], launch: Launch) -> dict[str, int]:
    """Exit codes by run_id.

    Cells that other processes hold are awaited at the end, and launched if their holder dies or was preempted.
    """
    codes: dict[str, int] = {}
    told = False
    while True:
        for job in jobs:
            settled = settled_exit_code(job, read_lease(job.lease)) if job.run_id not in codes else None
            if settled is not None:
                codes[job.run_id] = settled
        left = [job for job in jobs if job.run_id not in codes]
        if not left:
            return codes
        free = [job for job in left if not is_held(job.lease)]
        if free:
            codes |= launch(free)
            continue
        if not told:
            hosts = sorted({str(read_lease(job.lease).get("host")) for job in left})
            say(f"waiting for {len(left)} {'cell' if len(left) == 1 else 'cells'} that {', '.join(hosts)} carries out")
            told = True
        time.sleep(AWAIT_SECONDS)


@dataclass
class _Running:
    job: CellJob
    lease: Lease
    process: subprocess.Popen[bytes]


def run_locally(jobs: Sequence[CellJob], *, at_once: int, board: Board | None = None, stop: StopSignals | None = None) -> dict[str, int]:
    """Run unclaimed cells, at most `at_once` at a time; exit codes by run_id.

    Stop signals are forwarded and the cells awaited. Cells that never started get exit code 75.
    """
    waiting, running, codes = list(jobs), list[_Running](), dict[str, int]()

    def announce(count: int) -> None:
        cells = f"{len(running)} {'cell' if len(running) == 1 else 'cells'}"
        line = f"stopping {cells}: each saves first (once more: at once)" if count == 1 else "stopping at once"
        (say if board is None else board.say)(line)

    with Children(stop=stop, on_stop=announce) as children:
        while waiting or running:
            while waiting and len(running) < at_once and not children.stop.count:
                begun = _begin(waiting.pop(0), codes, children)
                if begun is not None:
                    running.append(begun)
                    if board is not None:
                        board.started(begun.job.run_id, begun.job.log)
            if running:
                time.sleep(POLL_SECONDS)
            children.forward()
            for item in [item for item in running if _has_ended(item)]:
                running.remove(item)
                codes[item.job.run_id] = code = _end(item, children.stop)
                if board is not None:
                    board.finished(item.job.run_id, code, item.job.log)
            if children.stop.count and not running:
                codes |= dict.fromkeys((job.run_id for job in waiting), EXIT_PREEMPTED)
                waiting = []
            if board is not None:
                board.refresh()
    return codes


def _begin(job: CellJob, codes: dict[str, int], children: Children) -> _Running | None:
    """Start the cell's process; None when another holds it (left out of `codes`) or has settled it meanwhile."""
    lease = claim_lease(job.lease, job.request)
    if lease is None:
        return None
    settled = settled_exit_code(job, lease.earlier)
    if settled is not None:
        lease.give_back()
        codes[job.run_id] = settled
        return None
    make_folder(job.run.folder)
    write_text_atomic(job.run.config, job.config)
    make_folder(job.log.parent)
    with job.log.open("ab") as handle:
        environment = {**ALLOCATOR, **os.environ, HANDED_DOWN: str(lease.record["token"])}
        process = children.start(job.command, environment=environment, output=handle, errors=subprocess.STDOUT)
    return _Running(job, lease, process)


def _has_ended(item: _Running) -> bool:
    """Give a sign of life for a cell, and end it when another process has taken it over; whether its process is gone."""
    if not item.lease.beat():
        kill_group(item.process)
    return item.process.poll() is not None


def _end(item: _Running, stop: StopSignals) -> int:
    """The exit code of a cell whose process has ended, which is also left in its lease."""
    code, status = item.process.returncode, item.job.run.status
    if code == EXIT_DONE and read_status(status)["state"] != "trained":
        code = EXIT_FAILED  # it left quietly without finishing
    if code == -signal.SIGTERM and stop.count:
        code = EXIT_PREEMPTED  # the signal came before the process could listen, when there was nothing to save
    if code == EXIT_PREEMPTED and stop.interrupted and read_status(status)["state"] == "preempted":
        write_status(status, "preempted", cause=INTERRUPTED)  # the cell saw a SIGTERM
    item.lease.end(code)
    return code
