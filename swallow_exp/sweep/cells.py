"""Cells as processes: each one of its own, held by a lease, so that several sweeps on several machines share them.

(1) answer    what is finished for this very request, or was tried elsewhere since this sweep began, is not done again
(2) carry out claim, start `swallow train`, beat, wait; a cell that dies takes nothing else along
(3) share     what another process holds is awaited, and taken over if that one dies

Success is what status.json says and the lease remembers: trained, and everything after training ended well.

Reads/Writes  <out>/{runs,leases,logs}
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import EXIT_DONE, EXIT_FAILED, EXIT_PREEMPTED
from swallow_exp.artefact.files import digest_of, make_folder
from swallow_exp.artefact.paths import RunPaths, cell_lease, logs_folder
from swallow_exp.artefact.processes import StopSignals, child_environment
from swallow_exp.artefact.progress import say
from swallow_exp.config.compose import Composed
from swallow_exp.config.overrides import set_value
from swallow_exp.record.status import is_stale, read_status
from swallow_exp.sweep.board import Board
from swallow_exp.sweep.expand import Cell
from swallow_exp.sweep.lease import HANDED_DOWN, Lease, claim_lease, is_held, read_lease
from swallow_exp.train.fit import is_trained

TRAIN = (sys.executable, "-m", "swallow_exp", "train")
POLL_SECONDS = 0.2
AWAIT_SECONDS = 2.0  # between two looks at cells that others hold


@dataclass(frozen=True)
class CellJob:
    """What a launcher needs of a cell; small, so that it can be sent to another machine."""

    run_id: str
    out: Path
    command: tuple[str, ...]
    goal: str  # digest of what is asked beyond the run_id: suite and publication
    before: str | None  # token of the last attempt when this sweep began

    @classmethod
    def of(cls, cell: Cell, out: Path, config_dirs: Sequence[Path] = (), command: Sequence[str] = TRAIN) -> CellJob:
        """`command` is what the cell's overrides are given to."""
        folders = [word for folder in config_dirs for word in ("--config-dir", str(folder.absolute()))]
        words = (*command, *cell.overrides, set_value("paths.out", out.absolute()), *folders)
        return cls(cell.run_id, out, words, goal_of(cell.composed), read_lease(cell_lease(out, cell.run_id)).get("token"))

    @property
    def lease(self) -> Path:
        """Who carries it out."""
        return cell_lease(self.out, self.run_id)

    @property
    def log(self) -> Path:
        """What its processes print."""
        return logs_folder(self.out) / f"{self.run_id}.log"


def goal_of(composed: Composed, *, train_only: bool = False) -> str:
    """Digest of what is asked of a run beyond its run_id."""
    return digest_of(["train only"] if train_only else [composed.plain["suite"], composed.plain["tracking"]])


Launch = Callable[[Sequence[CellJob]], Mapping[str, int]]  # exit codes by run_id, without those that someone else holds


def find_answer(job: CellJob, record: Mapping[str, Any]) -> int | None:
    """The exit code an earlier attempt settled, by its lease's record; None when there is something to do."""
    code = record.get("exit_code")
    if code is None or record["goal"] != job.goal:
        return None
    if code == EXIT_DONE:
        return EXIT_DONE if is_trained(RunPaths.of(job.out, job.run_id)) else None
    tried_elsewhere = record["token"] != job.before and code != EXIT_PREEMPTED
    return int(code) if tried_elsewhere else None


def name_action(job: CellJob) -> str:
    """What a sweep would do with the cell: finished, held by HOST, resume, retry or launch."""
    record = read_lease(job.lease)
    if find_answer(job, record) is not None:
        return "finished"
    if is_held(job.lease):
        return f"held by {record['host']} (process {record['pid']})"
    status = read_status(RunPaths.of(job.out, job.run_id).status)
    if status["state"] == "failed" or record.get("exit_code") not in (None, EXIT_DONE, EXIT_PREEMPTED):
        return "retry"
    if status["state"] in ("preempted", "trained") or record or is_stale(status):
        return "resume"
    return "launch"


def share_cells(jobs: Sequence[CellJob], launch: Launch) -> dict[str, int]:
    """Exit codes by run_id. Cells that others hold are awaited at the end, and launched if their holder dies or was preempted."""
    codes: dict[str, int] = {}
    told = False
    while True:
        for job in jobs:
            answer = find_answer(job, read_lease(job.lease)) if job.run_id not in codes else None
            if answer is not None:
                codes[job.run_id] = answer
        left = [job for job in jobs if job.run_id not in codes]
        if not left:
            return codes
        free = [job for job in left if not is_held(job.lease)]
        if free:
            codes |= launch(free)
            continue
        if not told:
            hosts = sorted({str(read_lease(job.lease).get("host")) for job in left})
            say(f"waiting for {len(left)} cells that {', '.join(hosts)} carries out")
            told = True
        time.sleep(AWAIT_SECONDS)


@dataclass
class _Running:
    job: CellJob
    lease: Lease
    process: subprocess.Popen[bytes]


def run_here(jobs: Sequence[CellJob], *, at_once: int, board: Board | None = None, stop: Stop | None = None) -> dict[str, int]:
    """Carry out the cells nobody holds, `at_once` at a time; stop signals are passed on and awaited, what did not start is 75."""
    waiting, running, codes = list(jobs), list[_Running](), dict[str, int]()
    stopping = stop or Stop()
    with stopping:
        while waiting or running:
            while waiting and len(running) < at_once and not stopping.asked:
                begun = _begin(waiting.pop(0), codes)
                if begun is not None:
                    running.append(begun)
                    if board is not None:
                        board.started(begun.job.run_id)
            if running:
                time.sleep(POLL_SECONDS)
            stopping.forward([item.process for item in running])
            for item in list(running):
                if not item.lease.beat():
                    item.process.kill()  # another has taken it over
                if item.process.poll() is not None:
                    running.remove(item)
                    codes[item.job.run_id] = code = _end(item)
                    if board is not None:
                        board.finished(item.job.run_id, code, item.job.log)
            if stopping.asked and not running:
                codes |= dict.fromkeys((job.run_id for job in waiting), EXIT_PREEMPTED)
                waiting = []
            if board is not None:
                board.refresh()
    return codes


def _begin(job: CellJob, codes: dict[str, int]) -> _Running | None:
    """The cell's process; None when another holds it (left out of `codes`) or has settled it meanwhile."""
    lease = claim_lease(job.lease, job.goal)
    if lease is None:
        return None
    answer = find_answer(job, lease.earlier)
    if answer is not None:
        lease.give_back()
        codes[job.run_id] = answer
        return None
    make_folder(job.log.parent)
    with job.log.open("ab") as handle:
        # a session of its own: a Ctrl-C in the terminal reaches this process, which passes it on once
        process = subprocess.Popen(
            job.command,
            stdout=handle,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**child_environment(), HANDED_DOWN: str(lease.record["token"])},
            start_new_session=True,
        )
    return _Running(job, lease, process)


def _end(item: _Running) -> int:
    code = item.process.returncode
    if code == EXIT_DONE and read_status(RunPaths.of(item.job.out, item.job.run_id).status)["state"] != "trained":
        code = EXIT_FAILED  # it left quietly without finishing
    item.lease.end(code)
    return code


class Stop(StopSignals):
    """Stop signals, passed on to the cells once each."""

    _passed_on = 0

    @property
    def asked(self) -> bool:
        """True after the first signal."""
        return self.count > 0

    def forward(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        """Pass on what has not been passed on."""
        if self.count == self._passed_on:
            return
        say(f"stopping {len(processes)} cells: each saves first (once more: at once)" if self._passed_on == 0 else "stopping at once")
        self._passed_on = self.count
        for process in processes:
            process.send_signal(signal.SIGTERM)
