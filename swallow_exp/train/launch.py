"""Start the processes of one run on this node and answer for them. Light: no torch.

(1) start    one worker a process, in sessions of their own, with RANK, WORLD_SIZE, ... set
(2) signals  SIGINT, SIGTERM and SIGUSR1 are passed on once; the workers save and leave with 75; a second signal kills
(3) deaths   when one worker fails, here or on another node, the rest are killed; when this process dies, so do they
(4) causes   the first failure is shown first, and is the cause in status.json; what other processes lost by it comes after
(5) answer   0 trained, 75 stopped with the state saved, 2 wrong request, 1 failed

A process that hangs is noticed when the others' collectives time out: after machine.collective_timeout_seconds and GRACE_SECONDS.

Writes  runs/<run_id>/{status.json (only when the workers could not, or did not know the cause), failures/}
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial

from swallow_exp.artefact.errors import EXIT_DONE, EXIT_FAILED, EXIT_PREEMPTED, EXIT_WRONG_REQUEST, RequestError
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.artefact.processes import INTERRUPTED, Children, free_port
from swallow_exp.artefact.progress import say
from swallow_exp.record.status import read_status, write_status
from swallow_exp.train.failures import (
    DIED,
    FAILURES_VARIABLE,
    Failure,
    ask_for_stacks,
    clear_failures,
    describe_failures,
    first_cause,
    read_failures,
    write_failure,
)
from swallow_exp.train.nodes import NodeRank

WORKER = (sys.executable, "-m", "swallow_exp.train.worker")
# On a CPU the logits of a large vocabulary are hundreds of MB that glibc maps and unmaps anew for every micro-batch; keeping
# them on the heap halves the time of the loss at 43,168 pieces (LOG.md). Read by the C library alone; a user's own values win.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 33)}
FINE = (None, EXIT_DONE, EXIT_PREEMPTED)


def launch_training(run: RunPaths, *, processes: int, nodes: int = 1, worker: Sequence[str] = WORKER, fork: bool = False) -> int:
    """Train `run` with `processes` workers, spread over `nodes` (each runs this), and wait for those of this node.

    Args:
        worker: The command without the run folder.
        fork: Whether workers are copies of this process, which has imported already what they need, in place of `worker`.

    Returns the exit code. Raises RequestError when it is unclear which node this is.
    """
    _refuse_task_per_process(os.environ, nodes)
    local, first, master = processes // nodes, 0, {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    if nodes > 1:
        node = NodeRank.of(os.environ, nodes=nodes)
        first, master = node.rank * local, dict(node.master)
    since = time.time()
    if first == 0:
        clear_failures(run.failures)
    with Children(on_stop=_say_stopping, insist_kills=True) as children:
        ranks = range(first, first + local)
        for environment in _environments(run, ranks, processes, master):
            if fork:
                children.fork(partial(_work, run), environment=environment)
            else:
                children.start([*worker, str(run.folder)], environment=environment)
        code = _wait(run, ranks, children, since=since, alone=nodes == 1)
    ends = {rank: process.returncode for rank, process in zip(ranks, children.processes, strict=True)}
    if code in (EXIT_FAILED, EXIT_WRONG_REQUEST) and children.stop.count < 2:
        code = _blame(run, ends, code, since=since, processes=processes, first_node=first == 0)
    elif code == EXIT_FAILED and first == 0:
        write_status(run.status, "failed", cause="stopped at once, without saving")
    if code in FINE and first == 0:
        clear_failures(run.failures)  # nothing failed: only what was kept ready for it
    if code == EXIT_PREEMPTED and first == 0:
        _note_stop(run, interrupted=children.stop.interrupted)
    return code


def _work(run: RunPaths) -> int:
    from swallow_exp.train.worker import main

    return main([str(run.folder)])


def _say_stopping(count: int) -> None:
    say("stopping: saving after the step that is under way (once more: at once)" if count == 1 else "stopping at once")


def _note_stop(run: RunPaths, *, interrupted: bool) -> None:
    """Complete what the workers wrote about a stop: they may not have begun, and do not know that it was a Ctrl-C."""
    if interrupted:
        write_status(run.status, "preempted", cause=INTERRUPTED)
    elif read_status(run.status)["state"] in ("planned", "running"):
        write_status(run.status, "preempted", cause="stopped before training began")


def _refuse_task_per_process(environment: Mapping[str, str], nodes: int) -> None:
    """`swallow train` starts its processes itself: one of it a node."""
    many = int(environment.get("WORLD_SIZE") or environment.get("SLURM_STEP_NUM_TASKS") or 1)
    if many > nodes and ("RANK" in environment or "SLURM_STEP_NUM_TASKS" in environment):
        raise RequestError(
            f"{many} tasks of `swallow train` on {nodes} nodes",
            expected="one a node: it starts the processes of its node itself",
            remedy="use srun --ntasks-per-node=1, or give torchrun `-m swallow_exp.train.worker RUN_FOLDER`",
        )


def _environments(run: RunPaths, ranks: range, processes: int, master: Mapping[str, str]) -> list[dict[str, str]]:
    """Of each worker of this node."""
    shared = {**ALLOCATOR, **os.environ, **master, FAILURES_VARIABLE: str(run.failures)}
    shared |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(len(ranks))}
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(local)} for local, rank in enumerate(ranks)]


def _wait(run: RunPaths, ranks: range, children: Children, *, since: float, alone: bool) -> int:
    """Until all have ended, or one has failed and the rest have had their grace; the exit code."""

    def lost() -> bool:
        return _has_failed(run, ranks, children) or (not alone and bool(read_failures(run.failures, since=since)))

    if not children.wait(lost):
        silent = {rank: process.pid for rank, process in zip(ranks, children.processes, strict=True) if process.poll() is None}
        for failure in ask_for_stacks(run.failures, silent):
            write_failure(run.failures, failure)
        return EXIT_FAILED
    codes = {process.returncode for process in children.processes}
    if codes == {EXIT_DONE}:
        return EXIT_DONE
    if codes <= {EXIT_DONE, EXIT_PREEMPTED} or (
        children.stop.count == 1 and codes <= {EXIT_DONE, EXIT_PREEMPTED, -signal.SIGTERM, -signal.SIGUSR1}
    ):
        return EXIT_PREEMPTED  # a signal: it came before the worker could listen, when there was nothing to save
    return EXIT_WRONG_REQUEST if EXIT_WRONG_REQUEST in codes else EXIT_FAILED


def _has_failed(run: RunPaths, ranks: range, children: Children) -> bool:
    """Whether a worker of this node has; one that could not say so itself is noted, for the other nodes."""
    failed = {rank: process.returncode for rank, process in zip(ranks, children.processes, strict=True) if process.poll() not in FINE}
    for rank, code in failed.items():
        if code < 0 and children.stop.count == 0:
            write_failure(run.failures, Failure(rank, DIED, _ending(code), seconds=time.time()))
    return bool(failed)


def _blame(run: RunPaths, ends: Mapping[int, int], code: int, *, since: float, processes: int, first_node: bool) -> int:
    """Show the first cause and write it into the status; the exit code it asks for."""
    failures = read_failures(run.failures, since=since)
    silent = {rank for rank, end in ends.items() if end not in FINE} - {failure.rank for failure in failures}
    failures += [Failure(rank, DIED, _ending(ends[rank]), seconds=time.time()) for rank in sorted(silent)]
    cause = first_cause(failures)
    if cause is None:
        return code
    for line in describe_failures(failures, processes=processes):
        say(line)
    if first_node and cause.ours:
        write_status(run.status, "failed", cause=cause.line() if processes > 1 and not cause.request else cause.summary)
    return code


def _ending(code: int) -> str:
    if code == -signal.SIGKILL:
        return "killed by SIGKILL from outside (the system does that when memory runs out)"
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code} and said nothing"
