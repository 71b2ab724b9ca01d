"""Every dataset is a package that says where it comes from, and has items of its own form to be tested on."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from swallow_exp.evaluate.suite import DATASETS

REPOSITORY = Path(__file__).resolve().parents[2]
TASKS = REPOSITORY / "swallow_exp" / "evaluate" / "tasks"
TEST_DATA = REPOSITORY / "tests" / "data" / "evaluation"
# False: datasets whose package is still missing are left out. True: each of DATASETS must have one.
ALL_PRESENT = True
PACKAGES = sorted({name for name in DATASETS.values() if ALL_PRESENT or (TASKS / name).is_dir()})
# What a reader of a score looks for; one word of each line must be there.
SAID = {
    "source": r"\bsource\b",
    "licence": r"\blicen[cs]e",
    "pinned version": r"\b(tag|commit|revision|version|pinned)\b",
    "prompt layout": r"\bprompt",
    "examples": r"\b(example|shot)",
    "metric": r"\b(metric|accuracy|rouge|bleu|score)",
    "change log": r"^#+ .*\bchange",
}


def test_there_are_datasets() -> None:
    assert PACKAGES and (not ALL_PRESENT or set(PACKAGES) == set(DATASETS.values()))


def test_no_folder_of_tasks_is_without_a_name_in_a_suite() -> None:
    found = {path.name for path in TASKS.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert found <= set(DATASETS.values())


@pytest.mark.parametrize("package", PACKAGES)
def test_a_dataset_has_a_task_a_readme_and_test_data(package: str) -> None:
    folder = TASKS / package
    for name in ("__init__.py", "task.py", "README.md"):
        assert (folder / name).is_file(), f"{package} lacks {name}"
    assert [path for path in (TEST_DATA / package).rglob("*") if path.is_file()], f"no items in {TEST_DATA / package}"
    assert callable(import_module(f"swallow_exp.evaluate.tasks.{package}.task").tasks)
    assert list((REPOSITORY / "tests" / "evaluate").glob(f"test_evaluate_*{package}*.py")) or any(
        re.search(rf"\b{package}\b", path.read_text(encoding="utf-8"))
        for path in (REPOSITORY / "tests" / "evaluate").glob("test_evaluate_*.py")
        if path.name != Path(__file__).name
    ), f"{package} is tested nowhere"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_readme_says_what_a_reader_of_the_score_needs(package: str) -> None:
    text = (TASKS / package / "README.md").read_text(encoding="utf-8")
    missing = [what for what, pattern in SAID.items() if not re.search(pattern, text, flags=re.IGNORECASE | re.MULTILINE)]
    assert not missing, f"{package}/README.md does not say: {', '.join(missing)}"
    task = (TASKS / package / "task.py").read_text(encoding="utf-8")
    version = re.search(r'\bversion ?= ?"([^"]+)"', task, flags=re.IGNORECASE)
    assert version, f"{package}/task.py names no version"
    changes = re.split(r"^#+ .*\bchange.*$", text, flags=re.IGNORECASE | re.MULTILINE)[-1]
    assert re.search(rf"(^|\W){re.escape(version[1])}(\W|$)", changes), f"{package}/README.md: its changes do not name version {version[1]}"
    for name in re.findall(r"\bDataFile\(\s*\"[^\"]+\",\s*\"([^\"]+)\"", task):
        assert Path(name).name in text, f"{package}/README.md does not name the file {name}"
