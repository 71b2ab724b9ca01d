"""What a run says while it trains: rows of the outbox, the heartbeat in status.json, a bar or lines for who watches.

(1) every log_every_steps   loss, gradient norm, learning rate, tokens, bytes, FLOPs, rates (measuring.py)   -> a train row
(2) a judgement's cause     what the guards found and did                                                   -> a guard row, and a line
(3) every few seconds       rows -> events.jsonl, and before every saved state
(4) every few seconds       heartbeat -> status.json

Writes  runs/<run_id>/{events.jsonl, status.json}
"""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as lightning

from swallow_exp.artefact.paths import RunPaths
from swallow_exp.artefact.progress import is_interactive
from swallow_exp.config import Config
from swallow_exp.mixture.stream import SequenceStream
from swallow_exp.record.events import append_events
from swallow_exp.record.status import write_status
from swallow_exp.train.data import mark_steps_of
from swallow_exp.train.guards import SKIP, AgreedStop
from swallow_exp.train.measuring import Device, Meter, peak_memory_bytes
from swallow_exp.train.module import StepFigures
from swallow_exp.train.screen import Bar, LogLines

FLUSH_SECONDS = 5.0
LOG_LINE_SECONDS = 30.0  # where there is no terminal for a bar
HEARTBEAT_SECONDS = 5.0  # what the board of a sweep shows


@dataclass(frozen=True)
class RunFacts:
    """What saving and reporting need to know of the run."""

    run: RunPaths
    config: Config
    stream: SequenceStream
    start_step: int
    inputs_digest: str
    flops_per_token: float
    recomputed_flops_per_token: float = 0.0  # on top, where activations are recomputed


class Reporter(lightning.Callback):  # type: ignore[misc]
    """Rows, heartbeat, bar or lines: of the first process."""

    def __init__(self, facts: RunFacts) -> None:
        """Nothing is written before training starts."""
        self._facts = facts
        self._rows: list[Mapping[str, Any]] = []
        self._flushed = self._beaten = time.monotonic()
        self._meter: Meter | None = None
        self._screen: Bar | LogLines | None = None
        marks = mark_steps_of(facts.stream, facts.config.budget)
        self._mark_steps = sorted(marks)
        self._marks = [marks[step] for step in self._mark_steps]

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the clock behind the rates, and the bar."""
        if not trainer.is_global_zero:
            return
        facts, stream = self._facts, self._facts.stream
        device = Device.of(trainer.strategy.root_device, precision=facts.config.numerics.precision)
        self._meter = Meter(
            device,
            processes=trainer.world_size,
            flops_per_token=facts.flops_per_token,
            recomputed_flops_per_token=facts.recomputed_flops_per_token,
        )
        done, total = stream.progress(facts.start_step), stream.progress(stream.num_steps).trained_tokens
        if is_interactive():
            self._screen = Bar("train", total_tokens=total, done_tokens=done.trained_tokens, note=device.why_no_mfu)
        else:
            steps = stream.num_steps
            self._screen = LogLines(total_tokens=total, total_steps=steps, every_seconds=LOG_LINE_SECONDS, note=device.why_no_mfu)
        self._meter.start(done, waited_seconds=trainer.train_dataloader.waited_seconds)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Report the step if it is its turn."""
        if not trainer.is_global_zero:
            return
        step, figures = trainer.global_step, pl_module.figures
        if figures.judgement.cause:
            self._add_judgement(step, figures)
        # a step without loss-bearing targets has no loss, and JSON has no number for one that is not finite
        if figures.trains and math.isfinite(figures.loss):
            every = self._facts.config.tracking.log_every_steps
            if step % every == 0 or step == self._facts.stream.num_steps:
                self._report(step, figures, trainer, skipped=pl_module.guards.skipped)
        now = time.monotonic()
        if now - self._flushed > FLUSH_SECONDS:
            self.flush()
        if now - self._beaten > HEARTBEAT_SECONDS:
            self.beat(step)

    def _report(self, step: int, figures: StepFigures, trainer: Any, *, skipped: int) -> None:
        facts, progress = self._facts, self._facts.stream.progress(step)
        assert self._meter is not None and self._screen is not None
        row: dict[str, Any] = {
            "kind": "train",
            "trained_tokens": int(progress.trained_tokens),
            "step": int(step),
            "loss": figures.loss,
            "learning_rate": figures.learning_rate,
            "text_bytes": int(progress.text_bytes),
            "positions": int(progress.positions),
            "flops": float(progress.positions) * facts.flops_per_token,
            **self._meter.read(progress, waited_seconds=trainer.train_dataloader.waited_seconds),
            "peak_memory_bytes": peak_memory_bytes(trainer.strategy.root_device),
        }
        if math.isfinite(figures.grad_norm):
            row["grad_norm"] = figures.grad_norm
        if skipped:
            row["skipped_updates"] = skipped
        self._rows.append(row)
        place = bisect_right(self._mark_steps, step)
        self._screen.show(row, next_mark=self._marks[place] if place < len(self._marks) else None)

    def _add_judgement(self, step: int, figures: StepFigures) -> None:
        """A guard row, on disk at once."""
        judgement, suspects = figures.judgement, figures.suspects
        assert suspects is not None
        row = {
            "kind": "guard",
            "trained_tokens": int(self._facts.stream.progress(step).trained_tokens),
            "step": int(step),
            "action": judgement.action,
            "cause": judgement.cause,
            "sequences": [list(pair) for pair in suspects.ranges],
            "sources": dict(suspects.sources),
        }
        row |= {name: value for name in ("loss", "grad_norm") if math.isfinite(value := getattr(figures, name))}
        self._rows.append(row)
        self.flush()
        if self._screen is not None and judgement.action != "stop":  # a stop is said by who catches it
            done = "update left out" if judgement.action == SKIP else "warning"
            self._screen.say(f"train step {step:,}: {done}: {judgement.cause}; {suspects}")

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
        if self._meter is not None:
            self._meter.pause(seconds)

    def close(self) -> None:
        """Write what is left and take the bar away."""
        self.flush()
        if self._screen is not None:
            self._screen.close()
            self._screen = None

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Last rows."""
        if trainer.is_global_zero:
            self.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Rows up to the failure are worth having."""
        if trainer.is_global_zero:
            if isinstance(exception, AgreedStop):
                self._add_judgement(trainer.global_step + 1, pl_module.figures)
            self.close()
