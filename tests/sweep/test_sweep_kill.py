"""Real cells, really killed: the same command again ends with the same records (sweep_kill_drill.py says how)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from sweep_kill_drill import run_drill

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3_600),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]


@pytest.mark.parametrize("how", ["tree", "parent"])
def test_a_killed_sweep_ends_as_an_undisturbed_one(tmp_path: Path, how: str) -> None:
    with_wandb = importlib.util.find_spec("wandb") is not None
    said = list(run_drill(tmp_path, kills=4, how=how, steps=200, seed=1, wandb=with_wandb))
    assert len([line for line in said if line.startswith("kill")]) == 4
    assert said[-1].startswith("the same scores, curves and weights")
