"""A W&B server on loopback, just enough for the real client: open or resume a run, stream its rows, finish.

State is what arrived over the wire, so a test can assert on what a server would know. An operation nobody wrote here is kept in
`unknown`, which a test should find empty.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import re
import threading
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
    exit_code: int | None = None

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


class FakeWandbServer:
    """`with FakeWandbServer() as server:` then point WANDB_BASE_URL at `server.url`."""

    def __init__(self) -> None:
        self.runs: dict[tuple[str, str], ServerRun] = {}
        self.unknown: list[str] = []
        self.refuse_streams = False  # answer 500 to rows, as a broken server would
        self.lock = threading.Lock()
        self._http = _QuietServer(("127.0.0.1", 0), _Handler)
        self._http.fake = self
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """Base URL on loopback."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> FakeWandbServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True
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

    def _answer(self, value: Any, status: int = 200) -> None:
        body = json.dumps(value).encode()
        with contextlib.suppress(ConnectionError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def do_PUT(self) -> None:
        self._read_body()
        self._answer({})

    def do_POST(self) -> None:
        body, path, fake = self._read_body(), urlparse(self.path).path, self.server.fake
        if path.startswith("/sdk/otel/"):
            return self._answer({})
        if stream := re.fullmatch(r"/files/([^/]+)/([^/]+)/([^/]+)/file_stream", path):
            if fake.refuse_streams:
                return self._answer({"error": "refused by the test"}, 500)
            project, name = unquote(stream[2]), unquote(stream[3])
            with fake.lock:
                _store_stream(fake.runs[project, name], json.loads(body))
            return self._answer({"exitcode": None, "limits": {}})
        if path == "/graphql":
            query = json.loads(body)
            operation = re.search(r"(?:query|mutation)\s+(\w+)", query["query"])
            name = operation[1] if operation else "?"
            with fake.lock:
                data = _graphql(fake, self.server.server_address[1], name, query.get("variables") or {})
            if data is not None:
                return self._answer({"data": data})
            fake.unknown.append(name)
            return self._answer({"errors": [{"message": f"unknown operation {name}"}]})
        fake.unknown.append(path)
        return self._answer({}, 404)


def _store_stream(run: ServerRun, message: dict[str, Any]) -> None:
    for file, chunk in (message.get("files") or {}).items():
        lines = run.streams.setdefault(file, {})
        for number, line in enumerate(chunk.get("content") or [], start=chunk.get("offset", 0)):
            lines[number] = line
    if message.get("exitcode") is not None:
        run.exit_code = message["exitcode"]


def _graphql(fake: FakeWandbServer, port: int, operation: str, variables: dict[str, Any]) -> dict[str, Any] | None:
    """Answer of one operation; None when it is not known."""
    project, name = str(variables.get("project")), str(variables.get("name"))
    if operation == "Viewer":
        teams = {"edges": [{"node": {"id": "t", "name": ENTITY}}]}
        return {"viewer": {"id": "u", "entity": ENTITY, "username": ENTITY, "flags": "{}", "email": "a@b", "teams": teams}}
    if operation in ("ServerFeaturesQuery", "ServerFeatures", "OrganizationServerFeatures"):
        return {"serverInfo": {"features": []}}
    if operation == "ServerInfo":
        return {"serverInfo": {"cliVersionInfo": {"max_cli_version": "99.0"}, "latestLocalVersionInfo": None}}
    if operation == "OrganizationCoreWeaveOrganizationID":
        return {"entity": {"organization": {"coreWeaveOrganizationId": None}}}
    if operation == "RunStoppedStatus":
        return {"project": {"run": {"stopped": False}}}
    if operation == "CreateRunFiles":
        files = [{"name": file, "uploadUrl": f"http://127.0.0.1:{port}/upload/{file}"} for file in variables["files"]]
        return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}
    if operation == "UpsertBucket":
        return _upsert(fake, project, name, variables)
    if operation == "RunResumeStatus":
        run = fake.runs.get((project, name))
        return {
            "model": {"id": "p", "name": project, "entity": {"id": "e", "name": ENTITY}, "bucket": _resume_status(run) if run else None}
        }
    return None


def _upsert(fake: FakeWandbServer, project: str, name: str, variables: dict[str, Any]) -> dict[str, Any]:
    inserted = (project, name) not in fake.runs
    run = fake.runs.setdefault((project, name), ServerRun(name, project))
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
