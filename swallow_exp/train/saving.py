"""When a run saves: at token marks (state and export), every so many seconds, and on a stop signal.

At a mark the state comes first, then the export of the same weights, then the index: a kill between them leaves a state
from which the export is made again.

Writes  runs/<run_id>/{checkpoints/, checkpoints.json}
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import lightning.pytorch as lightning
import torch

from swallow_exp.artefact.files import make_folder
from swallow_exp.artefact.manifest import Artefact
from swallow_exp.checkpoint.export import export_model
from swallow_exp.checkpoint.index import OUT_PREFIX, CheckpointRecord, add_checkpoint, read_checkpoints, resolve_export
from swallow_exp.checkpoint.state import prune_states, remove_partial, save_state
from swallow_exp.train.reporting import Reporter, RunFacts
from swallow_exp.train.stopping import StopRequest

NOTHING, SAVE, STOP = 0, 1, 2


class Agreement:
    """All processes agree on the most urgent wish of any of them, one step late, so that no process waits for another.

    The messages are single integers in a gloo group of their own: on a GPU nothing has to be read back from the device.
    """

    def __init__(self, num_processes: int, *, timeout_seconds: float) -> None:
        """Every process must construct it at the same point."""
        self._group: Any = None
        self._pending: tuple[Any, torch.Tensor] | None = None
        if num_processes > 1:
            self._group = torch.distributed.new_group(backend="gloo", timeout=timedelta(seconds=timeout_seconds))

    def ask(self, wish: int) -> int:
        """Hand in this step's wish, get what was agreed on the step before (on this step, when there is one process)."""
        if self._group is None:
            return wish
        agreed = self._collect()
        value = torch.tensor([wish])
        work = torch.distributed.all_reduce(value, torch.distributed.ReduceOp.MAX, group=self._group, async_op=True)
        self._pending = (work, value)
        return agreed

    def _collect(self) -> int:
        if self._pending is None:
            return NOTHING
        work, value = self._pending
        self._pending = None
        work.wait()
        return int(value)

    def close(self) -> None:
        """Let the last message arrive."""
        self._collect()


class Saver(lightning.Callback):  # type: ignore[misc]
    """Saves and exports; ends training early, after a save, when any process was asked to stop."""

    def __init__(self, facts: RunFacts, *, start: Artefact, reporter: Reporter, stop: StopRequest) -> None:
        """`start` are the start weights: token 0 of the index, and the source of config and tokenizer files."""
        self._facts, self._start = facts, start
        self._reporter, self._stop = reporter, stop
        self._marks = facts.stream.mark_steps(facts.config.budget.checkpoint_every_tokens)
        self._marks[facts.stream.num_steps] = max(self._marks.values())
        self._saved_at = time.monotonic()
        self._agreement: Agreement | None = None
        self.preempted = False

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Take the signals back from Lightning; make up for what a kill left undone."""
        self._stop.reinstall()
        machine = self._facts.config.machine
        self._agreement = Agreement(trainer.world_size, timeout_seconds=machine.collective_timeout_seconds)
        self.prepare(trainer, pl_module)
        self._saved_at = time.monotonic()

    def prepare(self, trainer: Any, pl_module: Any) -> None:
        """Clear half-written leftovers, list token 0, export the state we resume from if its export is missing."""
        if trainer.is_global_zero:
            remove_partial(self._facts.run)
            self._list_start()
        trainer.strategy.barrier("leftovers are gone")
        self.export_if_missing(trainer, pl_module, self._facts.start_step)

    def _list_start(self) -> None:
        run = self._facts.run
        if any(record.trained_tokens == 0 for record in read_checkpoints(run)):
            return
        export = OUT_PREFIX + self._start.folder.relative_to(run.out).as_posix()
        digest = str(self._start.counts["weights_sha256"])
        add_checkpoint(run, CheckpointRecord(0, 0, 0, export, digest, resumable=False, seconds=0.0))
        self._reporter.add({"kind": "checkpoint", "trained_tokens": 0, "step": 0, "digest": digest})

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Save when it is time."""
        step = trainer.global_step
        assert self._agreement is not None
        agreed = self._agreement.ask(self._wish(trainer.is_global_zero))
        if step not in self._marks and agreed == NOTHING:
            return
        self._save(trainer, pl_module, step)
        if agreed == STOP and step < self._facts.stream.num_steps:
            self.preempted = True
            trainer.should_stop = True

    def _wish(self, first_process: bool) -> int:
        if self._stop.asked:
            return STOP
        due = time.monotonic() - self._saved_at > self._facts.config.machine.rolling_checkpoint_seconds
        return SAVE if due and first_process else NOTHING

    def _save(self, trainer: Any, pl_module: Any, step: int) -> None:
        run, trained = self._facts.run, int(self._facts.stream.progress(step).trained_tokens)
        if trainer.is_global_zero:
            self._reporter.flush()  # no row may be younger than the state it would be repeated from
            self._reporter.beat(step)
        started = time.monotonic()
        save_state(trainer, run, step=step, trained_tokens=trained, inputs_digest=self._facts.inputs_digest)
        self.export_if_missing(trainer, pl_module, step, started=started)
        if trainer.is_global_zero:
            prune_states(run)
        self._saved_at = time.monotonic()
        self._reporter.pause(self._saved_at - started)

    def export_if_missing(self, trainer: Any, pl_module: Any, step: int, *, started: float | None = None) -> None:
        """Export the model as it is after `step`, if that is a mark without an export; every process must call it."""
        if step not in self._marks or step == 0:
            return
        facts, started = self._facts, time.monotonic() if started is None else started
        run, trained = facts.run, int(facts.stream.progress(step).trained_tokens)
        known = any(record.trained_tokens == trained and resolve_export(run, record).is_dir() for record in read_checkpoints(run))
        if trainer.strategy.broadcast(known):
            return
        folder = run.checkpoint_export(trained)
        if trainer.is_global_zero:
            make_folder(folder.parent)
        digest = export_model(
            pl_module.model,
            folder,
            start_weights=self._start.folder,
            precision=facts.config.numerics.precision,
            first_process=trainer.is_global_zero,
        )
        if digest is not None:
            seconds = round(time.monotonic() - started, 3)
            export = folder.relative_to(run.folder).as_posix()
            add_checkpoint(run, CheckpointRecord(self._marks[step], trained, step, export, digest, resumable=True, seconds=seconds))
            self._reporter.add({"kind": "checkpoint", "trained_tokens": trained, "step": step, "digest": digest})
            self._reporter.flush()
        trainer.strategy.barrier("export is complete")

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Let the last agreement arrive."""
        if self._agreement is not None:
            self._agreement.close()
