"""Verdicts: what the family, the margin, the noise, the other profile and the other sizes make of a difference."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from analysis.claims.claim import (
    DEGRADED,
    EQUIVALENT,
    HELPS_LESS,
    HELPS_MORE,
    IMPROVED,
    INCONCLUSIVE,
    INTERACTION,
    MARGINS,
    NOT_COMPARED,
    ONE_RUN,
    WARNINGS,
    Claim,
    margin_of,
)
from analysis.claims.judge import is_equivalent, judge
from analysis.claims.noise import residual_variance

STUDY = SimpleNamespace(cells=(), axes={})


def claim(difference: float, half_width: float, p: float, **changes: object) -> Claim:
    plain = Claim(
        contrast="mixed vs none",
        factor="parallel",
        level="mixed",
        baseline_level="none",
        cell="mixed",
        baseline_cell="none",
        task="jcqa",
        metric="accuracy",
        profile="both",
        measure="jcqa",
        unit="points",
        higher_is_better=True,
        verdict=INCONCLUSIVE,
        run_ids=("mixed-s0",),
        baseline_run_ids=("none-s0",),
        num_items=1000,
        num_units=1000,
        num_differing_units=300,
        score=40.0 + difference,
        baseline_score=40.0,
        difference=difference,
        difference_interval=(difference - half_width, difference + half_width),
        relative_change=difference / 0.4,
        relative_interval=(0.0, 1.0),
        p=p,
    )
    return replace(plain, **changes)


def verdict(one: Claim, **margins: float) -> Claim:
    return judge(STUDY, [one], {**MARGINS, **margins})[0]


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (claim(3.0, 1.0, 0.001), IMPROVED),
        (claim(-3.0, 1.0, 0.001), DEGRADED),
        (claim(-3.0, 1.0, 0.001, higher_is_better=False), IMPROVED),
        (claim(0.1, 0.6, 0.7), EQUIVALENT),
        (claim(0.1, 0.95, 0.8), INCONCLUSIVE),  # one end is beyond the point
        (claim(2.0, 4.0, 0.3), INCONCLUSIVE),
        (claim(0.5, 0.3, 0.001), EQUIVALENT),  # certain, and too small to matter
        (claim(3.0, 1.0, 0.001, score=3.5, baseline_score=0.5, relative_change=None), INCONCLUSIVE),  # both at the floor
        (claim(0.0, 0.0, 1.0, score=1.0, baseline_score=1.0, relative_change=None), INCONCLUSIVE),
    ],
)
def test_verdicts(one: Claim, expected: str) -> None:
    assert verdict(one).verdict == expected


def test_a_certain_difference_within_the_margin_keeps_its_sign_in_a_note() -> None:
    assert any("better for certain" in note for note in verdict(claim(0.5, 0.3, 0.001)).notes)
    assert any("worse for certain" in note for note in verdict(claim(-0.5, 0.3, 0.001)).notes)


def test_the_margin_is_stated_and_can_be_set() -> None:
    one = claim(0.1, 0.95, 0.8)
    assert verdict(one).equivalence_margin == 1.0
    wide = verdict(one, points=2.0)
    assert (wide.verdict, wide.equivalence_margin) == (EQUIVALENT, 2.0)
    assert verdict(claim(0.5, 0.3, 0.001), points=0.2).verdict == IMPROVED
    bits = {"unit": "bits per byte", "higher_is_better": False, "score": 0.7, "baseline_score": 0.7}
    assert verdict(claim(0.002, 0.003, 0.2, **bits)).verdict == EQUIVALENT
    assert verdict(claim(0.02, 0.003, 0.001, **bits)).verdict == DEGRADED
    assert margin_of("gold bits per byte", MARGINS) == MARGINS["bits per byte"]
    assert margin_of("balanced accuracy", MARGINS) == MARGINS["points"]


def test_verdicts_need_holm_over_the_whole_family() -> None:
    alone = claim(3.0, 2.5, 0.02)
    assert verdict(alone).verdict == IMPROVED
    crowd = [alone, *(replace(claim(1.0, 3.0, 0.5), task=f"t{i}") for i in range(4))]
    judged = judge(STUDY, crowd, MARGINS)[0]
    assert (judged.verdict, judged.p_holm, judged.p_bh) == (INCONCLUSIVE, pytest.approx(0.1), pytest.approx(0.1))
    assert any("on its own" in note for note in judged.notes)


def test_a_claim_that_was_not_compared_is_in_no_family() -> None:
    absent = replace(claim(0.0, 0.0, 1.0), verdict=NOT_COMPARED, p=None, difference=None, difference_interval=None)
    judged = judge(STUDY, [claim(3.0, 1.0, 0.04), absent], MARGINS)
    assert judged[0].p_holm == pytest.approx(0.04) and judged[0].verdict == IMPROVED
    assert judged[1].p_holm is None and judged[1].verdict == NOT_COMPARED and judged[1].equivalence_margin is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"num_items": 120, "num_units": 120, "num_differing_units": 0}, False),  # up to 3 of 120 may differ elsewhere
        ({"num_items": 5000, "num_units": 5000, "num_differing_units": 0}, True),
        ({"num_items": 5000, "num_units": 500, "num_differing_units": 0}, False),  # a cluster may differ by more than one item
        ({"num_items": 5000, "num_units": 5000, "num_differing_units": 0, "unit": "bits per byte", "equivalence_margin": 0.01}, False),
        ({"num_items": 12, "num_units": 12}, False),
    ],
)
def test_alike_answers_are_equivalent_only_where_there_are_enough_of_them(changes: dict[str, object], expected: bool) -> None:
    one = replace(claim(0.0, 0.0, 1.0), equivalence_margin=1.0)
    assert is_equivalent(replace(one, **changes)) == expected


def test_two_sides_that_answer_by_chance_are_not_equivalent() -> None:
    one_side = ("near_chance: none-s0 is no better than chance (balanced accuracy 33.0, chance 33.3)",)
    both = (*one_side, "degenerate: mixed-s0 gives one answer to 98% of the items")
    assert verdict(claim(0.1, 0.5, 0.7, warnings=one_side)).verdict == EQUIVALENT
    assert verdict(claim(0.1, 0.5, 0.7, warnings=both)).verdict == INCONCLUSIVE


def codes(one: Claim) -> list[str]:
    assert all(warning.partition(": ")[0] in WARNINGS and warning.partition(": ")[2] for warning in one.warnings)
    return [warning.partition(":")[0] for warning in one.warnings]


def test_tests_of_the_same_items_that_disagree_are_said_to() -> None:
    assert codes(verdict(claim(3.0, 2.9, 0.04, p_items=0.04, p_exact=0.06))) == ["tests_disagree"]
    assert codes(verdict(claim(3.0, 2.9, 0.04, p_items=0.04, p_exact=0.045))) == []
    assert codes(verdict(claim(3.0, 2.9, 0.2, p_items=0.04, p_exact=0.045))) == []  # runs are another matter


def test_one_run_is_never_judged_whatever_its_numbers() -> None:
    single = replace(claim(9.0, 1.0, 0.001), verdict=ONE_RUN, p=None, difference_interval=None, items_interval=(8.0, 10.0), p_items=1e-9)
    judged = judge(STUDY, [single, claim(3.0, 1.0, 0.04)], MARGINS)
    assert (judged[0].verdict, judged[0].p_holm) == (ONE_RUN, None)
    assert judged[1].p_holm == pytest.approx(0.04)  # a family of one


def test_an_interaction_helps_more_or_less() -> None:
    assert verdict(claim(3.0, 1.0, 0.001, kind=INTERACTION)).verdict == HELPS_MORE
    assert verdict(claim(3.0, 1.0, 0.001, kind=INTERACTION, higher_is_better=False)).verdict == HELPS_LESS


def test_profiles_that_decide_differently_warn_on_both_sides() -> None:
    paper, fair = claim(3.0, 1.0, 0.0001, profile="paper"), claim(0.5, 4.0, 0.8, profile="fair")
    other_task = claim(3.0, 1.0, 0.0001, profile="fair", task="niilc")
    judged = judge(STUDY, [paper, fair, other_task], MARGINS)
    assert [codes(one) for one in judged] == [["profiles_disagree"], ["profiles_disagree"], []]
    assert "improved in paper, inconclusive in fair (accuracy)" in judged[0].warnings[0]
    agreed = judge(STUDY, [paper, replace(paper, profile="fair")], MARGINS)
    assert [codes(one) for one in agreed] == [[], []]
    # another metric of the other profile counts only where the same one is not there
    assert codes(judge(STUDY, [paper, replace(paper, profile="fair"), replace(fair, metric="f1")], MARGINS)[0]) == []
    assert codes(judge(STUDY, [paper, replace(fair, metric="f1")], MARGINS)[0]) == ["profiles_disagree"]


def test_sizes_are_counted_with_the_other_factors_alike() -> None:
    sizes, words = ("7b", "13b", "70b"), ("base", "ja")
    cells = [
        SimpleNamespace(label=f"{size} {v} {p}", choices={"base_model": size, "vocabulary": v, "parallel": p, "optim": f"of_{size}"})
        for size in sizes
        for v in words
        for p in ("none", "mixed")
    ]
    study = SimpleNamespace(cells=cells, axes={"base_model": sizes, "vocabulary": words, "parallel": ("none", "mixed")})
    rises = {("7b", "base"): 1.0, ("13b", "base"): 2.0, ("70b", "base"): -1.0, ("7b", "ja"): -3.0, ("13b", "ja"): -2.0, ("70b", "ja"): 0.0}
    claims = [replace(claim(d, 9.0, 0.5), contrast=f"{s} {v}", cell=f"{s} {v} mixed") for (s, v), d in rises.items()]
    judged = {one.cell: one for one in judge(study, claims, MARGINS)}
    assert judged["7b base mixed"].sign_agreement == judged["70b base mixed"].sign_agreement == "2 of 3 sizes up"
    assert judged["70b ja mixed"].sign_agreement == "2 of 3 sizes down"
    assert judged["13b ja mixed"].size == "13b"
    alone = judge(study, claims[:1], MARGINS)[0]
    assert (alone.size, alone.sign_agreement) == ("7b", "")
    of_size = replace(claims[0], factor="base_model")
    assert judge(study, [of_size], MARGINS)[0].size == ""


def test_the_spread_around_a_line_is_not_the_trend() -> None:
    assert residual_variance([(1.0, 10.0), (2.0, 20.0), (3.0, 30.0), (4.0, 40.0)]) == pytest.approx(0.0, abs=1e-12)
    # y = 0, 1, 0 around its line: residuals -1/3, 2/3, -1/3; one degree of freedom
    assert residual_variance([(0.0, 0.0), (1.0, 1.0), (2.0, 0.0)]) == pytest.approx(2 / 3)
