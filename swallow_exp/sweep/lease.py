"""One file a cell that says who carries it out, and how the last attempt ended: machines that share a disk share a sweep.

(1) claim   under a lock held for a moment: refused while another process holds the cell and still gives signs of life
(2) beat    the file's time is its heartbeat; the disk's own clock is read, so that clocks of machines need not agree
(3) end     the exit code stays in the file, with what was asked for: what a later call goes by

A holder on this machine that is gone is seen at once, and so is the earlier attempt of a Slurm job that was queued again; any other one
elsewhere after STALE_AFTER_SECONDS. `swallow train` alone holds the same lease as a sweep does for it (keep_lease), so the two share the
work. The trainer's own lock stands behind it, where the disk has locks.

Reads/Writes  <out>/leases/<run_id>.{json,lock}
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from swallow_exp.artefact.errors import EXIT_FAILED, EXIT_PREEMPTED, RequestError, SwallowError
from swallow_exp.artefact.files import make_folder, read_json, user_disk, write_json_atomic
from swallow_exp.artefact.progress import say
from swallow_exp.record.status import STALE_AFTER_SECONDS

BEAT_SECONDS = 30.0
LOOK_SECONDS = 2.0  # between two looks at a lease that is held elsewhere
HANDED_DOWN = "SWALLOW_LEASE"  # the token of the lease that the process which started us holds for us


def read_lease(path: Path) -> dict[str, Any]:
    """What the file says: token, host, place, pid, born, job, goal, exit_code (null while held); {} when there is none."""
    record = read_json(path)
    return record if isinstance(record, dict) and _is_lease(record) else {}


def _is_lease(record: Mapping[str, Any]) -> bool:
    """Every part has its type: a lease of another shape says nothing, as a torn one."""
    texts = all(isinstance(record.get(name), str) for name in ("token", "host", "place"))
    numbers = type(record.get("pid")) is int and 0 < record["pid"] < 1 << 31 and type(record.get("restart", 0)) is int
    optional = all(record.get(name) is None or isinstance(record[name], str) for name in ("born", "job", "goal"))
    return texts and numbers and optional and "exit_code" in record and type(record["exit_code"]) in (int, type(None))


def is_held(path: Path) -> bool:
    """True while someone carries the cell out."""
    return _is_live(path, read_lease(path))


def find_holder(path: Path) -> str | None:
    """ "HOST (process PID)" of who carries the cell out, by a glance that writes nothing; None when nobody does."""
    record = read_lease(path)
    if not record or record["exit_code"] is not None:
        return None
    here = record["place"] == _place()
    alive = _is_alive(record["pid"], record.get("born")) if here else time.time() - path.stat().st_mtime <= STALE_AFTER_SECONDS
    return f"{record['host']} (process {record['pid']})" if alive else None


def has_died(path: Path, status: Mapping[str, Any]) -> bool:
    """True when a run that says it is running was held on this machine by a process that is gone, and so is its trainer."""
    record, trainer = read_lease(path), status.get("pid")
    if status.get("state") != "running" or not record or record["place"] != _place() or status.get("host") != record["host"]:
        return False
    return find_holder(path) is None and isinstance(trainer, int) and not _exists(trainer)


def _is_live(path: Path, record: dict[str, Any]) -> bool:
    if not record or record["exit_code"] is not None:
        return False
    if record["place"] == _place():
        return _is_alive(record["pid"], record.get("born"))
    if record.get("job") is not None and record["job"] == os.environ.get("SLURM_JOB_ID") and record.get("restart", 0) < _restart():
        return False  # this job, before it was queued again
    return _age_seconds(path) <= STALE_AFTER_SECONDS


def claim_lease(path: Path, goal: str) -> Lease | None:
    """The lease, or None while another holds it. `goal` says what is asked of the cell beyond its run_id."""
    make_folder(path.parent)
    with user_disk(path), FileLock(str(path.with_suffix(".lock"))):
        earlier = read_lease(path)
        if _is_live(path, earlier):
            return None
        record = {
            "token": uuid.uuid4().hex,
            "host": socket.gethostname(),
            "place": _place(),
            "pid": os.getpid(),
            "born": _born(os.getpid()),
            "job": os.environ.get("SLURM_JOB_ID"),
            "restart": _restart(),
            "goal": goal,
            "exit_code": None,
        }
        write_json_atomic(path, record)
    return Lease(path, record, earlier)


@dataclass
class Lease:
    """A cell this process holds."""

    path: Path
    record: dict[str, Any]
    earlier: dict[str, Any]  # what the file said before
    _beaten: float = field(default_factory=time.monotonic)

    def beat(self) -> bool:
        """Give a sign of life when one is due; False when another has taken the cell over (this process was frozen for long)."""
        if time.monotonic() - self._beaten < BEAT_SECONDS:
            return True
        self._beaten = time.monotonic()
        if not self._is_ours():
            return False
        os.utime(self.path)
        return True

    def end(self, exit_code: int) -> None:
        """Let go, and leave behind how it went."""
        self._leave({**self.record, "exit_code": exit_code})

    def give_back(self) -> None:
        """Let go as if it had never been claimed."""
        self._leave(self.earlier)

    def _leave(self, record: dict[str, Any]) -> None:
        with user_disk(self.path), FileLock(str(self.path.with_suffix(".lock"))):
            if self._is_ours():
                if record:
                    write_json_atomic(self.path, record)
                else:
                    self.path.unlink()

    def _is_ours(self) -> bool:
        return bool(read_lease(self.path).get("token") == self.record["token"])


def keep_lease(path: Path, goal: str, work: Callable[[], int]) -> int:
    """The exit code of `work`, with the cell held meanwhile; that code is left behind for sweeps that look at it.

    A process that a sweep started works under the sweep's lease. Raises RequestError while another holds the cell and lives.
    """
    handed = os.environ.get(HANDED_DOWN)
    if handed is not None and read_lease(path).get("token") == handed:
        return work()
    lease, code = _await_lease(path, goal), EXIT_FAILED
    done = threading.Event()
    threading.Thread(target=_beat_until, args=(lease, done), daemon=True).start()
    try:
        code = work()
    except SwallowError as error:
        code = error.exit_code
        raise
    except KeyboardInterrupt:
        code = EXIT_PREEMPTED
        raise
    finally:
        done.set()
        lease.end(code)
    return code


def _await_lease(path: Path, goal: str) -> Lease:
    """The lease, as soon as its holder is known to be gone. Raises RequestError when the holder gives a sign of life."""
    told, first = False, None
    while (lease := claim_lease(path, goal)) is None:
        record = read_lease(path)
        seen = (record.get("token"), path.stat().st_mtime if path.exists() else None)
        first = first or seen
        if record.get("exit_code") is None and (record.get("place") == _place() or seen != first):
            raise RequestError(
                f"run {path.stem} is being carried out already (process {record.get('pid')} on {record.get('host')})",
                expected="one process a run",
                remedy="wait for it, or stop it",
            )
        if not told:
            say(f"{path.stem}: {record.get('host')} holds it; taken over unless it gives a sign of life within {STALE_AFTER_SECONDS:.0f} s")
            told = True
        time.sleep(LOOK_SECONDS)
    return lease


def _beat_until(lease: Lease, done: threading.Event) -> None:
    while not done.wait(BEAT_SECONDS):
        ours = True
        with contextlib.suppress(OSError, SwallowError):  # a disk that is away for a moment: the next time
            ours = lease.beat()
        if not ours:
            say(f"{lease.path.stem}: another process has taken this run over; this one ends")
            os._exit(EXIT_FAILED)  # at once, and its workers with it: two trainers of one run must not meet


def _restart() -> int:
    """How often Slurm has queued this job again."""
    count = os.environ.get("SLURM_RESTART_COUNT", "")
    return int(count) if count.isdigit() else 0


def _place() -> str:
    """Machine, its boot and its process numbers: two containers with one host name are two places."""
    parts = [socket.gethostname()]
    try:
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")]
    except OSError:
        pass  # not Linux: the name has to do
    return " ".join(parts)


def _born(pid: int) -> str | None:
    """When a process began, in ticks: a number that was given out again is another process. None where the system does not say."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _is_alive(pid: int, born: str | None) -> bool:
    return _exists(pid) and _born(pid) == born


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # someone else's
    return True


def _age_seconds(path: Path) -> float:
    """Since the last sign of life, by the clock of the disk the file lies on."""
    probe = path.with_name(f".{uuid.uuid4().hex}.now")
    try:
        with user_disk(path):
            probe.touch()
            return probe.stat().st_mtime - path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")  # let go meanwhile
    finally:
        probe.unlink(missing_ok=True)
