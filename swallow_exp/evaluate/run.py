"""Evaluate everything that has no result yet; each task at each checkpoint is one unit that one evaluator holds the lock of.

(1) plan     runs, or a model                      -> tasks x checkpoints (planner.py)
(2) lock     of the unit; what another evaluator holds is left for the end, and asked then if it died
(3) reuse    the same model asked the same way     -> copied from any run or model of <out>
(4) ask      check and load each export once       -> result.json, items.parquet of its open tasks
(5) say      one `evaluation` row a metric         -> events.jsonl; rows lost to a kill are added later
(6) overlap  items x training text, where asked for -> overlap.json, once a run (overlap.py)

Several evaluators share the work; a killed one loses at most the task in hand.

Reads   <out>/runs/<run_id>/{config.yaml, inputs.json, checkpoints.json}, exports, corpora, datasets
Writes  <out>/{runs/<run_id>,models/<name>}/evaluations/**, events.jsonl
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from swallow_exp.artefact.errors import RequestError, RunFailed
from swallow_exp.artefact.files import make_folder, user_disk
from swallow_exp.artefact.progress import progress_bar, say
from swallow_exp.config.schema import SuiteConfig
from swallow_exp.evaluate.engine.encoding import load_encoder
from swallow_exp.evaluate.engine.vllm_engine import VLLM, check_vllm
from swallow_exp.evaluate.harness import Settings, evaluate_task, load_checkpoint, settings_of
from swallow_exp.evaluate.models import ForeignModel, check_model
from swallow_exp.evaluate.overlap import Overlap
from swallow_exp.evaluate.planner import Place, Plan, Planner
from swallow_exp.evaluate.results import (
    Asked,
    Key,
    append_evaluation_rows,
    copy_result,
    index_results,
    is_done,
    is_incomplete,
    write_outcome,
)
from swallow_exp.model.identity import check_sides, check_weights, checkpoint_digest
from swallow_exp.record.store import write_absent

Loader = Callable[..., Any]  # as harness.load_checkpoint


@dataclass
class Summary:
    """What an evaluator did, in tasks at checkpoints."""

    evaluated: int = 0
    reused: int = 0
    already_done: int = 0
    failures: list[str] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)  # task -> what is missing


def evaluate_runs(
    out: Path,
    run_ids: Sequence[str],
    *,
    tasks: Sequence[str] | None = None,
    suite: SuiteConfig | None = None,
    load: Loader | None = None,
) -> Summary:
    """Evaluate what is missing of `run_ids`, with their own suites or with `suite` or `tasks`. A failing checkpoint does not stop the rest.

    `load` gets a model ready (None: load_checkpoint). Raises RequestError for an unknown run or task before anything is loaded.
    """
    planner = Planner(out, tasks, suite)
    return _carry_out(out, [planner.plan_run(run_id) for run_id in run_ids], load)


def evaluate_model(
    out: Path, model: ForeignModel, *, suite: SuiteConfig, tasks: Sequence[str] | None = None, load: Loader | None = None
) -> Summary:
    """Evaluate what is missing of one Hugging Face folder. Raises RequestError when it is not whole, before anything is loaded."""
    check_model(model.folder)
    load_encoder(model.folder)  # refuses a kind of tokenizer that cannot be evaluated here
    return _carry_out(out, [Planner(out, tasks, suite).plan_model(model)], load)


def _carry_out(out: Path, plans: Sequence[Plan], load: Loader | None) -> Summary:
    import torch

    if any(plan.suite.backend == VLLM for plan in plans):
        check_vllm()
        if load is not None:
            raise RequestError("suite.backend=vllm with several processes", expected="one process", remedy="leave out --processes")
    if threads := [plan.threads for plan in plans if plan.threads is not None]:
        torch.set_num_threads(max(threads))
    summary, places = Summary(), list[tuple[Plan, Place]]()
    for plan in plans:
        with _noting_failures(plan.run.run_id, summary):
            places += [(plan, place) for place in plan.places()]
    with progress_bar("evaluate", sum(len(plan.tasks) for plan, _ in places), unit="tasks") as advance:
        work = _Work(index_results(out), advance, load or load_checkpoint, summary)
        for plan in plans:
            with user_disk(plan.run.folder):
                write_absent(plan.run, plan.collected.absent)
            work.summary.absent.update(plan.collected.absent)
        held = [(plan, place, left) for plan, place in places if (left := work.visit(plan, place, wait=False))]
        for plan, place, _ in held:
            work.visit(plan, place, wait=True)
    overlap = Overlap()
    for plan in plans:
        with _noting_failures(f"{plan.run.run_id}, overlap with its training text", work.summary), user_disk(plan.run.folder):
            overlap.measure(plan)
    return work.summary


@dataclass
class _Work:
    """One evaluator at work: what it did, what it may copy, the model it has loaded."""

    index: dict[Key, Path]
    advance: Callable[[float], None]
    load: Loader
    summary: Summary
    _loaded: tuple[Path, Any] | None = None
    _said: set[tuple[Path, int]] = field(default_factory=set)
    _counted: set[Path] = field(default_factory=set)  # results this evaluator has counted

    def visit(self, plan: Plan, place: Place, *, wait: bool) -> int:
        """Settle every open task at one checkpoint; returns how many other evaluators hold (none with `wait`)."""
        left = 0
        with _noting_failures(f"{plan.run.run_id} at {place.trained_tokens} tokens", self.summary), user_disk(plan.run.folder):
            check_sides(place.export, place.sides, remedy=place.remedy)
            identity = checkpoint_digest(place.export, place.weights)
            settings = settings_of(place.export, batch_size=plan.suite.batch_size, device=plan.suite.device, backend=plan.suite.backend)
            suite, tokens = plan.suite.name, place.trained_tokens
            asked = [Asked(plan.run, suite, task, tokens, identity, place.weights, settings) for task in plan.tasks]
            done = [one for one in asked if is_done(one)]
            self._count_done(done)
            append_evaluation_rows(done)
            open_ones = [one for one in asked if one not in done]
            if open_ones:
                check_model(place.export)
                self._say_incomplete(plan, place, sum(map(is_incomplete, open_ones)))
            for one in open_ones:
                with _task_lock(one, wait=wait) as held:
                    if held:
                        self._settle(one, place, plan.suite.device)
                    left += not held
        return left

    def _say_incomplete(self, plan: Plan, place: Place, count: int) -> None:
        if count and (plan.run.folder, place.trained_tokens) not in self._said:
            self._said.add((plan.run.folder, place.trained_tokens))
            say(
                f"{plan.run.run_id} at {place.trained_tokens} tokens: {count} results of an earlier version do not say which config and "
                "tokenizer they are of: asked again"
            )

    def _settle(self, one: Asked, place: Place, device: str | None) -> None:
        """Get the result of one unit whose lock is held: by another evaluator meanwhile, from elsewhere, or by asking."""
        source, progress = self.index.get(one.key), TaskProgress(self.advance, 2 if one.task.asks_twice else 1)
        if is_done(one):
            append_evaluation_rows([one])
            self._count_done([one])
            return
        if source is not None and copy_result(one, source):
            self.summary.reused += 1
        else:
            model = self._model(place, one.settings, device)
            model.watch(progress.add)
            started = time.monotonic()
            outcome = evaluate_task(model, one.task)
            write_outcome(one, outcome, time.monotonic() - started)
            self.index.setdefault(one.key, one.folder)
            self.summary.evaluated += 1
        self._counted.add(one.folder)
        append_evaluation_rows([one])
        progress.finish()

    def _model(self, place: Place, settings: Settings, device: str | None) -> Any:
        if self._loaded is None or self._loaded[0] != place.export:
            self._loaded = None  # free the last one first
            check_weights(place.export, place.weights, remedy=place.remedy)
            self._loaded = (place.export, self.load(place.export, settings, device=device))
        return self._loaded[1]

    def _count_done(self, done: Sequence[Asked]) -> None:
        new = [one for one in done if one.folder not in self._counted]
        self._counted |= {one.folder for one in new}
        self.summary.already_done += len(new)
        self.advance(len(new))


@dataclass
class TaskProgress:
    """The share of one task that the bar shows. A task asks one question, or two."""

    advance: Callable[[float], None]
    questions: int
    shown: float = 0.0

    def add(self, share: float) -> None:
        """Advance by a share of one question."""
        part = min(share / self.questions, 1.0 - self.shown)
        self.shown += part
        self.advance(part)

    def finish(self) -> None:
        """Advance to the end of the task."""
        self.advance(1.0 - self.shown)


@contextmanager
def _task_lock(one: Asked, *, wait: bool) -> Iterator[bool]:
    """Hold the unit; False when another evaluator does (with `wait`: once it has let go, finished or dead)."""
    lock = FileLock(str(make_folder(one.lock.parent) / one.lock.name))
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


@contextmanager
def _noting_failures(where: str, summary: Summary) -> Iterator[None]:
    """Note what goes wrong at one checkpoint and go on with the next; wrong requests and defects inside our own checks stop everything."""
    try:
        yield
    except (RequestError, RunFailed) as error:
        summary.failures.append(f"{where}: {error}")
        say(f"failed: {where}: {error}")
    except (OSError, RuntimeError, ValueError) as error:
        import traceback

        traceback.print_exc()
        summary.failures.append(f"{where}: {type(error).__name__}: {error}")
        say(f"failed: {where}: {type(error).__name__}: {error}")
