"""A sweep that would compare cells of two factors does not start; `why` says what differs and what that is worth."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.config.compose import compose_config
from swallow_exp.record.identity import identity_of
from swallow_exp.sweep.expand import expand_question
from swallow_exp.sweep.narrow import question_of_overrides
from swallow_exp.sweep.question import read_question
from swallow_exp.sweep.why import check_one_factor, explain_difference

SMUGGLER = "# @package _global_\nparallel: {name: mine, format: next_token_prediction, order: mixed}\nvocabulary: {init: global_mean}\n"


@pytest.fixture
def levels(tmp_path: Path) -> Path:
    for group in ("parallel", "sweeps"):
        (tmp_path / group).mkdir()
    (tmp_path / "parallel" / "mine.yaml").write_text(SMUGGLER, encoding="utf-8")
    question = "baseline: {parallel: none}\ngrids: [{parallel: [none, mine]}]\n"
    (tmp_path / "sweeps" / "honest.yaml").write_text(question, encoding="utf-8")
    (tmp_path / "sweeps" / "declared.yaml").write_text(
        f"{question}follows: {{parallel: {{mine: {{vocabulary: base}}}}}}\n", encoding="utf-8"
    )
    return tmp_path


def test_a_level_that_changes_another_group_is_found_out(levels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    question = read_question("honest", [levels])
    cells = expand_question(question, (), [levels])
    with pytest.raises(RequestError, match=r"differ in more than parallel: vocabulary\.init global_mean against subword_mean"):
        check_one_factor(question, cells)
    typed, fixed = question_of_overrides(["parallel=none,mine"], [levels])
    check_one_factor(typed, expand_question(typed, fixed, [levels]))
    assert "the report does not compare them" in capsys.readouterr().err


def test_what_is_declared_to_follow_is_no_second_factor(levels: Path) -> None:
    question = read_question("declared", [levels])
    check_one_factor(question, expand_question(question, (), [levels]))
    main = read_question("main")
    check_one_factor(main, expand_question(main))


def run_of(out: Path, name: str, overrides: list[str]) -> RunPaths:
    run = RunPaths.of(out, name)
    run.folder.mkdir(parents=True)
    run.identity.write_text(json.dumps(identity_of(compose_config(overrides).plain)), encoding="utf-8")
    return run


def test_why_reads_like_an_answer(tmp_path: Path) -> None:
    base, pairs = run_of(tmp_path, "a", []), run_of(tmp_path, "b", ["parallel=ntp_mixed"])
    both = run_of(tmp_path, "c", ["parallel=ntp_mixed", "seed=1"])
    assert "no difference: one run" in explain_difference(base, base)
    page = explain_difference(base, pairs)
    assert "parallel       none | ntp_mixed" in page and "one factor: parallel" in page
    assert "2 factors at once: parallel, seed" in explain_difference(base, both)
