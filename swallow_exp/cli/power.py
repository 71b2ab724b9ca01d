"""What a planned grid can detect: the meeting point of the plan and the statistics of the report.

Reads  <out>/noise/*.json.  Writes  nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from analysis.claims.power import Grid, TaskPower, power_of, power_page
from swallow_exp.evaluate.suite import task_names
from swallow_exp.inspect.plan import PlannedCell
from swallow_exp.record.noise import find_register, read_registers, setting_of
from swallow_exp.sweep.expand import find_contrasts
from swallow_exp.sweep.grid import Sweep
from swallow_exp.sweep.prepare import output_root


@dataclass(frozen=True)
class PlannedPower:
    """Power on every measure, and what it rests on. hours_per_seed: device-hours of the whole grid at one seed."""

    grid: Grid
    seeds: int
    source: str
    tasks: Sequence[TaskPower]
    detect: float | None
    hours_per_seed: float | None

    def page(self) -> str:
        """The lines below the plan."""
        return power_page(self.tasks, self.grid, self.seeds, self.source, detect=self.detect, hours_per_seed=self.hours_per_seed)

    def plain(self) -> dict[str, Any]:
        """The same for `--json`."""
        return {"seeds": self.seeds, "source": self.source, "detect": self.detect, "tasks": [asdict(task) for task in self.tasks]}


def plan_power(sweep: Sweep, planned: Sequence[PlannedCell], *, detect: float | None, noise: float | None) -> PlannedPower:
    """Power of a sweep with its seeds, from the null study of its baseline's setting or a stated noise in points."""
    cells = [*sweep.cells, *sweep.others]
    seeds = len({cell.seed for cell in cells})
    contrasts = {row["label"] for row in find_contrasts(sweep.question, cells)}
    first = sweep.cells[0]
    register = find_register(read_registers(output_root(first.composed.config)), setting_of(first.identity))
    measures = len(register.measures) if register and noise is None else len(task_names(first.composed.config))
    grid = Grid(len({tuple(sorted(cell.choices.items())) for cell in cells}), len(contrasts), measures)
    source = "the stated standard deviation" if noise is not None else f"null study {register.study}" if register else ""
    hours = [item.estimate.cpu_hours if item.estimate.on_cpu else item.estimate.gpu_hours for item in planned]
    known = [hour for hour in hours if hour is not None]
    per_seed = sum(known) / seeds if known and len(known) == len(hours) else None
    return PlannedPower(grid, seeds, source, power_of(register, grid, seeds, noise=noise, detect=detect), detect, per_seed)
