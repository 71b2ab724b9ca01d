"""From records on disk to claims: verdicts, floors, refusals, unfinished runs, several seeds."""

from pathlib import Path

import numpy as np
import pytest
from synthetic_study import BUDGET, TASKS, item_statistics, write_run, write_sweep, write_task

from analysis.claims.compare import DEGRADED, IMPROVED, INCONCLUSIVE, NO_INTERVAL, NOT_COMPARED, Claim, compare_contrasts
from analysis.load import load_study
from swallow_exp.artefact.errors import RequestError

FEW = ("mini_choice", "mini_en_ja", "heldout_japanese", "mini_arithmetic")


def claims_of(out: Path) -> dict[str, Claim]:
    return {claim.task: claim for claim in compare_contrasts(load_study(out, "parallel"), num_resamples=2000)}


@pytest.fixture()
def out(tmp_path: Path) -> Path:
    write_sweep(tmp_path, ["none", "mixed"])
    write_run(tmp_path, "none-s0", "none", marks=(0.0, 1.0), tasks=FEW)
    return tmp_path


def test_a_planted_improvement_is_found_a_planted_loss_too_and_nothing_is_not(out: Path) -> None:
    write_run(out, "mixed-s0", "mixed", marks=(0.0, 1.0), tasks=FEW, effects={"mini_en_ja": 1.0, "heldout_japanese": -0.8})
    claims = claims_of(out)
    assert claims["mini_en_ja"].verdict == IMPROVED
    assert claims["heldout_japanese"].verdict == DEGRADED  # more bits per byte: higher is worse
    assert claims["heldout_japanese"].difference > 0
    assert claims["mini_choice"].verdict == INCONCLUSIVE
    assert claims["mini_choice"].detectable_difference > 0


def test_differences_are_those_of_the_scores_and_intervals_hold_them(out: Path) -> None:
    write_run(out, "mixed-s0", "mixed", marks=(0.0, 1.0), tasks=FEW, effects={"mini_en_ja": 1.0})
    study = load_study(out, "parallel")
    final = study.scores[study.scores["is_final"]].set_index(["cell", "task"])["score"]
    for task, claim in claims_of(out).items():
        assert claim.score == pytest.approx(final["mixed", task])
        assert claim.difference == pytest.approx(final["mixed", task] - final["none", task])
        low, high = claim.difference_interval
        assert low <= claim.difference <= high
        if claim.relative_change is not None:
            assert claim.relative_change == pytest.approx(100 * claim.difference / claim.baseline_score)


def test_a_baseline_at_the_floor_gets_points_and_a_note(out: Path) -> None:
    write_run(out, "mixed-s0", "mixed", marks=(0.0, 1.0), tasks=FEW, effects={"mini_arithmetic": 2.5})
    claim = claims_of(out)["mini_arithmetic"]
    assert claim.baseline_score < 2
    assert claim.at_floor and claim.relative_change is None and claim.relative_interval is None
    assert claim.difference > 10 and claim.verdict == IMPROVED
    assert any("floor" in note for note in claim.notes)


def test_a_certain_difference_between_two_floors_is_no_finding(out: Path) -> None:
    write_run(out, "mixed-s0", "mixed", marks=(0.0, 1.0), tasks=FEW)
    for run_id, hits in (("none-s0", 0), ("mixed-s0", 40)):
        write_task(out, run_id, BUDGET, "mini_arithmetic", (np.arange(1000)[:, None] < hits).astype(float))
    claim = claims_of(out)["mini_arithmetic"]
    assert claim.p_holm < 0.001 and claim.difference == pytest.approx(4.0, abs=0.1)
    assert claim.verdict == INCONCLUSIVE
    assert any("both scores are at the floor" in note for note in claim.notes)


def test_different_prompts_are_refused(out: Path) -> None:
    write_run(out, "mixed-s0", "mixed", marks=(0.0, 1.0), tasks=FEW, effects={"mini_en_ja": 1.0})
    write_task(out, "mixed-s0", BUDGET, "mini_en_ja", item_statistics("mini_en_ja", 2.0, 1), prompt_digest="something else")
    claim = claims_of(out)["mini_en_ja"]
    assert claim.verdict == NOT_COMPARED and claim.difference is None and claim.p_holm is None
    assert any(
        "mixed-s0 and none-s0 were asked differently: mini_en_ja, prompts something el and mini_en_ja-p" in note for note in claim.notes
    )


def test_only_shared_items_are_compared_and_it_is_said(out: Path) -> None:
    write_run(out, "mixed-s0", "mixed", marks=(0.0, 1.0), tasks=FEW)
    write_task(out, "mixed-s0", BUDGET, "mini_choice", item_statistics("mini_choice", 0.3, 1)[:90])
    claim = claims_of(out)["mini_choice"]
    assert claim.num_items == 90
    assert any("90 items" in note for note in claim.notes)


def test_items_of_one_cluster_are_one_unit(out: Path) -> None:
    tasks = ("mini_reading",)
    write_run(out, "mixed-s0", "mixed", marks=(1.0,), tasks=tasks)
    write_task(out, "none-s0", BUDGET, "mini_reading", item_statistics("mini_reading", 0.1, 3))
    claim = claims_of(out)["mini_reading"]
    assert (claim.num_items, claim.num_units) == (TASKS["mini_reading"][2], TASKS["mini_reading"][2] // 4)


def test_lost_items_leave_a_difference_without_interval_or_verdict(out: Path) -> None:
    write_run(out, "mixed-s0", "mixed", marks=(0.0, 1.0), tasks=FEW)
    for items in (out / "runs" / "mixed-s0").rglob("mini_choice/items.parquet"):
        items.unlink()
    claim = claims_of(out)["mini_choice"]
    assert claim.verdict == NO_INTERVAL and any("missing" in note for note in claim.notes)
    assert claim.difference == pytest.approx(claim.score - claim.baseline_score)
    assert claim.difference_interval is claim.relative_interval is claim.p is claim.p_holm is None


def test_an_unfinished_run_is_compared_at_the_last_common_checkpoint(tmp_path: Path) -> None:
    write_sweep(tmp_path, ["none", "mixed"])
    write_run(tmp_path, "none-s0", "none", tasks=FEW)
    write_run(tmp_path, "mixed-s0", "mixed", tasks=FEW, state="running", marks=(0.0, 0.25, 0.5))
    claim = claims_of(tmp_path)["mini_choice"]
    assert claim.trained_tokens == claim.baseline_trained_tokens == (BUDGET // 2,)
    assert any("not final" in note for note in claim.notes)


def test_token_zero_alone_is_no_comparison(out: Path) -> None:
    write_run(out, "mixed-s0", "mixed", marks=(0.0,), tasks=FEW, state="running")
    claims = claims_of(out)
    assert {claim.verdict for claim in claims.values()} == {NOT_COMPARED}


def test_seeds_are_paired_and_pooled(tmp_path: Path) -> None:
    write_sweep(tmp_path, ["none", "mixed"], seeds=(0, 1))
    for level, effects in (("none", {}), ("mixed", {"mini_en_ja": 1.0})):
        for seed in (0, 1):
            write_run(tmp_path, f"{level}-s{seed}", level, seed=seed, marks=(0.0, 1.0), tasks=FEW, effects=effects)
    study = load_study(tmp_path, "parallel")
    assert len(study.cells) == 2 and len(study.contrasts) == 1 and len(study.contrasts[0].pairs) == 2
    claim = claims_of(tmp_path)["mini_choice"]
    final = study.scores[study.scores["is_final"] & (study.scores["task"] == "mini_choice")]
    means = final.groupby("cell")["score"].mean()
    assert claim.difference == pytest.approx(means["mixed"] - means["none"])
    assert np.mean(claim.seed_differences) == pytest.approx(claim.difference)
    assert claim.run_ids == ("mixed-s0", "mixed-s1")


def test_a_seed_that_is_missing_is_left_out_and_named(tmp_path: Path) -> None:
    write_sweep(tmp_path, ["none", "mixed"], seeds=(0, 1))
    for run_id, level, seed in (("none-s0", "none", 0), ("none-s1", "none", 1), ("mixed-s0", "mixed", 0)):
        write_run(tmp_path, run_id, level, seed=seed, marks=(0.0, 1.0), tasks=FEW)
    claim = claims_of(tmp_path)["mini_choice"]
    assert claim.run_ids == ("mixed-s0",) and any("mixed-s1" in note for note in claim.notes)


def test_holm_takes_back_what_many_comparisons_make_likely(tmp_path: Path) -> None:
    """One small effect among many nulls: the p-value of its own passes, the adjusted one need not be smaller."""
    write_sweep(tmp_path, ["none", "a", "b", "c"])
    for level in ("none", "a", "b", "c"):
        write_run(tmp_path, f"{level}-s0", level, marks=(0.0, 1.0), tasks=FEW)
    claims = compare_contrasts(load_study(tmp_path, "parallel"), num_resamples=1000)
    assert len(claims) == 12
    assert all(claim.p_holm >= claim.p for claim in claims)
    assert all((claim.verdict == INCONCLUSIVE) == (claim.p_holm >= 0.05) for claim in claims)


def test_equal_records_give_equal_claims_whatever_else_is_in_the_report(tmp_path: Path) -> None:
    write_sweep(tmp_path, ["none", "mixed"])
    write_sweep(tmp_path, ["none", "mixed", "other"], name="wider")
    for level in ("none", "mixed", "other"):
        write_run(tmp_path, f"{level}-s0", level, marks=(0.0, 1.0), tasks=FEW)
    narrow = claims_of(tmp_path)["mini_choice"]
    wide = next(
        c for c in compare_contrasts(load_study(tmp_path, "wider"), num_resamples=2000) if (c.level, c.task) == ("mixed", "mini_choice")
    )
    assert (narrow.difference_interval, narrow.p) == (wide.difference_interval, wide.p)


def test_missing_is_listed_and_never_a_number(out: Path) -> None:
    write_run(out, "mixed-s0", "mixed", state="failed", marks=(0.0,), evaluated=False)
    study = load_study(out, "parallel")
    assert [(m.run_id, "out of memory" in m.reason) for m in study.missing] == [("mixed-s0", True)]
    assert "mixed" not in set(study.scores["cell"])
    assert (study.scores["score"] >= 0).all()


def test_a_wrong_name_says_which_sweeps_exist(out: Path) -> None:
    with pytest.raises(RequestError, match=r"nothing\.json.*parallel"):
        load_study(out, "nothing")


def test_a_sweep_without_any_evaluation_is_a_wrong_request(tmp_path: Path) -> None:
    write_sweep(tmp_path, ["none", "mixed"])
    write_run(tmp_path, "none-s0", "none", evaluated=False)
    with pytest.raises(RequestError, match="none of the 2 runs"):
        load_study(tmp_path, "parallel")
