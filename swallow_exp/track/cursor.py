"""How far a run's outbox was sent: published/<sink>-<mode>.json, replaced atomically.

{"destinations": {"<entity>/<project>": {
    "next"       rows below this place in the outbox were written       "confirmed"  the destination itself said it has them
    "cuts"       ends of the stretches publishers looked at (selection.py)
    "state"      what the destination was told of the run               "artifacts"  key -> fingerprint of what it has
    "fragments"  folders left for later, in order                       "outbox_digest"  mark of its first row
    "outbox_bytes"  its length when it was last read
}}}

Reads/Writes  runs/<run_id>/published/<sink>-<mode>.json and the folder of that name.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import make_folder, read_json, remove_folder, user_disk, write_json_atomic
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.track.attachments import TABLE_PREFIX
from swallow_exp.track.rows import MetricRow
from swallow_exp.track.sinks import FINISHED, Artifact, Destination, ItemTable, Sent, Target

WORK_PREFIX = "work-"
DATA_SUFFIX = "-data"
Attached = TypeVar("Attached", Artifact, ItemTable)


class Cursor:
    """The place of one destination, and what lies in the folder of its sink and mode."""

    def __init__(self, paths: RunPaths, destination: Destination) -> None:
        """Read it; nothing is written yet."""
        self.path = paths.publication(destination.cursor)
        self.folder = paths.publication_folder(destination.cursor)
        stored = read_json(self.path)
        self.stored: dict[str, Any] = stored if isinstance(stored, dict) else {"destinations": {}}
        self._outbox_bytes = 0
        empty: dict[str, Any] = {"next": 0, "confirmed": 0, "fragments": []}
        self.entry: dict[str, Any] = self.stored["destinations"].setdefault(destination.key, empty)

    @property
    def state(self) -> str:
        """What the destination was told last; before states were written down every publication said finished."""
        return str(self.entry.get("state", FINISHED))

    def note_outbox(self, events: Path) -> None:
        """Call before the outbox is read: what is appended from now on counts as not published (lag.py)."""
        self._outbox_bytes = events.stat().st_size if events.exists() else 0

    def settled_up_to(self, in_fragments: bool) -> int:
        """Rows below this sequence need no sending. Of a destination that keeps rows only its own word counts."""
        return int(self.entry["next" if in_fragments else "confirmed"])

    def cuts(self, end: int) -> list[int]:
        """Ends of all stretches up to the one that ends now. Before cuts were written down, all below `next` was one stretch."""
        known = [int(cut) for cut in self.entry.get("cuts", [self.entry["next"]])]
        return [*known, end] if not known or end > known[-1] else known

    def write_cut(self, end: int) -> None:
        """Before anything is sent: whoever repeats a killed publication selects the same rows."""
        if self.entry.get("cuts") != (cuts := self.cuts(end)):
            self.entry["cuts"] = cuts
            write_json_atomic(self.path, self.stored)

    def unsent(self, wanted: Iterable[Attached]) -> list[Attached]:
        """Those whose content the destination does not have."""
        known = self.entry.get("artifacts", {})
        return [one for one in wanted if known.get(one.key) != one.fingerprint]

    @property
    def has_tables(self) -> bool:
        """Whether tables of items were sent there."""
        return any(key.startswith(TABLE_PREFIX) for key in self.entry.get("artifacts", {}))

    def refuse_other_outbox(self, digest: str) -> None:
        """Raise RequestError when the outbox is not the one that was published before."""
        if self.entry.get("outbox_digest", digest) != digest:
            raise RequestError(
                f"the events of {self.path.parent.parent.name} were replaced since they were published",
                expected="an outbox that only grows",
                remedy=f"delete {self.path} (and the run's page there) to publish anew",
            )

    def recover(self) -> None:
        """Finish what a killed publisher had committed, remove what it had not."""
        listed = {fragment["work"]: fragment for entry in self.stored["destinations"].values() for fragment in entry["fragments"]}
        for work in self.folder.glob(f"{WORK_PREFIX}*"):
            if work.name in listed:
                self._move(work, listed[work.name])
            remove_folder(work)
        for data in self._data.glob(f"{WORK_PREFIX}*"):
            # of a killed publisher, or of a fragment that was removed after it had been synced
            if data.name not in listed or not (self.folder / listed[data.name]["folder"]).exists():
                remove_folder(data)

    @property
    def _data(self) -> Path:
        """Files that fragments refer to by their whole path: they may not move."""
        return self.folder.with_name(self.folder.name + DATA_SUFFIX)

    def new_work_folder(self) -> Path:
        """A folder of its own for each opening: a dying publisher's background process may still write into the old one."""
        return make_folder(self.folder / f"{WORK_PREFIX}{uuid.uuid4().hex[:8]}")

    def data_folder(self, work: Path) -> Path:
        """Where a fragment keeps what it refers to; not made yet."""
        return self._data / work.name

    def commit_nothing(self) -> None:
        """There was nothing to send: what was appended since is no row of a dashboard."""
        if self.entry.get("outbox_bytes") != self._outbox_bytes:
            self.entry["outbox_bytes"] = self._outbox_bytes
            write_json_atomic(self.path, self.stored)

    def commit(self, sent: Sent, target: Target) -> None:
        """What was written is only confirmed when a later opening finds it there."""
        confirmed = max(int(self.entry["confirmed"]), min(sent.starting_step, target.num_events))
        self._update(target, sent, next=target.num_events, confirmed=confirmed)

    def commit_fragment(self, rows: Sequence[MetricRow], sent: Sent, target: Target) -> None:
        """List the finished fragment (from here on it counts), then move it to where it is looked for."""
        assert sent.folder is not None
        work = next(parent for parent in sent.folder.parents if parent.name.startswith(WORK_PREFIX))
        first = rows[0].sequence if rows else target.num_events
        name = sent.folder.name if not (self.folder / sent.folder.name).exists() else f"{sent.folder.name}-{first}"
        fragment = {
            "folder": name,
            "work": work.name,
            "source": str(sent.folder.relative_to(work)),
            "first": first,
            "next": target.num_events,
            "rows": sent.num_rows,
        }
        listed = [*self.entry["fragments"], fragment]
        cuts = self.cuts(target.num_events)
        self._update(target, sent, next=target.num_events, cuts=cuts, outbox_digest=target.outbox_digest, fragments=listed)
        self._move(work, fragment)

    def _update(self, target: Target, sent: Sent, **place: Any) -> None:
        arrived = {key: fingerprint for key, fingerprint in target.attached.items() if key in sent.arrived}
        self.entry.update(
            place, outbox_bytes=self._outbox_bytes, state=target.state, artifacts={**self.entry.get("artifacts", {}), **arrived}
        )
        write_json_atomic(self.path, self.stored)

    def _move(self, work: Path, fragment: Mapping[str, Any]) -> None:
        source = work / str(fragment["source"])
        if source.is_dir():
            with user_disk(source):
                source.rename(self.folder / str(fragment["folder"]))
