"""How far a difference moves from run to run, and where that is known from.

In this order, and always named:

(a) seeds        the seeds of this very comparison, pooled with other cells of the sweep where a test
                 does not tell their spread apart
(b) sweep        one run a side, but other cells of the sweep have several seeds
(c) null study   a recorded null study of the same base model, mixture and budget
(d) checkpoints  the last checkpoints of the two runs around straight lines: a lower bound, no verdict
(-) unknown      nothing: no verdict

Cells of a sweep see the same data in the same order at one seed, so what all cells of a seed share
cancels in a paired difference. The pooled spread is therefore the residual of an additive model of
cells and seeds. Noise may differ between cells by a factor of 25, so a cell whose residuals are too
large for the rest (Cochran's C), or which is so on most measures, is left out of the pool and speaks
for itself alone.

Reads/Writes  nothing but the study.
Source  Bouthillier et al. 2021, arXiv 2103.03098 (sources of variance); Madaan et al. 2024, arXiv
        2406.10229 (seeds by benchmark); Heineman et al. 2025, arXiv 2508.13144 (last checkpoints);
        Cochran 1941 (largest of several variances)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from statistics import median

import numpy as np
from scipy.special import fdtrc, fdtri

from analysis.claims.align import Side, score_of
from analysis.claims.asked import test_of, usual_test
from analysis.claims.variance import Part, pooled_variance
from analysis.load import Measure, Study
from swallow_exp.record.aggregate import FloatArray
from swallow_exp.record.schema import EvaluationRecord

SEEDS, SWEEP, NULL_STUDY = "seeds", "sweep", "null study"
CHECKPOINTS, UNKNOWN = "checkpoints", "unknown"
DECIDING = (SEEDS, SWEEP, NULL_STUDY)
FEWEST_CHECKPOINTS, MOST_CHECKPOINTS = 3, 5
# Level of the test that keeps a noisy cell out of the pool. Leaving out the largest of many equal spreads makes the rest too small,
# so it is strict: a cell that is noisy by a factor is found all the same.
TOLD_APART = 0.002
UPPER = 0.95  # quantile that a cell must pass on half of the measures to be noisy on all
OWN_LEVEL = 0.05  # own spread above this upper quantile of the pool's: the comparison is on its own
# Differences of two or three seeds may agree by chance, however far each run is from the next of its cell. That pairing makes a
# difference quiet is believed from so many degrees of freedom on; below, the larger of paired and unpaired spread counts.
PAIRED_FROM = 4
FEWEST_CELLS = 3  # two cells have mirrored residuals: nothing tells which one is noisy

Scores = Mapping[str, Mapping[int, float]]  # cell -> seed -> score


@dataclass(frozen=True)
class RunNoise:
    """Variance of the difference of one run (of one pair of runs), and where it is known from."""

    kind: str
    part: Part
    words: str
    num_runs: int = 0

    @property
    def decides(self) -> bool:
        """Whether a verdict may rest on it."""
        return self.kind in DECIDING

    def of_mean(self, num_runs: int) -> Part:
        """The part of the mean over several independent runs."""
        return Part(self.part.variance / num_runs, self.part.freedom)


@dataclass(frozen=True)
class Spread:
    """How far runs of one cell lie apart on one measure, pooled over cells.

    paired: without what all cells of a seed share. within: seeds and all. apart: cells left out.
    """

    paired: Part
    within: Part
    cells: tuple[str, ...]
    apart: tuple[str, ...]
    num_runs: int


def lattice_variance(measure: Measure, num_items: int) -> float:
    """Variance of rounding a score to whole items: two seeds with equal scores are not noiseless."""
    return (100.0 / num_items) ** 2 / 12.0 if measure.aggregate == "mean" and num_items else 0.0


def spread_of(scores: Scores, *, floor: float = 0.0, leave_out: Sequence[str] = ()) -> Spread | None:
    """Pool the spread of runs over cells that have at least two seeds; None when no cell has.

    Args:
        scores: of every cell at every seed.
        floor: added to both variances (see `lattice_variance`).
        leave_out: cells that are known to be noisier than the rest.
    """
    several = {cell: of for cell, of in scores.items() if len(of) > 1}
    kept = {cell: of for cell, of in several.items() if cell not in leave_out} or several
    while len(kept) >= FEWEST_CELLS and (noisy := _noisiest(kept)):
        kept = {cell: of for cell, of in kept.items() if cell != noisy}
    if not kept:
        return None
    spread = pooled_variance([list(of.values()) for of in kept.values()])
    assert spread is not None  # every cell that is kept has several seeds
    within = Part(spread.variance + floor, spread.freedom)
    residuals, freedom = _residuals(kept)
    paired = within
    if freedom > 0:
        paired = Part(sum(float(np.square(r).sum()) for r in residuals.values()) / freedom + floor, freedom)
    apart = tuple(cell for cell in several if cell not in kept)
    return Spread(paired, within, tuple(kept), apart, sum(map(len, kept.values())))


def _residuals(scores: Scores) -> tuple[dict[str, np.ndarray], int]:
    """Residuals of each cell after cell and seed effects, and their degrees of freedom (0 where nothing is left)."""
    cells, seeds = list(scores), sorted({seed for of in scores.values() for seed in of})
    rows = [(i, seeds.index(seed), score) for i, cell in enumerate(cells) for seed, score in sorted(scores[cell].items())]
    design = np.zeros((len(rows), len(cells) + len(seeds)))
    for row, (i, j, _) in enumerate(rows):
        design[row, i] = design[row, len(cells) + j] = 1.0
    values = np.array([score for _, _, score in rows])
    solution, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    left = values - design @ solution
    by_cell = {cell: left[[row for row, (i, _, _) in enumerate(rows) if i == at]] for at, cell in enumerate(cells)}
    return by_cell, len(rows) - int(rank)


def _noisiest(scores: Scores) -> str | None:
    """The cell whose share of all residuals is too large by Cochran's test; None when there is none."""
    residuals, freedom = _residuals(scores)
    sums = {cell: float(np.square(of).sum()) for cell, of in residuals.items()}
    total = sum(sums.values())
    if freedom <= 0 or total <= 0:
        return None
    noisy = max(sums, key=lambda cell: sums[cell])
    share, count = sums[noisy] / total, len(sums)
    own = freedom / count  # degrees of freedom that fall to one cell
    ratio = inf if share >= 1 else share / (1 - share) * (count - 1)
    return noisy if count * float(fdtrc(own, own * (count - 1), ratio)) < TOLD_APART else None


@dataclass
class NoiseTable:
    """Spread between runs on every measure of a study, worked out when it is asked for."""

    finals: Mapping[tuple[str, int], Mapping[Measure, Side]]  # (cell, seed) -> measure -> side of a finished run
    _spreads: dict[Measure, Spread | None] = field(default_factory=dict, repr=False)
    _noisy: tuple[str, ...] | None = field(default=None, repr=False)

    def scores(self, measure: Measure) -> dict[str, dict[int, float]]:
        """Final scores of one measure, of runs that were asked as most of them were."""
        sides = {place: of[measure] for place, of in self.finals.items() if measure in of}
        usual = usual_test(side[-1][1] for side in sides.values())
        found: dict[str, dict[int, float]] = {}
        for (cell, seed), side in sides.items():
            if test_of(side[-1][1]) == usual:
                found.setdefault(cell, {})[seed] = score_of(side)
        return found

    def items(self, measure: Measure) -> int:
        """Items of a measure, as its results state them."""
        return next((sides[measure][-1][1].num_items for sides in self.finals.values() if measure in sides), 0)

    def spread(self, measure: Measure) -> Spread | None:
        """Pooled spread of one measure, without cells that are noisier than the rest on this measure or on most."""
        if measure not in self._spreads:
            floor = lattice_variance(measure, self.items(measure))
            self._spreads[measure] = spread_of(self.scores(measure), floor=floor, leave_out=self.noisy_cells())
        return self._spreads[measure]

    def noisy_cells(self) -> tuple[str, ...]:
        """Cells that are noisier than the rest on half of the measures or more."""
        if self._noisy is None:
            measures = list(dict.fromkeys(m for sides in self.finals.values() for m in sides))
            self._noisy = noisy_cells([self.scores(measure) for measure in measures])
        return self._noisy


def noisy_cells(measures: Sequence[Scores]) -> tuple[str, ...]:
    """Cells whose residuals are above the 95% quantile of the rest on half of the measures or more.

    A few seeds of one measure may agree by chance, however noisy their cell is. Several measures do not.
    """
    ratios: dict[str, list[float]] = {}
    for scores in measures:
        for cell, excess in _excesses(scores).items():
            ratios.setdefault(cell, []).append(excess)
    return tuple(cell for cell, of in ratios.items() if median(of) > 1.0)


def _excesses(scores: Scores) -> dict[str, float]:
    """Of each cell: its mean square over that of the others, in units of the 95% quantile of that ratio."""
    several = {cell: of for cell, of in scores.items() if len(of) > 1}
    if len(several) < FEWEST_CELLS:
        return {}
    residuals, freedom = _residuals(several)
    sums = {cell: float(np.square(of).sum()) for cell, of in residuals.items()}
    total, count = sum(sums.values()), len(sums)
    if freedom <= 0 or total <= 0:
        return {}
    own = freedom / count
    limit = float(fdtri(own, own * (count - 1), UPPER))
    return {cell: (own_sum * (count - 1) / rest if (rest := total - own_sum) > 0 else inf) / limit for cell, own_sum in sums.items()}


@dataclass(frozen=True)
class Recorded:
    """What a null study says of one comparison: variance of one run's difference, and where it is from."""

    part: Part
    study: str
    num_runs: int


def run_noise(
    differences_S: Sequence[float] | FloatArray,
    *,
    cells: Sequence[str],
    spread: Spread | None,
    pooled: Part | None,
    unpaired: Part | None,
    recorded: Recorded | None,
    floor: float,
) -> RunNoise:
    """Noise of one comparison, from the first source there is.

    Args:
        differences_S: the difference of each seed.
        cells: cells of the arms.
        spread: of this measure, pooled over the sweep.
        pooled: what the paired spread means for a difference of one run.
        unpaired: what the spread within cells would mean for runs that share no seed.
        recorded: from a null study.
        floor: variance of rounding in a difference of one run.
    """
    runs = len(differences_S)
    if runs > 1:
        own = Part(float(np.var(differences_S, ddof=1)) + floor, runs - 1)
        words = f"{runs} seeds of this comparison"
        usable = pooled and spread and pooled.freedom > own.freedom and not set(cells) & set(spread.apart)
        if usable and pooled and spread and not _larger(own, pooled):
            words += f", pooled with {_counted(len(spread.cells), 'cell')} of the sweep"
            part, words = _cautious(pooled, unpaired, words)
            return RunNoise(SEEDS, part, f"{words}; {_freedom(part)}", spread.num_runs)
        if recorded and recorded.part.freedom > own.freedom and own.variance <= recorded.part.variance:
            words += f", and the larger spread of null study {recorded.study}"
            return RunNoise(SEEDS, recorded.part, f"{words}; {_freedom(recorded.part)}", recorded.num_runs)
        part, words = _cautious(own, unpaired, words)
        return RunNoise(SEEDS, part, f"{words}; {_freedom(part)}", runs)
    if pooled and spread:
        words = f"{_counted(spread.num_runs, 'run')} in {_counted(len(spread.cells), 'cell')} of the sweep that have several seeds"
        part, words = _cautious(pooled, unpaired, words)
        return RunNoise(SWEEP, part, f"{words}; {_freedom(part)}", spread.num_runs)
    if recorded:
        words = f"null study {recorded.study}, {_counted(recorded.num_runs, 'run')}; {_freedom(recorded.part)}"
        return RunNoise(NULL_STUDY, recorded.part, words, recorded.num_runs)
    return RunNoise(UNKNOWN, Part(inf, 1), "unknown: one run per side, and no seeds or null study to learn from")


def _cautious(paired: Part, unpaired: Part | None, words: str) -> tuple[Part, str]:
    """The paired spread, or the larger unpaired one while there are too few runs to believe in pairing."""
    if unpaired is None or paired.freedom >= PAIRED_FROM or unpaired.variance <= paired.variance:
        return paired, words
    return unpaired, f"{words}, taken as unpaired"


def _larger(own: Part, pooled: Part) -> bool:
    """Whether a comparison's own spread is too large to be of the pool."""
    limit = float(fdtri(own.freedom, pooled.freedom, 1 - OWN_LEVEL))
    return own.variance > limit * pooled.variance if isfinite(limit) else False


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _freedom(part: Part) -> str:
    return f"{part.freedom:g} degree{'s' * (part.freedom != 1)} of freedom"


def checkpoint_noise(study: Study, measure: Measure, records: Sequence[EvaluationRecord]) -> RunNoise | None:
    """Spread of the last checkpoints of the compared runs around straight lines; None where there are too few.

    It lacks what two runs of one cell do not share, so it is a lower bound and decides nothing.
    """
    variances, numbers = [], []
    for record in records:
        points = _last_points(study, measure, record)
        if len(points) < FEWEST_CHECKPOINTS:
            return None
        variances.append(residual_variance(points))
        numbers.append(len(points))
    number = f"{numbers[0]}" if len(set(numbers)) == 1 else " and ".join(map(str, numbers))
    words = f"last {number} checkpoints of each run around a straight line: a lower bound"
    return RunNoise(CHECKPOINTS, Part(sum(variances), sum(numbers) - 2 * len(numbers)), words, len(records))


def _last_points(study: Study, measure: Measure, last: EvaluationRecord) -> list[tuple[float, float]]:
    """(tokens, score) of the checkpoints up to `last` that were asked the same, the latest MOST_CHECKPOINTS of them."""
    points = []
    for tokens in study.checkpoints_of(last.run_id):
        record = study.record_of(last.run_id, tokens, measure)
        if record is not None and 0 < tokens <= last.trained_tokens and test_of(record) == test_of(last):
            points.append((float(tokens), record.score))
    return points[-MOST_CHECKPOINTS:]


def residual_variance(points: Sequence[tuple[float, float]]) -> float:
    """Variance around the least-squares line through at least three points (two degrees of freedom are the line's)."""
    x, y = np.array(points, dtype=np.float64).T
    x, y = x - x.mean(), y - y.mean()
    residuals = y - x * (x @ y) / (x @ x)
    return float(residuals @ residuals) / (len(points) - 2)
