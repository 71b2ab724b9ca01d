"""Work on runs that exist already: evaluate their checkpoints as they appear, publish their outboxes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from swallow_exp.artefact.errors import EXIT_DONE, SwallowError
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.artefact.progress import say
from swallow_exp.checkpoint.index import read_checkpoints
from swallow_exp.evaluate.launch import launch_evaluation
from swallow_exp.record.status import is_stale, read_status
from swallow_exp.record.store import read_config

FOLLOW_SECONDS = 5.0


def evaluate_run(out: Path, run: RunPaths, *, follow: bool) -> int:
    """Evaluate what has no result; with `follow`, wait for further checkpoints until the run has ended."""
    seen = -1
    while True:
        ended = read_status(run.status)["state"] in ("trained", "failed") or is_stale(read_status(run.status))
        count = len(read_checkpoints(run))
        if count != seen:
            seen = count
            code = launch_evaluation(out, [run.run_id])
            if code != EXIT_DONE:
                return code
        if not follow or ended:
            say(f"{run.run_id}: {seen} checkpoints evaluated")
            return EXIT_DONE
        time.sleep(FOLLOW_SECONDS)


def publish_runs(out: Path, run_ids: Sequence[str], *, mode: str, project: str | None = None, group: str | None = None) -> int:
    """Publish runs one after the other, each in a process of its own; one that fails does not stop the others.

    Project and entity are the run's own (tracking.*) unless `project` is given. Returns an exit code.
    """
    from swallow_exp.track.launch import launch_publication

    code = EXIT_DONE
    for run_id in run_ids:
        run = RunPaths.of(out, run_id)
        if not run.identity.exists():
            say(f"{run_id}: not started, nothing to publish")
            continue
        try:
            tracking = read_config(run)["tracking"]
            chosen = project or tracking["wandb_project"]
            rows = launch_publication(out, run_id, mode=mode, project=chosen, entity=tracking["wandb_entity"], group=group)
        except SwallowError as error:
            say(f"swallow: {run_id}: not published: {error}")
            code = max(code, error.exit_code)
            continue
        print(f"{run_id}: {rows} rows sent ({mode})")
    return code
