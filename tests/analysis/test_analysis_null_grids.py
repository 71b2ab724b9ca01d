"""Verdicts on grids where nothing is true, and intervals where the truth is known: over runs and items, not over items alone.

The full size (`-m slow -s`) is 1,000 grids for each number of seeds and each noise. It takes about an hour on one core.
"""

from dataclasses import replace

import numpy as np
import pytest
from null_grids import STUDY, World, claims_of, judged

from analysis.claims.claim import DEGRADED, EQUIVALENT, HELPS_LESS, HELPS_MORE, IMPROVED, ONE_RUN, Claim
from analysis.claims.judge import judge
from analysis.claims.noise import run_noise, spread_of
from analysis.claims.variance import NOTHING, Part, two_sided_p

DECIDED = {IMPROVED, DEGRADED, HELPS_MORE, HELPS_LESS}
CONTRASTS, MEASURES = 24, 12


def false_share(world: World, *, grids: int, num_measures: int, seed: int, most_items: int | None = None) -> tuple[float, float]:
    """Share of grids with any improved or degraded, and of intervals that hold 0."""
    rng = np.random.default_rng(seed)
    wrong, held, intervals = 0, 0, 0
    for _ in range(grids):
        claims = judged(world, rng, num_measures=num_measures, most_items=most_items)
        wrong += any(claim.verdict in DECIDED for claim in claims)
        ends = [claim.difference_interval for claim in claims if claim.difference_interval]
        held += sum(low <= 0 <= high for low, high in ends)
        intervals += len(ends)
    return wrong / grids, held / max(1, intervals)


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_null_grids_have_hardly_a_verdict_and_intervals_hold_the_truth(seeds: int, noise: float) -> None:
    wrong, held = false_share(World(9, seeds, 150, noise), grids=60, num_measures=6, seed=10 * seeds + int(noise))
    assert wrong <= 0.12  # 60 grids at 5%: seven or more in one of 80 repetitions
    assert 0.93 <= held <= 0.975


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("noise", [0.0, 1.0, 3.0, 10.0])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_of_a_thousand_null_grids_at_most_one_in_twenty_has_a_verdict(seeds: int, noise: float) -> None:
    world = World(CONTRASTS + 1, seeds, 150, noise)
    wrong, held = false_share(world, grids=1000, num_measures=MEASURES, seed=1000 * seeds + int(noise), most_items=1000)
    print(f"{seeds} seeds, run noise {noise:g}, 150 to 1,000 items: {wrong:.1%} of grids have a verdict, {held:.1%} of intervals hold 0")
    assert wrong <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 1000)
    assert (0.93 if seeds == 2 else 0.94) <= held <= 0.965


def test_one_run_per_side_and_no_null_study_has_no_verdict_at_all() -> None:
    rng = np.random.default_rng(4)
    for noise in (0.0, 10.0):
        claims = judged(World(13, 1, 150, noise), rng, num_measures=4)
        assert {claim.verdict for claim in claims} == {ONE_RUN}
        assert all(claim.p is claim.p_holm is claim.difference_interval is None for claim in claims)


def test_one_run_per_side_is_judged_by_a_null_study() -> None:
    rng, wrong, noise, items = np.random.default_rng(5), 0, 3.0, 150
    own = 100**2 * 0.25 * 0.5 / items  # what answers that are not shared add to a run's score
    for _ in range(60):
        found = [c for j in range(6) for c in claims_of(World(9, 1, items, noise).scores(rng), name=f"m{j}", recorded=noise**2 + own)]
        wrong += any(claim.verdict in DECIDED for claim in judge(STUDY, found, {}))
    assert wrong <= 7


def test_an_interval_over_items_alone_is_what_made_null_choices_significant() -> None:
    """The mistake that this page once made, held here so that it stays one."""
    rng, found = np.random.default_rng(6), []
    for _ in range(30):
        claims = judged(World(5, 1, 150, 10.0), rng, num_measures=4)
        found.append(any(claim.p_items < 0.05 / len(claims) for claim in claims))
    assert np.mean(found) > 0.9


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_interactions_hold_the_truth_too(seeds: int) -> None:
    """Four cells with true effects of 0, 4, -3 and 6 points: the difference of differences is 5."""
    rng, held, count = np.random.default_rng(20 + seeds), 0, 0
    world = World(4, seeds, 400, 2.0, effects=(0.0, 4.0, -3.0, 6.0))
    for _ in range(250):
        claim = claims_of(world.scores(rng), quads=[(3, 2, 1, 0)])[-1]
        low, high = claim.difference_interval
        held, count = held + (low <= 5.0 <= high), count + 1
    assert 0.92 <= held / count <= 0.985


def power(claims: list[Claim], cell: str) -> bool:
    return next(claim for claim in judge(STUDY, claims, {}) if cell in claim.task).verdict == IMPROVED


def test_a_true_effect_is_found_about_as_often_as_by_an_oracle() -> None:
    """Five points, run noise of one point, in a grid of 8 contrasts: the oracle knows the variance of every difference.

    What is left between the two is the price of estimating that variance with 16 degrees of freedom.
    """
    rng, seeds, items, noise = np.random.default_rng(7), 3, 1000, 1.0
    world = World(9, seeds, items, noise, effects=(0.0, 5.0, *([0.0] * 7)))
    own = 100**2 * 0.24 * 0.5 / items
    over_items = 100**2 * 0.05 * 0.5 / items  # items that the effect turns in every run
    error = np.sqrt(2 * (noise**2 + own) / seeds + over_items)
    found = oracle = 0
    for _ in range(60):
        claims = claims_of(world.scores(rng))
        first = next(claim for claim in claims if "(1, 0)" in claim.task)
        found += power(claims, "(1, 0)")
        oracle += first.difference / error > 2.73  # two-sided 5% after Bonferroni over 8
    print(f"power {found / 60:.0%}, oracle {oracle / 60:.0%}")
    assert oracle >= 30 and found >= 0.7 * oracle


def test_a_noisy_cell_is_kept_out_of_the_pool_and_judged_by_itself() -> None:
    rng = np.random.default_rng(8)
    for _ in range(20):
        scores = {f"c{c}": dict(enumerate(rng.normal(size=5) * (25.0 if c == 4 else 1.0))) for c in range(8)}
        spread = spread_of(scores)
        assert spread is not None and "c4" in spread.apart and spread.paired.variance < 3.0
    assert spread_of({"a": {0: 1.0}, "b": {0: 2.0}}) is None


def test_noise_that_differs_between_cells_makes_no_verdicts_either() -> None:
    noise = [1.0] * 8 + [12.0]
    wrong, held = false_share(World(9, 3, 300, noise), grids=60, num_measures=6, seed=9)
    assert wrong <= 0.15 and held >= 0.92


def test_what_all_cells_of_a_seed_share_is_no_noise_of_a_difference() -> None:
    """The order of the data moves every cell of a seed alike."""
    rng = np.random.default_rng(10)
    shared = rng.normal(size=5) * 20
    scores = {f"c{c}": {s: shared[s] + rng.normal() * 0.5 for s in range(5)} for c in range(6)}
    spread = spread_of(scores)
    assert spread is not None and spread.paired.variance < 1.0 < 100.0 < spread.within.variance
    assert (spread.paired.freedom, spread.within.freedom) == (20, 24)


def test_equal_scores_of_two_seeds_are_not_taken_for_no_noise() -> None:
    """150 items: two seeds that agree to the item still differ by up to an item."""
    right = np.zeros((2, 2, 150))
    right[1, :, :60] = 1.0
    right[0, :, :45] = 1.0
    (claim,) = claims_of(right)
    assert claim.difference == pytest.approx(10.0) and claim.run_noise > 0.1
    assert judge(STUDY, [replace(claim, equivalence_margin=None)], {})[0].verdict != EQUIVALENT


def test_three_seeds_of_two_cells_that_agree_by_chance_prove_nothing() -> None:
    """Differences 0.018, 0.022 and 0.021 of scores that move by 0.03 from run to run: seen between runs that differed in nothing."""
    scores = {"a": {0: 0.816, 1: 0.810, 2: 0.850}, "b": {0: 0.834, 1: 0.832, 2: 0.871}}
    spread = spread_of(scores)
    assert spread is not None
    parts = [Part(part.variance * 2, part.freedom) for part in (spread.paired, spread.within)]
    differences = [scores["b"][s] - scores["a"][s] for s in range(3)]
    found = run_noise(differences, cells=["a", "b"], spread=spread, pooled=parts[0], unpaired=parts[1], recorded=None, floor=0.0)
    assert found.part == parts[1] and "taken as unpaired" in found.words
    assert two_sided_p(float(np.mean(differences)), found.of_mean(3), NOTHING) > 0.2


def test_pairing_is_believed_once_there_are_enough_runs() -> None:
    rng = np.random.default_rng(11)
    shared = rng.normal(size=5) * 20
    scores = {c: {s: shared[s] + rng.normal() * 0.5 for s in range(5)} for c in "ab"}
    spread = spread_of(scores)
    assert spread is not None
    parts = [Part(part.variance * 2, part.freedom) for part in (spread.paired, spread.within)]
    differences = [scores["b"][s] - scores["a"][s] for s in range(5)]
    found = run_noise(differences, cells=["a", "b"], spread=spread, pooled=parts[0], unpaired=parts[1], recorded=None, floor=0.0)
    assert found.part.variance < 5.0 and found.part.freedom == 4
