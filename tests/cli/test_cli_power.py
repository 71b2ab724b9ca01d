"""`swallow plan` says what a grid can detect, from a null study or from stated noise."""

import json
from pathlib import Path

import pytest

from swallow_exp import cli
from swallow_exp.record.noise import NoiseEntry, NoiseRegister, setting_names, setting_of, write_register
from swallow_exp.sweep.grid import expand_sweep


@pytest.fixture()
def words(tmp_path: Path) -> list[str]:
    return ["plan", "smoke", "seed=0,1,2", f"paths.out={tmp_path}"]


def test_without_a_null_study_it_says_how_to_get_one(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_verb(words) == 0
    page = capsys.readouterr().out
    assert "power: unknown" in page and "swallow train -m +sweep=null" in page and "--noise POINTS" in page


def test_stated_noise_answers_with_seeds_and_device_hours(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_verb([*words, "--noise", "1.5", "--detect", "2.0", "--json"]) == 0
    power = json.loads(capsys.readouterr().out)["power"]
    (task,) = power["tasks"]
    assert power["seeds"] == 3 and task["noise"] == 1.5 and task["detectable"] > 2.0 and task["seeds_needed"] > 3
    assert cli.run_verb([*words, "--noise", "1.5", "--detect", "2.0"]) == 0
    assert f"2 points: {task['seeds_needed']} seeds" in capsys.readouterr().out


def test_a_null_study_of_the_same_setting_is_read(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    identity = expand_sweep(["+sweep=smoke"]).cells[0].identity
    entry = NoiseEntry("mini_choice", "accuracy", "both", "p", "1", "points", 12, 150, 9.0, 5, 9.0, 10)
    write_register(tmp_path, NoiseRegister("quiet", setting_of(identity), setting_names(identity), (entry,)))
    assert cli.run_verb(words) == 0
    page = capsys.readouterr().out
    assert "noise from null study quiet" in page and "mini_choice accuracy" in page and "run noise      3.0" in page


@pytest.mark.parametrize("given", [["--detect", "0"], ["--detect", "two"], ["--noise", "-1"]])
def test_numbers_that_are_none_are_refused(words: list[str], given: list[str]) -> None:
    from swallow_exp.artefact.errors import RequestError

    with pytest.raises(RequestError):
        cli.run_verb([*words, *given])
