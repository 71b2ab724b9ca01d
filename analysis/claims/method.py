"""How claims were made, for claims.json: every choice that a reader may want to dispute, in words.

Reads/Writes  nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from analysis.claims.claim import FLOOR_POINTS, MARGINS, SIGNIFICANCE, WARNINGS
from analysis.claims.noise import DECIDING, FEWEST_CHECKPOINTS, MOST_CHECKPOINTS, OWN_LEVEL, PAIRED_FROM, TOLD_APART, UPPER
from analysis.claims.variance import CONFIDENCE


def method_document(margins: Mapping[str, float] | None = None) -> dict[str, object]:
    """Constants and rules.

    Args:
        margins: those given, on top of the defaults.
    """
    return {
        "confidence": CONFIDENCE,
        "significance": SIGNIFICANCE,
        "adjustment": "holm",
        "estimand": "effect of the choice over runs and items",
        "interval": (
            "variance between runs and variance that runs share over items, each with a t quantile of its own; items of one cluster "
            "are one unit, both sides on the same items, each seed paired with itself"
        ),
        "p": "the level at which that interval reaches zero; never below 2^(1-d) where d units differ",
        "items_interval": "these runs, other items: standard errors of paired, clustered items with a t quantile",
        "run_noise": {
            "sources": list(DECIDING),
            "pooling": (
                "residuals of cells and seeds; a cell is left out by Cochran's test at "
                f"{TOLD_APART:g} or when it is above the {UPPER:.0%} quantile on half of the measures; a comparison whose own "
                f"spread is above the pool's {1 - OWN_LEVEL:.0%} quantile is judged by its own seeds"
            ),
            "pairing": f"believed from {PAIRED_FROM} degrees of freedom on; below, the larger of paired and unpaired spread counts",
            "lower_bound": f"the last {FEWEST_CHECKPOINTS} to {MOST_CHECKPOINTS} checkpoints around straight lines: no verdict",
        },
        "verdicts": {
            "improved, degraded, helps more, helps less": f"Holm's p below {SIGNIFICANCE:g} over all comparisons of the report",
            "equivalent": "the whole interval lies within the margin (two one-sided tests at 2.5% each), not adjusted for the family",
            "inconclusive": "neither; not a proof of no effect",
            "one run": "one run per side and nothing known of run noise: not judged",
            "no interval": "scores without items: nothing is tested",
        },
        "equivalence_margins": {**MARGINS, **(margins or {})},
        "floor_points": FLOOR_POINTS,
        "warnings": WARNINGS,
    }
