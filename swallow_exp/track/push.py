"""Push the dashboard of a sweep to W&B, from a process of its own: a hanging network call holds nothing.

(1) board     records of the sweep (dashboard.py)            -> wrong requests end here, before anything is sent
(2) views     workspace and report (wandb_views.py)          -> saved in place of those of an earlier push
(3) keep      dashboards/<name>.json, atomically             -> the report's id, for each project

`python -m swallow_exp.track.push` is that process; its last line on stdout is JSON.
Reads  <out>/{sweeps, runs, reports, dashboards}.  Writes  <out>/dashboards/<name>.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from swallow_exp.artefact.errors import EXIT_DONE, EXIT_WRONG_REQUEST, RequestError
from swallow_exp.artefact.files import read_json, write_json_atomic
from swallow_exp.artefact.paths import RunPaths, pushed_dashboard
from swallow_exp.artefact.processes import die_with_parent
from swallow_exp.record.store import read_config
from swallow_exp.track.dashboard import read_board
from swallow_exp.track.launch import run_worker
from swallow_exp.track.wandb_views import Pushed, push_views
from swallow_exp.track.worker import watch

TIMEOUT_SECONDS = 180.0


def push_dashboard(out: Path, name: str, *, project: str | None, entity: str | None, timeout_seconds: float = TIMEOUT_SECONDS) -> Pushed:
    """Save the workspace and the report of sweep `name`; the project and entity are its runs' own (tracking.*) unless given.

    Raises RequestError: no such sweep, nothing published, wandb-workspaces missing, no login, no network; RunFailed when it hangs.
    """
    board = read_board(out, name)
    tracking = read_config(RunPaths.of(out, board.run_ids[0]))["tracking"]
    command = ["swallow_exp.track.push", str(out), name, f"--project={project or tracking['wandb_project']}"]
    owner = entity or tracking["wandb_entity"]
    command += [f"--entity={owner}"] if owner else []
    return Pushed(**run_worker(command, f"pushing the dashboard of {name}", timeout_seconds))


def main(argv: list[str] | None = None) -> int:
    """Push as the arguments say; returns the exit code."""
    die_with_parent()
    parser = argparse.ArgumentParser(prog="python -m swallow_exp.track.push", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("name")
    parser.add_argument("--project", required=True)
    parser.add_argument("--entity")
    parser.add_argument("--timeout-seconds", type=float, required=True)
    given = parser.parse_args(argv)
    watch(given.timeout_seconds)
    try:
        with tempfile.TemporaryDirectory(prefix="swallow-push-") as work:
            os.environ.update({name: work for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR")})
            pushed = _push(given.out, given.name, given.project, given.entity)
    except RequestError as error:
        print(json.dumps({"given": error.given, "expected": error.expected, "remedy": error.remedy}))
        return EXIT_WRONG_REQUEST
    print(json.dumps(asdict(pushed)))
    return EXIT_DONE


def _push(out: Path, name: str, project: str, entity: str | None) -> Pushed:
    path, destination = pushed_dashboard(out, name), f"{entity or ''}/{project}"
    stored = read_json(path)
    kept = stored if isinstance(stored, dict) else {}
    report_id = kept.get(destination, {}).get("report_id")
    pushed = push_views(read_board(out, name), project=project, entity=entity, report_id=report_id)
    write_json_atomic(path, {**kept, destination: asdict(pushed)})
    return pushed


if __name__ == "__main__":
    sys.exit(main())
