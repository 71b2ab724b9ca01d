"""The wheel carries everything: installed anywhere, `swallow show` works from any folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    tracked = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in tracked:  # a copy, so that building leaves nothing in the checkout
        if (REPOSITORY / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((REPOSITORY / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_every_level_and_question_travels(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    for top in ("conf", "sweeps"):
        for path in (REPOSITORY / top).rglob("*.yaml"):
            assert f"swallow_exp/_{path.relative_to(REPOSITORY)}" in inside
    assert {"analysis/report.py", "analysis/page/page.css", "analysis/page/page.js"} <= inside
    assert not any(name.startswith(("tests/", "conf/", "sweeps/", "benchmarks/")) for name in inside)


def test_every_package_travels(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    for path in [*REPOSITORY.glob("swallow_exp/**/*.py"), *REPOSITORY.glob("analysis/**/*.py")]:
        assert str(path.relative_to(REPOSITORY)) in inside


def test_published_numbers_travel(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    names = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "analysis" / "paper").glob("*.csv")}
    assert len(names) > 10 and names <= inside


def test_show_runs_from_the_wheel_in_any_folder(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    env = {**os.environ, "PYTHONPATH": str(target), "SWALLOW_OUT": str(tmp_path / "out")}
    where = subprocess.run(
        [sys.executable, "-c", "import swallow_exp; print(swallow_exp.__file__)"],
        cwd=elsewhere,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(target) in where.stdout
    shown = subprocess.run(
        [sys.executable, "-m", "swallow_exp", "show", "parallel=ntp_mixed"],
        cwd=elsewhere,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert "miniature-base-miniature-ntp_mixed" in shown.stdout
    grid = subprocess.run(
        [sys.executable, "-m", "swallow_exp", "plan", "miniature"], cwd=elsewhere, env=env, capture_output=True, text=True, check=False
    )
    assert grid.returncode == 0 and "12 cells" in grid.stdout
