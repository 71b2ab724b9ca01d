"""p-values of a whole family of comparisons, and the exact test of right and wrong answers.

Reads/Writes  nothing.  Source  Holm 1979; Benjamini and Hochberg 1995; McNemar 1947
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, lgamma, log


def holm_adjusted(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down adjustment: multiply the i-th smallest of m by (m - i + 1), keep the order, cap at 1.

    Below 0.05: wrong about any of the family in at most 5% of families, however the comparisons depend on each other.
    """
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, (key, p) in enumerate(sorted(p_values.items(), key=lambda pair: pair[1])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p))
        adjusted[key] = largest
    return adjusted


def bh_adjusted(p_values: Mapping[str, float]) -> dict[str, float]:
    """Benjamini-Hochberg's step-up adjustment: multiply the i-th smallest of m by m / i, from the largest down, keep the order.

    Those below 0.05 are false in 5% on average (comparisons independent or positively dependent, as tasks of one model are).
    """
    adjusted: dict[str, float] = {}
    smallest = 1.0
    ranked = sorted(p_values.items(), key=lambda pair: pair[1])
    for rank, (key, p) in reversed(list(enumerate(ranked, start=1))):
        smallest = min(smallest, p * len(ranked) / rank)
        adjusted[key] = smallest
    return adjusted


def mcnemar_p(only_first: int, only_baseline: int) -> float:
    """Exact two-sided p of b against c items that only one side has right: a fair coin tossed b + c times."""
    tosses, fewer = only_first + only_baseline, min(only_first, only_baseline)
    if tosses == 0:
        return 1.0
    tail = sum(exp(lgamma(tosses + 1) - lgamma(i + 1) - lgamma(tosses - i + 1) - tosses * log(2)) for i in range(fewer + 1))
    return min(1.0, 2.0 * tail)
