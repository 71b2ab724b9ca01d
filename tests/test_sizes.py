"""Sizes and habits the project holds itself to."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SOURCES = sorted([*REPOSITORY.glob("swallow_exp/**/*.py"), *REPOSITORY.glob("analysis/**/*.py"), *REPOSITORY.glob("hydra_plugins/**/*.py")])
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_README_LINES = 350, 80, 150
ATTICS = {"utils", "helpers", "common", "misc"}


def test_there_are_sources() -> None:
    assert len(SOURCES) > 50


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_file_is_small_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MAX_FILE_LINES
    assert path.stem not in ATTICS
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "no module docstring"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno <= MAX_FUNCTION_LINES, f"{node.name} is too long"


def test_readme_fits_two_screens() -> None:
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) <= MAX_README_LINES
