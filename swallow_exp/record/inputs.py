"""inputs.json of a run: which artefacts it is made from, by folder and digest.

{"weights", "vocabulary", "mixture": {"folder", "digest"}, "tokens", "corpora": {source: {"folder", "digest"}}}

Folders are relative to the output root, and lie inside it.
Reads  runs/<run_id>/inputs.json
"""

from __future__ import annotations

from typing import Any

from swallow_exp.artefact.files import is_plain_name, read_json
from swallow_exp.artefact.paths import RunPaths

ROLES, ROLES_BY_SOURCE = ("weights", "vocabulary", "mixture"), ("tokens", "corpora")


def read_inputs(run: RunPaths) -> dict[str, Any] | None:
    """inputs.json of a run; None when it is missing, torn or of another shape (it is written again)."""
    inputs = read_json(run.inputs)
    if not isinstance(inputs, dict) or not {*ROLES, *ROLES_BY_SOURCE} <= inputs.keys():
        return None
    by_source = [inputs[role] for role in ROLES_BY_SOURCE]
    if not all(isinstance(sources, dict) for sources in by_source):
        return None
    references = [*(inputs[role] for role in ROLES), *(reference for sources in by_source for reference in sources.values())]
    return inputs if all(map(is_reference, references)) else None


def is_reference(reference: Any) -> bool:
    """True for {"folder", "digest"} whose folder does not lead out of the output root."""
    if not isinstance(reference, dict) or not all(isinstance(reference.get(name), str) for name in ("folder", "digest")):
        return False
    return all(is_plain_name(part) for part in reference["folder"].split("/"))
