"""Work on runs that exist already: evaluate their checkpoints as they appear, publish their outboxes."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from swallow_exp.artefact.errors import EXIT_DONE, RequestError, SwallowError
from swallow_exp.artefact.paths import RunPaths, user_path
from swallow_exp.artefact.progress import say
from swallow_exp.checkpoint.index import read_checkpoints
from swallow_exp.config.schema import Config, SuiteConfig, TrackingConfig
from swallow_exp.config.suites import compose_suite
from swallow_exp.evaluate.launch import launch_evaluation
from swallow_exp.evaluate.models import is_model
from swallow_exp.record.status import is_stale, read_status
from swallow_exp.record.store import find_run, list_run_ids, read_config
from swallow_exp.track.launch import TIMEOUT_SECONDS, launch_publication
from swallow_exp.track.live import LivePublication
from swallow_exp.track.sinks import Destination, check_mode

FOLLOW_SECONDS = 5.0
MODEL_SUITE = "smoke"  # of a model that no run made, when none is named


def evaluate_named(
    out: Path, given: str, overrides: Sequence[str], config_dirs: Sequence[Path], *, follow: bool, processes: int = 1
) -> int:
    """Evaluate a run, or a model that no run made, with its own suite or the one the overrides say. Returns an exit code."""
    known = list_run_ids(out)
    if user_path(given).is_dir() or not any(run_id.startswith(given) or run_id.endswith(given) for run_id in known):
        own_tasks = any(".tasks=" in word for word in overrides)  # named one by one: all of their items
        suite = compose_suite(overrides, config_dirs, default="none" if own_tasks else MODEL_SUITE)
        if is_model(given, network=suite.network):
            if follow:
                raise RequestError(f"--follow of the model {given}", expected="a run that may still train", remedy="leave out --follow")
            return launch_evaluation(out, [], suite=suite, model=given, processes=processes)
    run = find_run(out, given)
    own = Config.of(read_config(run)).suite
    chosen = compose_suite(overrides, config_dirs, base=own) if overrides else None
    return evaluate_run(out, run, follow=follow, suite=chosen, processes=processes)


def evaluate_run(out: Path, run: RunPaths, *, follow: bool, suite: SuiteConfig | None = None, processes: int = 1) -> int:
    """Evaluate what has no result; with `follow`, wait for further checkpoints until the run has ended. `suite` in place of its own."""
    seen = -1
    while True:
        ended = read_status(run.status)["state"] in ("trained", "failed") or is_stale(read_status(run.status))
        count = len(read_checkpoints(run))
        if count != seen:
            seen = count
            code = launch_evaluation(out, [run.run_id], suite=suite, processes=processes)
            if code != EXIT_DONE:
                return code
        if not follow or ended:
            say(f"{run.run_id}: {seen} {'checkpoint' if seen == 1 else 'checkpoints'} evaluated")
            return EXIT_DONE
        time.sleep(FOLLOW_SECONDS)


def publish_runs(
    out: Path,
    run_ids: Sequence[str],
    *,
    mode: str | None,
    sink: str = "wandb",
    project: str | None = None,
    group: str | None = None,
    rows_only: bool = False,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> int:
    """Publish runs one after the other, each in a process of its own; one that fails does not stop the others.

    mode       of the sink; None: its first
    project    None: the run's own (tracking.*), as its entity
    rows_only  no artifacts and no table of items, whatever tracking.* says
    Returns an exit code. Raises RequestError for a sink or a mode that does not exist.
    """
    mode, code = check_mode(sink, mode), EXIT_DONE
    for run_id in run_ids:
        run = RunPaths.of(out, run_id)
        if not run.identity.exists():
            say(f"{run_id}: not started, nothing to publish")
            continue
        try:
            tracking = tracking_of(run)
            place = destination_of(tracking, mode, sink=sink, project=project)
            rows = launch_publication(
                out,
                run_id,
                place,
                group=group,
                artifacts=tracking.artifacts and not rows_only,
                items_table=tracking.items_table and not rows_only,
                timeout_seconds=timeout_seconds,
            )
        except SwallowError as error:
            say(f"swallow: {run_id}: not published: {error}")
            code = max(code, error.exit_code)
            continue
        print(f"{run_id}: {rows} rows sent ({sink} {mode})")
        kept = run.publication_folder(f"{sink}-{mode}")
        if mode == "offline" and any(kept.glob("offline-run-*")):
            say(f"  kept on this machine; where there is a network: wandb sync {shlex.quote(str(kept))}/offline-run-*")
    return code


def tracking_of(run: RunPaths) -> TrackingConfig:
    """A run's own tracking.*. Raises RequestError without a readable config."""
    return TrackingConfig(**read_config(run)["tracking"])


def destination_of(tracking: TrackingConfig, mode: str, *, sink: str = "wandb", project: str | None = None) -> Destination:
    """Where a run's own tracking.* sends it."""
    return Destination(sink, mode, project or tracking.wandb_project, tracking.wandb_entity if sink == "wandb" else None)


def publish_meanwhile(run: RunPaths, tracking: TrackingConfig) -> LivePublication:
    """While the block runs, send rows every tracking.publish_every_seconds; artifacts come with the publication afterwards."""
    mode = tracking.wandb_mode

    def publish(stop: threading.Event) -> None:
        assert mode is not None
        launch_publication(run.out, run.run_id, destination_of(tracking, mode), stop=stop)

    return LivePublication(run.run_id, publish, every_seconds=tracking.publish_every_seconds if mode is not None else None)
