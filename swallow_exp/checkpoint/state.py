"""Resumable states: written under a temporary name, completed by a mark, renamed; only complete ones are ever seen.

(1) save    every process writes its shards into state.partial       -> distributed checkpoint, any number of processes can read it
(2) mark    complete.json {step, trained_tokens, inputs_digest}
(3) rename  state.partial -> state
(4) prune   older states go; exports stay

Reads/Writes  runs/<run_id>/checkpoints/tokens_<n>/state/
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from swallow_exp.artefact.files import make_folder, read_json, remove_folder, user_disk, write_json_atomic
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.checkpoint.index import read_checkpoints, write_checkpoints

COMPLETE_NAME = "complete.json"
PARTIAL_SUFFIX = ".partial"


@dataclass(frozen=True)
class SavedState:
    """A complete state: where it is, and after which step it was taken."""

    folder: Path
    step: int
    trained_tokens: int
    inputs_digest: str


def find_states(run: RunPaths) -> list[SavedState]:
    """Complete states of a run, oldest first."""
    states = []
    for checkpoint in run.checkpoints.glob("tokens_*"):
        if not re.fullmatch(r"tokens_\d+", checkpoint.name):
            continue
        folder = run.checkpoint_state(int(checkpoint.name.removeprefix("tokens_")))
        mark = read_json(folder / COMPLETE_NAME)
        if isinstance(mark, dict):
            states.append(SavedState(folder, int(mark["step"]), int(mark["trained_tokens"]), str(mark["inputs_digest"])))
    return sorted(states, key=lambda state: state.step)


def newest_state(run: RunPaths) -> SavedState | None:
    """The state training would continue from, or None."""
    states = find_states(run)
    return states[-1] if states else None


def save_state(trainer: Any, run: RunPaths, *, step: int, trained_tokens: int, inputs_digest: str) -> SavedState:
    """Save model, optimizer, scheduler and step of a Lightning trainer. Every process must call it; returns when it is complete."""
    folder = run.checkpoint_state(trained_tokens)
    saved = SavedState(folder, step, trained_tokens, inputs_digest)
    if read_json(folder / COMPLETE_NAME) is not None:
        return saved
    partial = folder.with_name(folder.name + PARTIAL_SUFFIX)
    if trainer.is_global_zero:
        remove_folder(partial)
        remove_folder(folder)  # without its mark it is no state
        make_folder(partial)
    trainer.strategy.barrier("state folder is empty")
    with user_disk(partial):
        trainer.save_checkpoint(partial)  # ends with a barrier
    if trainer.is_global_zero:
        mark = {key: value for key, value in asdict(saved).items() if key != "folder"}
        write_json_atomic(partial / COMPLETE_NAME, mark)
        partial.rename(folder)
    trainer.strategy.barrier("state is complete")
    return saved


def prune_states(run: RunPaths) -> None:
    """Keep the newest state, drop the older ones; exports are not touched. The index says so before anything is deleted."""
    states = find_states(run)
    if not states:
        return
    newest = states[-1]
    records = read_checkpoints(run)
    marked = [replace(record, resumable=record.trained_tokens == newest.trained_tokens) for record in records]
    if marked != records:
        write_checkpoints(run, marked)
    for state in states[:-1]:
        (state.folder / COMPLETE_NAME).unlink(missing_ok=True)  # a kill half-way leaves something that is no state
        remove_folder(state.folder)
        if not any(state.folder.parent.iterdir()):
            state.folder.parent.rmdir()  # a rolling state: nothing was exported here


def remove_partial(run: RunPaths) -> None:
    """Remove what a killed process left half-written: states and exports without their marks."""
    for checkpoint in run.checkpoints.glob("tokens_*"):
        for leftover in checkpoint.glob(f"*{PARTIAL_SUFFIX}"):
            remove_folder(leftover)
        if not any(checkpoint.iterdir()):
            checkpoint.rmdir()
