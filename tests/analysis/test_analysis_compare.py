"""From records on disk to claims: verdicts, floors, refusals, unfinished runs, one run and several seeds."""

import json
from pathlib import Path

import numpy as np
import pytest
from synthetic_study import BUDGET, TASKS, item_statistics, write_run, write_sweep, write_task

from analysis.claims.adjust import mcnemar_p
from analysis.claims.claim import DEGRADED, IMPROVED, INCONCLUSIVE, NO_INTERVAL, NOT_COMPARED, ONE_RUN, Claim
from analysis.claims.compare import compare_contrasts
from analysis.load import load_study
from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.paths import RunPaths, sweep_file
from swallow_exp.record.aggregate import score_of_items
from swallow_exp.record.noise import NoiseEntry, NoiseRegister, setting_names, setting_of, write_register

FEW = ("mini_choice", "mini_en_ja", "heldout_japanese", "mini_arithmetic")


def claims_of(out: Path) -> dict[str, Claim]:
    return {claim.task: claim for claim in compare_contrasts(load_study(out, "parallel"))}


SEEDS = (0, 1, 2)


@pytest.fixture()
def out(tmp_path: Path) -> Path:
    """One run of the baseline; its contrast has one seed."""
    write_sweep(tmp_path, ["none", "mixed"])
    write_run(tmp_path, "none-s0", "none", marks=(0.0, 1.0), tasks=FEW)
    return tmp_path


def write_seeds(out: Path, levels: dict[str, dict[str, float]], *, seeds: tuple[int, ...] = SEEDS, **changes: object) -> Path:
    """A sweep with the first level as its baseline, all cells at all seeds."""
    write_sweep(out, list(levels), seeds=seeds)
    for level, effects in levels.items():
        for seed in seeds:
            write_run(out, f"{level}-s{seed}", level, seed=seed, marks=(0.0, 1.0), tasks=FEW, effects=effects, **changes)
    return out


def test_a_planted_improvement_is_found_a_planted_loss_too_and_nothing_is_not(tmp_path: Path) -> None:
    write_seeds(tmp_path, {"none": {}, "mixed": {"mini_en_ja": 1.0, "heldout_japanese": -0.8}, "other": {}, "third": {}})
    claims = {c.task: c for c in compare_contrasts(load_study(tmp_path, "parallel")) if c.level == "mixed"}
    assert claims["mini_en_ja"].verdict == IMPROVED
    assert claims["heldout_japanese"].verdict == DEGRADED  # more bits per byte: higher is worse
    assert claims["heldout_japanese"].difference > 0
    assert claims["mini_choice"].verdict == INCONCLUSIVE
    assert claims["mini_choice"].detectable_difference > 0


def test_one_run_per_side_has_no_verdict_however_large_the_effect(out: Path) -> None:
    write_run(out, "mixed-s0", "mixed", marks=(0.0, 1.0), tasks=FEW, effects={"mini_en_ja": 3.0})
    claims = claims_of(out)
    assert {claim.verdict for claim in claims.values()} == {ONE_RUN}
    assert all(claim.p is claim.p_holm is claim.difference_interval is claim.relative_interval is None for claim in claims.values())
    low, high = claims["mini_en_ja"].items_interval
    assert 0 < low < claims["mini_en_ja"].difference < high and claims["mini_en_ja"].p_items < 1e-6
    assert all("one_run" in warned(claim) for claim in claims.values())


def register_of(out: Path, run_id: str, *, variance: float, prompts: str = "mini_choice-prompts") -> None:
    identity = json.loads(RunPaths.of(out, run_id).identity.read_text(encoding="utf-8"))
    entry = NoiseEntry("mini_choice", "accuracy", "both", prompts, "1", "points", 12, 200, variance, 10, variance, 10)
    write_register(out, NoiseRegister("null", setting_of(identity), setting_names(identity), (entry,)))


def test_a_null_study_of_the_setting_judges_single_runs_and_one_of_another_does_not(out: Path) -> None:
    write_run(out, "mixed-s0", "mixed", marks=(0.0, 1.0), tasks=FEW, effects={"mini_choice": 1.0})
    register_of(out, "none-s0", variance=0.5)
    claims = claims_of(out)
    assert claims["mini_choice"].verdict == IMPROVED and claims["mini_choice"].noise_kind == "null study"
    assert "null study null, 12 runs; 10 degrees of freedom" in claims["mini_choice"].noise_source
    assert claims["mini_en_ja"].verdict == ONE_RUN  # the register does not know it
    register_of(out, "none-s0", variance=400.0)
    assert claims_of(out)["mini_choice"].verdict == INCONCLUSIVE
    register_of(out, "none-s0", variance=0.5, prompts="others")
    assert claims_of(out)["mini_choice"].verdict == ONE_RUN
    register_of(out, "none-s0", variance=0.5)
    path = RunPaths.of(out, "mixed-s0").identity
    path.write_text(path.read_text(encoding="utf-8").replace("mixture_0", "mixture_1"), encoding="utf-8")
    assert claims_of(out)["mini_choice"].verdict != IMPROVED  # not the setting of both sides


def test_seeds_of_other_cells_judge_a_contrast_that_has_one(tmp_path: Path) -> None:
    write_seeds(tmp_path, {"none": {}, "other": {}})
    sweep = json.loads(sweep_file(tmp_path, "parallel").read_text(encoding="utf-8"))
    run = {"run_id": "mixed-s0", "choices": {"vocabulary": "base", "parallel": "mixed"}, "seed": 0, "label": "mixed"}
    contrast = {**sweep["contrasts"][0], "level": "mixed", "run_id": "mixed-s0", "label": "mixed vs none"}
    write_sweep(tmp_path, ["none", "other"], cells=[*sweep["cells"], run], contrasts=[contrast])
    write_run(tmp_path, "mixed-s0", "mixed", marks=(0.0, 1.0), tasks=FEW, effects={"mini_choice": 2.0})
    claim = claims_of(tmp_path)["mini_choice"]
    assert claim.noise_kind == "sweep" and claim.noise_source.startswith("6 runs in 2 cells") and claim.verdict == IMPROVED


def test_differences_are_those_of_the_scores_and_intervals_hold_them(out: Path) -> None:
    write_run(out, "mixed-s0", "mixed", marks=(0.0, 1.0), tasks=FEW, effects={"mini_en_ja": 1.0})
    study = load_study(out, "parallel")
    final = study.scores[study.scores["is_final"]].set_index(["cell", "task"])["score"]
    for task, claim in claims_of(out).items():
        assert claim.score == pytest.approx(final["mixed", task])
        assert claim.difference == pytest.approx(final["mixed", task] - final["none", task])
        low, high = claim.items_interval
        assert low <= claim.difference <= high
        if claim.relative_change is not None:
            assert claim.relative_change == pytest.approx(100 * claim.difference / claim.baseline_score)


def test_a_baseline_at_the_floor_gets_points_and_a_note(tmp_path: Path) -> None:
    write_seeds(tmp_path, {"none": {}, "mixed": {"mini_arithmetic": 2.5}, "other": {}})
    claim = next(c for c in compare_contrasts(load_study(tmp_path, "parallel")) if (c.level, c.task) == ("mixed", "mini_arithmetic"))
    assert claim.baseline_score < 2
    assert claim.at_floor and claim.relative_change is None and claim.relative_interval is None
    assert claim.difference > 10 and claim.verdict == IMPROVED
    assert any("floor" in note for note in claim.notes)


def test_a_certain_difference_between_two_floors_is_no_finding(tmp_path: Path) -> None:
    write_seeds(tmp_path, {"none": {}, "mixed": {}})
    for seed in SEEDS:
        for level, hits in (("none", 0), ("mixed", 40)):
            write_task(tmp_path, f"{level}-s{seed}", BUDGET, "mini_arithmetic", (np.arange(1000)[:, None] < hits).astype(float))
    claim = claims_of(tmp_path)["mini_arithmetic"]
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
    assert claim.difference_interval is claim.relative_interval is claim.p is claim.p_holm is claim.items_interval is None


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
    write_seeds(tmp_path, {"none": {}, "a": {}, "b": {}, "c": {}}, seeds=(0, 1))
    claims = compare_contrasts(load_study(tmp_path, "parallel"))
    assert len(claims) == 12
    assert all(claim.p_holm >= claim.p for claim in claims)
    assert all((claim.verdict == INCONCLUSIVE) == (claim.p_holm >= 0.05) for claim in claims)


def test_equal_records_give_equal_claims_whatever_else_is_in_the_report(tmp_path: Path) -> None:
    """Over items alone: what is known of runs grows with the sweep, and is meant to."""
    write_sweep(tmp_path, ["none", "mixed"])
    write_sweep(tmp_path, ["none", "mixed", "other"], name="wider")
    for level in ("none", "mixed", "other"):
        write_run(tmp_path, f"{level}-s0", level, marks=(0.0, 1.0), tasks=FEW)
    narrow = claims_of(tmp_path)
    wide = {c.task: c for c in compare_contrasts(load_study(tmp_path, "wider")) if c.level == "mixed"}
    assert {t: (c.items_interval, c.p_items) for t, c in narrow.items()} == {t: (c.items_interval, c.p_items) for t, c in wide.items()}


def test_the_interval_over_items_is_that_of_a_plain_bootstrap(out: Path) -> None:
    """Derivatives against indices gathered one resample at a time."""
    write_run(out, "mixed-s0", "mixed", marks=(0.0, 1.0), tasks=FEW, effects={"mini_choice": 0.2, "mini_en_ja": 0.3})
    study = load_study(out, "parallel")
    for claim in compare_contrasts(study):
        measure = next(m for m in study.measures if m.task == claim.task)
        sides = [study.items_of(study.record_of(run_id, BUDGET, measure)).statistics for run_id in ("mixed-s0", "none-s0")]
        rng, differences = np.random.default_rng(4), []
        for _ in range(2000):
            rows = rng.integers(len(sides[0]), size=len(sides[0]))
            differences.append(score_of_items(sides[0][rows], measure.aggregate) - score_of_items(sides[1][rows], measure.aggregate))
        low, high = np.quantile(differences, [0.025, 0.975])
        assert claim.items_interval == pytest.approx((low, high), abs=0.1 * (high - low) + (0.7 if measure.aggregate == "mean" else 0))


def warned(claim: Claim) -> set[str]:
    return {warning.partition(":")[0] for warning in claim.warnings}


def test_right_and_wrong_answers_get_the_exact_test_too(out: Path) -> None:
    write_run(out, "mixed-s0", "mixed", marks=(0.0, 1.0), tasks=FEW, effects={"mini_choice": 0.5})
    claims = claims_of(out)
    study = load_study(out, "parallel")
    a, b = (study.items_of(r).statistics[:, 0] for r in study.records if r.task == "mini_choice" and r.trained_tokens == BUDGET)
    assert claims["mini_choice"].p_exact == pytest.approx(mcnemar_p(int((a > b).sum()), int((b > a).sum())))
    assert claims["mini_choice"].p_exact == pytest.approx(claims["mini_choice"].p_items, abs=0.05)
    assert claims["mini_en_ja"].p_exact is None and claims["heldout_japanese"].p_exact is None


def test_the_last_checkpoints_are_a_lower_bound_and_no_verdict(tmp_path: Path) -> None:
    write_sweep(tmp_path, ["none", "mixed"])
    scores = {"none-s0": (10, 20, 32, 38, 50), "mixed-s0": (11, 22, 33, 44, 55)}
    for run_id, hits in scores.items():
        write_run(tmp_path, run_id, run_id.removesuffix("-s0"), marks=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0), tasks=())
        for place, right in enumerate(hits, start=1):
            write_task(tmp_path, run_id, BUDGET * place // 5, "mini_choice", (np.arange(100)[:, None] < right).astype(float))
        write_task(tmp_path, run_id, 0, "mini_choice", np.zeros((100, 1)))  # token 0 is another model
    (claim,) = compare_contrasts(load_study(tmp_path, "parallel"))
    # the other run lies on its line
    x, y = np.arange(5), np.array(scores["none-s0"])
    residuals = y - np.polyval(np.polyfit(x, y, 1), x)
    assert claim.run_noise == pytest.approx(np.sqrt((residuals**2).sum() / 3))
    assert claim.noise_kind == "checkpoints" and claim.noise_source.endswith("a lower bound")
    assert claim.verdict == ONE_RUN and claim.p is None and "one_run" in warned(claim)


def test_too_few_checkpoints_leave_the_noise_unknown(out: Path) -> None:
    write_run(out, "mixed-s0", "mixed", marks=(0.0, 1.0), tasks=FEW)
    claim = claims_of(out)["mini_choice"]
    assert claim.run_noise is None and claim.noise_kind == "unknown" and claim.verdict == ONE_RUN


def test_noise_of_several_seeds_is_the_spread_of_their_differences(tmp_path: Path) -> None:
    write_sweep(tmp_path, ["none", "mixed"], seeds=(0, 1, 2))
    for level in ("none", "mixed"):
        for seed in (0, 1, 2):
            write_run(tmp_path, f"{level}-s{seed}", level, seed=seed, marks=(1.0,), tasks=("mini_choice",))
    (claim,) = compare_contrasts(load_study(tmp_path, "parallel"))
    study = load_study(tmp_path, "parallel")
    scores = study.scores[study.scores["is_final"]].groupby("cell")["score"].apply(list)
    rounding = 2 * 0.5**2 / 12  # of two scores over 200 items
    paired = np.var(claim.seed_differences, ddof=1) + rounding
    unpaired = sum(np.var(of, ddof=1) for of in scores) + rounding
    assert claim.run_noise == pytest.approx(np.sqrt(max(paired, unpaired) / 3))
    assert claim.run_freedom == (2 if paired >= unpaired else 4)  # two cells: nothing else to pool
    assert claim.noise_source.startswith("3 seeds of this comparison") and "one_run" not in warned(claim)
    assert ("taken as unpaired" in claim.noise_source) == (unpaired > paired)
    signs = {difference > 0 for difference in claim.seed_differences if difference}
    assert ("seeds_disagree" in warned(claim)) == (len(signs) > 1)


def test_digests_that_differ_are_warnings_where_the_test_is_the_same(out: Path) -> None:
    write_run(out, "mixed-s0", "mixed", marks=(0.0, 1.0), tasks=FEW)
    assert warned(claims_of(out)["mini_choice"]) & {"digests_differ", "same_weights"} == set()
    statistics = item_statistics("mini_choice", 0.3, 1)
    for run_id, settings in (("mixed-s0", "batch-8"), ("none-s0", "batch-64")):
        write_task(out, run_id, BUDGET, "mini_choice", statistics, settings_digest=settings, checkpoint_digest="one")
    claim = claims_of(out)["mini_choice"]
    assert {"digests_differ", "same_weights", "few_units"} <= warned(claim)
    assert any("different settings (batch-8 and batch-6)" in warning for warning in claim.warnings)
    assert claim.p_items == 1.0 and claim.verdict == ONE_RUN


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
