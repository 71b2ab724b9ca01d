"""Resumable states on disk: which are whole, which are torn, which one training continues from, which may go. Light: no torch.

(1) seal    complete.json {step, trained_tokens, inputs_digest, files: {name: bytes, sha256}, mark_digest} into state.partial
(2) rename  state.partial -> state: only now it exists
(3) find    a state counts when every file has the size its mark says; any other is torn: named, set aside, never read
(4) read    before training continues from a state, its files are held against their sha256s; a damaged one gives way to the one before it
(5) prune   older states go (renamed first, so that a kill leaves no torn one); exports stay

Reads/Writes  runs/<run_id>/checkpoints/tokens_<n>/state/
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RunFailed
from swallow_exp.artefact.files import digest_of, is_plain_name, read_json, remove_folder, write_json_atomic
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.artefact.remember import remembered_sha256s
from swallow_exp.checkpoint.index import read_checkpoints, write_checkpoints

COMPLETE_NAME = "complete.json"
PLAN_NAME = ".metadata"  # torch's own index of a distributed checkpoint
REST_NAME = "meta.pt"  # what is no tensor: schedule, loop counters
PARTIAL_SUFFIX = ".partial"
TORN_SUFFIX = ".torn"


@dataclass(frozen=True)
class SavedState:
    """A complete state: where it is, and after which step it was taken."""

    folder: Path
    step: int
    trained_tokens: int
    inputs_digest: str


@dataclass(frozen=True)
class TornState:
    """A folder that should be a state and is not whole."""

    folder: Path
    reason: str

    def __str__(self) -> str:
        """One line for the person who watches."""
        return f"the state {self.folder} is torn ({self.reason})"


class SaveFailed(RunFailed):
    """A state or an export could not be written; what was there before is untouched."""


class FailedElsewhere(SaveFailed):
    """The same, on a process that need not say so: the first one does."""


def partial_of(folder: Path) -> Path:
    """The temporary name of a state or an export."""
    return folder.with_name(folder.name + PARTIAL_SUFFIX)


def _state_folders(run: RunPaths) -> Iterator[Path]:
    """Folders that bear a state's name, by tokens. What a link leads to is not of this run."""
    names = [re.fullmatch(r"tokens_(\d+)", path.name) for path in run.checkpoints.glob("tokens_*")]
    for tokens in sorted(int(name.group(1)) for name in names if name):
        folder = run.checkpoint_state(tokens)
        if folder.is_dir() and not folder.is_symlink() and not folder.parent.is_symlink():
            yield folder


def read_state_mark(folder: Path) -> SavedState | TornState:
    """What a state folder holds, by its mark and the sizes of its files (their content: check.py)."""
    mark = read_json(folder / COMPLETE_NAME)
    try:
        state = SavedState(folder, int(mark["step"]), int(mark["trained_tokens"]), str(mark["inputs_digest"]))
        sizes = {str(name): int(facts["bytes"]) for name, facts in mark["files"].items() if str(facts["sha256"])}
        whole = sizes.keys() == mark["files"].keys() and all(map(is_plain_name, sizes))
    except (TypeError, KeyError, ValueError, AttributeError):
        whole = False
    if not whole:
        return TornState(folder, f"{COMPLETE_NAME} is missing or torn")
    if "mark_digest" in mark and mark["mark_digest"] != _mark_digest(mark):
        return TornState(folder, f"{COMPLETE_NAME} has changed since it was written")
    for name, size in sizes.items():
        try:  # one look: the run may be removing an old state right now
            found = (folder / name).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return TornState(folder, f"{name} is missing")
        if found != size:
            return TornState(folder, f"{name} has {found:,} bytes instead of {size:,}")
    return state


def _mark_digest(mark: Mapping[str, Any]) -> str:
    return digest_of({key: value for key, value in mark.items() if key != "mark_digest"})


def damage_of(state: SavedState) -> str | None:
    """Why a whole state is not what was written, or None. Reads every byte, once per version of its files."""
    files = read_json(state.folder / COMPLETE_NAME)["files"]
    try:
        digests = remembered_sha256s(state.folder, list(files))
    except OSError as error:
        return f"{Path(error.filename or state.folder).name} cannot be read: {error.strerror}"
    for name, digest in digests.items():
        if digest != files[name]["sha256"]:
            return f"{name} has changed: its sha256 is {digest[:12]}, {files[name]['sha256'][:12]} was written"
    return None


def sound_state(run: RunPaths) -> SavedState | None:
    """The newest state whose files are those that were written, or None when the run has no state.

    Raises RunFailed when it has states and all of them are damaged: training would begin again from its start weights.
    """
    damaged: list[TornState] = []
    for state in reversed(find_states(run)):
        damage = damage_of(state)
        if damage is None:
            return state
        damaged.append(TornState(state.folder, damage))
    if damaged:
        raise RunFailed(
            f"{damaged[0]}, and the run has no other state; expected the files as they were written; restore them from a copy, "
            f"or remove {damaged[0].folder} to begin again from the start weights"
        )
    return None


def find_states(run: RunPaths) -> list[SavedState]:
    """Complete states of a run, oldest first."""
    found = [read_state_mark(folder) for folder in _state_folders(run)]
    return sorted((state for state in found if isinstance(state, SavedState)), key=lambda state: state.step)


def torn_states(run: RunPaths) -> list[TornState]:
    """Folders that bear a state's name and are not whole."""
    found = [read_state_mark(folder) for folder in _state_folders(run)]
    return [state for state in found if isinstance(state, TornState)]


def newest_state(run: RunPaths) -> SavedState | None:
    """The state training would continue from, or None."""
    states = find_states(run)
    return states[-1] if states else None


def seal_state(state: SavedState, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the mark into the partial folder and give it its name. `files` are {name: {"bytes", "sha256"}}."""
    partial = partial_of(state.folder)
    mark = {key: value for key, value in asdict(state).items() if key != "folder"}
    mark |= {"files": dict(files)}
    write_json_atomic(partial / COMPLETE_NAME, {**mark, "mark_digest": _mark_digest(mark)})
    sync_folder(partial)
    withdraw(state.folder)
    partial.rename(state.folder)
    sync_folder(state.folder.parent)  # an older state is deleted next: the new name must outlive a power cut


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def withdraw(folder: Path) -> None:
    """Remove a state or an export; a kill half-way leaves something that bears neither's name."""
    if folder.is_symlink():
        folder.unlink()
    elif folder.is_dir():
        leaving = folder.with_name(f"{folder.name}.old{PARTIAL_SUFFIX}")
        remove_folder(leaving)
        folder.rename(leaving)
        remove_folder(leaving)


def prune_states(run: RunPaths, *, keep: int = 1, keep_marks: bool = False) -> list[SavedState]:
    """Keep the newest `keep` states, and with `keep_marks` those of every listed mark. Exports are not touched.

    The index says so before anything is deleted. Returns what was removed.
    """
    states = find_states(run)
    records = read_checkpoints(run)
    marks = {record.trained_tokens for record in records} if keep_marks else set()
    newest = {state.trained_tokens for state in states[max(len(states) - keep, 0) :]}
    kept = newest | marks
    resumable = {state.trained_tokens for state in states} & kept
    marked = [replace(record, resumable=record.trained_tokens in resumable) for record in records]
    if marked != records:
        write_checkpoints(run, marked)
    gone = [state for state in states if state.trained_tokens not in kept]
    for state in gone:
        withdraw(state.folder)
        _remove_if_empty(state.folder.parent)  # a rolling state: nothing was exported here
    return gone


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()


def set_aside_torn(run: RunPaths, *, after_step: int | None = None) -> list[TornState]:
    """Give torn states another name, so that nothing takes them for a state; returns them under their old names.

    With `after_step`, the step of the state that training continues from, damaged states behind it are set aside too.
    """
    torn = torn_states(run)
    newer = [state for state in find_states(run) if after_step is not None and state.step > after_step]
    torn += [TornState(state.folder, damage) for state in newer if (damage := damage_of(state)) is not None]
    for state in torn:
        aside = state.folder.with_name(state.folder.name + TORN_SUFFIX)
        remove_folder(aside)
        state.folder.rename(aside)
    return torn


def leftovers(run: RunPaths) -> list[Path]:
    """What killed processes left half-written, and torn states that were set aside."""
    names = (f"*{PARTIAL_SUFFIX}", f"*{TORN_SUFFIX}")
    folders = [folder for folder in run.checkpoints.glob("tokens_*") if not folder.is_symlink()]
    return sorted(path for folder in folders for name in names for path in folder.glob(name))


def remove_partial(run: RunPaths) -> None:
    """Remove what a killed process left half-written: states and exports without their marks."""
    for checkpoint in run.checkpoints.glob("tokens_*"):
        if checkpoint.is_symlink():
            continue
        for leftover in checkpoint.glob(f"*{PARTIAL_SUFFIX}"):
            remove_folder(leftover)
        if checkpoint.is_dir():
            _remove_if_empty(checkpoint)
