"""Publish a run's outbox to Weights & Biases: safe to repeat, safe to kill at any moment.

(1) lock      published/wandb.lock                         -> one publisher a run
(2) read      events.jsonl, identity.json                  -> rows, summary, config
(3) send      online   rows the server lacks               -> continues at the W&B run's own next step; the server is the cursor
              offline  rows behind the cursor              -> one fragment: an offline run folder with the same id
(4) commit    published/wandb-<mode>.json, atomically      -> then the fragment moves to published/wandb-offline/

A fragment counts once the cursor lists it. A killed publisher leaves a working folder that no cursor lists, which the next
publisher removes, or one that is listed but not yet moved, which the next publisher moves.
Nothing is lost without W&B: the outbox is the truth, this is a view.

Reads   runs/<run_id>/{identity.json, events.jsonl}
Writes  runs/<run_id>/published/
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import make_folder, read_json, remove_folder, user_disk, write_json_atomic
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.identity import IDENTITY_GROUPS
from swallow_exp.track import wandb_sink
from swallow_exp.track.rows import MetricRow, config_of, metric_names, outbox_digest, read_metric_rows, summary_of

MODES = ("online", "offline")
LOCK_SECONDS = 60.0
WORK_PREFIX = "work-"
TAG_GROUPS = IDENTITY_GROUPS[:5]  # those a reader filters by; optim and numerics are in the config


def publish_run(out: Path, run_id: str, *, mode: str, project: str, entity: str | None, group: str | None = None) -> int:
    """Send what W&B does not have of run `run_id` yet; returns the number of rows sent.

    mode   online: to the server; offline: into published/wandb-offline, for `wandb sync` where there is a network
    group  the sweep's name, when the run belongs to one
    Raises RequestError: no such run, wandb missing, no login, no network, another publisher at work.
    """
    if mode not in MODES:
        raise RequestError(f"W&B mode '{mode}'", expected=f"one of {', '.join(MODES)}", remedy="set tracking.wandb_mode")
    paths = RunPaths.of(out, run_id)
    identity = read_json(paths.identity)
    if not isinstance(identity, dict):
        raise RequestError(
            f"no run {run_id} under {out}", expected="the id of a run that was started", remedy="`swallow status` lists them"
        )
    lock = paths.publication_lock("wandb")
    make_folder(lock.parent)
    try:
        with user_disk(lock), FileLock(lock, timeout=LOCK_SECONDS):
            return _publish_locked(paths, identity, mode=mode, project=project, entity=entity, group=group)
    except Timeout as error:
        raise RequestError(
            f"run {run_id} is being published by another process",
            expected="one publisher of a run at a time",
            remedy="wait for it and repeat the command",
        ) from error


def _publish_locked(paths: RunPaths, identity: Mapping[str, Any], *, mode: str, project: str, entity: str | None, group: str | None) -> int:
    cursor = _Cursor(paths, mode, destination=f"{entity or ''}/{project}")
    cursor.recover()
    rows = read_metric_rows(paths.events)
    if not rows:
        return 0
    cursor.refuse_other_outbox(outbox_digest(rows))
    new = [row for row in rows if row.sequence >= cursor.settled_up_to(mode)]
    if not new:
        return 0
    target = wandb_sink.WandbRun(
        run_id=paths.run_id,
        mode=mode,
        project=project,
        entity=entity,
        group=group,
        tags=_tags(identity, group),
        config=config_of(identity),
        outbox_digest=outbox_digest(rows),
        metrics=tuple(metric_names(rows)),
        summary=summary_of(rows),
    )
    work = cursor.new_work_folder()
    sent = wandb_sink.send_rows(target, rows if mode == "online" else new, work=work)
    if mode == "online":
        cursor.commit_online(rows, sent)
    else:
        cursor.commit_fragment(new, sent, target.outbox_digest)
    remove_folder(work)
    return sent.num_rows


def _tags(identity: Mapping[str, Any], group: str | None) -> tuple[str, ...]:
    """Sweep and level names, each once, in order."""
    names = [group, *(str(identity[name]["name"]) for name in TAG_GROUPS)]
    return tuple(dict.fromkeys(name for name in names if name))


class _Cursor:
    """published/wandb-<mode>.json: per destination (entity/project) how far the outbox was sent, and the finished fragments."""

    def __init__(self, paths: RunPaths, mode: str, *, destination: str) -> None:
        self.path = paths.publication(f"wandb-{mode}")
        self.folder = paths.publication_folder(f"wandb-{mode}")
        stored = read_json(self.path)
        self.stored: dict[str, Any] = stored if isinstance(stored, dict) else {"destinations": {}}
        self.entry: dict[str, Any] = self.stored["destinations"].setdefault(destination, {"next": 0, "confirmed": 0, "fragments": []})

    def settled_up_to(self, mode: str) -> int:
        """Rows below this sequence need no sending. Online only what the server itself has confirmed counts."""
        return int(self.entry["confirmed" if mode == "online" else "next"])

    def refuse_other_outbox(self, digest: str) -> None:
        """Raise RequestError when the outbox is not the one that was published before."""
        if self.entry.get("outbox_digest", digest) != digest:
            raise RequestError(
                f"the events of {self.path.parent.parent.name} were replaced since they were published",
                expected="an outbox that only grows",
                remedy=f"delete {self.path} (and the W&B run) to publish anew",
            )

    def recover(self) -> None:
        """Finish what a killed publisher had committed, remove what it had not."""
        listed = {fragment["work"]: fragment for entry in self.stored["destinations"].values() for fragment in entry["fragments"]}
        if not self.folder.is_dir():
            return
        for work in self.folder.glob(f"{WORK_PREFIX}*"):
            if work.name in listed:
                self._move(work, listed[work.name])
            remove_folder(work)

    def new_work_folder(self) -> Path:
        """A folder of its own for each opening: a dying publisher's background process may still write into the old one."""
        return make_folder(self.folder / f"{WORK_PREFIX}{uuid.uuid4().hex[:8]}")

    def commit_online(self, rows: list[MetricRow], sent: wandb_sink.Sent) -> None:
        """What was logged is only confirmed when a later opening finds it on the server."""
        end = rows[-1].sequence + 1
        self.entry.update(next=end, confirmed=max(int(self.entry["confirmed"]), min(sent.starting_step, end)))
        write_json_atomic(self.path, self.stored)

    def commit_fragment(self, rows: list[MetricRow], sent: wandb_sink.Sent, digest: str) -> None:
        """List the finished fragment (from here on it counts), then move it to where `wandb sync` is pointed at."""
        work = next(parent for parent in sent.folder.parents if parent.name.startswith(WORK_PREFIX))
        name = sent.folder.name if not (self.folder / sent.folder.name).exists() else f"{sent.folder.name}-{rows[0].sequence}"
        fragment = {
            "folder": name,
            "work": work.name,
            "source": str(sent.folder.relative_to(work)),
            "first": rows[0].sequence,
            "next": rows[-1].sequence + 1,
            "rows": sent.num_rows,
        }
        self.entry.update(next=fragment["next"], outbox_digest=digest, fragments=[*self.entry["fragments"], fragment])
        write_json_atomic(self.path, self.stored)
        self._move(work, fragment)

    def _move(self, work: Path, fragment: Mapping[str, Any]) -> None:
        source = work / str(fragment["source"])
        if source.is_dir():
            with user_disk(source):
                source.rename(self.folder / str(fragment["folder"]))
