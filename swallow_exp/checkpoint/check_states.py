"""Is what lies in checkpoints/ still what was written there? Light: no torch.

check_export        seconds: every tensor the headers name lies inside its file (before an export is given away)
check_states        reads every byte of the resumable states: sizes, sha256, leftovers

Reads  runs/<run_id>/checkpoints/
"""

from __future__ import annotations

from pathlib import Path

from swallow_exp.artefact.errors import RequestError, RunFailed
from swallow_exp.artefact.files import read_json, sha256_file
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.artefact.progress import track
from swallow_exp.checkpoint.state import COMPLETE_NAME, find_states, leftovers, torn_states
from swallow_exp.model.folder import CONFIG_NAME, GENERATION_NAME, TOKENIZER_NAMES, weights_on_disk


def check_export(folder: Path) -> None:
    """Raises RunFailed naming the first file of a Hugging Face folder that is missing or cut off."""
    if not folder.is_dir():
        raise RunFailed(f"the export {folder} is not there")
    missing = [name for name in (CONFIG_NAME, GENERATION_NAME, *TOKENIZER_NAMES) if not (folder / name).is_file()]
    if missing:
        raise RunFailed(f"the export {folder} has no {missing[0]}")
    try:
        for file, size, end, _ in weights_on_disk(folder):
            if end is None:
                raise RunFailed(f"{file} has no readable header ({size:,} bytes)")
            if size != end:
                raise RunFailed(f"{file} has {size:,} bytes instead of {end:,}")
    except RequestError as error:
        raise RunFailed(error.given) from error


def check_states(run: RunPaths) -> list[str]:
    """Everything that is wrong in a run's resumable states, one line each. Reads every byte, with a bar."""
    problems = [str(torn) for torn in torn_states(run)]
    problems += [f"{path} is a leftover; `swallow gc` removes it" for path in leftovers(run)]
    for state in track(find_states(run), "states"):
        for name, facts in read_json(state.folder / COMPLETE_NAME)["files"].items():
            if sha256_file(state.folder / name) != facts["sha256"]:
                problems.append(f"{state.folder / name} has changed since it was written")
    return problems
