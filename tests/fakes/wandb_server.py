"""A W&B server on loopback, just enough for the real client: open or resume a run, stream its rows, artifacts, files, finish.

State is what arrived over the wire, so a test can assert on what a server would know. An operation nobody wrote is kept in `unknown`,
which a test should find empty. Two hooks:

operations  name of a GraphQL operation -> function(server, variables) -> data; a test adds those it needs to its own server
faults      functions(Call) -> Fault or None, asked in order before an answer: a status with headers, silence, or a cut line
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import re
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlparse

HISTORY, SUMMARY = "wandb-history.jsonl", "wandb-summary.json"
ENTITY = "tester"


@dataclass
class ServerRun:
    """One run as the server knows it."""

    name: str
    project: str
    config: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    streams: dict[str, dict[int, str]] = field(default_factory=dict)  # file -> line number -> line
    files: dict[str, bytes] = field(default_factory=dict)  # uploaded whole
    exit_code: int | None = None
    state: str = "running"
    rewritten: list[int] = field(default_factory=list)  # history lines that came again with other content

    def rows(self) -> list[dict[str, Any]]:
        """History in line order."""
        lines = self.streams.get(HISTORY, {})
        return [json.loads(lines[number]) for number in sorted(lines)]

    def summary(self) -> dict[str, Any]:
        """The newest summary that arrived."""
        lines = self.streams.get(SUMMARY, {})
        return json.loads(lines[max(lines)]) if lines else {}

    def forget_rows_from(self, number: int) -> None:
        """As if these rows, and the summary that came with them, had never been delivered."""
        self.streams[SUMMARY] = {}
        self.streams[HISTORY] = {line: row for line, row in self.streams[HISTORY].items() if line < number}

    @property
    def node_id(self) -> str:
        """Opaque id."""
        return base64.b64encode(f"{self.project}/{self.name}".encode()).decode()

    def store(self, message: Mapping[str, Any]) -> None:
        """One message of the row stream."""
        for file, chunk in (message.get("files") or {}).items():
            lines = self.streams.setdefault(file, {})
            for number, line in enumerate(chunk.get("content") or [], start=chunk.get("offset", 0)):
                if file == HISTORY and lines.get(number, line) != line:
                    self.rewritten.append(number)
                lines[number] = line
        if message.get("preempting"):
            self.state = "preempting"
        if message.get("complete"):
            code = self.exit_code = int(message.get("exitcode") or 0)
            self.state = "finished" if code == 0 else "preempted" if self.state == "preempting" else "failed"


@dataclass(frozen=True)
class Call:
    """What the client asks: kind is graphql | stream | upload, name the operation, the run or the path."""

    kind: str
    name: str
    number: int  # of this server's calls, from 0


@dataclass(frozen=True)
class Fault:
    """In place of an answer: a status, or with `seconds` nothing for so long and then a closed line (0: closed at once)."""

    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None


Operation = Callable[["FakeWandbServer", dict[str, Any]], dict[str, Any]]


class FakeWandbServer:
    """`with FakeWandbServer() as server:` then point WANDB_BASE_URL at `server.url`."""

    def __init__(self) -> None:
        from wandb_artifacts import ARTIFACT_OPERATIONS, ArtifactStore

        self.runs: dict[tuple[str, str], ServerRun] = {}
        self.artifacts = ArtifactStore()
        self.uploads: dict[str, bytes] = {}  # path -> body
        self.operations: dict[str, Operation] = {**RUN_OPERATIONS, **ARTIFACT_OPERATIONS}
        self.faults: list[Callable[[Call], Fault | None]] = []
        self.calls: list[Call] = []
        self.unknown: list[str] = []
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self._http = _QuietServer(("127.0.0.1", 0), _Handler)
        self._http.fake = self
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """Base URL on loopback."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def fault_of(self, kind: str, name: str) -> Fault | None:
        """Note a call, and what goes wrong with it."""
        with self.lock:
            call = Call(kind, name, len(self.calls))
            self.calls.append(call)
        return next((fault for ask in self.faults if (fault := ask(call)) is not None), None)

    def __enter__(self) -> FakeWandbServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    fake: FakeWandbServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The client drops its keep-alive connections when it ends; that is not an error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _QuietServer

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _answer(self, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        with contextlib.suppress(ConnectionError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            for name, text in (headers or {}).items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(body)

    def _faulty(self, kind: str, name: str) -> bool:
        fault = self.server.fake.fault_of(kind, name)
        if fault is None:
            return False
        if fault.seconds is None:
            self._answer({"errors": [{"message": "injected by the test"}]}, fault.status, fault.headers)
        else:
            self.server.fake.closing.wait(fault.seconds)
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
        return True

    def do_GET(self) -> None:
        path = urlparse(self.path).path
        body = self.server.fake.uploads.get(path)
        if body is None:
            self.server.fake.unknown.append(f"GET {path}")
            return self._answer({}, 404)
        self._answer(body)

    def do_PUT(self) -> None:
        body, path, fake = self._read_body(), urlparse(self.path).path, self.server.fake
        if self._faulty("upload", path):
            return
        with fake.lock:
            fake.uploads[path] = body
            if of_run := re.fullmatch(r"/upload/run/([^/]+)/([^/]+)/(.+)", path):
                fake.runs[unquote(of_run[1]), unquote(of_run[2])].files[unquote(of_run[3])] = body
        self._answer({})

    def do_POST(self) -> None:
        body, path, fake = self._read_body(), urlparse(self.path).path, self.server.fake
        if path.startswith("/sdk/otel/"):
            return self._answer({})
        if stream := re.fullmatch(r"/files/([^/]+)/([^/]+)/([^/]+)/file_stream", path):
            project, name = unquote(stream[2]), unquote(stream[3])
            if self._faulty("stream", name):
                return
            with fake.lock:
                fake.runs[project, name].store(json.loads(body))
            return self._answer({"exitcode": None, "limits": {}})
        if path == "/graphql":
            return self._graphql(json.loads(body))
        fake.unknown.append(f"POST {path}")
        return self._answer({}, 404)

    def _graphql(self, query: dict[str, Any]) -> None:
        fake = self.server.fake
        found = re.search(r"(?:query|mutation)\s+(\w+)", query["query"])
        name = found[1] if found else "?"
        if self._faulty("graphql", name):
            return
        operation = fake.operations.get(name)
        if operation is None:
            fake.unknown.append(name)
            return self._answer({"errors": [{"message": f"unknown operation {name}"}]})
        try:
            with fake.lock:
                data = operation(fake, query.get("variables") or {})
        except Exception as error:  # a defect here must fail the test, not be retried by the client for ever
            fake.unknown.append(f"{name}: {error!r}")
            return self._answer({"errors": [{"message": f"the fake failed in {name}: {error!r}"}]}, 400)
        self._answer({"data": data})


def _viewer(fake: FakeWandbServer, variables: dict[str, Any]) -> dict[str, Any]:
    teams = {"edges": [{"node": {"id": "t", "name": ENTITY}}]}
    return {"viewer": {"id": "u", "entity": ENTITY, "username": ENTITY, "flags": "{}", "email": "a@b", "teams": teams}}


def _create_run_files(fake: FakeWandbServer, variables: dict[str, Any]) -> dict[str, Any]:
    folder = f"{fake.url}/upload/run/{variables['project']}/{variables['run']}"
    files = [{"name": file, "uploadUrl": f"{folder}/{file}"} for file in variables["files"]]
    return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}


def _upsert_bucket(fake: FakeWandbServer, variables: dict[str, Any]) -> dict[str, Any]:
    project, name = str(variables.get("project")), str(variables.get("name"))
    inserted = (project, name) not in fake.runs
    run = fake.runs.setdefault((project, name), ServerRun(name, project))
    run.state = "running"
    if variables.get("config"):
        run.config = json.loads(variables["config"])
    run.attributes.update({key: value for key, value in variables.items() if value is not None and key != "config"})
    owner = {"id": "p", "name": project, "entity": {"id": "e", "name": ENTITY, "organization": None}}
    bucket = {
        "id": run.node_id,
        "name": name,
        "displayName": name,
        "description": "",
        "config": json.dumps(run.config),
        "sweepName": None,
        "historyLineCount": len(run.rows()),
        "project": owner,
    }
    return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}


def _run_resume_status(fake: FakeWandbServer, variables: dict[str, Any]) -> dict[str, Any]:
    project = str(variables.get("project"))
    run = fake.runs.get((project, str(variables.get("name"))))
    return {"model": {"id": "p", "name": project, "entity": {"id": "e", "name": ENTITY}, "bucket": _resume_status(run) if run else None}}


def _resume_status(run: ServerRun) -> dict[str, Any]:
    rows = run.rows()
    return {
        "id": run.node_id,
        "name": run.name,
        "displayName": run.name,
        "summaryMetrics": json.dumps(run.summary()),
        "config": json.dumps(run.config),
        "tags": run.attributes.get("tags") or [],
        "wandbConfig": json.dumps({"t": 1}),
        "historyLineCount": len(rows),
        "historyTail": json.dumps([json.dumps(row) for row in rows[-1:]]),
        "eventsLineCount": 0,
        "eventsTail": "[]",
        "logLineCount": 0,
    }


RUN_OPERATIONS: dict[str, Operation] = {
    "Viewer": _viewer,
    **{name: lambda fake, v: {"serverInfo": {"features": []}} for name in ("ServerFeaturesQuery", "ServerFeatures")},
    "OrganizationServerFeatures": lambda fake, v: {"serverInfo": {"features": []}},
    "ServerInfo": lambda fake, v: {"serverInfo": {"cliVersionInfo": {"max_cli_version": "99.0"}, "latestLocalVersionInfo": None}},
    "OrganizationCoreWeaveOrganizationID": lambda fake, v: {"entity": {"organization": {"coreWeaveOrganizationId": None}}},
    "RunStoppedStatus": lambda fake, v: {"project": {"run": {"stopped": False}}},
    "CreateRunFiles": _create_run_files,
    "MarkRunFilesUploaded": lambda fake, v: {"markRunFilesUploaded": {"success": True}},
    "UpsertBucket": _upsert_bucket,
    "RunResumeStatus": _run_resume_status,
}
