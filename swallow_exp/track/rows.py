"""From events of the outbox to flat metric rows, and from all rows to one summary. Pure functions.

(1) rows      events.jsonl           -> MetricRow: train/*, checkpoint/* and eval/<task>/<metric>, each with trained_tokens
(2) summary   every row              -> each metric's value at the largest trained_tokens, whatever order rows arrived in
(3) config    identity.json, axes    -> the nested identity and flat axis_<factor> keys (dashboards group by flat keys)

Reads   runs/<run_id>/events.jsonl.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swallow_exp.artefact.files import digest_of
from swallow_exp.record.events import read_events
from swallow_exp.record.identity import IDENTITY_GROUPS

STEP_METRIC = "trained_tokens"
TRAIN_METRICS = (
    "loss", "learning_rate", "grad_norm", "tokens_per_second", "text_bytes_per_second", "tflops_per_device", "mfu", "hfu",
    "peak_memory_bytes", "data_wait_share", "skipped_updates",
)  # fmt: skip
CHECKPOINT_METRICS = {  # name in the event -> name in a dashboard
    "bytes": "checkpoint/bytes",
    "checkpoint_stall_seconds": "checkpoint/stall_seconds",
    "checkpoint_background_seconds": "checkpoint/background_seconds",
}
# What a repetition of the same step does not reproduce.
MEASUREMENTS = frozenset(CHECKPOINT_METRICS.values()) | {
    f"train/{name}"
    for name in ("tokens_per_second", "text_bytes_per_second", "tflops_per_device", "mfu", "hfu", "peak_memory_bytes", "data_wait_share")
}
# Other measures of progress, in every row that knows them, so that curves can be read at equal text or equal compute.
PROGRESS = ("text_bytes", "flops")


@dataclass(frozen=True)
class MetricRow:
    """One row as a dashboard sees it. `sequence` is the event's place in the outbox: it never changes, the outbox only grows.

    `family` with the tokens tells which rows are about the same thing: train, a checkpoint's digest, an evaluation's metric.
    """

    sequence: int
    values: Mapping[str, float]
    family: str = ""

    @property
    def key(self) -> tuple[str, float]:
        """Rows with one key say the same thing again."""
        return self.family, self.values[STEP_METRIC]


def evaluation_metric(task: str, metric: str, profile: str) -> str:
    """`eval/<task>/<metric>`, with the profile behind it only where the two profiles differ."""
    return f"eval/{task}/{metric}" if profile == "both" else f"eval/{task}/{metric}/{profile}"


def metric_values(event: Mapping[str, Any]) -> dict[str, float] | None:
    """Flat metrics of one event, or None when it has none (a guard's, or a mark that cost no save). Missing stays absent."""
    if event.get("kind") == "train":
        metrics = {f"train/{name}": event.get(name) for name in TRAIN_METRICS}
    elif event.get("kind") == "evaluation":
        name = evaluation_metric(str(event["task"]), str(event["metric"]), str(event.get("profile", "both")))
        metrics = {name: event.get("score")}
    elif event.get("kind") == "checkpoint":
        metrics = {name: event.get(key) for key, name in CHECKPOINT_METRICS.items()}
    else:
        return None
    present = {name: value for name, value in metrics.items() if value is not None}
    if not present:
        return None
    progress = {name: event[name] for name in (STEP_METRIC, *PROGRESS) if event.get(name) is not None}
    return {**present, **progress}


def family_of(event: Mapping[str, Any]) -> str:
    """What the event is about, apart from its tokens."""
    if event["kind"] == "evaluation":
        return evaluation_metric(str(event["task"]), str(event["metric"]), str(event.get("profile", "both")))
    return f"checkpoint {event.get('digest', '')}" if event["kind"] == "checkpoint" else str(event["kind"])


def read_metric_rows(events: Path) -> list[MetricRow]:
    """Every metric row of an outbox, in order; torn lines are not there."""
    rows = ((sequence, event, metric_values(event)) for sequence, event in enumerate(read_events(events)))
    return [MetricRow(sequence, values, family_of(event)) for sequence, event, values in rows if values is not None]


def metric_names(rows: Iterable[MetricRow]) -> list[str]:
    """Exact names of all metrics, sorted; the step metric is not among them."""
    return sorted({name for row in rows for name in row.values} - {STEP_METRIC})


def summary_of(rows: Iterable[MetricRow]) -> dict[str, float]:
    """Each metric at the largest trained_tokens that has it (of several rows there, the last written)."""
    newest: dict[str, tuple[float, float]] = {}
    for row in rows:
        tokens = row.values[STEP_METRIC]
        for name, value in row.values.items():
            if name not in newest or tokens >= newest[name][0]:
                newest[name] = (tokens, value)
    return {name: newest[name][1] for name in sorted(newest)}


def config_of(identity: Mapping[str, Any], axes: Iterable[str] = ()) -> dict[str, Any]:
    """The identity as it is (groups, seed, schema version) and flat keys: `axis_<group>`, the level's name, and a key for each of `axes`.

    axes  factors of the run's sweep; one that is a field, as `optim.lr_peak`, becomes `axis_optim_lr_peak` with its value
    """
    flat = {f"axis_{group}": str(identity[group]["name"]) for group in IDENTITY_GROUPS}
    for axis in axes:
        if axis not in IDENTITY_GROUPS and (value := _field(identity, axis)) is not None:
            flat[axis_key(axis)] = value
    return {**identity, **flat}


def axis_key(axis: str) -> str:
    """Flat key of a group or a field: dashboards group by keys without dots."""
    return f"axis_{axis.replace('.', '_')}"


def _field(identity: Mapping[str, Any], dotted: str) -> Any:
    value: Any = identity
    for name in dotted.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, str | int | float | bool) else None


def outbox_digest(rows: list[MetricRow]) -> str:
    """Mark of an outbox by its first row, which no append can change: tells a continued outbox from a replaced one.

    A checkpoint's row is no such mark (it was no row in outboxes that were published first), nor is a metric that came later.
    """
    marks = (row for row in rows if not row.family.startswith("checkpoint"))
    return digest_of(dict(next(marks, rows[0]).values))[:16]
