"""What a grid can detect, and how many seeds a difference needs.

(1) noise        variance of one run on each measure: a null study's register, or a stated number
(2) family       comparisons of the report: contrasts times measures, Bonferroni as the bound of Holm
(3) detectable   the smallest true difference that is called in 80% of repetitions
(4) seeds        the fewest seeds per cell with which that difference is small enough

Reads/Writes  nothing.  Source  analysis.claims.variance; Bouthillier et al. 2021, arXiv 2103.03098
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt

from analysis.claims.claim import SIGNIFICANCE
from analysis.claims.estimate import MISSED_IN_FIVE
from analysis.claims.variance import NOTHING, Part, margin
from swallow_exp.record.noise import NoiseRegister

MOST_SEEDS = 64


@dataclass(frozen=True)
class Grid:
    """What matters of a grid for power: cells with seeds of their own, contrasts, and measures of the suite."""

    num_cells: int
    num_contrasts: int
    num_measures: int

    @property
    def family(self) -> int:
        """Comparisons that are adjusted together."""
        return max(1, self.num_contrasts * self.num_measures)


@dataclass(frozen=True)
class RunVariance:
    """Variance of one run on one measure, paired by seed, and the degrees of freedom it is known with (inf: stated)."""

    variance: float
    freedom: float = inf


def freedom_of(grid: Grid, seeds: int, known: RunVariance) -> float | None:
    """Degrees of freedom the report will have: those of its own seeds, or of the null study for single runs; None for neither."""
    if seeds < 2:
        return known.freedom if known.freedom > 0 else None
    return float(max(1, (grid.num_cells - 1) * (seeds - 1)))


def detectable_difference(known: RunVariance, grid: Grid, seeds: int) -> float | None:
    """Smallest true difference that is called in 80% of repetitions, in the unit of the score; None where nothing is judged."""
    freedom = freedom_of(grid, seeds, known)
    if freedom is None:
        return None
    runs = Part(2.0 * known.variance / seeds, freedom)
    return margin(runs, NOTHING, p=SIGNIFICANCE / grid.family) + margin(runs, NOTHING, p=MISSED_IN_FIVE)


def seeds_for(difference: float, known: RunVariance, grid: Grid) -> int | None:
    """Fewest seeds per cell that detect a difference; None when more than MOST_SEEDS are needed."""
    for seeds in range(1, MOST_SEEDS + 1):
        found = detectable_difference(known, grid, seeds)
        if found is not None and found <= difference and (seeds > 1 or known.freedom < inf):
            return seeds
    return None


@dataclass(frozen=True)
class TaskPower:
    """What one measure of one task can detect. seeds_needed: for the difference that was asked about, None when out of reach."""

    task: str
    metric: str
    profile: str
    unit: str
    noise: float
    detectable: float | None
    seeds_needed: int | None = None


def power_of(
    register: NoiseRegister | None, grid: Grid, seeds: int, *, noise: float | None = None, detect: float | None = None
) -> list[TaskPower]:
    """Power on every measure of a register, or on scores in points with a stated noise.

    Args:
        seeds: per cell, as the question has them.
        noise: standard deviation of one run in points; it takes the place of a register.
        detect: a difference in points to find seeds for.
    """
    if noise is not None:
        known = RunVariance(noise**2)
        needed = seeds_for(detect, known, grid) if detect is not None else None
        return [TaskPower("any task", "stated noise", "both", "points", noise, detectable_difference(known, grid, seeds), needed)]
    found = []
    for entry in register.measures if register else ():
        known = RunVariance(entry.variance, entry.freedom)
        needed = seeds_for(detect, known, grid) if detect is not None and entry.unit == "points" else None
        able = detectable_difference(known, grid, seeds)
        found.append(TaskPower(entry.task, entry.metric, entry.profile, entry.unit, sqrt(entry.variance), able, needed))
    return found


def power_page(
    powers: Sequence[TaskPower], grid: Grid, seeds: int, source: str, *, detect: float | None = None, hours_per_seed: float | None = None
) -> str:
    """The lines that `swallow plan` prints.

    Args:
        source: where the noise is known from.
        hours_per_seed: device-hours of the whole grid at one seed.
    """
    if not powers:
        return (
            "  power: unknown, as no null study of this base model, mixture and budget is recorded\n"
            "    measure it with `swallow train -m +sweep=null` (name your groups), or state it with --noise POINTS"
        )
    runs = "1 run per cell" if seeds == 1 else f"{seeds} seeds per cell"
    lines = [
        f"  power: smallest true difference that is called in 80% of repetitions, with {runs}, adjusted over "
        f"{grid.num_contrasts} contrasts x {grid.num_measures} measures; noise from {source}"
    ]
    width = max(len(f"{p.task} {p.metric}") for p in powers)
    for p in powers:
        digits = 1 if p.unit == "points" else 4
        able = "-" if p.detectable is None else f"{p.detectable:.{digits}f}"
        line = f"    {f'{p.task} {p.metric}':<{width}}  run noise {p.noise:>8.{digits}f}  detects {able:>8} {p.unit}"
        if detect is not None and p.unit == "points":
            hours = "" if p.seeds_needed is None or hours_per_seed is None else f", {p.seeds_needed * hours_per_seed:,.3g} device-hours"
            needed = f"more than {MOST_SEEDS} seeds" if p.seeds_needed is None else f"{p.seeds_needed} seeds{hours}"
            line += f"; {detect:g} points: {needed}"
        lines.append(line)
    return "\n".join(lines)
