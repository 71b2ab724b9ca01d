"""What a run says while it trains: rows of the outbox, the heartbeat in status.json, a progress bar on a terminal.

(1) every log_every_steps   loss, gradient norm, learning rate, tokens, bytes, FLOPs, speed   -> a row, kept in memory
(2) every few seconds       rows -> events.jsonl, and before every saved state
(3) every few seconds       heartbeat -> status.json

Writes  runs/<run_id>/{events.jsonl, status.json}
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as lightning

from swallow_exp.artefact.errors import RunFailed
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.artefact.progress import is_interactive
from swallow_exp.artefact.units import format_count
from swallow_exp.config import Config
from swallow_exp.record.events import append_events
from swallow_exp.record.status import write_status
from swallow_exp.train.data import Stream
from swallow_exp.train.optimizer import lr_at

FLUSH_SECONDS = 5.0
HEARTBEAT_SECONDS = 5.0  # what the board of a sweep shows


@dataclass(frozen=True)
class RunFacts:
    """What saving and reporting need to know of the run."""

    run: RunPaths
    config: Config
    stream: Stream
    start_step: int
    inputs_digest: str
    flops_per_token: float


class Reporter(lightning.Callback):  # type: ignore[misc]
    """Rows, heartbeat and bar. Every process has one (the numbers are collective), the first process writes."""

    def __init__(self, facts: RunFacts) -> None:
        """Nothing is written before training starts."""
        self._facts = facts
        self._rows: list[Mapping[str, Any]] = []
        self._flushed = self._beaten = time.monotonic()
        self._last_step, self._last_time = facts.start_step, time.monotonic()
        self._bar: _Bar | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the clock behind tokens_per_second, and the bar."""
        self._last_time = time.monotonic()
        if trainer.is_global_zero and is_interactive():
            stream = self._facts.stream
            total = stream.progress(stream.num_steps).trained_tokens
            self._bar = _Bar(self._facts.run.run_id, total, stream.progress(self._facts.start_step).trained_tokens)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Report the step if it is its turn."""
        step = trainer.global_step
        every = self._facts.config.tracking.log_every_steps
        if step % every == 0 or step == self._facts.stream.num_steps:
            # every process takes part in these two, all at the same steps
            loss, grad_norm = pl_module.global_loss(), pl_module.global_grad_norm()
            if not math.isfinite(loss):
                raise RunFailed(f"the loss at step {step} is {loss}: lower optim.lr_peak, or look at the data of that step")
            if trainer.is_global_zero:
                self._report(step, loss, grad_norm)
        now = time.monotonic()
        if trainer.is_global_zero:
            if now - self._flushed > FLUSH_SECONDS:
                self.flush()
            if now - self._beaten > HEARTBEAT_SECONDS:
                self.beat(step)

    def _report(self, step: int, loss: float, grad_norm: float) -> None:
        facts, now = self._facts, time.monotonic()
        progress, before = facts.stream.progress(step), facts.stream.progress(self._last_step)
        seconds = max(now - self._last_time, 1e-9)
        row: dict[str, Any] = {
            "kind": "train",
            "trained_tokens": int(progress.trained_tokens),
            "step": int(step),
            "loss": loss,
            "learning_rate": lr_at(step - 1, facts.config.optim, num_steps=facts.stream.num_steps),
            "text_bytes": int(progress.text_bytes),
            "positions": int(progress.positions),
            "flops": float(progress.positions) * facts.flops_per_token,
            "tokens_per_second": (progress.trained_tokens - before.trained_tokens) / seconds,
        }
        if math.isfinite(grad_norm):
            row["grad_norm"] = grad_norm
        self._rows.append(row)
        self._last_step, self._last_time = step, now
        if self._bar is not None:
            self._bar.update(progress.trained_tokens, loss)

    def add(self, row: Mapping[str, Any]) -> None:
        """A row from somewhere else, in order with the others."""
        self._rows.append(row)

    def flush(self) -> None:
        """Write the rows that are kept in memory."""
        append_events(self._facts.run.events, self._rows)
        self._rows = []
        self._flushed = time.monotonic()

    def beat(self, step: int) -> None:
        """Say that the run is alive and where it is."""
        write_status(self._facts.run.status, "running", trained_tokens=int(self._facts.stream.progress(step).trained_tokens), step=step)
        self._beaten = time.monotonic()

    def pause(self, seconds: float) -> None:
        """Do not count these seconds as training (a checkpoint was written)."""
        self._last_time += seconds

    def close(self) -> None:
        """Write what is left and take the bar away."""
        self.flush()
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Last rows."""
        if trainer.is_global_zero:
            self.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Rows up to the failure are worth having."""
        if trainer.is_global_zero:
            self.close()


class _Bar:
    """Loss, tokens, ETA."""

    def __init__(self, label: str, total: int, done: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[tokens]} tokens  loss {task.fields[loss]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._bars = Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False)
        self._total = total
        self._task = self._bars.add_task(label, total=total, completed=done, tokens=self._tokens(done), loss="-")
        self._bars.start()

    def _tokens(self, done: int) -> str:
        return f"{format_count(done)} / {format_count(self._total)}"

    def update(self, done: int, loss: float) -> None:
        self._bars.update(self._task, completed=done, tokens=self._tokens(done), loss=f"{loss:.3f}", refresh=True)

    def close(self) -> None:
        self._bars.stop()
