"""status.json of a run: planned | running | preempted | trained | failed, replaced atomically."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

from swallow_exp.artefact.files import read_json, write_json_atomic

STATES = ("planned", "running", "preempted", "trained", "failed")
FACTS: dict[str, type] = {
    "heartbeat": float, "host": str, "pid": int, "attempts": int, "trained_tokens": int, "step": int, "cause": str,
}  # fmt: skip
STALE_AFTER_SECONDS = 600.0  # assumed: a heartbeat is written at least every minute


def read_status(path: Path) -> dict[str, Any]:
    """The status, or {"state": "planned"} when there is none yet. What is in it has its type; a fact of another shape is left out."""
    status = read_json(path)
    if not isinstance(status, dict) or status.get("state") not in STATES:
        return {"state": "planned"}
    return {name: fact for name, fact in status.items() if name not in FACTS or _is_fact(fact, FACTS[name])}


def _is_fact(fact: Any, kind: type) -> bool:
    if isinstance(fact, bool):
        return False
    if isinstance(fact, int):
        return kind is float or (kind is int and fact >= 0)
    return fact is None or isinstance(fact, kind)


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
    return (time.time() if now is None else now) - float(status.get("heartbeat") or 0.0) > STALE_AFTER_SECONDS
