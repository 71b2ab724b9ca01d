"""Show a sweep, or one run, in a browser from this machine alone: no account, no network.

(1) fill      outboxes of its runs            -> the local store (trackio_sink.py), through the publisher every dashboard has
(2) serve     the store on 127.0.0.1          -> an address that opens with trained tokens as the axis and nothing smoothed
(3) follow    until Ctrl-C                    -> what runs have written meanwhile, every few seconds

Reads  <out>/{sweeps, runs}.  Writes  <out>/dashboards/trackio, <out>/runs/<run_id>/published.
"""

from __future__ import annotations

import os
import sys
import time
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from swallow_exp.artefact.errors import RequestError, SwallowError
from swallow_exp.artefact.paths import RunPaths, trackio_folder
from swallow_exp.artefact.progress import say, track
from swallow_exp.record.store import list_run_ids
from swallow_exp.track.dashboard import find_sweep
from swallow_exp.track.publish import publish_run
from swallow_exp.track.sinks import Destination
from swallow_exp.track.trackio_sink import LOCAL, open_store, serve

FOLLOW_SECONDS = 3.0
MAX_PORT = 65_535


def open_dashboard(out: Path, name: str, *, port: int | None = None, browse: bool = True) -> None:
    """Serve the curves of sweep or run `name` until Ctrl-C; its address is printed, and opened in a browser with `browse`.

    Raises RequestError: no such sweep or run, nothing written yet, trackio missing, port taken.
    """
    if port is not None and port > MAX_PORT:
        raise RequestError(f"--port {port}", expected=f"a port up to {MAX_PORT:,}", remedy="choose another")
    is_run = name in list_run_ids(out)
    run_ids = [name] if is_run else [str(cell["run_id"]) for cell in find_sweep(out, name)["cells"]]
    group = None if is_run else name
    if not any(RunPaths.of(out, run_id).events.exists() for run_id in run_ids):
        raise RequestError(
            f"nothing to show of {name}: none of its runs has written anything yet",
            expected="at least one run that trains",
            remedy="start it, then repeat the command",
        )
    open_store(trackio_folder(out))  # before anything is written: is trackio there?
    sizes = fill(out, name, group, run_ids, {})
    with serve(trackio_folder(out), name, port=port) as address:
        print(address, flush=True)
        say("Ctrl-C ends it; rows that runs write meanwhile appear by themselves")
        if browse and can_browse():
            webbrowser.open(address)
        try:
            while True:
                time.sleep(FOLLOW_SECONDS)
                sizes = _follow(out, name, group, run_ids, sizes)
        except KeyboardInterrupt:
            return


def _follow(out: Path, name: str, group: str | None, run_ids: Sequence[str], sizes: dict[str, int]) -> dict[str, int]:
    """`fill`, but what goes wrong while people look is said and tried again."""
    try:
        return fill(out, name, group, run_ids, sizes)
    except SwallowError as error:
        say(f"swallow: {error}")
        return sizes


def fill(out: Path, name: str, group: str | None, run_ids: Sequence[str], sizes: dict[str, int]) -> dict[str, int]:
    """Publish to project `name` every run whose outbox has another size than in `sizes`; returns the sizes now."""
    events = {run_id: RunPaths.of(out, run_id).events for run_id in run_ids}
    now = {run_id: path.stat().st_size for run_id, path in events.items() if path.exists()}
    changed = [run_id for run_id in now if now[run_id] != sizes.get(run_id)]
    for run_id in track(changed, "outboxes", len(changed)):
        publish_run(out, run_id, Destination(sink="trackio", mode=LOCAL, project=name), group=group)
    return now


def can_browse() -> bool:
    """True where a browser has a screen to open on; elsewhere Python would start one in this terminal."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
