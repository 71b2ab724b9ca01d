"""A digest is remembered for one version of a file: changed bytes are always seen, unchanged ones are not read twice."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from swallow_exp.artefact import remember
from swallow_exp.artefact.check import require_sound
from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import sha256_file
from swallow_exp.artefact.manifest import Artefact, build_artefact
from swallow_exp.artefact.remember import cache_folder, remembered_sha256s


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Names of the files that were read to be hashed."""
    names: list[str] = []
    monkeypatch.setenv("SWALLOW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remember, "sha256_file", lambda path: (names.append(path.name), sha256_file(path))[1])
    return names


def settle(path: Path) -> None:
    """Until the file is older than the clock's grain."""
    while time.time_ns() - path.stat().st_ctime_ns < 2 * remember.SETTLED_SECONDS * 1e9:
        time.sleep(0.02)


def test_a_file_is_read_once_and_again_when_it_changed(tmp_path: Path, read: list[str]) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"one")
    settle(file)
    assert remembered_sha256s(tmp_path, ["a.bin"]) == remembered_sha256s(tmp_path, ["a.bin"]) == {"a.bin": sha256_file(file)}
    assert read == ["a.bin"]
    times = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # as `cp -p` and `touch -r` leave it
    assert remembered_sha256s(tmp_path, ["a.bin"]) == {"a.bin": sha256_file(file)}
    assert read == ["a.bin", "a.bin"]


def test_what_was_written_a_moment_ago_is_not_remembered(tmp_path: Path, read: list[str]) -> None:
    file = tmp_path / "a.bin"
    for text in (b"one", b"two"):
        file.write_bytes(text)
        assert remembered_sha256s(tmp_path, ["a.bin"]) == {"a.bin": sha256_file(file)}
    assert len(read) == 2


def test_a_cache_that_cannot_be_used_costs_time_alone(tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"one")
    settle(file)
    monkeypatch.setenv("SWALLOW_CACHE", str(file))  # a file where a folder should be
    assert remembered_sha256s(tmp_path, ["a.bin"]) == remembered_sha256s(tmp_path, ["a.bin"]) == {"a.bin": sha256_file(file)}
    assert len(read) == 2
    monkeypatch.setenv("SWALLOW_CACHE", str(tmp_path / "other"))
    remembered_sha256s(tmp_path, ["a.bin"])
    (entry,) = cache_folder().glob("*.json")
    for damage in ("{", "[]", '{"folder": 3}', entry.read_text().replace('"files"', '"fil"')):
        entry.write_text(damage)
        assert remembered_sha256s(tmp_path, ["a.bin"]) == {"a.bin": sha256_file(file)}


@pytest.fixture
def artefact(tmp_path: Path, read: list[str]) -> Artefact:
    def build(folder: Path) -> dict[str, int]:
        (folder / "inner").mkdir()
        (folder / "inner" / "b.bin").write_bytes(b"0123")
        (folder / "a.bin").write_bytes(b"4567")
        return {}

    return build_artefact(tmp_path / "a-1", build, kind="tokens", digest="1", request={}, made_from={})


def test_the_first_changed_file_of_an_artefact_is_named(artefact: Artefact, read: list[str]) -> None:
    require_sound(artefact)
    settle(artefact.folder / "a.bin")
    require_sound(artefact)
    read.clear()
    require_sound(artefact)
    assert read == []
    (artefact.folder / "inner" / "b.bin").write_bytes(b"0124")
    with pytest.raises(RequestError, match=r"inner/b\.bin was damaged .* its sha256 is .*expected .*remove the folder .*a-1 and run"):
        require_sound(artefact)
    (artefact.folder / "a.bin").write_bytes(b"45")
    with pytest.raises(RequestError, match=r"a\.bin was damaged .*: it has 2 bytes; expected 4 bytes"):
        require_sound(artefact)
    (artefact.folder / "a.bin").unlink()
    with pytest.raises(RequestError, match=r"a\.bin was damaged .*: it is missing"):
        require_sound(artefact)
