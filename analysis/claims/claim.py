"""What a claim is: one contrast on one measure, with everything that is known of it.

verdict   improved | degraded | equivalent | inconclusive   (analysis.claims.judge says when)
          no interval      both scores are known, their items are not (published numbers, lost items)
          not compared     there is no pair of results to compare, or they cannot be used
warnings  `code: words`, codes in WARNINGS; what else there is to say is in `notes`

Reads/Writes  nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from analysis.claims.bootstrap import FLOOR_POINTS, Interval, PairedResult

SIGNIFICANCE = 0.05
POWER_FACTOR = 2.8  # 1.96 + 0.84: two-sided 5%, found in 80% of repetitions
NUM_RESAMPLES = 10_000
IMPROVED, DEGRADED, EQUIVALENT = "improved", "degraded", "equivalent"
INCONCLUSIVE, NO_INTERVAL, NOT_COMPARED = "inconclusive", "no interval", "not compared"
WARNINGS = {
    "digests_differ": "the two sides were not asked the same, or not evaluated with the same settings",
    "same_weights": "both sides are the same weights: the choice changed nothing",
    "near_chance": "a labelled task is answered no better than by chance",
    "degenerate": "one answer is given to (nearly) every item",
    "one_seed": "one run a side: nothing is known of what another seed would do",
    "seeds_disagree": "the difference of some seeds has the other sign",
    "within_noise": "the difference is within two noise floors",
    "few_units": "too few independent units, or too few that differ, for the interval to keep its promise",
    "tests_disagree": "interval, p-value and exact test do not say the same",
    "profiles_disagree": "the profiles of the task say different things",
}
# What is too small to matter, by kind of unit.
# assumed: one point of 100 is what a benchmark of a few thousand items can tell at all, and less than the effects the paper discusses;
# 0.01 bits per byte is about 1% of the held-out loss of the models it trains. Set your own: what matters is not a matter of statistics.
MARGINS: Mapping[str, float] = {"points": 1.0, "bits per byte": 0.01}


def margin_of(unit: str, margins: Mapping[str, float]) -> float | None:
    """Margin of a unit (`points`, `bits per byte`, `gold bits per byte`, or a share of 100 with a name of its own)."""
    kind = "bits per byte" if unit.endswith("bits per byte") else "points"
    return margins.get(unit, margins.get(kind))


@dataclass(frozen=True)
class Claim:
    """One contrast on one measure. Everything numeric is None when the two could not be compared."""

    contrast: str
    factor: str
    level: str
    baseline_level: str
    cell: str
    baseline_cell: str
    task: str
    metric: str
    profile: str
    measure: str
    unit: str
    higher_is_better: bool
    verdict: str
    run_ids: tuple[str, ...] = ()
    baseline_run_ids: tuple[str, ...] = ()
    trained_tokens: tuple[int, ...] = ()
    baseline_trained_tokens: tuple[int, ...] = ()
    num_items: int | None = None
    num_units: int | None = None
    num_differing_units: int | None = None
    score: float | None = None
    baseline_score: float | None = None
    difference: float | None = None
    difference_interval: Interval | None = None
    relative_change: float | None = None
    relative_interval: Interval | None = None
    p: float | None = None
    p_holm: float | None = None
    p_bh: float | None = None
    p_exact: float | None = None
    detectable_difference: float | None = None
    seed_differences: tuple[float, ...] = ()
    size: str = ""
    sign_agreement: str = ""
    equivalence_margin: float | None = None
    noise_floor: float | None = None
    noise_source: str = ""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def compared(self) -> bool:
        """There is an interval and a p-value."""
        return self.p is not None and self.difference_interval is not None

    @property
    def at_floor(self) -> bool:
        """Compared, but the baseline is too close to zero for a relative change."""
        return self.difference is not None and self.relative_change is None

    @property
    def both_at_floor(self) -> bool:
        """Neither side scores: a difference there, however certain, is no finding about the choice."""
        return self.at_floor and self.unit == "points" and self.score is not None and self.score <= FLOOR_POINTS


def resampled(blank: Claim, result: PairedResult) -> Claim:
    """The claim with what its items say; which verdict that is, analysis.claims.judge says over the whole family."""
    return replace(
        blank,
        verdict=INCONCLUSIVE,
        num_units=result.num_units,
        num_differing_units=result.num_differing_units,
        score=result.score,
        baseline_score=result.baseline_score,
        difference=result.difference,
        difference_interval=result.difference_interval,
        relative_change=result.relative_change,
        relative_interval=result.relative_interval,
        p=result.p,
        detectable_difference=POWER_FACTOR * result.standard_error,
    )
