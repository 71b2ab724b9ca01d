"""`swallow gc --yes` stays at home: no record and no link makes it remove anything outside the output root or of another run."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from test_inspect_gc import collect, evaluate, find_states, make_run, marks_with_exports

from swallow_exp.artefact.files import read_json, write_json_atomic
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.checkpoint.index import read_checkpoints
from swallow_exp.checkpoint.state import leftovers, remove_partial
from swallow_exp.inspect.gc import find_garbage


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder outside the output root, with what a gc would look for."""
    folder = tmp_path / "victim"
    for name in ("docs", "state.partial", "export.partial", "state.torn", "export", "state"):
        (folder / name).mkdir(parents=True)
        (folder / name / "thesis.txt").write_text("mine")
    return folder


def contents(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.fixture
def run(tmp_path: Path, victim: Path) -> RunPaths:
    run = make_run(tmp_path / "out", "run")
    for mark in (100, 200, 300):
        for task in ("one", "two"):
            evaluate(run, mark, task)
    return run


@pytest.mark.parametrize("export", ["../../../victim/docs", "out:../victim/docs", "out:runs/other/checkpoints/tokens_100/export", "."])
def test_a_record_cannot_name_what_goes(run: RunPaths, victim: Path, export: str) -> None:
    make_run(run.out, "other")
    index = read_json(run.checkpoint_index)
    index["checkpoints"][0]["export"] = export
    write_json_atomic(run.checkpoint_index, index)
    before = contents(victim)
    collect(run.out)
    assert contents(victim) == before and marks_with_exports(RunPaths.of(run.out, "other")) == [100, 200, 300]
    assert run.identity.exists()


def test_an_absolute_place_is_no_record(run: RunPaths, victim: Path) -> None:
    index = read_json(run.checkpoint_index)
    index["checkpoints"][0]["export"] = str(victim / "docs")
    write_json_atomic(run.checkpoint_index, index)
    before = contents(victim)
    assert read_checkpoints(run) == []
    collect(run.out)
    assert contents(victim) == before


@pytest.mark.parametrize(
    "place",
    ["tokens_99999", "tokens_400/state", "tokens_100/export", "tokens_500/state.partial"],
)
def test_links_are_not_followed(run: RunPaths, victim: Path, place: str) -> None:
    link, before = run.checkpoints / place, contents(victim)
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.exists():
        link.rename(link.with_name("was here"))
    link.symlink_to(victim)
    assert not any("thesis" in str(path) for path in leftovers(run)) and len(find_states(run)) == 3
    remove_partial(run)
    collect(run.out)
    assert contents(victim) == before


@pytest.mark.parametrize("place", ["runs/linked", "artefacts", "exports", "runs/run/checkpoints"])
def test_what_lies_behind_a_link_out_of_the_root_stays(run: RunPaths, victim: Path, place: str) -> None:
    """A whole run, the artefacts or the copies of somebody else, linked into this root."""
    make_run(victim, "elsewhere")
    for name in ("corpus/x-1.partial-0", ".gift.partial-01234567"):
        (victim / name).mkdir(parents=True)
    long_ago = time.time() - 10_000
    os.utime(victim / ".gift.partial-01234567", (long_ago, long_ago))
    link = run.out / place
    if link.exists():
        link.rename(link.with_name("was here"))
    link.symlink_to(victim / "runs" / "elsewhere" if place == "runs/linked" else victim)
    before = contents(victim)
    collect(run.out)
    assert contents(victim) == before


def test_a_leftover_that_is_a_link_goes_as_a_link(run: RunPaths, victim: Path) -> None:
    link, before = run.checkpoint(300) / "state.partial", contents(victim)
    link.symlink_to(victim)
    assert link in {one.path for one in collect(run.out)}
    assert not link.is_symlink() and contents(victim) == before
    assert link not in {one.path for one in find_garbage(run.out)}


def test_what_could_not_be_removed_is_not_said_to_be_gone(
    run: RunPaths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from swallow_exp.inspect import gc

    monkeypatch.setattr(gc, "remove_folder", lambda path: None)
    gone = {one.path for one in collect(run.out)}
    assert run.checkpoint(150) / "state.torn" not in gone
    assert f"{run.checkpoint(150) / 'state.torn'} could not be removed" in capsys.readouterr().err


def test_files_that_were_killed_before_they_got_their_names_go_after_an_hour(run: RunPaths) -> None:
    names = ("jobs/.run.sh.01234567.tmp", "runs/run/.status.json.89abcdef.tmp", "gifts/.gift.partial-89abcdef/model.safetensors")
    for name in names:
        (run.out / name).parent.mkdir(parents=True, exist_ok=True)
        (run.out / name).write_text("half")
    (run.out / "jobs" / ".mine.tmp").write_text("not ours")
    assert not any(one.path.name.startswith(".") for one in find_garbage(run.out))
    for path in run.out.rglob("*"):
        os.utime(path, (time.time() - 4_000, time.time() - 4_000))
    collect(run.out)
    assert not any((run.out / name).exists() for name in names) and (run.out / "jobs" / ".mine.tmp").exists()


def test_one_run_of_another_shape_keeps_nobody_from_the_others(run: RunPaths, capsys: pytest.CaptureFixture[str]) -> None:
    broken = make_run(run.out, "broken")
    broken.config.unlink()
    broken.config.mkdir()
    write_json_atomic(broken.checkpoint_index, {"checkpoints": {"a": 1}})
    assert len([one for one in find_garbage(run.out) if one.kind == "state"]) == 3
