"""How far a difference moves by itself: between seeds, or between the last checkpoints of the same runs.

seeds         two or more pairs: standard deviation of the seeds' differences over the root of their number (standard error of the mean)
checkpoints   otherwise: standard deviation around a straight line over the last 3 to 5 checkpoints of each run, both runs together;
              what is left of the trend is in it, and what two seeds share (data order) is not: a floor, not the whole noise

Both are one standard deviation of the difference, in its unit. Resampling items says nothing of either.
Reads/Writes  nothing but the study.  Source  Heineman et al. 2025 (Signal and Noise), arXiv 2508.13144: noise over last checkpoints
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np

from analysis.claims.asked import test_of
from analysis.load import Measure, Study
from swallow_exp.record.schema import EvaluationRecord

FEWEST_CHECKPOINTS, MOST_CHECKPOINTS = 3, 5
NOISE_FLOORS = 2.0  # within two standard deviations a difference is what noise alone does one time in twenty


def noise_floor(
    study: Study, measure: Measure, pairs: Sequence[tuple[EvaluationRecord, EvaluationRecord]], seed_differences: Sequence[float]
) -> tuple[float | None, str]:
    """(floor, where it is from), or (None, why not)."""
    if len(seed_differences) > 1:
        number = len(seed_differences)
        return float(np.std(seed_differences, ddof=1)) / sqrt(number), f"seeds: spread of {number} differences, over the root of {number}"
    variances, numbers = [], []
    for record in pairs[0]:
        points = _last_points(study, measure, record)
        if len(points) < FEWEST_CHECKPOINTS:
            return None, f"unknown: one seed, and {record.run_id} has fewer than {FEWEST_CHECKPOINTS} evaluated checkpoints past token 0"
        variances.append(residual_variance(points))
        numbers.append(len(points))
    last = f"{numbers[0]}" if len(set(numbers)) == 1 else f"{numbers[0]} and {numbers[1]}"
    return sqrt(sum(variances)), f"checkpoints: the last {last} of each run around a straight line (with what is left of the trend)"


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
