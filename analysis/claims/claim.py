"""What a claim is: one contrast on one measure, with everything that is known of it.

verdict   improved | degraded | equivalent | inconclusive   (analysis.claims.judge says when)
          helps more | helps less   the same two for an interaction
          one run          one run per side, and nothing known of what another run would do
          no interval      both scores are known, their items are not (published numbers, lost items)
          not compared     there is no pair of results to compare, or they cannot be used
intervals difference_interval and relative_interval are over runs and items. items_interval and
          items_relative_interval are over items alone: these runs, other items.
warnings  `code: words`, codes in WARNINGS; what else there is to say is in `notes`

Reads/Writes  nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Interval = tuple[float, float]

SIGNIFICANCE = 0.05
FLOOR_POINTS = 5.0  # assumed: at or below five points of 100 a ratio of scores says more about the floor than about the model
IMPROVED, DEGRADED, EQUIVALENT = "improved", "degraded", "equivalent"
INCONCLUSIVE, NO_INTERVAL, NOT_COMPARED = "inconclusive", "no interval", "not compared"
ONE_RUN = "one run"
HELPS_MORE, HELPS_LESS = "helps more", "helps less"
CONTRAST, INTERACTION, TRAINING = "contrast", "interaction", "training"
WARNINGS = {
    "digests_differ": "the two sides were not asked the same, or not evaluated with the same settings",
    "same_weights": "both sides are the same weights: the choice changed nothing",
    "near_chance": "a labelled task is answered no better than by chance",
    "degenerate": "one answer is given to (nearly) every item",
    "one_run": "one run per side, and nothing known of what another run would do: no verdict",
    "seeds_disagree": "the difference of some seeds has the other sign",
    "few_units": "too few independent units, or too few that differ, for the interval to keep its promise",
    "never_decided": "so few units differ that no difference, however large, could become significant",
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
    """One comparison on one measure. Everything numeric is None when it could not be made.

    run_noise: one standard deviation of the difference (of its mean over seeds) from run to run, as
    `noise_source` says. smallest_p: what as many differing units can reach at all.
    """

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
    items_interval: Interval | None = None
    items_relative_interval: Interval | None = None
    p_items: float | None = None
    smallest_p: float | None = None
    detectable_difference: float | None = None
    seed_differences: tuple[float, ...] = ()
    run_noise: float | None = None
    run_freedom: float | None = None
    noise_kind: str = ""
    noise_source: str = ""
    size: str = ""
    sign_agreement: str = ""
    equivalence_margin: float | None = None
    kind: str = CONTRAST
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def compared(self) -> bool:
        """There is an interval and a p-value."""
        return self.p is not None and self.difference_interval is not None

    @property
    def drawn_interval(self) -> Interval | None:
        """Interval of the difference over runs and items, or over items alone where no more is known."""
        return self.difference_interval or self.items_interval

    @property
    def drawn_relative_interval(self) -> Interval | None:
        """The same of the relative change."""
        return self.relative_interval or self.items_relative_interval

    @property
    def at_floor(self) -> bool:
        """Compared, but the baseline is too close to zero for a relative change."""
        return self.difference is not None and self.relative_change is None

    @property
    def both_at_floor(self) -> bool:
        """Neither side scores: a difference there, however certain, is no finding about the choice."""
        return self.at_floor and self.unit == "points" and self.score is not None and self.score <= FLOOR_POINTS
