import copy
import re
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swallow_exp.artefact.files import digest_of
from swallow_exp.config.schema import Config, SourceConfig
from swallow_exp.record import identity as identity_module
from swallow_exp.record.identity import IDENTITY_GROUPS, identity_difference, identity_of, run_id_of

Path = tuple[str, ...]


def make_config() -> dict[str, Any]:
    config = Config()
    config.mixture.sources = {"wiki": SourceConfig(name="wiki", files=["a.jsonl"]), "web": SourceConfig(name="web", files=["b.jsonl"])}
    config.mixture.weights = {"wiki": 0.75, "web": 0.25}
    plain = asdict(config)
    for group in IDENTITY_GROUPS:
        plain[group]["name"] = f"{group}_level"
    return plain


CONFIG = make_config()


def leaves(node: Any, prefix: Path = ()) -> list[Path]:
    if isinstance(node, dict) and node:
        return [leaf for key, value in node.items() for leaf in leaves(value, (*prefix, key))]
    return [prefix]


def is_circumstance(leaf: Path) -> bool:
    """Written out here on purpose: what may differ between two runs that count as the same."""
    if leaf[:2] == ("mixture", "sources"):
        return leaf[3] in ("files", "license", "homepage")
    alone = {
        ("base_model", "path"),
        ("base_model", "tokenizer"),
        ("base_model", "num_pieces"),
        ("budget", "checkpoint_every_tokens"),
        ("budget", "final_checkpoints"),
        ("budget", "final_checkpoint_every_tokens"),
        ("numerics", "max_skipped_updates"),
        ("numerics", "max_skipped_in_a_row"),
        ("numerics", "stop_at_loss_spike"),
        ("vocabulary", "processes"),
    }
    return leaf[0] in ("strategy", "machine", "suite", "tracking", "paths") or leaf in alone


def changed(config: dict[str, Any], leaf: Path) -> dict[str, Any]:
    result = copy.deepcopy(config)
    node = result
    for key in leaf[:-1]:
        node = node[key]
    value = node[leaf[-1]]
    if isinstance(value, bool) or value is None:
        node[leaf[-1]] = "changed" if value is None else not value
    elif isinstance(value, list):
        node[leaf[-1]] = [*value, "changed"]
    elif isinstance(value, dict):
        node[leaf[-1]] = {**value, "changed": {"fill": True}}
    else:
        node[leaf[-1]] = value + type(value)(1) if isinstance(value, int | float) else value + "x"
    return result


def shuffled(node: Any, shuffle: Any) -> Any:
    if not isinstance(node, dict):
        return node
    keys = list(node)
    shuffle.shuffle(keys)
    return {key: shuffled(node[key], shuffle) for key in keys}


def run_id(config: dict[str, Any]) -> str:
    return run_id_of(identity_of(config))


IDENTITY_LEAVES = [leaf for leaf in leaves(CONFIG) if not is_circumstance(leaf)]
CIRCUMSTANCE_LEAVES = [leaf for leaf in leaves(CONFIG) if is_circumstance(leaf)]


@pytest.mark.parametrize("leaf", IDENTITY_LEAVES, ids=".".join)
def test_every_identity_leaf_changes_the_hash(leaf: Path) -> None:
    assert digest_of(identity_of(changed(CONFIG, leaf))) != digest_of(identity_of(CONFIG))
    assert run_id(changed(CONFIG, leaf))[-7:] != run_id(CONFIG)[-7:]


@pytest.mark.parametrize("leaf", CIRCUMSTANCE_LEAVES, ids=".".join)
def test_no_circumstance_changes_the_identity(leaf: Path) -> None:
    assert identity_of(changed(CONFIG, leaf)) == identity_of(CONFIG)


@settings(deadline=None)
@given(st.randoms(), st.sets(st.sampled_from(CIRCUMSTANCE_LEAVES)), st.sets(st.sampled_from(IDENTITY_LEAVES)))
def test_order_never_matters_and_changes_are_named(shuffle: Any, free: set[Path], decisive: set[Path]) -> None:
    other = CONFIG
    for leaf in free | decisive:
        other = changed(other, leaf)
    first, second = identity_of(shuffled(CONFIG, shuffle)), identity_of(shuffled(other, shuffle))
    assert (run_id_of(first)[-7:] == run_id_of(second)[-7:]) == (not decisive)
    assert set(identity_difference(first, second)) == {".".join(leaf) for leaf in decisive}
    assert run_id_of(first) == run_id(CONFIG)


@settings(deadline=None)
@given(st.lists(st.text(min_size=1, max_size=20), min_size=5, max_size=5), st.integers(0, 2**31))
def test_a_run_id_is_a_safe_folder_name(names: list[str], seed: int) -> None:
    config = copy.deepcopy(CONFIG)
    for group, name in zip(("base_model", "vocabulary", "mixture", "parallel", "budget"), names, strict=True):
        config[group]["name"] = name
    config["seed"] = seed
    assert re.fullmatch(rf"[A-Za-z0-9._-]+-s{seed}-[0-9a-f]{{7}}", run_id(config))


def test_run_id_reads_in_the_order_of_the_pipeline() -> None:
    assert run_id(CONFIG).startswith("base_model_level-vocabulary_level-mixture_level-parallel_level-budget_level-s0-")


def test_a_field_added_later_with_its_default_keeps_old_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    old = identity_of(CONFIG)
    monkeypatch.setattr(identity_module, "ADDED_LATER", {**identity_module.ADDED_LATER, "optim.z_loss": 0.0})
    newer = copy.deepcopy(CONFIG)
    newer["optim"]["z_loss"] = 0.0
    assert identity_of(newer) == old
    newer["optim"]["z_loss"] = 1e-4
    assert identity_difference(old, identity_of(newer)) == {"optim.z_loss": (None, 1e-4)}


def test_difference_sees_an_absent_key_beside_an_empty_one() -> None:
    assert identity_difference({"a": None, "b": {"c": 1}}, {"b": {"c": 1}}) == {"a": (None, None)}
    assert identity_difference({"b": {"c": 1}}, {"b": 2}) == {"b": ({"c": 1}, 2)}
