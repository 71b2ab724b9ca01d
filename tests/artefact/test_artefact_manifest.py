import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from patience import wait_until

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import HashedFile, sha256_file
from swallow_exp.artefact.manifest import MANIFEST_NAME, Artefact, build_artefact, find_artefact, package_versions, work_folder

DIGEST = "ab" * 32
FACTS: dict[str, Any] = {"kind": "corpus", "digest": DIGEST, "request": {"name": "wiki"}, "made_from": {"file": "f" * 64}}


def build_two_files(folder: Path) -> dict[str, int]:
    (folder / "part").mkdir()
    (folder / "part" / "a.bin").write_bytes(b"12345")
    (folder / "b.txt").write_text("b")
    return {"documents": 2}


def never(folder: Path) -> dict[str, int]:
    raise AssertionError("built again")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_finished_artefact_says_what_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "corpus" / "wiki-abababa"
    made = build_artefact(folder, build_two_files, **FACTS)
    assert (made.id, made.digest, made.counts, made.folder) == ("wiki-abababa", DIGEST, {"documents": 2}, folder)
    manifest = json.loads((folder / MANIFEST_NAME).read_text())
    assert manifest == made.manifest
    assert manifest["files"] == {"part/a.bin": 5, "b.txt": 1}
    assert manifest["versions"] == package_versions()
    assert (manifest["request"], manifest["made_from"]) == (FACTS["request"], FACTS["made_from"])
    assert find_artefact(folder) == made
    assert names(folder.parent) == {"wiki-abababa", "wiki-abababa.lock"}


def test_it_is_built_once(tmp_path: Path) -> None:
    first = build_artefact(tmp_path / "a-1", build_two_files, **FACTS)
    assert build_artefact(tmp_path / "a-1", never, **FACTS) == first


@pytest.mark.parametrize("torn", [None, "", '{"digest": "ab', "[]", '{"counts": {}}'])
def test_a_folder_without_a_whole_manifest_is_rebuilt(tmp_path: Path, torn: str | None) -> None:
    folder = tmp_path / "a-1"
    folder.mkdir()
    (folder / "stale.bin").write_bytes(b"never trusted")
    if torn is not None:
        (folder / MANIFEST_NAME).write_text(torn)
    assert find_artefact(folder) is None
    build_artefact(folder, build_two_files, **FACTS)
    assert names(folder) == {"part", "b.txt", MANIFEST_NAME}


@pytest.mark.parametrize("failure", [ValueError("no documents"), KeyboardInterrupt(), SystemExit(75)])
def test_a_failed_build_leaves_nothing(tmp_path: Path, failure: BaseException) -> None:
    def fail(folder: Path) -> dict[str, int]:
        build_two_files(folder)
        raise failure

    with pytest.raises(type(failure)):
        build_artefact(tmp_path / "a-1", fail, **FACTS)
    assert names(tmp_path) <= {"a-1.lock"}
    assert build_artefact(tmp_path / "a-1", build_two_files, **FACTS).counts == {"documents": 2}


def test_leftovers_of_dead_builders_are_removed_and_neighbours_are_not(tmp_path: Path) -> None:
    for name in ("a[1].partial-00", "a1.partial-00", "a[1]x"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "big.bin").write_bytes(b"x")
    build_artefact(tmp_path / "a[1]", build_two_files, **FACTS)  # a name a glob would misread
    assert names(tmp_path) == {"a[1]", "a[1].lock", "a1.partial-00", "a[1]x"}


def test_an_unreadable_input_is_not_blamed_on_the_output_folder(tmp_path: Path) -> None:
    def build(folder: Path) -> dict[str, int]:
        raise PermissionError(13, "Permission denied", "/elsewhere/input.jsonl")

    with pytest.raises(PermissionError, match="/elsewhere/input") as caught:
        build_artefact(tmp_path / "a-1", build, **FACTS)
    assert not isinstance(caught.value, RequestError)


def test_an_output_root_that_is_a_file_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(RequestError, match="a part of the path is a file"):
        build_artefact(tmp_path / "out" / "corpus" / "a-1", never, **FACTS)


BUILDER = """
import sys, time
from pathlib import Path
from swallow_exp.artefact.manifest import build_artefact

def build(folder):
    (folder / "data.bin").write_bytes(b"half")
    with Path(sys.argv[2]).open("a") as log:
        log.write("started\\n")
    time.sleep(float(sys.argv[3]))
    (folder / "data.bin").write_bytes(b"whole!")
    return {"bytes": 6}

made = build_artefact(Path(sys.argv[1]), build, kind="corpus", digest="ab" * 32, request={}, made_from={})
print((made.folder / "data.bin").read_text(), made.counts["bytes"])
"""


def start_builder(tmp_path: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BUILDER, str(tmp_path / "a-1"), str(tmp_path / "log"), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_killed_builder_leaves_nothing_trusted(tmp_path: Path) -> None:
    builder = start_builder(tmp_path, seconds=60)
    wait_until((tmp_path / "log").exists)
    builder.send_signal(signal.SIGKILL)
    builder.communicate()
    assert find_artefact(tmp_path / "a-1") is None and not (tmp_path / "a-1").exists()
    assert [name for name in names(tmp_path) if ".partial-" in name] != []  # what a kill leaves
    build_artefact(tmp_path / "a-1", build_two_files, **FACTS)  # the lock died with its holder
    assert names(tmp_path) == {"a-1", "a-1.lock", "log"}


def test_two_processes_build_once_and_both_get_the_whole(tmp_path: Path) -> None:
    builders = [start_builder(tmp_path, seconds=0.7) for _ in range(2)]
    answers = [builder.communicate()[0].strip() for builder in builders]
    assert answers == ["whole! 6"] * 2
    assert (tmp_path / "log").read_text() == "started\n"


def test_the_manifest_comes_last(tmp_path: Path) -> None:
    """Whoever sees the folder under its name sees all of it."""
    folder = tmp_path / "a-1"

    def build(partial: Path) -> dict[str, int]:
        assert not folder.exists() and not (partial / MANIFEST_NAME).exists()
        assert partial.parent == folder.parent  # same disk: the rename is atomic
        return build_two_files(partial)

    made: Artefact = build_artefact(folder, build, **FACTS)
    newest = max(folder.rglob("*"), key=lambda path: os.stat(path).st_mtime_ns if path.is_file() else 0)
    assert newest.name == MANIFEST_NAME and made.folder == folder


def test_what_has_the_same_digest_is_built_once_whatever_its_name(tmp_path: Path) -> None:
    facts = {**FACTS, "digest": "ab" * 32}
    first = build_artefact(tmp_path / "wiki-abababa", build_two_files, **facts)
    assert build_artefact(tmp_path / "other-abababa", fail, **facts).folder == first.folder
    # the same seven letters of another digest are no twin
    longer = {**FACTS, "digest": "ababababab" + "c" * 54}
    assert build_artefact(tmp_path / "other-abababa", build_two_files, **longer).folder == tmp_path / "other-abababa"


def fail(folder: Path) -> dict[str, int]:
    raise AssertionError("it is there already")


def test_what_a_builder_keeps_in_its_work_folder_outlives_it_until_the_artefact_is_done(tmp_path: Path) -> None:
    folder = tmp_path / "a-1"
    work = work_folder(folder)

    def build(partial: Path) -> dict[str, int]:
        work.mkdir(exist_ok=True)
        done = len(list(work.iterdir()))
        (work / str(done)).write_text("a finished part")
        if done == 0:
            raise OSError(28, "No space left on device")
        return {"parts": done + 1}

    with pytest.raises(RequestError, match="no space left on the disk"):
        build_artefact(folder, build, **FACTS, work=work)
    assert names(tmp_path) == {"a-1.lock", "a-1.work"} and names(work) == {"0"}
    assert build_artefact(folder, build, **FACTS, work=work).counts == {"parts": 2}
    assert names(tmp_path) == {"a-1", "a-1.lock"}


def test_files_are_hashed_once_by_the_builder_or_here(tmp_path: Path) -> None:
    known: dict[str, str] = {}

    def build(partial: Path) -> dict[str, int]:
        with HashedFile(partial / "large.bin") as file:
            file.write(b"12")
            file.write(b"345")
        known["large.bin"] = file.sha256
        return build_two_files(partial)

    made = build_artefact(tmp_path / "a-1", build, **FACTS, checksums=known)
    assert list(made.manifest["sha256"]) == list(made.manifest["files"]) == ["b.txt", "large.bin", "part/a.bin"]
    assert made.manifest["sha256"] == {name: sha256_file(made.folder / name) for name in made.manifest["files"]}
