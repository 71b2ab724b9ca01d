"""The plan as a tree: what is asked before shards exist; stages, groups and sources with their numbers after."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from made_shards import T, config_of, make_shard, open_plan

from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.manifest import Artefact
from swallow_exp.config import Config, GroupConfig, PartConfig
from swallow_exp.mixture.build_plan import PLAN_NAME
from swallow_exp.mixture.tree import plan_tree


def grouped(*overrides: str) -> Config:
    config = config_of(*overrides)
    japanese = GroupConfig(share=0.9, sources={"miniature_japanese": PartConfig(fill=True)})
    english = GroupConfig(share=0.1, sources={"miniature_english": PartConfig(share=0.1)})
    config.mixture.weights, config.mixture.groups = {}, {"japanese": japanese, "english": english}
    return config


@pytest.fixture
def shards(tmp_path: Path) -> dict[str, Artefact]:
    flags = (np.arange(801) % 3 == 0).astype(np.uint8)
    return {
        "miniature_japanese": make_shard(tmp_path, "ja", 1601, first_id=0),
        "miniature_english": make_shard(tmp_path, "en", 401, first_id=10_000),
        "miniature_pairs": make_shard(tmp_path, "pairs", 801, first_id=20_000, flags=flags),
    }


def test_requests_are_shown_before_there_are_shards() -> None:
    lines = plan_tree(grouped("parallel=ti_two_staged", "budget.counts=positions", "mixture.attention=document"), None)
    page = "\n".join(lines)
    assert "2,000 positions asked" in lines[0] and "inside each document" in lines[1]
    assert re.search(r"\|- japanese +90\.00% of what", page) and re.search(r"\|  `- miniature_japanese +the rest of the group", page)
    assert re.search(r"miniature_pairs +in full, 1x, translation_instruction, two_staged", page)
    assert "exact numbers after `swallow mixture`" in lines[-1]


def test_stages_groups_and_sources_are_counted(shards: dict[str, Artefact], tmp_path: Path) -> None:
    config = grouped("parallel=ti_two_staged")
    plan, stream = open_plan(config, shards, tmp_path / "out")
    facts = read_json(plan.folder / PLAN_NAME)
    lines = plan_tree(config, plan)
    names = [re.sub(r"[|`-]", " ", line[:32]).split() for line in lines[2:-1]]
    assert names == [
        ["stage", "1,", "parallel"],
        ["miniature_pairs"],
        ["stage", "2,", "mixture"],
        ["japanese"],
        ["miniature_japanese"],
        ["english"],
        ["miniature_english"],
    ]
    pairs, japanese = lines[3], lines[6]
    assert re.search(r"in full, 1x +100 .* 100 +1\.00x +800 +266 ", pairs)
    planned = facts["sources"][0]["planned_sequences"]
    assert re.search(rf" {planned} +9\d\.\d+% .* 200 +{planned / 200:.2f}x ", japanese)
    off = planned - 0.9 * (len(stream) - 100)
    assert f"{off:+.2f}" in lines[5] and abs(off) < 1
    assert f"{facts['steps']} steps" in lines[-1] and f"{len(stream) * T:,} positions" in lines[-1] and plan.id in lines[-1]
