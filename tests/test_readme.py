"""What the README says is true: its commands run, its YAML works, its names exist, its output is the output."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from swallow_exp import cli
from swallow_exp.config.starter import write_starter

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
# These take minutes; the same commands at a smaller size are tests/test_pipeline.py.
REHEARSAL = "swallow train -m +sweep=question --config-dir my budget=smoke mixture.sources.my_pairs.max_documents=100"
NULL_STUDY = "swallow train -m +sweep=null base_model=my_model mixture=mine suite=heldout --config-dir my"
LONG = {REHEARSAL, NULL_STUDY, "make demo", "make test", "swallow train -m +sweep=question --config-dir my", "swallow report question"}


def fences(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", README, flags=re.DOTALL)


def shell_commands() -> list[str]:
    lines = [line.split("  #")[0].strip() for block in fences("sh") for line in block.splitlines()]
    commands = [line.replace(".venv/bin/", "") for line in lines if line and not line.startswith("#")]
    return [command for command in commands if command not in LONG]


@pytest.fixture
def users_folder(tmp_path: Path) -> Path:
    """`my/` as `swallow init` writes it; tests/config/test_config_starter.py holds its levels against the README's."""
    write_starter(tmp_path / "my")
    return tmp_path


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = shlex.split(command)
    assert words[0] == "swallow", command
    env = {**os.environ, "SWALLOW_OUT": str(folder / "outputs")}
    return subprocess.run(
        [sys.executable, "-m", "swallow_exp", *words[1:]], cwd=folder, env=env, capture_output=True, text=True, check=False
    )


def test_there_are_commands_and_levels() -> None:
    assert len(shell_commands()) >= 3 and len(fences("yaml")) >= 3


@pytest.mark.parametrize("command", shell_commands())
def test_command_runs(command: str, users_folder: Path) -> None:
    folder = users_folder / "elsewhere" if command.startswith("swallow init") else users_folder
    folder.mkdir(exist_ok=True)
    done = run(command, folder)
    assert done.returncode == 0, done.stderr


def test_the_null_study_of_ones_own_setting_is_twelve_runs(users_folder: Path) -> None:
    assert NULL_STUDY in README
    done = run(NULL_STUDY.replace("train -m +sweep=null", "plan null"), users_folder)
    assert done.returncode == 0 and "12 cells" in done.stdout and done.stdout.count("my_model-base-mine-none-miniature-s") == 12, (
        done.stderr
    )


def test_shown_run_is_what_show_prints(tmp_path: Path) -> None:
    (block,) = fences("console")
    command, expected = block.removeprefix("$ ").split("\n", 1)
    assert run(command, tmp_path).stdout.strip().replace(str(tmp_path) + "/", "") == expected.strip()


def test_every_verb_is_documented_and_every_documented_verb_exists() -> None:
    named = set(re.findall(r"`swallow (\w+)", README)) | set(re.findall(r"(?:^|/bin/)swallow (\w+)", README, flags=re.MULTILINE))
    assert named <= set(cli.VERBS)
    assert set(cli.VERBS) == set(re.findall(r"^  (\S+)  +\S", cli.overview(), flags=re.MULTILINE))


def test_every_path_the_readme_names_exists() -> None:
    for name in re.findall(r"`((?:swallow_exp|analysis|conf|sweeps|tests)/[\w./]*)`", README):
        assert (REPOSITORY / name).exists(), name


def test_the_arrow_is_the_packages_own() -> None:
    import swallow_exp

    arrow = "corpus -> vocabulary -> tokens -> mixture -> train -> checkpoint -> evaluate -> record -> analysis"
    assert arrow in README
    assert swallow_exp.__doc__ and arrow in swallow_exp.__doc__


def test_ci_runs_the_readmes_test_command() -> None:
    script = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    assert script.strip().splitlines()[-1] == "make test"
    assert "`make test`" in README


def test_guides_list_every_group_and_question() -> None:
    groups = (REPOSITORY / "conf" / "README.md").read_text(encoding="utf-8")
    for folder in (REPOSITORY / "conf").iterdir():
        if folder.is_dir():
            assert re.search(rf"\b{folder.name}\b", groups), folder.name
    questions = (REPOSITORY / "sweeps" / "README.md").read_text(encoding="utf-8")
    for path in (REPOSITORY / "sweeps").glob("*.yaml"):
        assert path.name in questions
