import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU

from swallow_exp.record.aggregate import NUM_STATISTICS, score_of_items, score_of_sums, summable

SENTENCE = st.lists(st.sampled_from("abcde"), min_size=1, max_size=12).map(" ".join)


def bleu_statistics(hypothesis: str, reference: str) -> list[float]:
    """[hyp_len, ref_len, 4 correct, 4 total] of one sentence, as sacrebleu counts them."""
    score = BLEU(tokenize="none", force=True).corpus_score([hypothesis], [[reference]])
    return [score.sys_len, score.ref_len, *score.counts, *score.totals]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(SENTENCE, SENTENCE), min_size=1, max_size=8))
def test_bleu_of_summed_items_is_sacrebleu_of_the_corpus(pairs: list[tuple[str, str]]) -> None:
    statistics = np.array([bleu_statistics(h, r) for h, r in pairs], dtype=np.float64)
    expected = BLEU(tokenize="none", force=True).corpus_score([h for h, _ in pairs], [[r for _, r in pairs]]).score
    assert score_of_items(statistics, "bleu") == pytest.approx(expected, abs=1e-9)


def test_bleu_of_an_empty_answer_is_zero() -> None:
    assert score_of_items(np.array([bleu_statistics("", "a b c d")]), "bleu") == 0.0


def test_mean_is_in_percent_and_ratio_is_plain() -> None:
    assert score_of_items(np.array([[1.0], [0.0], [0.5], [1.0]]), "mean") == 62.5
    # a ratio of sums, not a mean of ratios
    assert score_of_items(np.array([[10.0, 1.0], [10.0, 9.0]]), "ratio") == 2.0


def test_unknown_aggregate_is_a_defect() -> None:
    with pytest.raises(AssertionError):
        score_of_sums(np.ones((1, 2)), "median")


@pytest.mark.parametrize("aggregate", NUM_STATISTICS)
def test_resamples_are_scored_at_once_as_one_by_one(aggregate: str) -> None:
    rng = np.random.default_rng(0)
    items = {
        "mean": rng.random((30, 1)),
        "ratio": rng.random((30, 2)) + 0.1,
        "bleu": np.array([bleu_statistics(" ".join(rng.choice([*"abc"], 9)), " ".join(rng.choice([*"abc"], 9))) for _ in range(30)]),
    }[aggregate].astype(np.float64)
    sums_of = summable(items, aggregate)
    assert sums_of.shape == (30, NUM_STATISTICS[aggregate])
    drawn = rng.integers(0, 30, size=(2, 5, 30))
    at_once = score_of_sums(sums_of[drawn].sum(axis=-2), aggregate)
    assert at_once.shape == (2, 5)
    one_by_one = [[score_of_items(items[drawn[i, j]], aggregate) for j in range(5)] for i in range(2)]
    np.testing.assert_allclose(at_once, one_by_one, rtol=1e-12)
