"""What every step of a crawl took in, dropped and handed on, added up over its tasks.

Reads  <logs>/<stage>/stats/<rank>.json (datatrove's)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from swallow_exp.artefact.files import read_json

DROPPED = "dropped_"


def read_funnel(logs: Path, stages: Sequence[str]) -> list[dict[str, Any]]:
    """One entry a step that hands on: {"step", "in", "dropped": {reason: count}, "out"}, in pipeline order."""
    steps: dict[str, Counter[str]] = {}
    for stage in stages:
        for path in sorted((logs / stage / "stats").glob("*.json")):
            for step in read_json(path) or []:
                counts = {label: int(count["total"] if isinstance(count, dict) else count) for label, count in step["stats"].items()}
                if "forwarded" in counts:
                    name = "near-duplicates" if stage == "deduplicate" else step["name"].split(": ")[-1]
                    steps.setdefault(name, Counter()).update(counts)
    return [_entry(name, counts) for name, counts in steps.items()]


def show_funnel(funnel: Sequence[Mapping[str, Any]]) -> str:
    """The funnel as lines of text."""
    lines = []
    for entry in funnel:
        lines.append(f"{entry['step']:<34}{entry['in']:>12,} in{entry['out']:>12,} out")
        lines += [f"    {reason:<30}{-count:>12,}" for reason, count in sorted(entry["dropped"].items(), key=lambda pair: -pair[1])]
    return "\n".join(lines)


def _entry(name: str, counts: Mapping[str, int]) -> dict[str, Any]:
    forwarded = counts.get("forwarded", 0)
    dropped = {label.removeprefix(DROPPED): count for label, count in counts.items() if label.startswith(DROPPED)}
    if not dropped and counts.get("dropped"):
        dropped = {"near-duplicate": counts["dropped"]}
    return {"step": name, "in": counts.get("total", 0), "dropped": dropped, "out": forwarded}
