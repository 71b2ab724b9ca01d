"""What is made of claims: interactions, expectations, signal of measures, forgetting, the register of a null study."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic_study import BUDGET, TASKS, write_run, write_sweep, write_task

from analysis.claims.claim import DEGRADED, EQUIVALENT, IMPROVED, INCONCLUSIVE, INTERACTION, ONE_RUN
from analysis.claims.compare import Comparer, compare_contrasts
from analysis.claims.interactions import find_interactions
from analysis.claims.register import record_noise
from analysis.expectations import AGAINST, AS_EXPECTED, UNDECIDED, expectations_words, score_expectations
from analysis.forgetting import forgetting_figure, forgetting_table, moved_items
from analysis.load import load_study
from analysis.report import build_report
from analysis.signal import clearly_better, signal_table, signals_of
from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.noise import find_register, read_registers, setting_of_run

FEW = ("mini_choice", "mini_en_ja", "heldout_english")
SEEDS = (0, 1, 2)


def contrast(factor: str, level: str, base: str, run_id: str, baseline_run_id: str, where: str) -> dict[str, str]:
    names = {"factor": factor, "level": level, "baseline_level": base, "label": f"{level} vs {base} ({where})"}
    return {**names, "run_id": run_id, "baseline_run_id": baseline_run_id}


def write_crossed(out: Path, *, seeds: tuple[int, ...] = SEEDS, gain: float = 1.5) -> Path:
    """{base, ja} x {none, mixed}: pairs help `mini_choice` only with the vocabulary `ja`."""
    levels = [(v, p) for v in ("base", "ja") for p in ("none", "mixed")]
    cells = [
        {"run_id": f"{v}-{p}-s{s}", "choices": {"vocabulary": v, "parallel": p}, "seed": s, "label": f"{v} {p}"}
        for v, p in levels
        for s in seeds
    ]
    contrasts = []
    for v, p in levels:
        for s in seeds:
            run_id = f"{v}-{p}-s{s}"
            if v != "base":
                contrasts.append(contrast("vocabulary", v, "base", run_id, f"base-{p}-s{s}", p))
            if p != "none":
                contrasts.append(contrast("parallel", p, "none", run_id, f"{v}-none-s{s}", v))
    axes = {"vocabulary": ["base", "ja"], "parallel": ["none", "mixed"]}
    write_sweep(out, ["none"], cells=cells, contrasts=contrasts, axes=axes, baseline={"vocabulary": "base", "parallel": "none"})
    for v, p in levels:
        for s in seeds:
            effects = {"mini_choice": gain} if (v, p) == ("ja", "mixed") else {}
            write_run(out, f"{v}-{p}-s{s}", p, seed=s, marks=(0.0, 1.0), tasks=FEW, effects=effects)
            path = RunPaths.of(out, f"{v}-{p}-s{s}").identity
            path.write_text(path.read_text(encoding="utf-8").replace("vocabulary_0", f"vocabulary_{v}"), encoding="utf-8")
    return out


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only, but for the report."""
    return write_crossed(tmp_path_factory.mktemp("crossed"))


def test_an_interaction_is_one_difference_of_differences_and_is_found(crossed: Path) -> None:
    study = load_study(crossed, "parallel")
    (one,) = find_interactions(study)  # read either way it is the same number
    assert one.label == "mixed vs none: vocabulary ja against base" and len(set(one.cells)) == 4
    all_claims = compare_contrasts(study)
    claims = {c.task: c for c in all_claims if c.kind == INTERACTION}
    by_label = {(c.contrast, c.task): c for c in all_claims}
    with_pairs, without = by_label["mixed vs none (ja)", "mini_choice"], by_label["mixed vs none (base)", "mini_choice"]
    found = claims["mini_choice"]
    assert found.difference == pytest.approx(with_pairs.difference - without.difference)
    assert found.verdict == "helps more" and found.score is None and found.relative_change is None
    assert claims["mini_en_ja"].verdict == INCONCLUSIVE
    assert np.mean(found.seed_differences) == pytest.approx(found.difference)
    page = build_report(crossed, "parallel").read_text(encoding="utf-8")
    assert "Does one choice change what another does?" in page and "1 helps more" in page
    document = json.loads((crossed / "reports/parallel/claims.json").read_text(encoding="utf-8"))
    assert [c["task"] for c in document["interactions"]] == [c.task for c in claims.values()]


def test_an_interaction_of_single_runs_has_no_verdict(tmp_path: Path) -> None:
    study = load_study(write_crossed(tmp_path, seeds=(0,), gain=3.0), "parallel")
    assert {c.verdict for c in compare_contrasts(study)} == {ONE_RUN}


def test_expectations_are_scored_by_contrast_task_and_the_others(crossed: Path) -> None:
    study = load_study(crossed, "parallel")
    claims = compare_contrasts(study)
    template = next(c for c in claims if c.task == "mini_choice")
    up, down = (replace(template, verdict=v, difference=d) for v, d in ((IMPROVED, 3.0), (DEGRADED, -3.0)))
    equal, open_ = replace(template, verdict=EQUIVALENT, difference=0.1), replace(template, verdict=INCONCLUSIVE)

    def results(**signs: object) -> list[str]:
        return [scored.result for scored in score_expectations(replace(study, signs=signs), [up, down, equal, open_])]

    assert results(mini_choice="up") == [AS_EXPECTED, AGAINST, AGAINST, UNDECIDED]
    assert results(others="none") == [AGAINST, AGAINST, AS_EXPECTED, UNDECIDED]
    assert results(mini_choice="none", **{template.level: {"mini_choice": "down"}}) == [AGAINST, AS_EXPECTED, AGAINST, UNDECIDED]
    assert results() == [] and results(mini_en_ja="up") == []
    words = expectations_words(score_expectations(replace(study, signs={"mini_choice": "up"}), [up, down]))
    assert words == "Of 2 expectations stated before the runs: 1 as expected, 1 against, 0 undecided."


def test_down_is_a_direction_of_the_score_and_fewer_bits_are_better(crossed: Path) -> None:
    study = load_study(crossed, "parallel")
    bits = next(c for c in compare_contrasts(study) if c.task == "heldout_english")
    fewer = replace(bits, verdict=IMPROVED, difference=-0.1)
    assert [s.result for s in score_expectations(replace(study, signs={"heldout_english": "down"}), [fewer])] == [AS_EXPECTED]


def test_signal_is_the_spread_of_cells_over_the_noise_of_runs(tmp_path: Path) -> None:
    """Four cells at 0, 10, 20 and 30 points; runs of a cell one point apart."""
    levels = ["none", "a", "b", "c"]
    write_sweep(tmp_path, levels, seeds=SEEDS)
    rng = np.random.default_rng(0)
    for place, level in enumerate(levels):
        for seed in SEEDS:
            write_run(tmp_path, f"{level}-s{seed}", level, seed=seed, marks=(0.0, 0.5, 0.75, 1.0), tasks=())
            for mark in (0.0, 0.5, 0.75, 1.0):
                right = round(200 + 100 * place + 10 * rng.normal())
                write_task(
                    tmp_path, f"{level}-s{seed}", int(mark * BUDGET), "mini_choice", (np.arange(1000)[:, None] < right).astype(float)
                )
    signals = signals_of(Comparer.of(load_study(tmp_path, "parallel")))
    plain = next(s for s in signals if s.declared)
    averaged = next(s for s in signals if "last 3 checkpoints" in s.measure)
    assert plain.signal == pytest.approx(12.9, abs=1.5) and plain.noise == pytest.approx(1.0, abs=0.5)
    assert averaged.noise < plain.noise and averaged.ratio > plain.ratio
    table = signal_table(signals)
    assert table is not None and table.rows[0][3] == "declared" and table.best
    weak = replace(plain, noise=plain.signal * 2)
    assert clearly_better([weak, averaged]) == [(weak, averaged)]
    assert clearly_better([plain, replace(plain, declared=False, noise=plain.noise * 0.9)]) == []


def test_last_checkpoints_are_averaged_where_the_question_declares_it(tmp_path: Path) -> None:
    write_sweep(tmp_path, ["none", "mixed"], last_checkpoints=2)
    for level, hits in (("none", (10, 20, 40)), ("mixed", (10, 60, 70))):
        write_run(tmp_path, f"{level}-s0", level, marks=(0.0, 0.5, 1.0), tasks=())
        for mark, right in zip((0.0, 0.5, 1.0), hits, strict=True):
            write_task(tmp_path, f"{level}-s0", int(mark * BUDGET), "mini_choice", (np.arange(100)[:, None] < right).astype(float))
    (claim,) = compare_contrasts(load_study(tmp_path, "parallel"))
    assert (claim.score, claim.baseline_score) == (pytest.approx(65.0), pytest.approx(30.0))


def test_forgetting_counts_both_ways_and_takes_guesses_out(tmp_path: Path) -> None:
    """Of 1,000 items with four labels 400 are known before and 500 after, 300 of them both times; the rest is guessed."""
    write_sweep(tmp_path, ["none"], seeds=SEEDS)
    rng = np.random.default_rng(1)
    before_known, after_known = np.arange(1000) < 400, (np.arange(1000) >= 100) & (np.arange(1000) < 600)
    for seed in SEEDS:
        write_run(tmp_path, f"none-s{seed}", "none", seed=seed, marks=(0.0, 1.0), tasks=())
        for tokens, known in ((0, before_known), (BUDGET, after_known)):
            right = (known | (rng.uniform(size=1000) < 0.25)).astype(float)[:, None]
            health = {"num_gold": 4, "majority_share": 0.3, "balanced_accuracy": 50.0}
            write_task(tmp_path, f"none-s{seed}", tokens, "mini_choice", right, health=health)
    study = load_study(tmp_path, "parallel")
    (moved,) = moved_items(study)
    assert moved.num_labels == 4 and moved.num_runs == 3
    assert moved.lost > 13 and moved.gained > 20  # guesses included
    assert moved.forgotten.value == pytest.approx(10.0, abs=2.0) and moved.learnt.value == pytest.approx(20.0, abs=2.0)
    low, high = moved.forgotten.ends
    assert low <= 10.0 <= high
    assert forgetting_table([moved]) is not None and forgetting_figure(study, [moved]) is not None


def test_without_labels_lost_and_forgotten_are_the_same(tmp_path: Path) -> None:
    write_sweep(tmp_path, ["none"])
    write_run(tmp_path, "none-s0", "none", marks=(0.0, 1.0), tasks=("mini_reading",))
    (moved,) = moved_items(load_study(tmp_path, "parallel"))
    assert moved.num_labels is None and moved.lost == pytest.approx(moved.forgotten.value)
    assert forgetting_table([]) is None


def test_a_null_study_leaves_a_register_that_its_setting_finds(tmp_path: Path) -> None:
    write_sweep(tmp_path, ["none", "mixed"], seeds=SEEDS, name="quiet", null_study=True)
    for level in ("none", "mixed"):
        for seed in SEEDS:
            write_run(tmp_path, f"{level}-s{seed}", level, seed=seed, marks=(0.0, 1.0), tasks=FEW)
    build_report(tmp_path, "quiet")
    (register,) = read_registers(tmp_path)
    assert {entry.task for entry in register.measures} == set(FEW)
    entry = register.entry("mini_choice", "accuracy", "both")
    claim = next(c for c in compare_contrasts(load_study(tmp_path, "quiet")) if c.task == "mini_choice")
    assert entry is not None and (entry.num_runs, entry.freedom, entry.within_freedom) == (6, 2, 4)
    spread = max(entry.variance, entry.within_variance)  # two cells with three seeds: too few to believe in pairing
    assert 2 * spread / 3 == pytest.approx(claim.run_noise**2)
    setting = setting_of_run(RunPaths.of(tmp_path, "mixed-s1"))
    assert find_register([register], setting) is register and find_register([register], "other") is None
    (tmp_path / "noise" / "torn.json").write_text('{"study": "x", "measures": [{"task"', encoding="utf-8")
    (tmp_path / "noise" / "odd.json").write_text('{"study": 1, "setting": [], "measures": [3]}', encoding="utf-8")
    assert read_registers(tmp_path) == (register,)


def test_a_null_study_of_several_settings_is_refused(tmp_path: Path) -> None:
    write_sweep(tmp_path, ["none", "mixed"], seeds=(0, 1), null_study=True)
    for level in ("none", "mixed"):
        for seed in (0, 1):
            write_run(tmp_path, f"{level}-s{seed}", level, seed=seed, marks=(0.0, 1.0), tasks=("mini_choice",))
    path = RunPaths.of(tmp_path, "mixed-s0").identity
    path.write_text(path.read_text(encoding="utf-8").replace("mixture_0", "mixture_1"), encoding="utf-8")
    with pytest.raises(RequestError, match="differ in base model, mixture or budget"):
        record_noise(Comparer.of(load_study(tmp_path, "parallel")))


def test_tasks_of_this_file_exist() -> None:
    assert set(FEW) <= set(TASKS)
