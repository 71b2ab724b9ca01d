"""Questions become cells and one-factor contrasts; nothing is run twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.paths import sweep_file
from swallow_exp.config.compose import compose_config
from swallow_exp.record.identity import identity_difference, identity_of
from swallow_exp.sweep.expand import expand_question, find_contrasts
from swallow_exp.sweep.grid import write_sweep
from swallow_exp.sweep.narrow import question_of_overrides
from swallow_exp.sweep.question import Question, read_question


def question(**changes: object) -> Question:
    plain: dict[str, object] = {
        "name": "q",
        "question": "?",
        "section": "",
        "expects": "",
        "fixed": {},
        "baseline": {"vocabulary": "base", "parallel": "none"},
        "grids": [
            {"vocabulary": ["base", "miniature_ja"], "parallel": ["none"]},
            {"vocabulary": ["base"], "parallel": ["none", "ntp_mixed"]},
        ],
        "exclude": [],
        "seeds": [0],
        "overrides": [],
    }
    return Question(**{**plain, **changes})  # type: ignore[arg-type]


def test_union_of_grids_keeps_a_shared_cell_once() -> None:
    cells = expand_question(question())
    assert [cell.label for cell in cells] == ["base none", "miniature_ja none", "base ntp_mixed"]


def test_exclude_and_seeds() -> None:
    cells = expand_question(question(exclude=[{"parallel": ["ntp_mixed", "ti_mixed"]}], seeds=[0, 1]))
    assert [(cell.label, cell.seed) for cell in cells] == [
        ("base none", 0),
        ("miniature_ja none", 0),
        ("base none", 1),
        ("miniature_ja none", 1),
    ]


def test_curves_of_the_first_seed_leave_the_others_their_last_mark_and_every_run_its_name() -> None:
    everywhere, first = (expand_question(question(seeds=[3, 1], curves=curves)) for curves in ("all", "first"))
    assert [cell.run_id for cell in first] == [cell.run_id for cell in everywhere]
    for cell, whole in zip(first, everywhere, strict=True):
        budget = cell.composed.config.budget
        assert whole.composed.config.budget.marks() != [0, budget.tokens]
        assert budget.marks() == (whole.composed.config.budget.marks() if cell.seed == 3 else [0, budget.tokens])
        assert compose_config(cell.overrides).plain == cell.composed.plain
    asked = expand_question(question(seeds=[3, 1], curves="first"), ["budget.checkpoint_every_tokens=102400"])
    assert {cell.composed.config.budget.checkpoint_every_tokens for cell in asked} == {102_400}  # whoever asks has the word


def test_curves_of_one_seed_do_not_go_with_a_mean_over_marks(tmp_path: Path) -> None:
    (tmp_path / "sweeps").mkdir()
    text = "grids: [{vocabulary: [base]}]\ncurves: first\nlast_checkpoints: 2\n"
    (tmp_path / "sweeps" / "mine.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(RequestError, match="last_checkpoints: 1"):
        read_question("mine", [tmp_path])


def test_everything_excluded_is_refused() -> None:
    with pytest.raises(RequestError, match="no cell left"):
        expand_question(question(exclude=[{"vocabulary": ["base", "miniature_ja"]}]))


def test_contrasts_differ_in_exactly_one_factor() -> None:
    asked = question(seeds=[0, 1])
    cells = {cell.run_id: cell for cell in expand_question(asked)}
    contrasts = find_contrasts(asked, list(cells.values()))
    assert len(contrasts) == 4
    for contrast in contrasts:
        first, second = cells[contrast["run_id"]], cells[contrast["baseline_run_id"]]
        differing = identity_difference(identity_of(first.composed.plain), identity_of(second.composed.plain))
        assert {name.split(".")[0] for name in differing} == {contrast["factor"]}
        assert second.choices[contrast["factor"]] == contrast["baseline_level"]


def test_no_contrast_across_seeds() -> None:
    asked = question(grids=[{"vocabulary": ["base"], "parallel": ["none"]}], seeds=[0, 1])
    assert find_contrasts(asked, expand_question(asked)) == []


def test_multirun_overrides_make_a_question() -> None:
    asked, fixed = question_of_overrides(["vocabulary=base,miniature_ja", "seed=0,1", "budget.tokens=5000"])
    assert fixed == ["budget.tokens=5000"]
    assert asked.seeds == [0, 1] and asked.baseline == {"vocabulary": "base"}
    assert len(expand_question(asked, fixed)) == 4
    again, _ = question_of_overrides(["vocabulary=base,miniature_ja", "seed=0,1", "budget.tokens=5000"])
    assert again.name == asked.name


def test_sweep_file_holds_all_that_a_report_needs(tmp_path: Path) -> None:
    asked = read_question("miniature")
    write_sweep(tmp_path, asked, expand_question(asked))
    sweep = read_json(sweep_file(tmp_path, "miniature"))
    assert [cell["label"] for cell in sweep["cells"]] == ["base none", "miniature_ja none", "base ntp_mixed", "base miniature_ti_mixed"] * 3
    assert len(sweep["contrasts"]) == 9 and {contrast["label"] for contrast in sweep["contrasts"]} == {
        "miniature_ja vs base (none)",
        "ntp_mixed vs none (base)",
        "miniature_ti_mixed vs none (base)",
    }


def test_users_question_and_levels_live_outside(tmp_path: Path) -> None:
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "optim").mkdir()
    (tmp_path / "optim" / "mine.yaml").write_text(
        "name: mine\nlr_peak: 1e-3\nsequence_length: 32\nglobal_batch_sequences: 4\n", encoding="utf-8"
    )
    (tmp_path / "sweeps" / "mine.yaml").write_text("grids: [{optim: [miniature, mine]}]\nbaseline: {optim: miniature}\n", encoding="utf-8")
    cells = expand_question(read_question("mine", [tmp_path]), (), [tmp_path])
    assert [cell.composed.config.optim.name for cell in cells] == ["miniature", "mine"]
    assert compose_config(["optim=mine"], [tmp_path]).config.optim.sequence_length == 32


def test_a_cell_says_what_it_is_doing() -> None:
    from swallow_exp.sweep.board import cell_state

    assert cell_state("planned", 0, 1000, 0) == cell_state("preempted", 500, 1000, 3) == cell_state("running", 0, 1000, 0) == "starting"
    assert cell_state("running", 500, 1_536_000, 0) == "training, 500 of 1.5 M tokens"
    assert cell_state("trained", 1000, 1000, 7) == "evaluating, 7 results"


@pytest.mark.parametrize(
    ("word", "levels"),
    [
        ("parallel=ti_mixed,none", ["ti_mixed", "none"]),
        ("parallel=choice(none,ti_mixed)", ["none", "ti_mixed"]),
        ("parallel=glob(ti_mix*)", ["ti_mixed", "ti_mixed_ja"]),
        ("budget.tokens=range(1000,3001,1000)", ["1000", "2000", "3000"]),
        ("optim.lr_peak=1e-3,2e-3", ["0.001", "0.002"]),
    ],
)
def test_axes_in_the_grammar_of_hydra(word: str, levels: list[str]) -> None:
    asked, fixed = question_of_overrides([word, "budget=miniature"])
    assert asked.factors == [word.partition("=")[0]] and asked.levels(asked.factors[0]) == levels
    assert fixed == ["budget=miniature"]


@pytest.mark.parametrize("word", ["optim.lr_peak=interval(0,1)", "optim.lr_peak=glob(*)", "parallel=glob(nothing*)"])
def test_axes_that_cannot_be_listed(word: str) -> None:
    with pytest.raises(RequestError, match="write key=first,second"):
        question_of_overrides([word])
