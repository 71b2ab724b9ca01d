"""A grid of fake cells, to launch in every way."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from swallow_exp.artefact.paths import RunPaths
from swallow_exp.config.compose import Composed, compose_config
from swallow_exp.sweep import runs
from swallow_exp.sweep.cells import CellJob
from swallow_exp.sweep.expand import Cell
from swallow_exp.sweep.runs import CellResult

FAKE_CELL = (sys.executable, str(Path(__file__).with_name("fake_cell.py")))


@cache
def composed() -> Composed:
    return compose_config([])


@dataclass
class Grid:
    """Cells seed=0, 1, ... whose command is the fake."""

    out: Path
    cells: list[Cell]
    broken: Path

    def break_cells(self, numbers: Sequence[int]) -> None:
        self.broken.write_text(" ".join(f"cell-{number}" for number in numbers))

    def run_here(self, jobs: int = 4) -> list[CellResult]:
        return runs.run_cells(self.cells, out=self.out, jobs=jobs, command=FAKE_CELL)

    def jobs(self) -> list[CellJob]:
        return [CellJob.of(cell, self.out, command=FAKE_CELL) for cell in self.cells]

    def launches(self) -> list[int]:
        files = [RunPaths.of(self.out, cell.run_id).folder / "launches" for cell in self.cells]
        return [len(file.read_text().splitlines()) if file.exists() else 0 for file in files]

    def records(self) -> list[str]:
        return [(RunPaths.of(self.out, cell.run_id).folder / "record.json").read_text() for cell in self.cells]


@pytest.fixture
def make_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Grid]:
    monkeypatch.setenv("FAKE_CELLS_BROKEN", str(tmp_path / "broken"))
    monkeypatch.setattr(runs, "build_stages", lambda config, upto, tell: None)  # fake cells share no artefacts

    def make(num_cells: int, name: str = "out") -> Grid:
        cells = [Cell({}, seed, (f"seed={seed}",), composed(), f"cell-{seed}", f"seed {seed}") for seed in range(num_cells)]
        return Grid(tmp_path / name, cells, tmp_path / "broken")

    return make
