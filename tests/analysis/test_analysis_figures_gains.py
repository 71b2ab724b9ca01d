"""Numbers behind the figures: places on the axes, averages over what is there, sides between checkpoints, item scores before and after."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from synthetic_paper import BUDGET, BYTES_PER_TOKEN, CELLS, NAME, paper_statistics, run_id_of, write_paper_study

from analysis.claims.compare import NOT_COMPARED, Comparer
from analysis.figures.axes import BYTES, FLOPS, TOKENS, bytes_text, reached
from analysis.figures.curves import Curve, curves_of, largest_common, left_out, shared_measures
from analysis.figures.gains import BETWEEN, Results, equal_claims, training_claims
from analysis.figures.joint import joint_measure, joints_of
from analysis.figures.tasks import main_measure, scored_measures, with_fair_summaries
from analysis.load import Study, load_study
from swallow_exp.artefact.paths import RunPaths

BASE, EXPANDED = CELLS[0], CELLS[1]
MARKS = (0.0, 0.3, 1.0)
TASKS = ("jcqa", "niilc", "xlsum", "mgsm", "triviaqa")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("two")
    write_paper_study(root, cells=CELLS[:2], marks=MARKS, tasks=TASKS)
    return root


@pytest.fixture(scope="module")
def study(out: Path) -> Study:
    return load_study(out, NAME)


def test_a_place_is_read_off_the_log_and_never_made_up(study: Study) -> None:
    run_id = run_id_of(BASE)
    assert [reached(study, run_id, 0, p) for p in (TOKENS, BYTES, FLOPS)] == [0, 0, 0]
    assert reached(study, run_id, BUDGET / 3.7, BYTES) == pytest.approx(BYTES_PER_TOKEN["base"] * BUDGET / 3.7)
    assert reached(study, run_id, 1.04 * BUDGET, BYTES) == pytest.approx(1.04 * BYTES_PER_TOKEN["base"] * BUDGET)
    assert reached(study, run_id, 1.06 * BUDGET, BYTES) is None and reached(study, "no-such-run", 5, FLOPS) is None


def test_the_drawn_measure_is_the_published_one_and_summaries_have_both(study: Study) -> None:
    measures = scored_measures(study)
    assert [(m.task, m.profile) for m in measures] == [(task, "paper") for task in TASKS]
    assert [(m.task, m.profile) for m in with_fair_summaries(study, measures)][2:4] == [("xlsum", "paper"), ("xlsum", "fair")]


def test_averages_are_of_whole_checkpoints_only(out: Path, study: Study, tmp_path: Path) -> None:
    cell, measures = study.cells[0], scored_measures(study)
    whole = curves_of(study, [cell], measures)[cell.label]
    by_hand = np.mean([study.record_of(cell.run_ids[0], BUDGET, m).score for m in measures])  # type: ignore[union-attr]
    assert whole.scores[-1] == pytest.approx(by_hand) and whole.low[-1] < by_hand < whole.high[-1]
    shutil.copytree(out, tmp_path / "out")
    shutil.rmtree(RunPaths.of(tmp_path / "out", run_id_of(BASE)).evaluation(int(0.3 * BUDGET), "jcqa-paper"))
    torn = load_study(tmp_path / "out", NAME)
    assert shared_measures(torn, torn.cells, measures) == measures and left_out(torn, torn.cells, measures) == 1
    curve = curves_of(torn, torn.cells[:1], measures)[torn.cells[0].label]
    assert curve.places == (0, BUDGET) and curve.scores == pytest.approx((whole.scores[0], whole.scores[-1]))


def test_a_task_that_is_mostly_missing_is_not_averaged(out: Path, tmp_path: Path) -> None:
    shutil.copytree(out, tmp_path / "out")
    for folder in (tmp_path / "out" / "runs").glob("*/evaluations/tokens_*/niilc-paper"):
        if folder.parent.name != "tokens_0":
            shutil.rmtree(folder)
    study = load_study(tmp_path / "out", NAME)
    assert "niilc" not in [m.task for m in shared_measures(study, study.cells, scored_measures(study))]


def test_curves_are_compared_where_both_have_been(study: Study) -> None:
    first = Curve("a", (0.0, 10.0, 30.0), (1.0, 2.0, 6.0), (0,) * 3, (0,) * 3)
    baseline = Curve("b", (0.0, 20.0), (1.0, 5.0), (0,) * 2, (0,) * 2)
    contrast = study.contrasts[0]
    assert largest_common({contrast.cell: first, contrast.baseline_cell: baseline}, contrast) == (20.0, 4.0, 5.0)
    only_start = Curve("b", (0.0,), (1.0,), (0.0,), (0.0,))
    assert largest_common({contrast.cell: first, contrast.baseline_cell: only_start}, contrast) is None


def test_training_is_compared_with_the_own_token_0(study: Study) -> None:
    measures = scored_measures(study)
    claims = {(c.cell, c.task): c for c in training_claims(Comparer.of(study), measures)}
    claim = claims[" ".join(BASE), "niilc"]
    before, after = (100 * paper_statistics(BASE, tokens, "niilc", "paper").mean() for tokens in (0, BUDGET))
    assert claim.relative_change == pytest.approx(100 * (after - before) / before) and claim.verdict == "one run"
    low, high = claim.items_relative_interval or (0, 0)
    assert low < claim.relative_change < high and claim.p is None and claim.p_items is not None and claim.p_items < 0.05
    assert claims[" ".join(BASE), "mgsm"].at_floor


def test_at_equal_text_the_longer_run_is_between_its_checkpoints(study: Study) -> None:
    """The base cell ends at 2.0 bytes x budget; the expanded one was there at 0.556 of its budget, between 0.3 and 1."""
    measures = [m for m in scored_measures(study) if m.task in ("jcqa", "triviaqa")]
    share = (2.0 / 3.6 - 0.3) / 0.7
    for claim in equal_claims(Comparer.of(study), study.contrasts, measures, progress=BYTES):
        early, late = (100 * paper_statistics(EXPANDED, int(mark * BUDGET), claim.task, "paper").mean() for mark in (0.3, 1.0))
        assert claim.score == pytest.approx((1 - share) * early + share * late, rel=1e-6)
        assert claim.baseline_score == pytest.approx(100 * paper_statistics(BASE, BUDGET, claim.task, "paper").mean())
        assert claim.notes == (BETWEEN,) and claim.items_interval is not None


def test_at_equal_compute_the_last_checkpoints_are_compared(study: Study) -> None:
    measures = [m for m in scored_measures(study) if m.task == "jcqa"]
    (claim,) = equal_claims(Comparer.of(study), study.contrasts, measures, progress=FLOPS)
    assert claim.notes == () and claim.score == pytest.approx(100 * paper_statistics(EXPANDED, BUDGET, "jcqa", "paper").mean())


def test_sides_are_near_between_or_absent(study: Study) -> None:
    results, run_id = Results(study, TOKENS), run_id_of(BASE)
    measure = main_measure(study, "jcqa")
    assert measure is not None

    def marks(place: float) -> list[tuple[float, int]] | None:
        side = results.side_at(run_id, measure, place * BUDGET)
        return side and [(round(part, 6), record.trained_tokens) for part, record in side]

    assert marks(0.96) == [(1.0, BUDGET)] and marks(1.04) == [(1.0, BUDGET)]
    assert marks(0.65) == [(0.5, int(0.3 * BUDGET)), (0.5, BUDGET)]
    assert marks(1.2) is None


def test_runs_that_differ_in_more_than_the_factor_are_not_compared(out: Path, tmp_path: Path) -> None:
    shutil.copytree(out, tmp_path / "out")
    path = RunPaths.of(tmp_path / "out", run_id_of(EXPANDED)).identity
    path.write_text(path.read_text(encoding="utf-8").replace("optim_0", "optim_1"), encoding="utf-8")
    study = load_study(tmp_path / "out", NAME)
    (claim,) = equal_claims(Comparer.of(study), study.contrasts, scored_measures(study)[:1], progress=BYTES)
    assert claim.verdict == NOT_COMPARED and claim.difference is None


def test_items_are_counted_where_they_were_and_where_they_went(study: Study) -> None:
    measure = joint_measure(study)
    assert measure is not None and measure.task == "niilc"
    joint = joints_of(study, measure)[0]
    before, after = (paper_statistics(BASE, tokens, "niilc", "paper")[:, 0] for tokens in (0, BUDGET))
    assert joint.counts.shape == (10, 10) and joint.num_items == len(before)
    assert (joint.better, joint.worse) == ((after > before).sum(), (after < before).sum())
    assert joint.counts[:, -1].sum() == (after >= 0.9).sum() and joint.counts[0].sum() == (before < 0.1).sum()
    right = main_measure(study, "jcqa")
    assert right is not None and joints_of(study, right)[0].counts.shape == (2, 2)


def test_amounts_of_text_in_words() -> None:
    assert [bytes_text(n) for n in (0, 999, 1_500, 3.7e9, 2e12)] == ["0", "999 B", "1.5 kB", "3.7 GB", "2 TB"]
