"""The tab key completes verbs, flags, groups and levels, through argcomplete's own protocol."""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from swallow_exp.cli.completion import words_beginning_with


def offered(line: str, folder: Path) -> list[str]:
    """What the shell would offer at the end of the line."""
    answer = folder / "answer"
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "COMP_LINE": line, "COMP_POINT": str(len(line))}
    env = {
        **os.environ,
        **asked,
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SHELL": "bash",
        "_ARGCOMPLETE_COMP_WORDBREAKS": " \t\n\"'><=;|&(:",
    }
    subprocess.run([sys.executable, "-m", "swallow_exp"], env=env, cwd=folder, check=True)
    return [word.strip() for word in answer.read_text(encoding="utf-8").splitlines()]


def test_the_shell_is_offered_verbs_flags_groups_and_levels(tmp_path: Path) -> None:
    pytest.importorskip("argcomplete")
    assert {"train", "tokens"} == set(offered("swallow t", tmp_path))
    assert "--plan-only" in offered("swallow train --p", tmp_path)
    assert offered("swallow train voc", tmp_path) == ["vocabulary="]
    assert offered("swallow train vocabulary=ja_16k_no", tmp_path) == ["ja_16k_norm_matched", "ja_16k_normal"]
    assert "miniature" in offered("swallow train -m +sweep=mini", tmp_path)


def test_own_levels_and_questions_are_offered(tmp_path: Path) -> None:
    for name in ("budget/mine", "sweeps/question"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / f"{name}.yaml").write_text("name: mine\n", encoding="utf-8")
    given = Namespace(config_dir=[str(tmp_path), str(tmp_path / "nowhere")])
    assert words_beginning_with("budget=mi", given) == ["budget=mine", "budget=miniature", "budget=miniature_base"]
    assert words_beginning_with("+sweep=q", given) == ["+sweep=question"]
    assert words_beginning_with("nothing=", given) == [] and words_beginning_with("par", Namespace()) == ["parallel="]
