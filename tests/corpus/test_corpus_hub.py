"""Datasets of the hub: what is refused without a network, and the real client against a hub of our own on this machine."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from patience import PATIENCE_SECONDS
from pyarrow import parquet

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config.compose import compose_config
from swallow_exp.config.schema import SourceConfig
from swallow_exp.corpus.build_corpus import build_corpus
from swallow_exp.corpus.hub import HubDataset, _stream, hub_dataset
from swallow_exp.corpus.read import read_documents_of
from swallow_exp.record.identity import identity_of, run_id_of

COMMIT = "a1" * 20
TEXTS = ["一行目\u2028まだ一行目", 'quote " and\ttab', " \u3000", None, "本文", "line\r\nfeed"]


def source(**changes: Any) -> SourceConfig:
    base = {"name": "web", "language": "ja", "dataset": "owner/name", "dataset_revision": COMMIT, "heldout_fraction": 0.0}
    return SourceConfig(**{**base, **changes})


def refused(tmp_path: Path, network: bool = False, **changes: Any) -> str:
    with pytest.raises(RequestError) as caught:
        build_corpus(source(**changes), out=tmp_path / "out", data=tmp_path, network=network)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- without a network ----


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ["owner/name/train", "paths.network=false", "paths.network=true"]),
        ({"dataset_revision": None}, ["dataset_revision=null", "40 letters", "/datasets/owner/name/commits/main", "git ls-remote"]),
        ({"dataset_revision": "main"}, ["dataset_revision=main", "branches and tags can move"]),
        ({"dataset_revision": COMMIT[:7]}, [f"dataset_revision={COMMIT[:7]}", "40 letters"]),
        ({"dataset": "name"}, ["dataset=name", "owner/name"]),
        ({"dataset": "../folder"}, ["dataset=../folder", "files:"]),
        ({"dataset": "owner/name:train"}, ["owner/name:train", "expected owner/name"]),
        ({"files": ["a.jsonl"]}, ["and files", "one of the two"]),
        ({"dataset": None, "files": ["a.jsonl"]}, ["dataset_revision without dataset"]),
    ],
)
def test_what_is_refused(tmp_path: Path, changes: dict[str, Any], words: list[str]) -> None:
    message = refused(tmp_path, **changes)
    assert all(word in message for word in words), message


def test_a_folder_of_the_same_name_is_not_read_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owner" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert "there is a folder" in refused(tmp_path, network=True)


def test_a_hub_that_is_not_reached_is_one_line(tmp_path: Path) -> None:
    """The tests run with HF_HUB_OFFLINE=1."""
    message = refused(tmp_path, network=True)
    assert "owner/name/train" in message and COMMIT in message and "HF_HUB_OFFLINE" in message


def test_commit_config_and_split_are_identity_and_absent_they_are_not() -> None:
    add = "+mixture.sources.miniature_english."
    plain = compose_config([]).plain
    without = json.loads(json.dumps(plain))
    for name in ("dataset", "dataset_config", "dataset_split", "dataset_revision"):
        for entry in without["mixture"]["sources"].values():
            del entry[name]
    assert run_id_of(identity_of(plain)) == run_id_of(identity_of(without))
    ids = {run_id_of(identity_of(plain))}
    for name, value in {"dataset": "o/n", "dataset_config": "ja", "dataset_split": "test", "dataset_revision": COMMIT}.items():
        ids.add(run_id_of(identity_of(compose_config([f"{add.removeprefix('+')}{name}={value}"]).plain)))
    assert len(ids) == 5
    network = compose_config(["paths.network=true"]).plain
    assert run_id_of(identity_of(network)) == run_id_of(identity_of(plain))


# ---- the library, on a folder ----


def dataset(**changes: Any) -> HubDataset:
    asked = hub_dataset(source(**changes))
    assert asked is not None
    return asked


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    table = {"text": TEXTS, "key": [f"k{number}" for number in range(6)], "length": list(range(6))}
    parquet.write_table(pa.table(table), folder / "train-00000-of-00001.parquet")
    return folder


def test_rows_take_the_path_of_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swallow_exp.corpus.hub._stream", lambda asked, place, fields: _stream(asked, str(folder), fields))
    dropped: Counter[str] = Counter()
    asked = dataset(id_field="key")
    rows = list(read_documents_of(asked, source(id_field="key"), dropped))
    assert [(document.id, document.text) for _, document in rows] == [
        ("k0", TEXTS[0]),
        ("k1", TEXTS[1]),
        ("k4", TEXTS[4]),
        ("k5", TEXTS[5]),
    ]
    assert dropped == {"empty text": 1, "null text": 1}
    lines = "".join(json.dumps([text, f"k{number}"]) + "\n" for number, text in enumerate(TEXTS))
    assert asked.manifest()["sha256"] == hashlib.sha256(lines.encode()).hexdigest()
    numbered = [document.id for _, document in read_documents_of(dataset(), source(), dropped)]
    assert numbered == ["owner/name/train:1", "owner/name/train:2", "owner/name/train:5", "owner/name/train:6"]


# ---- a hub of our own ----


def parquet_bytes(first: int, count: int) -> bytes:
    buffer = io.BytesIO()
    rows = range(first, first + count)
    parquet.write_table(pa.table({"text": [f"本文{row}" for row in rows], "id": [f"d{row}" for row in rows]}), buffer)
    return buffer.getvalue()


HUB = {
    "owner/name": {"data/train-00000-of-00001.parquet": parquet_bytes(0, 30), "README.md": b"---\nlicense: mit\n---\n"},
    "owner/torn": {"train-00000-of-00002.parquet": parquet_bytes(0, 5), "train-00001-of-00002.parquet": b"", "README.md": b"-"},
}


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as reading a dataset at one commit takes; every path asked for is kept."""

    protocol_version = "HTTP/1.1"
    asked: list[str] = []  # noqa: RUF012

    def log_message(self, *words: object) -> None:
        pass

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0].strip("/")
        Hub.asked.append(path)
        for name, files in HUB.items():
            if path == f"api/datasets/{name}/revision/{COMMIT}":
                siblings = [{"rfilename": file} for file in files]
                return self.answer(json.dumps({"_id": "1", "id": name, "sha": COMMIT, "siblings": siblings, "tags": []}).encode())
            if path.startswith(f"api/datasets/{name}/tree/{COMMIT}"):
                return self.answer(json.dumps(listing(files, path.split(COMMIT)[1].strip("/"))).encode())
            file = path.removeprefix(f"datasets/{name}/resolve/{COMMIT}/")
            if files.get(file):
                return self.answer_file(files[file])
        missing = "EntryNotFound" if any(f"/{name}/" in path for name in HUB) else "RepoNotFound"
        self.answer(b"{}", 404, X_Error_Code=missing)

    def answer_file(self, body: bytes) -> None:
        headers = {"X_Repo_Commit": COMMIT, "ETag": f'"{hashlib.sha1(body).hexdigest()}"', "Accept_Ranges": "bytes"}
        wanted = self.headers.get("Range")
        if wanted is None:
            return self.answer(body, **headers)
        start, end = wanted.removeprefix("bytes=").split("-")
        last = min(int(end or len(body)), len(body) - 1)
        self.answer(body[int(start) : last + 1], 206, Content_Range=f"bytes {start}-{last}/{len(body)}", **headers)


def listing(files: dict[str, bytes], folder: str) -> list[dict[str, Any]]:
    here = [{"type": "file", "path": p, "size": len(b) or 9, "oid": "0" * 40} for p, b in files.items() if p.rpartition("/")[0] == folder]
    below = sorted({p.split("/")[0] for p in files if "/" in p}) if not folder else []
    return [*here, *({"type": "directory", "path": name, "oid": "0" * 40, "size": 0} for name in below)]


@pytest.fixture(scope="module")
def hub_address() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


SCRIPT = """
import json, sys
from pathlib import Path
from swallow_exp.artefact.errors import RequestError
from swallow_exp.config.schema import SourceConfig
from swallow_exp.corpus.build_corpus import build_corpus, read_documents
for changes in json.loads(sys.argv[1]):
    try:
        asked = {"name": "web", "language": "ja", "dataset": "owner/name", "dataset_revision": "COMMIT", "id_field": "id", **changes}
        corpus = build_corpus(SourceConfig(**asked), out=Path("out"), data=Path("."), network=True)
        ids = {split: [document.id for document in read_documents(corpus, split)] for split in ("train", "heldout")}
        answer = {**ids, "inputs": corpus.counts["inputs"], "made_from": corpus.manifest["made_from"]}
    except RequestError as error:
        answer = {"refused": str(error)}
    print(json.dumps(answer))
""".replace("COMMIT", COMMIT)


def test_the_hub_is_read_at_the_commit(tmp_path: Path, hub_address: str) -> None:
    requests: list[dict[str, Any]] = [
        {"heldout_fraction": 0.2},
        {"heldout_fraction": 0.2, "max_documents": 4},
        {"dataset": "owner/other"},
        {"dataset_split": "nope"},
        {"dataset_config": "nope"},
        {"text_field": "body"},
        {"dataset_revision": "b" * 40},
        {"dataset": "owner/torn"},
    ]
    env = {**os.environ, "HF_ENDPOINT": hub_address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    env.pop("HF_HUB_OFFLINE")
    command = [sys.executable, "-c", SCRIPT, json.dumps(requests)]
    result = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert result.returncode == 0, result.stderr
    whole, part, *others = [json.loads(line) for line in result.stdout.splitlines()]
    assert sorted(whole["train"] + whole["heldout"]) == sorted(f"d{row}" for row in range(30))
    assert whole["heldout"] and set(part["train"] + part["heldout"]) == {"d0", "d1", "d2", "d3"}
    lines = "".join(json.dumps([f"本文{row}", f"d{row}"]) + "\n" for row in range(30))
    digest = hashlib.sha256(lines.encode()).hexdigest()
    entry = {"dataset": "owner/name", "config": None, "split": "train", "revision": COMMIT}
    assert whole["inputs"] == [{**entry, "rows": 30, "sha256": digest}]
    assert whole["made_from"] == {"owner/name/train": f"commit {COMMIT}"}
    words = ["owner/other", "Bad split: nope", "'nope' not found", "no field 'body' (it has: text, id)", "b" * 40, "broke off after row 5"]
    for answer, word in zip(others, words, strict=True):
        assert word in answer["refused"] and "\n" not in answer["refused"]
    commits = {part for path in Hub.asked for part in path.split("/") if len(part) == 40 or part == "main"}
    assert commits == {COMMIT, "b" * 40}, "nothing was asked for at another revision"
