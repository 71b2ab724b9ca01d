"""What an evaluator has to do: the tasks of a suite at every exported checkpoint of a run, or at a model that no run made.

(1) suite     of the run, or the one that was asked for         -> tasks, and those that are absent
(2) places    checkpoints of a run, or a Hugging Face folder    -> export folder, what it was when written, trained tokens (0 for a model)

Reads   <out>/runs/<run_id>/{config.yaml, inputs.json, checkpoints.json}, corpora, datasets        Writes  nothing
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.manifest import find_artefact
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.checkpoint.check_states import recorded_sides
from swallow_exp.checkpoint.index import read_checkpoints, resolve_export
from swallow_exp.config.schema import Config, SuiteConfig
from swallow_exp.evaluate.models import ForeignModel
from swallow_exp.evaluate.suite import Collected, collect_tasks
from swallow_exp.evaluate.task import Task
from swallow_exp.evaluate.tasks.heldout import HeldoutSource
from swallow_exp.record.inputs import is_reference
from swallow_exp.record.store import read_config


@dataclass(frozen=True)
class Place:
    """One model on disk. `sides` are the sha256s of the files beside its weights, where they were recorded."""

    trained_tokens: int
    weights: str  # digest of the weights
    export: Path
    sides: Mapping[str, str] = field(default_factory=dict)
    remedy: str = "export or download it again"


@dataclass(frozen=True)
class Plan:
    """Everything one run's (or one model's) evaluation needs that does not change while it runs."""

    run: RunPaths
    suite: SuiteConfig
    collected: Collected
    places: Callable[[], list[Place]]
    threads: int | None = None
    sources: tuple[HeldoutSource, ...] = ()  # what the run is trained on; unknown for a model that no run made
    processes: int = 1  # that may read a corpus together

    @property
    def tasks(self) -> list[Task]:
        """The tasks that can be asked."""
        return self.collected.tasks


@dataclass
class Planner:
    """Makes plans; runs of one sweep share their tasks, so that items and digests are made once."""

    out: Path
    tasks: Sequence[str] | None = None  # instead of the suite's
    suite: SuiteConfig | None = None  # instead of each run's
    _cache: dict[tuple[Any, ...], Collected] = field(default_factory=dict)

    def plan_run(self, run_id: str) -> Plan:
        """A run's checkpoints. Raises RequestError for an unknown run or task, a malformed or absent data folder."""
        run = RunPaths.of(self.out, run_id)
        config = Config.of(read_config(run))
        suite = self.suite or config.suite
        sources, machine = _heldout_sources(run, config, self.out), config.machine

        def exported() -> list[Place]:
            records = [record for record in read_checkpoints(run) if record.export]
            return [Place(r.trained_tokens, r.digest, resolve_export(run, r), recorded_sides(run, r), r.remedy) for r in records]

        return Plan(run, suite, self._collect(suite, sources), exported, machine.threads, tuple(sources), machine.processes)

    def plan_model(self, model: ForeignModel) -> Plan:
        """A model that no run made. It has no held-out text: `heldout` is no task of its suite."""
        assert self.suite is not None
        place = Place(0, model.weights, model.folder)
        return Plan(model.paths(self.out), self.suite, self._collect(self.suite, []), lambda: [place])

    def _collect(self, suite: SuiteConfig, sources: list[HeldoutSource]) -> Collected:
        wanted = list(suite.tasks if self.tasks is None else self.tasks)
        key = (tuple(wanted), repr(suite), tuple((source.name, source.corpus.digest) for source in sources))
        if key not in self._cache:
            self._cache[key] = collect_tasks(wanted, sources=sources, suite=suite)
        return self._cache[key]


def _heldout_sources(run: RunPaths, config: Config, out: Path) -> list[HeldoutSource]:
    inputs = read_json(run.inputs)
    corpora = inputs.get("corpora") if isinstance(inputs, dict) else None
    if not isinstance(corpora, dict) or not all(map(is_reference, corpora.values())):
        raise RequestError(
            f"run '{run.run_id}' has no readable {run.inputs.name}",
            expected="what it was made from",
            remedy="the `swallow train` command of this run writes it again",
        )
    sources = []
    for name, reference in corpora.items():
        corpus = find_artefact(out / reference["folder"])
        if corpus is None:
            raise RequestError(
                f"run '{run.run_id}' needs the corpus {reference['folder']}",
                expected="a finished artefact",
                remedy="build it again: swallow corpus",
            )
        if name not in config.mixture.sources:
            raise RequestError(
                f"run '{run.run_id}' is made from a source {name!r:.80} that its {run.config.name} does not name",
                expected="inputs.json and config.yaml of one run",
                remedy="the `swallow train` command of this run writes them again",
            )
        sources.append(HeldoutSource(name, config.mixture.sources[name].kind, corpus))
    return sources
