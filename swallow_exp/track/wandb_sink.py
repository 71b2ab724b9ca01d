"""Write metric rows into one Weights & Biases run. The only file that imports wandb.

(1) open      id = run_id, resume = "allow"            -> a run that knows how many steps it already has (online)
(2) declare   every metric by exact name               -> trained_tokens is the x-axis (each open forgets earlier declarations)
(3) log       rows from `starting_step` on             -> step = place in the outbox, so a repeated row cannot be added twice
(4) finish    config first, our own summary last

Reads/Writes  only the working folder it is given (wandb's own files).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.track.rows import STEP_METRIC, MetricRow

INIT_TIMEOUT_SECONDS = 60.0  # unless WANDB_INIT_TIMEOUT says otherwise
DIGEST_KEY = "outbox_digest"
TAG_MAX_CHARACTERS = 64  # longer tags are refused by W&B


@dataclass(frozen=True)
class WandbRun:
    """Everything about a W&B run except its rows."""

    run_id: str
    mode: str  # online | offline
    project: str
    outbox_digest: str
    entity: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    summary: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Sent:
    """What one opening did: rows logged, the step it began at, and the folder wandb wrote."""

    num_rows: int
    starting_step: int
    folder: Path


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


def send_rows(target: WandbRun, rows: Sequence[MetricRow], *, work: Path) -> Sent:
    """Log those of `rows` that the W&B run does not have yet, then config, metric declarations and summary.

    Offline nothing is known about the server: all of `rows` are written, and the caller passes only new ones.
    Raises RequestError when W&B cannot be reached or holds a run of the same name from another outbox.
    """
    wandb = import_wandb()
    with _folders_inside(work):
        run = _open(wandb, target, work)
        num_rows = 0
        try:
            _refuse_other_outbox(run, target, rows)
            run.config.update({**target.config, DIGEST_KEY: target.outbox_digest}, allow_val_change=True)
            _declare(run, target.metrics)
            starting_step = int(run.starting_step)
            for row in rows:
                if row.sequence < starting_step:
                    continue
                # commit at once: a row still pending would be written after the summary below
                run.log(dict(row.values), step=row.sequence, commit=True)
                num_rows += 1
            run.summary.update(dict(target.summary))
        except BaseException:
            run.finish(exit_code=1)
            raise
        run.finish()
        return Sent(num_rows, starting_step, Path(run.settings.sync_dir))


@contextmanager
def _folders_inside(work: Path) -> Iterator[None]:
    """Keep wandb's files inside `work`; its config folder (the login) stays the user's own."""
    inside = {"WANDB_DIR": work, "WANDB_CACHE_DIR": work / "cache", "WANDB_DATA_DIR": work / "data"}
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


def _open(wandb: Any, target: WandbRun, work: Path) -> Any:
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
    )
    try:
        return wandb.init(
            id=target.run_id,
            name=target.run_id,
            resume="allow",  # offline too: it decides how fragments of one run are joined when they are synced
            mode=target.mode,
            project=target.project,
            entity=target.entity,
            group=target.group,
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


def _refuse_other_outbox(run: Any, target: WandbRun, rows: Sequence[MetricRow]) -> None:
    """A W&B run that was filled from a different outbox, or has more steps than ours, would silently drop our rows."""
    if not run.resumed:
        return
    known = run.config.get(DIGEST_KEY)
    too_long = rows and int(run.starting_step) > rows[-1].sequence + 1
    if too_long or (known is not None and known != target.outbox_digest):
        raise RequestError(
            f"the W&B run {target.run_id} in project {target.project} was filled from another outbox",
            expected="a W&B run that continues this one",
            remedy="delete that W&B run, or publish to another project",
        )


def _declare(run: Any, metrics: Sequence[str]) -> None:
    """Exact names: a wildcard is matched as a prefix here and differently on the web. No automatic summary: it follows arrival."""
    run.define_metric(STEP_METRIC, summary="none")
    for name in metrics:
        run.define_metric(name, step_metric=STEP_METRIC, summary="none")
