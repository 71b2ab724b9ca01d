"""Publish a run's outbox to a dashboard: safe to repeat, safe to kill at any moment. The truth stays here, a dashboard is a view.

(1) lock      published/<sink>.lock                        -> one publisher a run and sink
(2) read      events.jsonl, identity.json, status.json     -> rows, summary, config, state
(3) select    rows of a resumed run that say the same      -> left out (selection.py); the cut is written down before anything is sent
(4) send      server   rows it lacks                       -> continues at the run's own next step there: the server is the cursor
              fragment rows behind the cursor              -> one folder for later: an offline run with the same id
(5) commit    published/<sink>-<mode>.json, atomically     -> rows, artifacts, state; then a fragment moves to published/<sink>-<mode>/

A fragment counts once the cursor lists it. A killed publisher leaves a working folder that no cursor lists, which the next
publisher removes, or one that is listed but not yet moved, which the next publisher moves.

The contract of a sink (sinks.py has its types): a module of this room that SINKS names, with
    MODES           its modes, the default first; each mode has a cursor of its own
    FRAGMENT_MODES  those that write a folder for later and know nothing of what was sent before
    TAKES_ARTIFACTS whether it is given artifacts and tables of items
    ASK_EACH_TIME   whether its store may be removed at any time
    send_rows(target, rows, *, work) -> Sent
`rows` are in order of `sequence`, which is the step to write them at. A sink that keeps its rows asks itself how far it is and leaves
out what it has: it says so as `Sent.starting_step`, and only what a later opening finds there counts as sent. It does not raise for
artifacts that did not arrive: keys it does not return in `Sent.arrived` come again with the next publication.

Reads   runs/<run_id>/{identity.json, events.jsonl, status.json, checkpoints.json, evaluations}, sweeps/*.json
Writes  runs/<run_id>/published/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from swallow_exp.artefact.errors import RequestError, RunFailed
from swallow_exp.artefact.files import make_folder, read_json, remove_folder, user_disk
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.identity import IDENTITY_GROUPS
from swallow_exp.record.status import read_status
from swallow_exp.record.store import sweeps_of
from swallow_exp.track.attachments import artifacts_of, tables_of
from swallow_exp.track.cursor import Cursor
from swallow_exp.track.rows import config_of, metric_names, outbox_digest, read_metric_rows, summary_of
from swallow_exp.track.selection import select_rows
from swallow_exp.track.sinks import FAILED, FINISHED, UNFINISHED, Destination, Target, check_mode, sink_named

LOCK_SECONDS = 60.0
TAG_GROUPS = IDENTITY_GROUPS[:5]  # those a reader filters by; optim and numerics are in the config
STATES = {"trained": FINISHED, "failed": FAILED}  # every other one may still grow
DIFFERING = "replays_that_differ"  # in the summary, when there are any


@dataclass(frozen=True)
class PublishRequest:
    """What is sent besides rows."""

    artifacts: bool = False  # checkpoints by reference, results of evaluations
    items_table: bool = False  # some items of each task, those that changed sides first


def publish_run(
    out: Path, run_id: str, destination: Destination, *, group: str | None = None, request: PublishRequest = PublishRequest()
) -> int:
    """Send what `destination` does not have of run `run_id` yet; returns the number of rows sent.

    group  the sweep's name; None: the first sweep that has the run
    Raises RequestError: no such run, package missing, no login, no network, another publisher at work. RunFailed: the rows arrived
    but some artifact did not (a repetition sends it).
    """
    check_mode(destination.sink, destination.mode)
    paths = RunPaths.of(out, run_id)
    identity = read_json(paths.identity)
    if not isinstance(identity, dict):
        raise RequestError(
            f"no run {run_id} under {out}", expected="the id of a run that was started", remedy="`swallow status` lists them"
        )
    lock = paths.publication_lock(destination.sink)
    make_folder(lock.parent)
    try:
        with user_disk(lock), FileLock(lock, timeout=LOCK_SECONDS):
            return _publish_locked(paths, identity, destination, group, request)
    except Timeout as error:
        raise RequestError(
            f"run {run_id} is being published by another process",
            expected="one publisher of a run at a time",
            remedy="wait for it and repeat the command",
        ) from error


def _publish_locked(
    paths: RunPaths, identity: Mapping[str, Any], destination: Destination, group: str | None, request: PublishRequest
) -> int:
    sink = sink_named(destination.sink)
    in_fragments = destination.mode in sink.FRAGMENT_MODES
    cursor = Cursor(paths, destination)
    cursor.recover()
    state = STATES.get(str(read_status(paths.status)["state"]), UNFINISHED)  # before the rows: a finished run has all of them
    cursor.note_outbox(paths.events)
    rows = read_metric_rows(paths.events)
    if not rows:
        return 0
    end, digest = rows[-1].sequence + 1, outbox_digest(rows)
    cursor.refuse_other_outbox(digest)
    selection = select_rows(rows, cursor.cuts(end))
    settled = 0 if sink.ASK_EACH_TIME else cursor.settled_up_to(in_fragments)
    new = [row for row in selection.rows if row.sequence >= settled]
    artifacts = cursor.unsent(artifacts_of(paths) if request.artifacts and sink.TAKES_ARTIFACTS else [])
    # the summary of a fragment replaces that of the one before, tables included
    again = in_fragments and cursor.has_tables
    every_table = tables_of(paths) if sink.TAKES_ARTIFACTS and (request.items_table or again) else []
    tables = cursor.unsent(every_table)
    if not (new or artifacts or tables or cursor.state != state):
        cursor.commit_nothing()
        return 0
    if not in_fragments:
        cursor.write_cut(end)
    work = cursor.new_work_folder()
    summary = summary_of(rows) | ({DIFFERING: selection.num_differing} if selection.num_differing else {})
    target = Target(
        run_id=paths.run_id,
        destination=destination,
        outbox_digest=digest,
        num_events=end,
        state=state,
        metrics=tuple(metric_names(rows)),
        summary=summary,
        artifacts=tuple(artifacts),
        tables=tuple(every_table if in_fragments else tables),
        keep=cursor.data_folder(work) if in_fragments else None,
        **_about(paths, identity, group),
    )
    sent = sink.send_rows(target, new if in_fragments else selection.rows, work=work)
    if in_fragments:
        cursor.commit_fragment(new, sent, target)
    else:
        cursor.commit(sent, target)
    remove_folder(work)
    missing = sorted(target.attached.keys() - sent.arrived)
    if missing:
        what = f"{len(missing)} artifacts did not ({missing[0]})"
        raise RunFailed(f"{sent.num_rows} rows of {paths.run_id} arrived, {what}; repeat the command")
    return sent.num_rows


def _about(paths: RunPaths, identity: Mapping[str, Any], group: str | None) -> dict[str, Any]:
    """Group, tags, one line of notes and the config: what a dashboard groups and filters by."""
    sweeps = sweeps_of(paths.out, paths.run_id)
    sweep = next((sweep for sweep in sweeps if sweep["name"] == group), sweeps[0] if sweeps and group is None else {})
    group = group or sweep.get("name")
    names = [group, *(str(one["name"]) for one in sweeps), *(str(identity[name]["name"]) for name in TAG_GROUPS)]
    axes = dict.fromkeys(axis for one in sweeps for axis in one.get("axes", {}))
    return {
        "group": group,
        "tags": tuple(dict.fromkeys(name for name in names if name)),
        "notes": " ".join(str(sweep.get("question", "")).split()) or None,
        "config": config_of(identity, axes),
    }
