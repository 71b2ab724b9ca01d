"""What a grid can detect before it runs, beside how often the same grid finds it when it has run."""

import numpy as np
import pytest
from null_grids import STUDY, World, claims_of

from analysis.claims.judge import judge
from analysis.claims.power import MOST_SEEDS, Grid, RunVariance, detectable_difference, power_of, power_page, seeds_for
from swallow_exp.record.noise import NoiseEntry, NoiseRegister

GRID = Grid(num_cells=9, num_contrasts=8, num_measures=1)


def test_more_seeds_and_less_noise_detect_smaller_differences() -> None:
    found = [detectable_difference(RunVariance(4.0), GRID, seeds) for seeds in (2, 3, 5, 10)]
    assert found == sorted(found, reverse=True)
    assert detectable_difference(RunVariance(1.0), GRID, 3) == pytest.approx(detectable_difference(RunVariance(4.0), GRID, 3) / 2)
    assert detectable_difference(RunVariance(4.0), Grid(9, 8, 12), 3) > found[1]  # a larger family


def test_a_single_run_is_judged_by_its_null_study_or_not_at_all() -> None:
    assert detectable_difference(RunVariance(4.0, 10), GRID, 1) > detectable_difference(RunVariance(4.0, 100), GRID, 1)
    assert detectable_difference(RunVariance(4.0, 0), GRID, 1) is None


def test_the_fewest_seeds_are_those_that_detect_the_difference() -> None:
    known = RunVariance(4.0)
    seeds = seeds_for(5.0, known, GRID)
    assert seeds is not None and detectable_difference(known, GRID, seeds) <= 5.0 < detectable_difference(known, GRID, seeds - 1)
    assert seeds_for(0.01, known, GRID) is None
    assert detectable_difference(known, GRID, MOST_SEEDS) > 0.01


def test_eight_in_ten_grids_find_the_difference_that_was_planned() -> None:
    rng, noise, items, seeds = np.random.default_rng(1), 2.0, 1000, 3
    own = 100**2 * 0.24 * 0.5 / items
    planned = detectable_difference(RunVariance(noise**2 + own), GRID, seeds)
    world = World(9, seeds, items, noise, effects=(0.0, planned, *([0.0] * 7)))
    found = 0
    for _ in range(100):
        judged = judge(STUDY, claims_of(world.scores(rng)), {})
        found += next(claim for claim in judged if "(1, 0)" in claim.task).verdict == "improved"
    assert 65 <= found <= 95


def test_the_page_names_the_source_and_says_what_to_do_without_one() -> None:
    entry = NoiseEntry("jcqa", "accuracy", "both", "p", "1", "points", 12, 1119, 2.25, 10, 2.5, 10)
    bits = NoiseEntry("heldout_ja", "bits_per_byte", "both", "p", "1", "bits per byte", 12, 100, 1e-6, 10, 1e-6, 10)
    register = NoiseRegister("null", "s", {}, (entry, bits))
    powers = power_of(register, GRID, 3, detect=2.0)
    page = power_page(powers, GRID, 3, "null study null", detect=2.0, hours_per_seed=10.0)
    assert "3 seeds per cell" in page and "null study null" in page
    assert "jcqa accuracy" in page and "run noise      1.5" in page and "device-hours" in page
    assert page.count("2 points:") == 1  # bits per byte are no points
    assert "swallow train -m +sweep=null" in power_page([], GRID, 3, "") and "--noise POINTS" in power_page([], GRID, 3, "")
    stated = power_of(None, GRID, 3, noise=1.5)
    assert stated[0].detectable == pytest.approx(powers[0].detectable)
