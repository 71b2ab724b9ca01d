"""Which measures can tell the cells of this sweep apart: spread between cells over noise between runs.

(1) signal    standard deviation of the cells' true means: their spread, less what noise adds to it
(2) noise     standard deviation of one run (analysis.claims.noise)
(3) compare   every measure of a task, and the mean of its last checkpoints     -> SNR, the best of them

The measure that counts was declared before the runs: the first metric of the task, or the one that
the question names. Another one with three times its signal is said, never swapped in. Correcting an
accuracy for chance is a linear change, so it has the signal of the accuracy.

Reads  nothing but the study.  Writes  nothing.
Source  Heineman et al. 2025, arXiv 2508.13144 (signal-to-noise ratio of benchmarks)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from analysis.claims.compare import Comparer
from analysis.claims.noise import NoiseTable, Scores, Spread
from analysis.load import Measure, Study
from analysis.table import Table
from analysis.wording import ABSENT, plain

CLEARLY_BETTER = 3.0  # times the declared measure's signal-to-noise ratio
LAST_CHECKPOINTS = 3
AVERAGED = f"mean of the last {LAST_CHECKPOINTS} checkpoints"
CAPTION = (
    "Signal: standard deviation between the cells of this sweep, without what noise adds. Noise: standard deviation of one run, from "
    "seeds. Declared measures are those a verdict was asked of before the runs. Correcting for chance is linear and changes no ratio."
)


@dataclass(frozen=True)
class Signal:
    """One way to measure one task. ratio: signal over noise; None where no noise is known."""

    task: str
    profile: str
    measure: str
    declared: bool
    unit: str
    signal: float
    noise: float
    num_cells: int
    num_runs: int

    @property
    def ratio(self) -> float:
        """Signal-to-noise ratio."""
        return self.signal / self.noise if self.noise > 0 else 0.0


def signals_of(comparer: Comparer) -> list[Signal]:
    """Every measure of every task that several cells with several seeds have, in the order of the measures."""
    study = comparer.study
    averaged = _averaged_noise(study)
    found = []
    for measure in study.measures:
        declared = measure == declared_measure(study, measure.task, measure.profile)
        name = measure.metric.replace("_", " ")
        for words, table, is_declared in ((name, comparer.noise, declared), (f"{name}, {AVERAGED}", averaged, False)):
            if table is None:
                continue
            scores, spread = table.scores(measure), table.spread(measure)
            if (signal := _signal(scores, spread)) is not None and spread is not None:
                noise = sqrt(spread.paired.variance)
                found.append(
                    Signal(measure.task, measure.profile, words, is_declared, measure.unit, signal, noise, len(scores), spread.num_runs)
                )
    return found


def declared_measure(study: Study, task: str, profile: str) -> Measure | None:
    """The measure of a task that was declared before the runs: named by the question, or the first of the task."""
    same = [m for m in study.measures if (m.task, m.profile) == (task, profile)]
    named = study.declared.get(task)
    return next((m for m in same if m.metric == named), min(same, key=lambda m: m.aggregate == "ratio", default=None))


def _averaged_noise(study: Study) -> NoiseTable | None:
    """The same runs, each scored by the mean of its last checkpoints; None where runs have too few of them."""
    marks = [sum(t > 0 for t in study.checkpoints_of(run_id)) for cell in study.cells for run_id in cell.run_ids]
    if study.last_checkpoints > 1 or not marks or min(marks) < LAST_CHECKPOINTS:
        return None
    return Comparer.of(replace(study, last_checkpoints=LAST_CHECKPOINTS)).noise


def _signal(scores: Scores, spread: Spread | None) -> float | None:
    """Standard deviation of the cells' means, less the variance that noise between runs gives them."""
    if spread is None or len(scores) < 2:
        return None
    means = [float(np.mean(list(of.values()))) for of in scores.values()]
    from_noise = spread.paired.variance * float(np.mean([1.0 / len(of) for of in scores.values()]))
    return sqrt(max(0.0, float(np.var(means, ddof=1)) - from_noise))


def best_by_task(signals: Sequence[Signal]) -> Mapping[tuple[str, str], Signal]:
    """(task, profile) -> the way to measure it that tells cells apart best."""
    best: dict[tuple[str, str], Signal] = {}
    for one in signals:
        key = (one.task, one.profile)
        if key not in best or one.ratio > best[key].ratio:
            best[key] = one
    return best


def clearly_better(signals: Sequence[Signal]) -> list[tuple[Signal, Signal]]:
    """(declared, better) where another way to measure a task has three times the signal of the declared one."""
    best = best_by_task(signals)
    pairs = [(one, best[one.task, one.profile]) for one in signals if one.declared]
    return [(one, other) for one, other in pairs if other is not one and other.ratio > max(1.0, CLEARLY_BETTER * one.ratio)]


def signal_table(signals: Sequence[Signal]) -> Table | None:
    """One row per way to measure a task; None where nothing is known of noise."""
    if not signals:
        return None
    best = best_by_task(signals)
    rows, values = [], []
    for one in signals:
        decimals = 1 if one.unit == "points" else 4
        ratio = plain(one.ratio, 1) if one.noise > 0 else ABSENT
        rows.append(
            (
                one.task,
                one.profile,
                one.measure,
                "declared" if one.declared else "",
                plain(one.signal, decimals),
                plain(one.noise, decimals),
                ratio,
            )
        )
        values.append((None, None, None, None, one.signal, one.noise, one.ratio))
    top = frozenset((i, 6) for i, one in enumerate(signals) if best[one.task, one.profile] is one)
    columns = ("task", "profile", "measure", "", "signal", "noise", "signal / noise")
    return Table("signal", CAPTION, columns, tuple(rows), tuple(values), best=top)
