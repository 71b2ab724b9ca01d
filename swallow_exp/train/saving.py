"""When a run saves: at token marks (state and export), every so many seconds or tokens, and on a stop signal.

A save is staged at the end of a step and written beside training (checkpoint/write.py). Once its state is complete, the first
process exports it if it is a mark, lists it, and lets older states go: a kill between them leaves a state from which the export is
made again. One save at a time; the next one, a stop and the end of training wait for it.

Writes  runs/<run_id>/{checkpoints/, checkpoints.json, events.jsonl}
"""

from __future__ import annotations

import contextlib
import time
from datetime import timedelta
from typing import Any

import lightning.pytorch as lightning
import torch

from swallow_exp.artefact.errors import SwallowError
from swallow_exp.artefact.manifest import Artefact
from swallow_exp.artefact.progress import is_interactive, say
from swallow_exp.checkpoint.export import export_state
from swallow_exp.checkpoint.index import (
    OUT_PREFIX,
    CheckpointRecord,
    add_checkpoint,
    read_checkpoints,
    resolve_export,
    restore_checkpoints,
)
from swallow_exp.checkpoint.state import SavedState, prune_states, remove_partial, set_aside_torn
from swallow_exp.checkpoint.write import Snapshot, StateWriter, WrittenState
from swallow_exp.model.identity import side_files
from swallow_exp.record.events import read_events
from swallow_exp.train.data import mark_steps_of
from swallow_exp.train.reporting import Reporter, RunFacts
from swallow_exp.train.resume import check_no_randomness
from swallow_exp.train.stopping import StopRequest

NOTHING, SAVE, STOP = 0, 1, 2
EXPORT_DTYPES = {"32-true": "float32", "bf16-mixed": "bfloat16", "bf16-master": "bfloat16"}  # what the forward pass saw


class Snapshots:
    """Mixed into the strategy, before Lightning's: what `trainer.save_checkpoint` would write is kept here.

    References to this process's shards, not copies: Lightning's own strategy first copies everything
    to the CPU and then writes while training waits.
    """

    model: Any
    taken: dict[str, Any] | None = None

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Shards of the model by name, where they are."""
        from torch.distributed.checkpoint.state_dict import get_model_state_dict

        return dict(get_model_state_dict(self.model))

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """Shards of the optimizer's state by parameter name, where they are."""
        from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

        return dict(get_optimizer_state_dict(self.model, getattr(optimizer, "optimizer", optimizer)))

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        """Keep it for `take_snapshot`."""
        self.taken = checkpoint


def take_snapshot(trainer: Any) -> Snapshot:
    """Everything a Lightning trainer needs to continue, under the names resume.py reads. Every process must call it."""
    trainer.save_checkpoint("caught by the strategy", weights_only=False)
    taken = trainer.strategy.taken
    trainer.strategy.taken = None
    tensors = {"state_dict": taken.pop("state_dict")}
    tensors |= {f"optimizer_{number}": state for number, state in enumerate(taken.pop("optimizer_states", []))}
    return Snapshot(tensors, taken)


class Agreement:
    """All processes agree on the most urgent wish of any of them, one step late, so that no process waits for another.

    The messages are single integers in a gloo group of their own: on a GPU nothing has to be read back from the device.
    """

    def __init__(self, num_processes: int, *, timeout_seconds: float) -> None:
        """Every process must construct it at the same point."""
        self._group: Any = None
        self._pending: tuple[Any, torch.Tensor] | None = None
        self._asked_save = False
        if num_processes > 1:
            self._group = torch.distributed.new_group(backend="gloo", timeout=timedelta(seconds=timeout_seconds))

    def ask(self, wish: int) -> int:
        """Hand in this step's wish, get what was agreed on the step before (on this step, when there is one process)."""
        if self._group is None:
            return wish
        agreed = self._collect()
        if wish == SAVE and self._asked_save:
            wish = NOTHING  # the wish of the step before is being agreed on: one save fulfils both
        self._asked_save = wish == SAVE
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
        self._marks = mark_steps_of(facts.stream, facts.config.budget)
        self._marks[facts.stream.num_steps] = max(self._marks.values())
        self._saved_at, self._saved_tokens = time.monotonic(), self._tokens(facts.start_step)
        self._agreement: Agreement | None = None
        self._writer: StateWriter | None = None
        self.preempted = False

    def _tokens(self, step: int) -> int:
        return int(self._facts.stream.progress(step).trained_tokens)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Take the signals back from Lightning; make up for what a kill left undone."""
        self._stop.reinstall()
        check_no_randomness(pl_module.model)
        machine = self._facts.config.machine
        self._agreement = Agreement(trainer.world_size, timeout_seconds=machine.collective_timeout_seconds)
        self._writer = StateWriter(background=machine.async_checkpoints, timeout_seconds=machine.collective_timeout_seconds)
        self.prepare(trainer, pl_module)
        self._saved_at = time.monotonic()

    def prepare(self, trainer: Any, pl_module: Any) -> None:
        """Clear leftovers, name torn states, mend the index, list token 0, export the state we resume from if its export is missing."""
        if trainer.is_global_zero:
            run, step = self._facts.run, self._facts.start_step
            for torn in set_aside_torn(run, after_step=step):
                say(f"{run.run_id}: {torn}: set aside; continuing from {self._tokens(step):,} tokens")
            remove_partial(run)
            restore_checkpoints(run)
            self._list_start()
            if step > 0:
                state = SavedState(run.checkpoint_state(self._tokens(step)), step, self._tokens(step), self._facts.inputs_digest)
                self._export_if_missing(state)
            self._say_unsaid()
        trainer.strategy.barrier("the run folder is in order")

    def _list_start(self) -> None:
        run = self._facts.run
        if any(record.trained_tokens == 0 for record in read_checkpoints(run)):
            return
        export = OUT_PREFIX + self._start.folder.relative_to(run.out).as_posix()
        digest = str(self._start.counts["weights_sha256"])
        add_checkpoint(run, CheckpointRecord(0, 0, 0, export, digest, resumable=False, seconds=0.0))

    def _say_unsaid(self) -> None:
        """Rows of checkpoints whose process was killed before it could say them."""
        run = self._facts.run
        said = {row.get("digest") for row in read_events(run.events, "checkpoint")}
        for record in read_checkpoints(run):
            if record.digest not in said:
                row = {"kind": "checkpoint", "trained_tokens": record.trained_tokens, "step": record.step, "digest": record.digest}
                self._reporter.add(row)
        self._reporter.flush()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Save when it is time."""
        step = trainer.global_step
        assert self._agreement is not None and self._writer is not None
        self._note(trainer, self._writer.poll())
        agreed = self._agreement.ask(self._wish(step, trainer.is_global_zero))
        if step not in self._marks and agreed == NOTHING:
            return
        self._save(trainer, step)
        if agreed == STOP and step < self._facts.stream.num_steps:
            self.preempted = True
            trainer.should_stop = True

    def _wish(self, step: int, first_process: bool) -> int:
        if self._stop.asked:
            return STOP
        if step in self._marks:
            return NOTHING  # it is saved anyway
        machine = self._facts.config.machine
        seconds, tokens = machine.rolling_checkpoint_seconds, machine.rolling_checkpoint_tokens
        due = seconds is not None and time.monotonic() - self._saved_at > seconds
        due = due or (tokens is not None and self._tokens(step) - self._saved_tokens >= tokens)
        return SAVE if due and first_process else NOTHING

    def _save(self, trainer: Any, step: int) -> None:
        """Begin a save, after the one before has ended."""
        assert self._writer is not None
        facts, trained = self._facts, self._tokens(step)
        if trainer.is_global_zero:
            self._reporter.flush()  # no row may be younger than the state it would be repeated from
            self._reporter.beat(step)
        started = time.monotonic()
        self._await(trainer)
        state, since = SavedState(facts.run.checkpoint_state(trained), step, trained, facts.inputs_digest), time.monotonic()
        self._writer.begin(take_snapshot(trainer), state, self._publish, since=since)
        self._saved_at, self._saved_tokens = time.monotonic(), trained
        self._reporter.pause(self._saved_at - started)
        self._note(trainer, self._writer.poll())

    def _await(self, trainer: Any) -> None:
        """Wait for the save in flight; the run goes on saying that it is alive."""
        assert self._writer is not None

        def meanwhile() -> None:
            self._reporter.beat(trainer.global_step)
            if is_interactive():
                say(f"{self._facts.run.run_id}: waiting for a checkpoint to be written")

        self._note(trainer, self._writer.wait(meanwhile=meanwhile) if trainer.is_global_zero else self._writer.wait())

    def _publish(self, state: SavedState) -> str | None:
        """What the first process does with a complete state, in the writer's thread."""
        digest = self._export_if_missing(state)
        machine, over = self._facts.config.machine, state.step == self._facts.stream.num_steps
        prune_states(self._facts.run, keep=1 if over else machine.keep_states, keep_marks=machine.keep_mark_states)
        return digest

    def _export_if_missing(self, state: SavedState) -> str | None:
        """Export a complete state, if it is a mark without an export; the digest of its export, None when it is no mark."""
        if state.step not in self._marks:
            return None
        facts, started, trained = self._facts, time.monotonic(), state.trained_tokens
        known = [record for record in read_checkpoints(facts.run) if record.trained_tokens == trained]
        if known and (not known[0].export or resolve_export(facts.run, known[0]).is_dir()):
            return known[0].digest
        folder = facts.run.checkpoint_export(trained)
        dtype_name = EXPORT_DTYPES[facts.config.numerics.precision]
        digest = export_state(state.folder, folder, start_weights=self._start.folder, dtype_name=dtype_name)
        seconds, export = round(time.monotonic() - started, 3), folder.relative_to(facts.run.folder).as_posix()
        mark = self._marks[state.step]
        sides = side_files(folder)
        add_checkpoint(facts.run, CheckpointRecord(mark, trained, state.step, export, digest, resumable=True, seconds=seconds, sides=sides))
        return digest

    def _note(self, trainer: Any, written: WrittenState | None) -> None:
        """Say in the outbox what a save cost."""
        if written is None or not trainer.is_global_zero:
            return
        row: dict[str, Any] = {
            "kind": "checkpoint",
            "trained_tokens": written.state.trained_tokens,
            "step": written.state.step,
            "bytes": written.num_bytes,
            "checkpoint_stall_seconds": round(written.stall_seconds, 4),
            "checkpoint_background_seconds": round(written.background_seconds, 4),
        }
        self._reporter.add(row if written.digest is None else {**row, "digest": written.digest})
        self._reporter.flush()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Let the last save and the last agreement arrive."""
        if self._writer is not None:
            self._await(trainer)
            self._writer.close()
        if self._agreement is not None:
            self._agreement.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """A save in flight is worth having, whatever ended training."""
        if self._writer is not None:
            with contextlib.suppress(SwallowError):
                self._await(trainer)
