import errno
import hashlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swallow_exp.artefact.errors import EXIT_WRONG_REQUEST, RequestError
from swallow_exp.artefact.files import (
    FINGERPRINT_BLOCK_BYTES,
    digest_of,
    fingerprint_file,
    make_folder,
    read_json,
    sha256_file,
    user_disk,
    write_bytes_atomic,
    write_json_atomic,
    write_text_atomic,
)


def test_round_trip_and_nothing_else_in_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "a.json"
    value = {"b": 1, "a": ["日本語", None, 0.1]}
    write_json_atomic(path, value)
    assert read_json(path) == value
    assert list(read_json(path)) == ["b", "a"]  # order as given
    assert "日本語" in path.read_text(encoding="utf-8")
    write_text_atomic(path, "new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_keeps_the_old_file_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    path = tmp_path / "a.json"
    write_json_atomic(path, "old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), full)
        with pytest.raises(RequestError, match="no space left on the disk") as caught:
            write_json_atomic(path, "new")
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == EXIT_WRONG_REQUEST and "\n" not in str(caught.value)
    assert read_json(path) == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    write_bytes_atomic(path, b"old")

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_bytes_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_file_in_the_way_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for call in (lambda: make_folder(tmp_path / "file"), lambda: make_folder(tmp_path / "file" / "below")):
        with pytest.raises(RequestError, match="a part of the path is a file"):
            call()
    with pytest.raises(RequestError, match="a part of the path is a file"):
        write_text_atomic(tmp_path / "file" / "a.json", "x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_one_may_not_write_is_a_user_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(RequestError, match="permission denied"):
            write_text_atomic(tmp_path / "a", "x")
        with pytest.raises(RequestError, match="permission denied"):
            make_folder(tmp_path / "b" / "c")
    finally:
        tmp_path.chmod(0o700)


def error(number: int, filename: Path | None) -> OSError:
    return OSError(number, os.strerror(number), str(filename)) if filename else OSError(number, os.strerror(number))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR])
def test_output_errors_are_the_users_and_input_errors_are_not_blamed_on_the_output(tmp_path: Path, number: int) -> None:
    output = tmp_path / "out" / "artefacts" / "a-123"
    for about in (output, output / "part" / "x.bin", output.with_name("a-123.partial-0"), tmp_path / "out", None):
        with pytest.raises(RequestError, match=r"paths\.out="), user_disk(output):
            raise error(number, about)
    with pytest.raises(OSError, match="input") as caught, user_disk(output):
        raise error(number, tmp_path / "input.jsonl")
    assert not isinstance(caught.value, RequestError)


def test_other_os_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), user_disk(tmp_path):
        raise error(errno.ENOENT, tmp_path)


def test_torn_or_missing_json_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    whole = json.dumps({"text": "日本語", "n": [1, 2]}, ensure_ascii=False).encode()
    for kept in range(len(whole)):
        path.write_bytes(whole[:kept])
        assert read_json(path) is None
    path.write_bytes(whole)
    assert read_json(path) == {"text": "日本語", "n": [1, 2]}
    assert read_json(tmp_path / "missing") is None
    assert read_json(path / "below a file") is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=8
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), JSON, min_size=2), st.randoms())
def test_digest_ignores_order_and_survives_storage(value: dict, shuffle: object) -> None:
    keys = list(value)
    shuffle.shuffle(keys)
    assert digest_of({key: value[key] for key in keys}) == digest_of(value) == digest_of(json.loads(json.dumps(value)))


@settings(deadline=None)
@given(JSON, JSON)
def test_digest_tells_values_apart(first: object, second: object) -> None:
    same = json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
    assert (digest_of(first) == digest_of(second)) == same


def test_sha256_is_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()


@pytest.mark.parametrize("size", [0, 1, FINGERPRINT_BLOCK_BYTES, FINGERPRINT_BLOCK_BYTES + 1, 2 * FINGERPRINT_BLOCK_BYTES])
def test_a_fingerprint_sees_every_byte_of_a_file_of_up_to_two_blocks(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(size))
    seen = {fingerprint_file(path)}
    for position in {0, size // 2, size - 1} if size else set():
        data = bytearray(size)
        data[position] = 1
        path.write_bytes(data)
        seen.add(fingerprint_file(path))
    path.write_bytes(bytes(size + 1))
    seen.add(fingerprint_file(path))
    assert len(seen) == len({0, size // 2, size - 1} if size else ()) + 2


def test_a_fingerprint_of_a_long_file_sees_both_ends_and_the_size(tmp_path: Path) -> None:
    path = tmp_path / "a"
    size = 3 * FINGERPRINT_BLOCK_BYTES

    def fingerprint(length: int, position: int | None = None) -> str:
        data = bytearray(length)
        if position is not None:
            data[position] = 1
        path.write_bytes(data)
        return fingerprint_file(path)

    marks = [fingerprint(size), fingerprint(size + 1), fingerprint(size, 0), fingerprint(size, size - 1)]
    assert len(set(marks)) == 4
    assert fingerprint(size) == marks[0]
