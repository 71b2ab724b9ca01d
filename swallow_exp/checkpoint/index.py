"""checkpoints.json: which marks of a run were exported, where, with which digest. Light: no torch.

{"checkpoints": [{"mark_tokens", "trained_tokens", "step", "export", "digest", "resumable", "seconds", "sides"}]}  by trained_tokens

`digest` is that of the weights; `sides` are the sha256s of the files beside them (older records lack it).

`export` is relative to the run folder, or to the output root with the prefix `out:` (the start weights are not copied), or empty
when the export was given up by `swallow gc`. Each record lies beside its export too, so that a damaged index is made again.
Reads/Writes  runs/<run_id>/checkpoints.json, checkpoints/tokens_<n>/checkpoint.json
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import is_inside, is_plain_name, read_json, write_json_atomic
from swallow_exp.artefact.paths import ARTEFACT_KINDS, RunPaths, artefact_folder

OUT_PREFIX = "out:"
RECORD_NAME = "checkpoint.json"


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
    sides: Mapping[str, str] = field(default_factory=dict)

    @property
    def remedy(self) -> str:
        """What to do when its export was damaged or is gone."""
        if not is_own(self):
            return "remove that folder, and the run's `swallow train` command builds it again"
        if self.resumable:
            return "remove that folder, and the run's `swallow train` command exports it again"
        return "restore it from a copy, or remove the run and train it again"


def _record_of(row: Any) -> CheckpointRecord | None:
    """The record in a row; None for one of another shape, or whose export would lie outside the run and the output root."""
    try:
        record = CheckpointRecord(**{"sides": {}, **{one.name: row[one.name] for one in fields(CheckpointRecord) if one.name in row}})
    except TypeError:
        return None
    counts = (record.mark_tokens, record.trained_tokens, record.step)
    shaped = all(type(count) is int and count >= 0 for count in counts) and type(record.resumable) is bool
    shaped = shaped and type(record.seconds) in (int, float) and isinstance(record.digest, str)
    if not shaped or not isinstance(record.export, str) or not isinstance(record.sides, dict):
        return None
    if not all(is_plain_name(name) and isinstance(digest, str) for name, digest in record.sides.items()):
        return None
    place = record.export.removeprefix(OUT_PREFIX)
    return record if not place or all(is_plain_name(part) for part in place.split("/")) else None


def read_checkpoints(run: RunPaths) -> list[CheckpointRecord]:
    """Exported checkpoints by trained tokens; none when the index is missing or torn."""
    index = read_json(run.checkpoint_index)
    if not isinstance(index, dict) or not isinstance(index.get("checkpoints"), list):
        return []
    records = [_record_of(row) for row in index["checkpoints"]]
    if None in records:
        return []
    return sorted((record for record in records if record is not None), key=lambda record: record.trained_tokens)


def write_checkpoints(run: RunPaths, records: Sequence[CheckpointRecord]) -> None:
    """Replace the index atomically."""
    ordered = sorted(records, key=lambda record: record.trained_tokens)
    write_json_atomic(run.checkpoint_index, {"checkpoints": [asdict(record) for record in ordered]})


def add_checkpoint(run: RunPaths, record: CheckpointRecord) -> None:
    """Put one record into the index, in place of an earlier one at the same trained tokens, and beside its export."""
    if is_own(record):
        write_json_atomic(run.checkpoint(record.trained_tokens) / RECORD_NAME, asdict(record))
    others = [known for known in read_checkpoints(run) if known.trained_tokens != record.trained_tokens]
    write_checkpoints(run, [*others, record])


def is_own(record: CheckpointRecord) -> bool:
    """True when the export was made by this run and lies in its folder."""
    return bool(record.export) and not record.export.startswith(OUT_PREFIX)


def restore_checkpoints(run: RunPaths) -> list[CheckpointRecord]:
    """List again what lies in the run's folder with its record and is missing in the index; returns what was added."""
    listed = {record.trained_tokens for record in read_checkpoints(run)}
    found = [_record_of(read_json(path)) for path in run.checkpoints.glob(f"tokens_*/{RECORD_NAME}")]
    missing = [one for one in found if one is not None and one.trained_tokens not in listed and resolve_export(run, one).is_dir()]
    if missing:
        write_checkpoints(run, [*read_checkpoints(run), *missing])
    return missing


def resolve_export(run: RunPaths, record: CheckpointRecord) -> Path:
    """The Hugging Face folder of a record. Raises RequestError when a link leads out of the run, or out of the artefacts."""
    if record.export.startswith(OUT_PREFIX):
        folder = run.out / record.export.removeprefix(OUT_PREFIX)
        roots = [run.out, *(artefact_folder(run.out, kind, "", "").parent for kind in ARTEFACT_KINDS)]  # users put these on other disks
    else:
        folder, roots = run.folder / record.export, [run.folder, run.checkpoints]
    if not is_inside(folder, *roots):
        raise RequestError(
            f"{run.checkpoint_index} names {record.export!r:.200}, which leads out of {roots[0]}",
            expected="an export inside the run, or start weights inside the output root",
            remedy="remove the link, or copy what it leads to into its place",
        )
    return folder
