"""Is what lies in checkpoints/ still what was written there? Light: no torch.

check_export        seconds: every tensor the headers name lies inside its file
require_export      reads an export once per version of its files: weights and side files are those that were written
check_states        reads every byte of the resumable states: sizes, sha256, leftovers

Reads  runs/<run_id>/checkpoints/
"""

from __future__ import annotations

from pathlib import Path

from swallow_exp.artefact.errors import RequestError, RunFailed
from swallow_exp.artefact.files import read_json, sha256_file
from swallow_exp.artefact.manifest import find_artefact
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.artefact.progress import track
from swallow_exp.checkpoint.index import CheckpointRecord, is_own, read_checkpoints, resolve_export
from swallow_exp.checkpoint.state import COMPLETE_NAME, find_states, leftovers, torn_states
from swallow_exp.model.folder import CONFIG_NAME, GENERATION_NAME, TOKENIZER_NAMES, read_model_config, stored_tensors
from swallow_exp.model.identity import SIDE_NAMES, check_sides, check_weights


def check_export(folder: Path) -> None:
    """Raises RunFailed naming the first file of a Hugging Face folder that is missing or cut off."""
    if not folder.is_dir():
        raise RunFailed(f"the export {folder} is not there")
    missing = [name for name in (CONFIG_NAME, GENERATION_NAME, *TOKENIZER_NAMES) if not (folder / name).is_file()]
    if missing:
        raise RunFailed(f"the export {folder} has no {missing[0]}")
    try:
        read_model_config(folder)
        stored_tensors(folder)
    except RequestError as error:
        raise RunFailed(error.given) from error


def recorded_sides(run: RunPaths, record: CheckpointRecord) -> dict[str, str]:
    """Name -> sha256 of the files beside the weights of a record's export, as they were written; those that are known.

    Exports of earlier versions say nothing of them: theirs are copies of those of the start weights, config.json excepted.
    """
    if record.sides:
        return dict(record.sides)
    own = is_own(record)
    start = next((one for one in read_checkpoints(run) if one.trained_tokens == 0 and not is_own(one)), None) if own else record
    artefact = find_artefact(resolve_export(run, start)) if start is not None and start.export else None
    known = artefact.manifest.get("sha256", {}) if artefact is not None else {}
    return {name: digest for name, digest in known.items() if name in SIDE_NAMES and not (own and name == CONFIG_NAME)}


def require_export(run: RunPaths, record: CheckpointRecord) -> Path:
    """The folder of a record's export, once it is what was written. Raises RunFailed or RequestError naming what is not."""
    folder = resolve_export(run, record)
    check_export(folder)
    check_sides(folder, recorded_sides(run, record), remedy=record.remedy)
    check_weights(folder, record.digest, remedy=record.remedy)
    return folder


def check_states(run: RunPaths) -> list[str]:
    """Everything that is wrong in a run's resumable states, one line each. Reads every byte, with a bar."""
    problems = [str(torn) for torn in torn_states(run)]
    problems += [f"{path} is a leftover; `swallow gc` removes it" for path in leftovers(run)]
    for state in track(find_states(run), "states"):
        for name, facts in read_json(state.folder / COMPLETE_NAME)["files"].items():
            if sha256_file(state.folder / name) != facts["sha256"]:
                problems.append(f"{state.folder / name} has changed since it was written")
    return problems
