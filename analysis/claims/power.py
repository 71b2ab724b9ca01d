"""What a grid can detect, and how many seeds a difference needs.

(1) noise        variance of one run on each measure: a null study's register, or a stated number
(2) family       comparisons of the report: contrasts times measures, Bonferroni as the bound of Holm
(3) detectable   the smallest true difference that is called in 80% of repetitions
(4) seeds        the fewest seeds per cell with which that difference is small enough

Reads/Writes  nothing.  Source  analysis.claims.variance; Bouthillier et al. 2021, arXiv 2103.03098
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from analysis.claims.claim import SIGNIFICANCE
from analysis.claims.estimate import MISSED_IN_FIVE
from analysis.claims.variance import NOTHING, Part, margin

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
