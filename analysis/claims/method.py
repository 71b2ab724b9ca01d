"""How claims were made, for claims.json: every choice that a reader may want to dispute, in words.

Reads/Writes  nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from analysis.claims.bootstrap import CONFIDENCE, FLOOR_POINTS
from analysis.claims.claim import MARGINS, SIGNIFICANCE, WARNINGS
from analysis.claims.noise import FEWEST_CHECKPOINTS, MOST_CHECKPOINTS, NOISE_FLOORS


def method_document(margins: Mapping[str, float] | None = None) -> dict[str, object]:
    """Constants and rules. margins: those given, on top of the defaults."""
    return {
        "confidence": CONFIDENCE,
        "significance": SIGNIFICANCE,
        "adjustment": "holm",
        "interval": "percentiles of a paired bootstrap: items of one cluster are drawn together, both sides under the same draws",
        "p": "twice the smaller tail of the resampled differences; beyond the resamples, of a normal curve of their spread",
        "seeds": "statistics are summed over seeds by item, each seed paired with itself; the interval is over items, given these seeds",
        "verdicts": {
            "improved, degraded": f"Holm's p below {SIGNIFICANCE:g} over all comparisons of the report",
            "equivalent": "the whole interval lies within the margin (two one-sided tests at 2.5% each), not adjusted for the family",
            "inconclusive": "neither; not a proof of no effect",
            "no interval": "scores without items: nothing is tested",
        },
        "equivalence_margins": {**MARGINS, **(margins or {})},
        "floor_points": FLOOR_POINTS,
        "noise": (
            "one standard deviation of the difference: of its mean over seeds where there are several, otherwise of the last "
            f"{FEWEST_CHECKPOINTS} to {MOST_CHECKPOINTS} checkpoints of both runs around straight lines; a verdict within "
            f"{NOISE_FLOORS:g} of them has a warning"
        ),
        "warnings": WARNINGS,
    }
