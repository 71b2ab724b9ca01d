"""How many rows of a run's outbox each destination has not been sent: a glance that reads only what was appended since.

Reads  runs/<run_id>/{events.jsonl, published/*.json}.  Writes  nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.paths import RunPaths


def publish_lags(run: RunPaths) -> dict[str, int]:
    """ "<sink>-<mode> <entity>/<project>" -> lines of the outbox behind it; empty where nobody publishes."""
    lags = {}
    for path in sorted(run.publication("any").parent.glob("*.json")):
        cursor = read_json(path)
        destinations = cursor.get("destinations") if isinstance(cursor, dict) else None
        for place, entry in destinations.items() if isinstance(destinations, dict) else ():
            if isinstance(entry, dict) and isinstance(entry.get("next"), int):
                lags[f"{path.stem} {place}"] = _lines_behind(run.events, entry)
    return lags


def _lines_behind(events: Path, entry: dict[str, Any]) -> int:
    """Lines after the byte up to which the outbox was read; of a cursor without that, lines after its last row."""
    known = entry.get("outbox_bytes")
    try:
        with events.open("rb") as handle:
            if isinstance(known, int):
                handle.seek(known)
                return handle.read().count(b"\n")
            return max(handle.read().count(b"\n") - int(entry["next"]), 0)
    except OSError:
        return 0
