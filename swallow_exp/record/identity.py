"""Identity of a run: the part of the config that changes numbers, hashed.

(1) keep    the identity groups, without circumstances (paths, machine, tracking, checkpoint interval)  -> dict
(2) drop    fields that were added to the schema later and still hold their default                     -> old runs keep their id
(3) hash    canonical JSON                                                                              -> 7 hex letters
(4) name    base_model-vocabulary-mixture-parallel-budget-s<seed>-<hash7>                               -> run_id

Reads  runs/<run_id>/identity.json, where it is asked for
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swallow_exp.artefact.files import digest_of, read_json

IDENTITY_SCHEMA_VERSION = 1
# In the order of conf/train.yaml; the record's columns are these names.
IDENTITY_GROUPS = ("base_model", "vocabulary", "mixture", "parallel", "budget", "optim", "numerics")
# Circumstances inside identity groups: where things lie, how often to save, when to give up.
# What lies there is guarded by inputs.json, which a resumed run compares.
NOT_IDENTITY = frozenset(
    {
        "base_model.path",
        "base_model.tokenizer",
        "base_model.num_pieces",
        "budget.checkpoint_every_tokens",
        "budget.final_checkpoints",
        "budget.final_checkpoint_every_tokens",
        "vocabulary.processes",
        "numerics.max_skipped_updates",
        "numerics.max_skipped_in_a_row",
        "numerics.stop_at_loss_spike",
        "mixture.sources.*.files",
        "mixture.sources.*.license",
        "mixture.sources.*.homepage",
    }
)
# dotted name -> default, for fields added after the first release (see module docstring, step 2).
ADDED_LATER: Mapping[str, Any] = {
    "mixture.groups": {},
    "mixture.attention": "packed",
    "budget.counts": "trained_tokens",
    "optim.lr_final": None,
    "numerics.skip_loss_spikes": False,
    "mixture.sources.*.dataset": None,
    "mixture.sources.*.dataset_config": None,
    "mixture.sources.*.dataset_split": "train",
    "mixture.sources.*.dataset_revision": None,
}


def _pattern(dotted: str) -> str:
    """`mixture.sources.wiki.files` -> `mixture.sources.*.files`."""
    if not dotted.startswith("mixture.sources."):  # most names, of every cell of a grid
        return dotted
    return re.sub(r"^mixture\.sources\.[^.]+\.", "mixture.sources.*.", dotted)


def _keep(node: Any, prefix: str) -> Any:
    if not isinstance(node, Mapping):
        return node
    kept: dict[str, Any] = {}
    for key, value in node.items():
        dotted = f"{prefix}.{key}" if prefix else str(key)
        name = _pattern(dotted)
        if name in NOT_IDENTITY or (name in ADDED_LATER and ADDED_LATER[name] == value):
            continue
        kept[str(key)] = _keep(value, dotted)
    return kept


def identity_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The hashed part of a resolved config (plain dict)."""
    groups = {group: config[group] for group in IDENTITY_GROUPS}
    identity: dict[str, Any] = _keep(groups, "")
    identity["seed"] = config["seed"]
    identity["identity_schema_version"] = IDENTITY_SCHEMA_VERSION
    return identity


def read_identity(path: Path) -> dict[str, Any] | None:
    """identity.json, or None when it is missing, torn, or of another shape: every group is an object with a name."""
    identity = read_json(path)
    if not isinstance(identity, dict) or type(identity.get("seed")) is not int:
        return None
    groups = [identity.get(group) for group in IDENTITY_GROUPS]
    return identity if all(isinstance(group, dict) and isinstance(group.get("name"), str) for group in groups) else None


def run_id_of(identity: Mapping[str, Any]) -> str:
    """Readable name and 7 hex letters, safe as a folder name and as a W&B id."""
    shown = [str(identity[group]["name"]) for group in ("base_model", "vocabulary", "mixture", "parallel", "budget")]
    readable = "-".join([*shown, f"s{identity['seed']}"])
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", readable)
    return f"{readable}-{digest_of(identity)[:7]}"


def identity_difference(first: Mapping[str, Any], second: Mapping[str, Any], prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted names whose values differ, with both values (None where one side lacks it)."""
    differences: dict[str, tuple[Any, Any]] = {}
    for key in sorted({*first, *second}):
        a, b = first.get(key), second.get(key)
        dotted = f"{prefix}{key}"
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            differences.update(identity_difference(a, b, f"{dotted}."))
        elif a != b or (key in first) != (key in second):
            differences[dotted] = (a, b)
    return differences
