"""checkpoints.json: which marks of a run were exported, where, with which digest. Light: no torch.

{"checkpoints": [{"mark_tokens", "trained_tokens", "step", "export", "digest", "resumable", "seconds"}]}  by trained_tokens

`export` is relative to the run folder, or to the output root with the prefix `out:` (the start weights are not copied).
Reads/Writes  runs/<run_id>/checkpoints.json
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from swallow_exp.artefact.files import read_json, write_json_atomic
from swallow_exp.artefact.paths import RunPaths

OUT_PREFIX = "out:"


@dataclass(frozen=True)
class CheckpointRecord:
    """One exported checkpoint. `mark_tokens` was asked for, `trained_tokens` is where the first step at or past it ended."""

    mark_tokens: int
    trained_tokens: int
    step: int
    export: str
    digest: str
    resumable: bool
    seconds: float


def read_checkpoints(run: RunPaths) -> list[CheckpointRecord]:
    """Exported checkpoints by trained tokens; none when the index is missing or torn."""
    index = read_json(run.checkpoint_index)
    if not isinstance(index, dict):
        return []
    names = [field.name for field in fields(CheckpointRecord)]
    try:
        records = [CheckpointRecord(**{name: row[name] for name in names}) for row in index["checkpoints"]]
    except (KeyError, TypeError):
        return []
    return sorted(records, key=lambda record: record.trained_tokens)


def write_checkpoints(run: RunPaths, records: Sequence[CheckpointRecord]) -> None:
    """Replace the index atomically."""
    ordered = sorted(records, key=lambda record: record.trained_tokens)
    write_json_atomic(run.checkpoint_index, {"checkpoints": [asdict(record) for record in ordered]})


def add_checkpoint(run: RunPaths, record: CheckpointRecord) -> None:
    """Put one record into the index, in place of an earlier one at the same trained tokens."""
    others = [known for known in read_checkpoints(run) if known.trained_tokens != record.trained_tokens]
    write_checkpoints(run, [*others, record])


def resolve_export(run: RunPaths, record: CheckpointRecord) -> Path:
    """The Hugging Face folder of a record."""
    if record.export.startswith(OUT_PREFIX):
        return run.out / record.export.removeprefix(OUT_PREFIX)
    return run.folder / record.export
