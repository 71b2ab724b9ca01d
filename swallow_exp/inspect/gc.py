"""What may go from an output root, and removing it: `swallow gc`. Nothing that runs, and no mark that is not evaluated, is touched.

(1) leftovers   what killed processes left half-written, where no process holds the lock, or after an hour
(2) states      of runs that are trained to their end: their exports are there (machine.keep_mark_states keeps those of marks)
(3) exports     only with machine.keep_exports=false, once every task of the suite has a result for these very weights; never the last
(4) listed      artefacts no run refers to: shown, never removed

Nothing outside <out> is removed: no link is followed, and what a record says of places decides nothing. Exports that go are those in
the run's own checkpoints/tokens_<n>/export.

Reads  everything below <out>        Removes  what `find_garbage` names, under the lock of its run
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf.errors import OmegaConfBaseException

from swallow_exp.artefact.errors import UNEXPECTED_SHAPE, RequestError, SwallowError
from swallow_exp.artefact.files import is_inside, read_json, remove_folder
from swallow_exp.artefact.manifest import Artefact, find_artefact
from swallow_exp.artefact.paths import ARTEFACT_KINDS, RunPaths
from swallow_exp.artefact.progress import say, track
from swallow_exp.artefact.units import format_bytes
from swallow_exp.checkpoint.check_states import check_export
from swallow_exp.checkpoint.index import CheckpointRecord, is_own, read_checkpoints, resolve_export, write_checkpoints
from swallow_exp.checkpoint.state import find_states, leftovers, prune_states, withdraw
from swallow_exp.config.schema import Config
from swallow_exp.evaluate.suite import task_names
from swallow_exp.record.store import list_run_ids, read_config, read_result
from swallow_exp.train.fit import is_trained

HALF_COPIED = re.compile(r"\..+\.partial-[0-9a-f]{8}")  # checkpoint/handover.py
HALF_WRITTEN = re.compile(r"\..+\.[0-9a-f]{8}\.tmp|\.items\.parquet\.tmp")  # artefact/files.py, record/store.py
STILL_SECONDS = 3600.0  # assumed: a half-written copy nobody has touched for an hour has no process any more


@dataclass(frozen=True)
class Garbage:
    """One thing that may go, or (`removable` false) that is only worth knowing."""

    kind: str  # leftover | state | export | unreferenced
    path: Path
    num_bytes: int
    reason: str
    removable: bool
    remove: Callable[[], None] = field(repr=False)
    lock: Path | None = None  # held while it is removed


def find_garbage(out: Path) -> list[Garbage]:
    """Everything that may go below `out`. Raises RequestError when there is no such folder."""
    if not out.is_dir():
        raise RequestError(f"{out} is no folder", expected="an output root", remedy="check --out and SWALLOW_OUT")
    found = [*_artefact_leftovers(out), *_stale_leftovers(out)]
    for run_id in track(list_run_ids(out), "runs"):
        try:
            found += _run_garbage(RunPaths.of(out, run_id))
        except (SwallowError, OSError, *UNEXPECTED_SHAPE) as error:
            say(f"{run_id}: left alone, its files cannot be read: {repr(error).splitlines()[0][:200]}; `swallow verify` says which")
    return [one for one in [*found, *_unreferenced(out)] if _is_below(one.path, out)]


def _is_below(path: Path, out: Path) -> bool:
    """True when the place of `path` is inside `out` with every link followed; `path` itself may be a link, which goes as a link."""
    return is_inside(path.parent, out)


def _free(lock: Path) -> bool:
    """True when no process holds the lock."""
    if not lock.exists():
        return True
    held = FileLock(str(lock))
    try:
        held.acquire(timeout=0)
    except Timeout:
        return False
    held.release()
    return True


def _size(path: Path) -> int:
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(file.lstat().st_size for file in path.rglob("*") if file.is_file())


def _leftover(path: Path, lock: Path | None) -> Garbage:
    return Garbage("leftover", path, _size(path), "half-written by a process that is gone", True, lambda: _remove(path), lock)


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        remove_folder(path)


def _artefact_leftovers(out: Path) -> Iterator[Garbage]:
    for kind in ARTEFACT_KINDS:
        for path in sorted((out / "artefacts" / kind).glob("*")):
            name = re.match(r"(.+?)\.(partial|work)\b", path.name)
            lock = path.with_name(f"{name.group(1)}.lock") if name else None
            if lock is not None and path.is_dir() and _free(lock):
                yield _leftover(path, lock)


def _stale_leftovers(out: Path) -> Iterator[Garbage]:
    """Copies and files that were killed before they got their names, anywhere below `out`, once nothing has touched them for an hour."""
    for folder, folders, files in os.walk(out):
        copies = [name for name in folders if HALF_COPIED.fullmatch(name)]
        folders[:] = sorted(set(folders) - set(copies))
        for name in sorted([*copies, *(name for name in files if HALF_WRITTEN.fullmatch(name))]):
            path = Path(folder, name)
            if _seconds_untouched(path) > STILL_SECONDS:
                yield _leftover(path, None)


def _seconds_untouched(path: Path) -> float:
    try:
        return time.time() - max(one.lstat().st_mtime for one in (path, *path.rglob("*")))
    except FileNotFoundError:
        return 0.0  # its process has just finished it


def _run_garbage(run: RunPaths) -> Iterator[Garbage]:
    if not _free(run.lock):
        return
    yield from (_leftover(path, run.lock) for path in leftovers(run))
    try:
        config = Config.of(read_config(run))
    except (SwallowError, OmegaConfBaseException):
        return  # nobody knows what it wants kept
    if not is_trained(run) or not _last_is_whole(run):
        return
    for state in find_states(run):
        if config.machine.keep_mark_states and state.trained_tokens in {record.trained_tokens for record in read_checkpoints(run)}:
            continue
        reason = "the run is trained; nothing continues from it"
        yield Garbage("state", state.folder, _size(state.folder), reason, True, _states_remover(run, config), run.lock)
    if not config.machine.keep_exports and _free(run.evaluation_lock):
        yield from _evaluated_exports(run, config)


def _last_is_whole(run: RunPaths) -> bool:
    try:
        check_export(resolve_export(run, read_checkpoints(run)[-1]))
    except SwallowError:
        return False
    return True


def _states_remover(run: RunPaths, config: Config) -> Callable[[], None]:
    def remove() -> None:
        prune_states(run, keep=0, keep_marks=config.machine.keep_mark_states)

    return remove


def _evaluated_exports(run: RunPaths, config: Config) -> Iterator[Garbage]:
    tasks = task_names(config)
    for record in read_checkpoints(run)[:-1]:
        if not is_own(record) or run.folder / record.export != run.checkpoint_export(record.trained_tokens):
            continue  # a place of somebody else's
        if tasks and all(_is_evaluated(run, record, task, config.suite.profiles) for task in tasks):
            folder = run.checkpoint_export(record.trained_tokens)
            reason = "evaluated, and machine.keep_exports=false"
            yield Garbage("export", folder, _size(folder), reason, True, _export_remover(run, record), run.lock)


def _is_evaluated(run: RunPaths, record: CheckpointRecord, task: str, profiles: Sequence[str]) -> bool:
    """One result stands for all profiles, or each profile has its own (evaluate/task.py: Task.folder)."""
    return _has_result(run, record, task) or all(_has_result(run, record, f"{task}-{profile}") for profile in profiles)


def _has_result(run: RunPaths, record: CheckpointRecord, task: str) -> bool:
    result = read_result(run.evaluation(record.trained_tokens, task))
    return result is not None and result.get("weights_digest") == record.digest


def _export_remover(run: RunPaths, record: CheckpointRecord) -> Callable[[], None]:
    def remove() -> None:
        records = [replace(one, export="") if one.trained_tokens == record.trained_tokens else one for one in read_checkpoints(run)]
        write_checkpoints(run, records)  # first, so that nobody looks for what is going
        withdraw(run.checkpoint_export(record.trained_tokens))

    return remove


def _unreferenced(out: Path) -> Iterator[Garbage]:
    artefacts = [find_artefact(path) for kind in ARTEFACT_KINDS for path in sorted((out / "artefacts" / kind).glob("*")) if path.is_dir()]
    known = {artefact.digest: artefact for artefact in artefacts if artefact is not None}
    used = _closure(_digests(read_json(RunPaths.of(out, run_id).inputs) for run_id in list_run_ids(out)), known)
    for artefact in known.values():
        if artefact.digest not in used:
            yield Garbage("unreferenced", artefact.folder, _size(artefact.folder), "no run of this root refers to it", False, lambda: None)


def _digests(values: Iterable[Any]) -> set[str]:
    """Every text inside nested values (digests are among them)."""
    found: set[str] = set()
    for value in values:
        if isinstance(value, str):
            found.add(value)
        elif isinstance(value, Mapping):
            found |= _digests(value.values())
    return found


def _closure(used: set[str], known: Mapping[str, Artefact]) -> set[str]:
    """What is used, and what that was made from."""
    waiting, reached = list(used), set(used)
    while waiting:
        artefact = known.get(waiting.pop())
        further = _digests([artefact.manifest.get("made_from", {})]) - reached if artefact is not None else set()
        reached |= further
        waiting += further
    return reached


def remove_garbage(found: Sequence[Garbage]) -> list[Garbage]:
    """Remove what is removable; what is in use by now is left. Returns what went."""
    gone = []
    for one in found:
        if not one.removable:
            continue
        try:
            with FileLock(str(one.lock), timeout=0) if one.lock is not None else contextlib.nullcontext():
                one.remove()
        except Timeout:
            continue
        if one.path.is_symlink() or one.path.exists():
            say(f"{one.path} could not be removed: check who owns it")
            continue
        gone.append(one)
    return gone


def garbage_table(found: Sequence[Garbage], *, removed: bool, as_json: bool) -> str:
    """What went, or would go, with its bytes."""
    going = [one for one in found if one.removable]
    total = sum(one.num_bytes for one in going)
    if as_json:
        facts = [{"kind": one.kind, "path": str(one.path), "bytes": one.num_bytes, "reason": one.reason} for one in found]
        items = [{**fact, "removable": one.removable} for fact, one in zip(facts, found, strict=True)]
        return json.dumps({"bytes": total, "removed": removed, "items": items}, indent=1)
    marks = {True: "removed" if removed else "would go", False: "stays"}
    lines = [
        f"{marks[one.removable]:<8}  {one.kind:<12} {format_bytes(one.num_bytes):>10}  {one.path}  ({one.reason})"
        for one in sorted(found, key=lambda one: not one.removable)
    ]
    things = f"{len(going)} {'thing' if len(going) == 1 else 'things'}, {format_bytes(total)}"
    if removed:
        lines.append(f"removed {things}")
    elif going:
        it = "it" if len(going) == 1 else "them"
        lines.append(f"{things}, would go; nothing was removed: `swallow gc --yes` removes {it}")
    else:
        lines.append("nothing to remove")
    return "\n".join(lines)
