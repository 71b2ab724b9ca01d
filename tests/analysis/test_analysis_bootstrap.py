"""The statistics: intervals cover what they promise, pairing and clusters are honoured, p-values and Holm behave."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.claims.adjust import holm_adjusted
from analysis.claims.bootstrap import paired_bootstrap, relative_change, resampled_sums, score_interval, units_of
from swallow_exp.record.aggregate import score_of_items, summable


def counted(values: np.ndarray) -> np.ndarray:
    return summable(values[:, None].astype(float), "mean")


def own_clusters(n: int) -> list[str]:
    return [str(i) for i in range(n)]


def compare(first: np.ndarray, second: np.ndarray, *, clusters: list[str] | None = None, seed: int = 0, num_resamples: int = 2000):
    return paired_bootstrap(
        counted(first),
        counted(second),
        clusters or own_clusters(len(first)),
        "mean",
        num_resamples=num_resamples,
        rng=np.random.default_rng(seed),
    )


def test_relative_change_is_a_minus_b_over_b_in_percent() -> None:
    assert relative_change(30.0, 20.0) == pytest.approx(50.0)
    assert relative_change(20.0, 40.0) == pytest.approx(-50.0)


def test_intervals_cover_the_truth_about_95_times_in_100() -> None:
    world = np.random.default_rng(5)
    true_a, true_b, repetitions = 0.60, 0.50, 300
    in_difference = in_relative = 0
    for repetition in range(repetitions):
        luck = world.uniform(size=250)
        other = np.where(world.uniform(size=250) < 0.6, luck, world.uniform(size=250))  # correlated, uniform on its own
        result = compare((luck < true_a).astype(float), (other < true_b).astype(float), seed=repetition, num_resamples=1000)
        low, high = result.difference_interval
        in_difference += low <= 100 * (true_a - true_b) <= high
        assert result.relative_interval is not None
        low, high = result.relative_interval
        in_relative += low <= relative_change(true_a, true_b) <= high
    assert 0.92 <= in_difference / repetitions <= 0.98
    assert 0.92 <= in_relative / repetitions <= 0.98


def test_clusters_are_drawn_whole_and_keep_their_promise() -> None:
    """Items of a cluster rise and fall together: ignoring that would cover the truth far less often."""
    world = np.random.default_rng(6)
    covered, covered_without, repetitions = 0, 0, 300
    clusters = [str(i // 10) for i in range(300)]
    for repetition in range(repetitions):
        passage = np.repeat(world.normal(size=30), 10)
        first, second = 0.5 + 0.1 * passage + 0.05 * world.normal(size=300), np.full(300, 0.4)
        for name in ("with", "without"):
            result = compare(first, second, clusters=clusters if name == "with" else None, seed=repetition, num_resamples=500)
            low, high = result.difference_interval
            if name == "with":
                covered += low <= 10.0 <= high
            else:
                covered_without += low <= 10.0 <= high
    assert 0.90 <= covered / repetitions <= 0.98
    assert covered_without / repetitions < 0.70


def test_pairing_makes_the_interval_narrower() -> None:
    world = np.random.default_rng(7)
    hard = world.normal(size=400)
    first, second = (hard + 0.3 * world.normal(size=400) > 0).astype(float), (hard + 0.3 * world.normal(size=400) > 0.1).astype(float)
    paired, shuffled = compare(first, second), compare(first, world.permutation(second))
    assert paired.standard_error < 0.75 * shuffled.standard_error


def test_null_gives_p_values_that_are_not_too_small() -> None:
    world = np.random.default_rng(8)
    small = sum(
        compare(world.binomial(1, 0.4, 200).astype(float), world.binomial(1, 0.4, 200).astype(float), seed=i, num_resamples=1000).p < 0.05
        for i in range(300)
    )
    assert 0.02 <= small / 300 <= 0.08


def test_both_ways_to_draw_agree() -> None:
    """Many ties go through the multinomial, few through drawn indices: same mean and spread of the sums."""
    world = np.random.default_rng(9)
    tied = world.binomial(1, 0.3, 500).astype(float)[:, None]
    almost_tied = tied + 1e-9 * world.normal(size=tied.shape)
    first = resampled_sums(tied, 4000, np.random.default_rng(1))[:, 0]
    second = resampled_sums(almost_tied, 4000, np.random.default_rng(2))[:, 0]
    assert first.mean() == pytest.approx(second.mean(), abs=1.0)
    assert first.std() == pytest.approx(second.std(), rel=0.06)
    assert first.std() == pytest.approx(np.sqrt(500 * tied.mean() * (1 - tied.mean())), rel=0.06)


def test_identical_answers_have_p_one_and_few_lucky_items_are_no_proof() -> None:
    same = np.array([0.0, 1.0, 1.0, 0.0] * 20)
    assert compare(same, same).p == 1.0
    five = compare(np.ones(5), np.zeros(5))
    assert five.p == pytest.approx(2 * 2**-5)


def test_clear_effects_have_p_values_below_what_resamples_can_count() -> None:
    world = np.random.default_rng(10)
    first, second = world.binomial(1, 0.8, 1000).astype(float), world.binomial(1, 0.3, 1000).astype(float)
    result = compare(first, second, num_resamples=500)
    assert result.p < 2 / 501


def test_relative_change_is_withheld_at_the_floor() -> None:
    first, second = np.zeros(200), np.zeros(200)
    first[:30], second[:1] = 1, 1
    result = compare(first, second)
    assert result.baseline_score == 0.5
    assert result.relative_change is None and result.relative_interval is None
    assert result.difference == pytest.approx(14.5)
    nothing = compare(first, np.zeros(200))
    assert nothing.relative_change is None


def test_bleu_of_the_sums_equals_sacrebleu() -> None:
    from sacrebleu.metrics import BLEU

    hypotheses = ["the cat sat on the mat today", "a small dog ran", "we went to the old town by train"]
    references = ["the cat sat on the mat", "a small dog ran away", "we travelled to the old town by train"]
    metric = BLEU()
    rows = [metric._extract_corpus_statistics([h], [[r]])[0] for h, r in zip(hypotheses, references, strict=True)]
    statistics = np.array(rows, dtype=float)  # hyp_len, ref_len, 4 correct, 4 total
    assert score_of_items(statistics, "bleu") == pytest.approx(metric.corpus_score(hypotheses, [references]).score, abs=1e-9)
    many = np.tile(statistics, (40, 1))
    low, high = score_interval(many, own_clusters(len(many)), "bleu", num_resamples=1000, rng=np.random.default_rng(0))
    assert low < score_of_items(statistics, "bleu") < high


def test_units_sum_the_items_of_a_cluster() -> None:
    units = units_of(np.array([[1.0, 1.0], [2.0, 1.0], [5.0, 1.0]]), ["a", "b", "a"])
    assert units.tolist() == [[6.0, 2.0], [2.0, 1.0]]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_keeps_the_order_never_lowers_and_stays_below_bonferroni(p_values: list[float]) -> None:
    named = {str(i): p for i, p in enumerate(p_values)}
    adjusted = holm_adjusted(named)
    for key, p in named.items():
        assert p <= adjusted[key] <= min(1.0, p * len(p_values)) + 1e-12
    ordered = [adjusted[key] for key in sorted(named, key=lambda key: named[key])]
    assert ordered == sorted(ordered)


def test_holm_by_hand() -> None:
    assert holm_adjusted({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
