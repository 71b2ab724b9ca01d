"""Write metric rows into one Weights & Biases run. The only file that imports wandb.

(1) open      id = run_id, resume = "allow"            -> a run that knows how many steps it already has (online)
(2) declare   every metric by exact name               -> trained_tokens is the x-axis (each open forgets earlier declarations)
(3) log       rows from `starting_step` on             -> step = place in the outbox, so a repeated row cannot be added twice
(4) attach    artifacts by reference or unchanged file, tables of items
(5) finish    config first, our own summary last       -> finished, failed, or left open while training goes on

Reads/Writes  only the working folder it is given (wandb's own files).
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError, RunFailed
from swallow_exp.track.fragment import last_records
from swallow_exp.track.rows import STEP_METRIC, MetricRow
from swallow_exp.track.sinks import FAILED, UNFINISHED, Artifact, ItemTable, Sent, Target

MODES = ("offline", "online")
FRAGMENT_MODES = ("offline",)
TAKES_ARTIFACTS = True
ASK_EACH_TIME = False
INIT_TIMEOUT_SECONDS = 60.0  # unless WANDB_INIT_TIMEOUT says otherwise
ARTIFACT_SECONDS = 300  # for one artifact to arrive
END_SECONDS = 60.0  # for the end of a fragment to be written
DIGEST_KEY = "outbox_digest"
TAG_MAX_CHARACTERS = 64  # longer tags are refused by W&B


def import_wandb() -> Any:
    """The wandb module. Raises RequestError when it is not installed."""
    try:
        import wandb
    except ImportError as error:
        raise RequestError(
            "publishing to W&B without the package wandb",
            expected="the optional dependency",
            remedy="pip install 'swallow_exp[wandb]'",
        ) from error
    return wandb


def send_rows(target: Target, rows: Sequence[MetricRow], *, work: Path) -> Sent:
    """Log those of `rows` that the W&B run does not have yet, then config, metric declarations, summary and artifacts.

    Offline nothing is known about the server: all of `rows` are written, and the caller passes only new ones.
    Raises RequestError when W&B cannot be reached or holds a run of the same name from another outbox.
    """
    wandb = import_wandb()
    with _folders_inside(work, target.keep):
        run = _open(wandb, target, work)
        num_rows = 0
        try:
            _refuse_other_outbox(run, target)
            run.config.update({**target.config, DIGEST_KEY: target.outbox_digest}, allow_val_change=True)
            _declare(run, target.metrics)
            starting_step = int(run.starting_step)
            for row in rows:
                if row.sequence < starting_step:
                    continue
                # commit at once: a row still pending would be written after the summary below
                run.log(dict(row.values), step=row.sequence, commit=True)
                num_rows += 1
            tables = {table.name: loaded for table in target.tables if (loaded := _table(wandb, table)) is not None}
            run.summary.update({**target.summary, **tables})
            arrived = _log_artifacts(wandb, run, target) | {table.key for table in target.tables if table.name in tables}
        except BaseException:
            run.finish(exit_code=1)
            raise
        _finish(run, target)
        if target.destination.mode == "offline":
            _await_end(Path(run.settings.sync_dir))
        return Sent(num_rows, starting_step, Path(run.settings.sync_dir), frozenset(arrived))


def _finish(run: Any, target: Target) -> None:
    """Close the run so that it reads as what it is: finished, failed, or neither while training goes on.

    Online the client leaves the state alone (`x_update_finish_state`, see _open). A fragment always tells its end when it is synced:
    that of an unfinished run is a preemption.
    """
    if target.state == UNFINISHED and target.destination.mode == "offline":
        run.mark_preempting()
    run.finish(exit_code=1 if target.state == FAILED or (target.state == UNFINISHED and target.destination.mode == "offline") else 0)


def _await_end(folder: Path) -> None:
    """Wait until the fragment holds its end: the background process writes on when `finish` has returned.

    Raises RunFailed when it does not come.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    (fragment,) = folder.glob("run-*.wandb")
    deadline = time.monotonic() + END_SECONDS
    while not any(Record.FromString(payload).WhichOneof("record_type") == "exit" for payload in last_records(fragment)):
        if time.monotonic() > deadline:
            raise RunFailed(f"W&B did not finish writing {fragment} within {END_SECONDS:g} s; repeat the command, nothing is lost")
        time.sleep(0.02)


def _table(wandb: Any, table: ItemTable) -> Any:
    """None when its items cannot be read: rows do not depend on them, and the publisher says what did not arrive."""
    try:
        columns, rows = table.load()
    except (OSError, KeyError, ValueError):
        return None
    return wandb.Table(columns=columns, data=rows)


def _log_artifacts(wandb: Any, run: Any, target: Target) -> set[str]:
    """Log every artifact; keys of those that arrived. Online that is what the server confirms: the client itself is silent."""
    logged = {}
    for one in target.artifacts:
        with contextlib.suppress(OSError, ValueError):  # a file that has gone meanwhile
            logged[one.key] = run.log_artifact(_artifact(wandb, one), aliases=[one.alias])
    if target.destination.mode == "offline":
        return set(logged)
    arrived = set()
    for key, artifact in logged.items():
        with contextlib.suppress(wandb.Error, ValueError):  # too late, or refused: the publisher says so and sends it again
            artifact.wait(timeout=ARTIFACT_SECONDS)
            arrived.add(key)
    return arrived


def _artifact(wandb: Any, one: Artifact) -> Any:
    artifact = wandb.Artifact(one.name, type=one.kind, metadata=dict(one.metadata))
    for name, place in one.references.items():
        # not read: weights are large; a checksum of places alone would be that of other weights there as well
        artifact.add_reference(place.absolute().as_uri(), name=name, checksum=False)
    if not one.files:
        with artifact.new_file(f"{one.kind}.json", encoding="utf-8") as file:
            json.dump(dict(one.metadata), file, ensure_ascii=False)
    for name, path in one.files.items():
        artifact.add_file(str(path), name=name, policy="immutable", skip_cache=True)  # neither copied
    return artifact


@contextlib.contextmanager
def _folders_inside(work: Path, keep: Path | None) -> Iterator[None]:
    """Keep wandb's files inside `work`, and what an offline run refers to in `keep`; the config folder (the login) stays the user's own."""
    inside = {"WANDB_DIR": work, "WANDB_CACHE_DIR": work / "cache", "WANDB_DATA_DIR": keep or work / "data"}
    before = {name: os.environ.get(name) for name in inside}
    os.environ.update({name: str(folder) for name, folder in inside.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _open(wandb: Any, target: Target, work: Path) -> Any:
    settings = wandb.Settings(
        console="off",
        silent=True,
        quiet=True,
        save_code=False,
        disable_git=True,
        disable_job_creation=True,
        init_timeout=float(os.environ.get("WANDB_INIT_TIMEOUT", INIT_TIMEOUT_SECONDS)),
        x_disable_stats=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
        x_update_finish_state=target.state != UNFINISHED,
    )
    try:
        return wandb.init(
            id=target.run_id,
            name=target.run_id,
            resume="allow",  # offline too: it decides how fragments of one run are joined when they are synced
            mode=target.destination.mode,
            project=target.destination.project,
            entity=target.destination.entity,
            group=target.group,
            notes=target.notes,
            job_type="cell",
            tags=[tag[:TAG_MAX_CHARACTERS] for tag in target.tags],
            dir=str(work),
            settings=settings,
        )
    except wandb.Error as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RequestError(
            f"W&B refused or could not be reached ({reason})",
            expected="a login (`wandb login` or WANDB_API_KEY) and a network",
            remedy="log in, or publish with mode offline and run `wandb sync` later where there is a network",
        ) from error


def _refuse_other_outbox(run: Any, target: Target) -> None:
    """A W&B run that was filled from a different outbox, or has more steps than ours, would silently drop our rows."""
    if not run.resumed:
        return
    known = run.config.get(DIGEST_KEY)
    too_long = int(run.starting_step) > target.num_events
    if too_long or (known is not None and known != target.outbox_digest):
        raise RequestError(
            f"the W&B run {target.run_id} in project {target.destination.project} was filled from another outbox",
            expected="a W&B run that continues this one",
            remedy="delete that W&B run, or publish to another project",
        )


def _declare(run: Any, metrics: Sequence[str]) -> None:
    """Exact names: a wildcard is matched as a prefix here and differently on the web. No automatic summary: it follows arrival."""
    run.define_metric(STEP_METRIC, summary="none")
    for name in metrics:
        run.define_metric(name, step_metric=STEP_METRIC, summary="none")
