"""Write metric rows into a local trackio store, and serve it. The only file that imports trackio: no account, no network.

(1) open      TRACKIO_DIR = the store, before the import    -> nothing is written to the home folder, nothing is sent
(2) write     rows the store lacks, a transaction a block    -> the store is the cursor; a row's id is run_id:sequence, unique by the schema
(3) serve     on 127.0.0.1                                   -> address with the axis and no smoothing (trackio smooths unless told not to)

The store is a view: a run filled from another outbox, or under another name, is removed and filled again.
Reads/Writes  the store's folder (SQLite, one file a project).
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import digest_of, make_folder, user_disk
from swallow_exp.artefact.paths import RunPaths, trackio_folder
from swallow_exp.artefact.progress import progress_bar
from swallow_exp.track.dashboard import shown_name
from swallow_exp.track.rows import STEP_METRIC, MetricRow
from swallow_exp.track.sinks import Sent, Target

LOCAL = "local"
MODES = (LOCAL,)
FRAGMENT_MODES = ()
TAKES_ARTIFACTS = False
ASK_EACH_TIME = True
EXTRA = "swallow_exp[local]"
BLOCK_ROWS = 5_000  # of one transaction
MARK_KEY = "outbox"  # in the config: which outbox a run was filled from, under which name
LOOPBACK = "127.0.0.1"
# Settings of trackio and of what it is built on, for this process only. DELETE: a write-ahead log is unsafe on shared file systems.
SETTINGS = {
    "TRACKIO_STORAGE_MODE": "sqlite",
    "TRACKIO_SQLITE_JOURNAL_MODE": "delete",
    "TRACKIO_PLOT_ORDER": "train/loss,eval/,health/,flops,text_bytes",  # a bare prefix places its group; inside, the alphabet
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
}
# With these trackio would send rows to a server, or believe that it runs on one.
FOREIGN_VARIABLES = (
    "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_WRITE_TOKEN", "TRACKIO_BUCKET_ID", "TRACKIO_DATASET_ID", "TRACKIO_WEBHOOK_URL",
    "SPACE_ID", "SPACE_REPO_NAME", "SPACE_HOST", "SYSTEM",
)  # fmt: skip


def open_store(folder: Path) -> Any:
    """The trackio module with its store in `folder`. Raises RequestError when it is not installed or of another interface.

    trackio decides at its import where its store is: one process, one store.
    """
    for name in FOREIGN_VARIABLES:
        os.environ.pop(name, None)
    os.environ.update(SETTINGS, TRACKIO_DIR=str(folder.resolve()))
    try:
        import trackio
        from trackio.sqlite_storage import SQLiteStorage
    except ImportError as error:
        raise RequestError(
            "a local dashboard without the package trackio", expected="the optional dependency", remedy=f"pip install '{EXTRA}'"
        ) from error
    wanted = ("bulk_log", "delete_run", "get_max_step_for_run", "get_project_db_filename", "get_run_config", "validate_project_name")
    if missing := [name for name in wanted if not hasattr(SQLiteStorage, name)]:
        version = importlib.metadata.version("trackio")
        raise RequestError(f"trackio {version} has no {missing[0]}", expected="trackio 0.43", remedy=f"pip install '{EXTRA}'")
    assert Path(trackio.utils.TRACKIO_DIR) == folder.resolve(), "one process has one store"
    make_folder(folder)
    return trackio


def project_of(trackio: Any, name: str) -> str:
    """The project of sweep or run `name`: what the dashboard lists. Names that trackio would shorten or refuse get a mark of their own."""
    storage = trackio.SQLiteStorage
    stem = Path(storage.get_project_db_filename(name)).stem
    try:
        storage.validate_project_name(name)
    except ValueError:
        return f"sweep-{stem}-{digest_of(name)[:7]}"
    return stem if stem == name else f"{stem}-{digest_of(name)[:7]}"


def send_rows(target: Target, rows: Sequence[MetricRow], *, work: Path) -> Sent:
    """Write those of `rows` that the store of the output root does not have yet; `work` is a folder of the run.

    A kill at any moment loses no row and doubles none.
    """
    out = RunPaths(work.parents[2]).out
    folder, run_id = trackio_folder(out), target.run_id
    trackio = open_store(folder)
    storage, project = trackio.SQLiteStorage, project_of(trackio, target.destination.project)
    name = shown_name(out, target.group, run_id)
    mark = digest_of([target.outbox_digest, name])
    config = {**target.config, "run_id": run_id, "tags": list(target.tags), MARK_KEY: mark, "_Group": target.group}
    with user_disk(folder), _readable(folder / storage.get_project_db_filename(project)):
        known = storage.get_run_config(project, run_id=run_id)
        last = storage.get_max_step_for_run(project, run_id=run_id)
        if known is not None and (known.get(MARK_KEY) != mark or (last is not None and last >= target.num_events)):
            storage.delete_run(project, name, run_id=run_id)
            last = None
        starting_step = 0 if last is None else int(last) + 1
        new = [row for row in rows if row.sequence >= starting_step]
        with progress_bar(name, len(new), unit="rows") as advance:
            for first in range(0, len(new), BLOCK_ROWS):
                block = new[first : first + BLOCK_ROWS]
                storage.bulk_log(
                    project,
                    name,
                    [dict(row.values) for row in block],
                    steps=[row.sequence for row in block],
                    config=config,
                    log_ids=[f"{run_id}:{row.sequence}" for row in block],
                    run_id=run_id,
                )
                advance(len(block))
    return Sent(len(new), starting_step)


@contextlib.contextmanager
def _readable(database: Path) -> Iterator[None]:
    """Turn a damaged store into one line: it is only a view. Raises RequestError."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        damaged = not isinstance(error, sqlite3.OperationalError)
        remedy = "delete it and repeat the command" if damaged else "see that the disk has room and nobody else writes to it"
        raise RequestError(
            f"the local dashboard's store {database} cannot be used ({error})", expected="a whole one", remedy=remedy
        ) from error


@contextlib.contextmanager
def serve(folder: Path, name: str, *, port: int | None = None) -> Iterator[str]:
    """Serve the store while the block runs; yields the address of the dashboard of `name`. port: None = a free one from 7860 on.

    Raises RequestError when the port is taken.
    """
    trackio = open_store(folder)
    project = project_of(trackio, name)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # its own address has neither the axis nor the smoothing
            app, address, _, _ = trackio.show(
                project=project, open_browser=False, block_thread=False, host=LOOPBACK, share=False, server_port=port, mcp_server=False
            )
    except OSError as error:
        raise RequestError(
            f"port {port} is in use or not allowed" if port else "no free port from 7860 on",
            expected="a free port",
            remedy="choose another with --port",
        ) from error
    query = urlencode({"project": project, "x_axis": STEP_METRIC, "smoothing": 0})
    try:
        yield f"{address.rstrip('/')}/?{query}"
    finally:
        app.close(verbose=False)
