"""What the publisher and a sink say to each other. A sink is a module of this room that has the names of `Sink`.

Reads/Writes  nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

from swallow_exp.artefact.errors import RequestError
from swallow_exp.track.rows import MetricRow

# Name on the command line -> module. Each is imported only when it is asked for, and imports its client library later still.
SINKS = {"wandb": "swallow_exp.track.wandb_sink", "trackio": "swallow_exp.track.trackio_sink"}
FINISHED, FAILED, UNFINISHED = "finished", "failed", "unfinished"


@dataclass(frozen=True)
class Destination:
    """Where an outbox is sent. Each destination has a place of its own in the cursor of its sink and mode."""

    sink: str
    mode: str
    project: str
    entity: str | None = None

    @property
    def cursor(self) -> str:
        """published/<cursor>.json says how far the outbox was sent."""
        return f"{self.sink}-{self.mode}"

    @property
    def key(self) -> str:
        """Name inside the cursor."""
        return f"{self.entity or ''}/{self.project}"


@dataclass(frozen=True)
class Artifact:
    """Files of a run that are shown beside its rows. `key` and `fingerprint` tell the cursor whether these very files were sent."""

    key: str
    fingerprint: str
    kind: str  # checkpoint | eval-results
    name: str
    alias: str
    metadata: Mapping[str, str | int | float | None] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)  # name inside -> file, whose content is sent
    references: Mapping[str, Path] = field(default_factory=dict)  # name inside -> file or folder, only its place is sent


@dataclass(frozen=True)
class ItemTable:
    """Items of one task as a small table. `load` reads them when they are needed: (column names, rows)."""

    key: str
    fingerprint: str
    name: str
    load: Callable[[], tuple[list[str], list[list[str | float | bool | None]]]]


@dataclass(frozen=True)
class Target:
    """Everything a sink is told about a run except its rows."""

    run_id: str
    destination: Destination
    outbox_digest: str
    num_events: int  # lines of the outbox: no destination can be further
    state: str = FINISHED  # finished | failed | unfinished (training goes on, or will)
    group: str | None = None
    tags: tuple[str, ...] = ()
    notes: str | None = None
    config: Mapping[str, object] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    summary: Mapping[str, float] = field(default_factory=dict)
    artifacts: tuple[Artifact, ...] = ()
    tables: tuple[ItemTable, ...] = ()
    keep: Path | None = None  # where a fragment leaves what it refers to by its whole path

    @property
    def attached(self) -> dict[str, str]:
        """Key -> fingerprint of every artifact and table."""
        return {**{one.key: one.fingerprint for one in self.artifacts}, **{one.key: one.fingerprint for one in self.tables}}


@dataclass(frozen=True)
class Sent:
    """What one opening did: rows written, the step it began at, the folder it leaves, and the keys of artifacts and tables that arrived."""

    num_rows: int
    starting_step: int
    folder: Path | None = None
    arrived: frozenset[str] = frozenset()


class Sink(Protocol):
    """A module that writes rows into one kind of dashboard."""

    @property
    def MODES(self) -> tuple[str, ...]:
        """Modes it has; the first is meant where none is given."""

    @property
    def FRAGMENT_MODES(self) -> tuple[str, ...]:
        """Modes that know nothing of what was sent before, and leave a folder each time (`Sent.folder`)."""

    @property
    def TAKES_ARTIFACTS(self) -> bool:
        """Whether it is given artifacts and tables of items."""

    @property
    def ASK_EACH_TIME(self) -> bool:
        """Whether its store may be removed at any time, so that what it confirmed once may be gone."""

    def send_rows(self, target: Target, rows: Sequence[MetricRow], *, work: Path) -> Sent:
        """Write those of `rows` the destination lacks, then config, summary, artifacts. `work` is a folder that is removed afterwards.

        The step of a row is `row.sequence`: it only grows, and a destination that keeps its rows is its own cursor:
        `starting_step` = 1 + the largest step it holds, and rows below are left out. In a fragment mode all of `rows` are written.
        Raises RequestError when the library is missing, the destination cannot be reached, or holds a run of the same name from
        another outbox.
        """


def sink_named(name: str) -> Sink:
    """The sink. Raises RequestError for a name nobody has."""
    if name not in SINKS:
        raise RequestError(f"the sink '{name}'", expected=f"one of {', '.join(SINKS)}", remedy="write --sink wandb")
    return cast(Sink, importlib.import_module(SINKS[name]))


def check_mode(sink: str, mode: str | None) -> str:
    """The mode, or the sink's first when None. Raises RequestError for a mode it does not have."""
    modes = sink_named(sink).MODES
    if mode is not None and mode not in modes:
        raise RequestError(f"{sink} mode '{mode}'", expected=f"one of {', '.join(modes)}", remedy=f"write --mode {modes[0]}")
    return mode or modes[0]
