"""status.json of a run: planned | running | preempted | trained | failed, replaced atomically."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

from swallow_exp.artefact.files import read_json, write_json_atomic

STATES = ("planned", "running", "preempted", "trained", "failed")
STALE_AFTER_SECONDS = 600.0  # assumed: a heartbeat is written at least every minute


def read_status(path: Path) -> dict[str, Any]:
    """The status, or {"state": "planned"} when there is none yet."""
    status = read_json(path)
    return status if isinstance(status, dict) and status.get("state") in STATES else {"state": "planned"}


def write_status(path: Path, state: str, **facts: Any) -> dict[str, Any]:
    """Replace the state, keep earlier facts (attempts), stamp host, pid and time (seconds since 1970, UTC)."""
    assert state in STATES, state
    status = {**read_status(path), **facts, "state": state, "heartbeat": time.time(), "host": socket.gethostname(), "pid": os.getpid()}
    if state not in ("failed", "preempted"):
        status.pop("cause", None)
    write_json_atomic(path, status)
    return status


def is_stale(status: dict[str, Any], now: float | None = None) -> bool:
    """True when a run says `running` but has not said so for long: killed without a word."""
    if status.get("state") != "running":
        return False
    return (time.time() if now is None else now) - float(status.get("heartbeat", 0.0)) > STALE_AFTER_SECONDS
