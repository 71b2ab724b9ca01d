"""Write a state beside training: training waits only while its tensors are copied, one save at a time.

(1) stage    every process copies its shards into CPU memory (pinned, and kept for the next save, where there is a GPU)  -> training goes on
(2) write    a thread of every process writes them through torch.distributed.checkpoint, in a gloo group of its own  -> state.partial
(3) verify   every file has the length that the checkpoint's index gives it; sha256 of each, by the process that wrote it
(4) publish  first process: seal, rename, then what the caller does with a complete state (export, index, retention)
(5) agree    every process learns how it ended; a failure is raised in the training thread of all of them

Not in the background, the same steps run in the training thread, and nothing is staged.

Writes  runs/<run_id>/checkpoints/tokens_<n>/state/
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.state_dict_saver import async_save, save

from swallow_exp.artefact.errors import RequestError, SwallowError
from swallow_exp.artefact.files import remove_folder, sha256_file, user_disk
from swallow_exp.checkpoint.state import PLAN_NAME, REST_NAME, FailedElsewhere, SavedState, SaveFailed, partial_of, seal_state

MEANWHILE_SECONDS = 5.0

Files = dict[str, dict[str, Any]]
Ending = tuple[int, str | None, float]  # bytes, digest of the export, seconds beside training
Publish = Callable[[SavedState], str | None]


@dataclass(frozen=True)
class Snapshot:
    """What is saved: `tensors` are this process's shards by name (nested), `rest` is small and the same everywhere."""

    tensors: Mapping[str, Any]
    rest: Mapping[str, Any]


@dataclass(frozen=True)
class WrittenState:
    """One finished save. `digest` is that of the export made from it, if one was."""

    state: SavedState
    num_bytes: int
    digest: str | None
    stall_seconds: float  # training stood still
    background_seconds: float  # beside training


@dataclass
class _Flight:
    state: SavedState
    ended: Future[Ending]
    stall_seconds: float


class StateWriter:
    """Saves states, at most one at a time. Every process has one and calls the same methods at the same steps."""

    def __init__(self, *, background: bool, timeout_seconds: float) -> None:
        """Every process must construct it at the same point, inside an initialised process group."""
        self._group: Any = torch.distributed.new_group(backend="gloo", timeout=timedelta(seconds=timeout_seconds))
        self._first = torch.distributed.get_rank() == 0
        self._flight: _Flight | None = None
        self._stager: DefaultStager | None = None
        self._thread: ThreadPoolExecutor | None = None
        if background:
            gpu = torch.cuda.is_available()
            # the copy itself is waited for: the next update must not reach what is being copied
            options = StagingOptions(use_pinned_memory=gpu, use_shared_memory=False, use_async_staging=False, use_non_blocking_copy=gpu)
            self._stager = DefaultStager(options)
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")

    def begin(self, snapshot: Snapshot, state: SavedState, publish: Publish, *, since: float | None = None) -> None:
        """Start a save; the one before must have been collected. `publish` runs on the first process once the state is complete.

        Training stands still since `since` (time.monotonic), or since now.
        """
        assert self._flight is None, "one save at a time"
        started = time.monotonic() if since is None else since
        partial = partial_of(state.folder)
        if self._first:
            remove_folder(partial)  # nobody writes before all have made their plans, this process included
        rest = io.BytesIO()
        torch.save(dict(snapshot.rest), rest)
        writer = _Writer(partial)
        job = _Job(state, rest.getvalue(), publish, self._group)
        tensors = dict(snapshot.tensors)
        if self._thread is None:
            ended: Future[Ending] = Future()
            try:
                ended.set_result((*job.carry_out(lambda: save(tensors, storage_writer=writer, process_group=self._group)), 0.0))
            except SwallowError as error:
                ended.set_exception(error)
        else:
            upload: Any = async_save(tensors, storage_writer=writer, process_group=self._group, async_stager=self._stager)
            ended = self._thread.submit(_timed, job, upload.result)
        self._flight = _Flight(state, ended, time.monotonic() - started)

    def poll(self) -> WrittenState | None:
        """The save that has ended since the last call, if any. Raises SaveFailed when it failed."""
        flight = self._flight
        if flight is None or not flight.ended.done():
            return None
        return self._collect(flight)

    def wait(self, *, meanwhile: Callable[[], None] = lambda: None) -> WrittenState | None:
        """Like poll, but waits for the save in flight; `meanwhile` is called every so often."""
        flight = self._flight
        if flight is None:
            return None
        started = time.monotonic()
        while not flight.ended.done():
            try:
                flight.ended.exception(timeout=MEANWHILE_SECONDS)
            except TimeoutError:
                meanwhile()
        flight.stall_seconds += time.monotonic() - started
        return self._collect(flight)

    def _collect(self, flight: _Flight) -> WrittenState:
        self._flight = None
        num_bytes, digest, seconds = flight.ended.result()
        return WrittenState(flight.state, num_bytes, digest, flight.stall_seconds, seconds)

    def close(self) -> None:
        """Give threads and copies back. The save in flight must have been collected."""
        assert self._flight is None, "a save is in flight"
        if self._thread is not None and self._stager is not None:
            self._thread.shutdown()
            self._stager.close()


def _timed(job: _Job, write: Callable[[], Any]) -> Ending:
    started = time.monotonic()
    num_bytes, digest = job.carry_out(write)
    return num_bytes, digest, time.monotonic() - started


@dataclass
class _Job:
    """Everything of one save after staging; the same collectives on every process."""

    state: SavedState
    rest: bytes
    publish: Publish
    group: Any

    def carry_out(self, write: Callable[[], Any]) -> tuple[int, str | None]:
        """Bytes of the state and the digest `publish` gave. Raises SaveFailed on every process when it failed on one."""

        def written() -> Files:
            write()
            mine = sorted(partial_of(self.state.folder).glob(f"__{self._rank}_*"))
            return {file.name: _facts(file) for file in mine}

        files, failure = self._try(written)
        parts = self._gather((files, failure))
        failures = [failure for _, failure in parts if failure is not None]
        result: tuple[int, str | None] | None = None
        if not failures:
            if self._rank == 0:
                result, failure = self._try(lambda: self._finish([part for part, _ in parts]))
                failures = [failure] if failure is not None else []
            (result, failures), *_ = self._gather((result, failures))
        if failures:
            if self._rank == 0:
                remove_folder(partial_of(self.state.folder))  # it may be what fills the disk
            raise (SaveFailed if self._rank == 0 else FailedElsewhere)(failures[0])
        assert result is not None
        return result

    @property
    def _rank(self) -> int:
        return torch.distributed.get_rank(self.group)

    def _gather(self, value: Any) -> list[Any]:
        values: list[Any] = [None] * torch.distributed.get_world_size(self.group)
        try:
            torch.distributed.all_gather_object(values, value, group=self.group)
        except RuntimeError as error:
            raise FailedElsewhere(f"another process ended while a checkpoint was written: {str(error).splitlines()[0]}") from error
        return values

    def _try(self, act: Callable[[], Any]) -> tuple[Any, str | None]:
        """What `act` gives, or one line about why it could not."""
        try:
            return act(), None
        except (Exception, CheckpointException) as error:
            return None, _explain(error, self.state)

    def _finish(self, parts: list[Files]) -> tuple[int, str | None]:
        partial = partial_of(self.state.folder)
        (partial / REST_NAME).write_bytes(self.rest)
        files = {name: facts for part in parts for name, facts in part.items()}
        _verify(partial, files)
        files |= {name: _facts(partial / name) for name in (PLAN_NAME, REST_NAME)}
        seal_state(self.state, files)
        return sum(facts["bytes"] for facts in files.values()), self.publish(self.state)


def _facts(file: Path) -> dict[str, Any]:
    return {"bytes": file.stat().st_size, "sha256": sha256_file(file)}


def _verify(folder: Path, files: Files) -> None:
    """Compare the files with what the checkpoint's own index says was written."""
    ends: dict[str, int] = {}
    for place in FileSystemReader(folder).read_metadata().storage_data.values():
        ends[place.relative_path] = max(ends.get(place.relative_path, 0), place.offset + place.length)
    sizes = {name: facts["bytes"] for name, facts in files.items()}
    wrong = sorted(name for name in ends if sizes.get(name) != ends[name])
    if wrong:
        raise OSError(f"{wrong[0]} has {sizes.get(wrong[0], 0):,} bytes on disk, {ends[wrong[0]]:,} were written")


class _Writer(FileSystemWriter):
    """torch's writer, but a full disk stays a full disk: torch turns it into an error of its own that does not travel."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        try:
            return super().write_data(plan, planner)
        except Exception as error:
            raise (_disk_error(error) or error) from None


def _disk_error(error: BaseException) -> OSError | None:
    """The OSError behind an error, however deep."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, OSError) and one.errno is not None:
            return one
        if isinstance(one, CheckpointException):
            waiting += [cause for cause, _ in one.failures.values()]
        waiting += [one.__cause__, one.__context__]
    return None


def _explain(error: BaseException, state: SavedState) -> str:
    """One line: which checkpoint, why not, what is left, what to do."""
    disk = _disk_error(error)
    if isinstance(error, RequestError):
        reason = error.given
    elif disk is not None:
        reason = f"cannot write {disk.filename or partial_of(state.folder)}: {(disk.strerror or str(disk)).lower()}"
        try:
            with user_disk(partial_of(state.folder)):
                raise disk
        except RequestError as told:
            reason = told.given
        except OSError:
            pass
    else:
        cause = next(iter(error.failures.values()))[0] if isinstance(error, CheckpointException) and error.failures else error
        reason = f"{type(cause).__name__}: {(str(cause).splitlines() or [''])[0]}"
    return (
        f"the checkpoint at {state.trained_tokens:,} tokens was not saved: {reason}; "
        "the one before it is untouched; remedy that, then the same command continues from there"
    )
