"""Dataset files: where they lie, how they are fetched once and checked, what is said when they are missing or not what they should be."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config.schema import SuiteConfig
from swallow_exp.corpus import readers
from swallow_exp.evaluate.data import DataFile, DataFolder, MissingData

TEXT = '{"q": "問"}\n'.encode()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """(address, folder) of an official source on this machine."""
    folder = tmp_path / "source"
    folder.mkdir()
    web = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=web.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{web.server_port}", folder
    web.shutdown()
    thread.join()
    web.server_close()


def a_file(url: str | None = "https://example.invalid/v1/items.jsonl", **more: Any) -> DataFile:
    return DataFile("quiz", "items.jsonl", url, "v1.0", "MIT", **more)


def test_a_file_in_the_documented_layout_is_found(tmp_path: Path) -> None:
    (tmp_path / "quiz").mkdir()
    (tmp_path / "quiz" / "items.jsonl").write_bytes(TEXT)
    assert DataFolder(tmp_path).path(a_file()) == tmp_path / "quiz" / "items.jsonl"
    assert DataFolder(tmp_path).path(a_file(sha256=hashlib.sha256(TEXT).hexdigest())).exists()
    with pytest.raises(RequestError, match=r"items\.jsonl has sha256 .*as declared"):
        DataFolder(tmp_path).path(a_file(sha256="0" * 64))


def test_what_is_missing_is_named_with_the_place_and_the_source(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=r"quiz/items\.jsonl is missing; expected items\.jsonl \(v1\.0, MIT\); get it from https://"):
        DataFolder(tmp_path).path(a_file())
    with pytest.raises(MissingData, match=r"<data_dir>/quiz/items\.jsonl is missing.*set suite\.data_dir=FOLDER"):
        DataFolder().path(a_file())
    with pytest.raises(MissingData, match="ask the authors"):
        DataFolder(tmp_path, network=True).path(a_file(None, remedy="ask the authors"))
    assert DataFolder(tmp_path).find(a_file()) is None and DataFolder().find(a_file()) is None


def test_a_file_is_fetched_once_and_its_sum_is_kept(tmp_path: Path, server: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    address, source = server
    (source / "items.jsonl").write_bytes(TEXT)
    folder, file = DataFolder(tmp_path / "data", network=True), a_file(f"{address}/items.jsonl")
    path = folder.path(file)
    assert path.read_bytes() == TEXT
    digest = hashlib.sha256(TEXT).hexdigest()
    assert (path.parent / "SHA256SUMS").read_text() == f"{digest}  items.jsonl\n" and digest in capsys.readouterr().err
    (source / "items.jsonl").unlink()
    assert folder.path(file) == path  # from now on without the source
    path.write_bytes(TEXT + TEXT)
    with pytest.raises(RequestError, match="as noted in SHA256SUMS"):
        folder.path(file)
    assert sorted(p.name for p in path.parent.iterdir()) == [".fetch.lock", "SHA256SUMS", "items.jsonl"]


def _zip(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("deep/part.jsonl", data)
    return buffer.getvalue()


def _tar(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        facts = tarfile.TarInfo("deep/part.jsonl")
        facts.size = len(data)
        archive.addfile(facts, io.BytesIO(data))
    return buffer.getvalue()


@pytest.mark.parametrize("pack", [_zip, _tar])
def test_one_file_of_an_archive(tmp_path: Path, server: tuple[str, Path], pack: Callable[[bytes], bytes]) -> None:
    address, source = server
    (source / "all").write_bytes(pack(TEXT))
    folder = DataFolder(tmp_path / "data", network=True)
    assert folder.path(a_file(f"{address}/all", member="deep/part.jsonl")).read_bytes() == TEXT
    with pytest.raises(MissingData, match="other"):
        folder.path(DataFile("quiz", "second.jsonl", f"{address}/all", "v1", "MIT", member="other"))
    assert not [p for p in (tmp_path / "data" / "quiz").iterdir() if p.suffix in (".part", ".member")]


def test_a_source_that_fails_leaves_nothing(tmp_path: Path, server: tuple[str, Path]) -> None:
    address, source = server
    folder = DataFolder(tmp_path / "data", network=True)
    with pytest.raises(MissingData, match="HTTPError: HTTP Error 404"):
        folder.path(a_file(f"{address}/items.jsonl"))
    (source / "items.jsonl").write_bytes(TEXT)
    with pytest.raises(RequestError, match="as declared"):
        folder.path(a_file(f"{address}/items.jsonl", sha256="0" * 64))
    (source / "items.jsonl").write_bytes(b"no archive")
    with pytest.raises(MissingData, match="ReadError"):
        folder.path(a_file(f"{address}/items.jsonl", member="x"))
    assert [p.name for p in (tmp_path / "data" / "quiz").iterdir()] == [".fetch.lock"]


def test_only_a_fetched_file_must_be_the_official_one(tmp_path: Path, server: tuple[str, Path]) -> None:
    address, source = server
    (source / "items.jsonl").write_bytes(TEXT)
    folder = DataFolder(tmp_path / "data", network=True)
    with pytest.raises(RequestError, match="as declared"):
        folder.path(a_file(f"{address}/items.jsonl", fetched_sha256="0" * 64))
    official = a_file(f"{address}/items.jsonl", fetched_sha256=hashlib.sha256(TEXT).hexdigest())
    folder.path(official).write_bytes(b"something else")
    with pytest.raises(RequestError, match="as noted in SHA256SUMS"):  # it has changed since
        folder.path(official)
    (tmp_path / "own" / "quiz").mkdir(parents=True)
    (tmp_path / "own" / "quiz" / "items.jsonl").write_bytes(b"a part of it")
    assert DataFolder(tmp_path / "own", network=True).path(official).read_bytes() == b"a part of it"


def test_the_folder_itself(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is not a folder"):
        DataFolder.of(SuiteConfig(data_dir=str(tmp_path / "gone")))
    with pytest.raises(RequestError, match=r"without suite\.data_dir"):
        DataFolder.of(SuiteConfig(network=True))
    assert DataFolder.of(SuiteConfig()) == DataFolder()
    assert DataFolder.of(SuiteConfig(data_dir=str(tmp_path / "new"), network=True)).root == tmp_path / "new"


def _rows(reader: Callable[..., Any], tmp_path: Path, data: bytes, **more: Any) -> list[Any]:
    path = tmp_path / "file"
    path.write_bytes(data)
    found = reader(path, **more)
    return [row for _, row in found] if isinstance(found, Iterator) else [found]


def test_readers_read(tmp_path: Path) -> None:
    assert _rows(readers.read_jsonl, tmp_path, b'\xef\xbb\xbf{"a": 1}\r\n\n{"a": "\xe2\x80\xa8"}') == [{"a": 1}, {"a": "\u2028"}]
    assert _rows(readers.read_lines, tmp_path, "一\u2028二\r\n三\n".encode()) == ["一\u2028二", "三"]
    assert _rows(readers.read_tsv, tmp_path, b'a\tb\n1\t"2\n') == [{"a": "1", "b": '"2'}]
    assert _rows(readers.read_tsv, tmp_path, b"1\t2\n", columns=["x", "y"]) == [{"x": "1", "y": "2"}]
    assert _rows(readers.read_xml, tmp_path, "<a><b>日</b></a>".encode())[0].findtext("b") == "日"
    assert _rows(readers.read_json, tmp_path, b"[1]") == [[1]]


def test_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"q": ["x", "y"]}), tmp_path / "rows.parquet")
    assert list(readers.read_parquet(tmp_path / "rows.parquet"))[1] == (f"{tmp_path}/rows.parquet, row 2", {"q": "y"})
    with pytest.raises(RequestError, match="not parquet"):
        _rows(readers.read_parquet, tmp_path, b"PAR1")


@pytest.mark.parametrize(
    ("reader", "data", "said"),
    [
        (readers.read_jsonl, b'{"a": 1}\n{"a": \n', r"file, line 2: not JSON"),
        (readers.read_jsonl, b"[1]\n", r"file, line 1: a JSON list"),
        (readers.read_lines, b"good\ngood\n\xff\n", r"file, line 3: not UTF-8"),
        (readers.read_json, b'{\n "a": 1,\n]', r"file, line 3: not JSON"),
        (readers.read_json, b"[" * 100_000, r"file.*(not JSON|nested too deeply)"),
        (readers.read_tsv, b"a\tb\n1\t2\t3\n", r"file, line 2: 3 columns; expected 2 columns \(a, b\)"),
        (readers.read_xml, b"<a>\n<b></a>", r"file, line 2: not XML"),
    ],
)
def test_malformed_files_are_named_with_the_line(tmp_path: Path, reader: Callable[..., Any], data: bytes, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        _rows(reader, tmp_path, data)


def test_what_a_row_lacks_is_named() -> None:
    row = {"answers": [{"text": "x"}], "n": 3}
    assert readers.text_of(row, "answers", 0, "text", place="p") == "x"
    for ask in (
        lambda: readers.text_of(row, "answers", 1, "text", place="f, line 7"),
        lambda: readers.text_of(row, "n", place="f, line 7"),
        lambda: readers.list_of(row, "n", place="f, line 7"),
        lambda: readers.text_of(None, "n", place="f, line 7"),
    ):
        with pytest.raises(RequestError, match="f, line 7: "):
            ask()
