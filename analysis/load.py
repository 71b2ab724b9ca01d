"""Read one sweep and its runs into a study: cells, contrasts and tidy frames.

(1) sweep      sweeps/<name>.json                     -> cells (runs that differ in nothing but the seed) and contrasts
(2) runs       identity.json, status.json             -> frame `runs`, one row a run of the sweep, folder or not
(3) scores     every evaluated checkpoint             -> frame `scores`, one row a (run, checkpoint, task, metric, profile)
(4) curves     events.jsonl                           -> frame `curves`, one row a logged step
(5) missing    what the sweep asks for and is not there, in words
(6) problems   results that are there and cannot be used: unreadable, no number, contradictory (analysis.problems)

A value that does not exist is an absent row or NaN, never 0 or -1.
Reads   <out>/sweeps, <out>/runs.  Writes  nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from analysis.frames import Cell, curves_frame, runs_frame, scores_frame
from analysis.items import ItemReader
from analysis.problems import Problem, usable_records
from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.paths import RunPaths, sweep_file
from swallow_exp.record.health import read_overlap
from swallow_exp.record.schema import EvaluationRecord, HealthRecord, ItemStatistics, OverlapRecord
from swallow_exp.record.store import read_absent, read_curve, read_run_results, read_sweep

if TYPE_CHECKING:
    import pandas as pd

Row = TypeVar("Row")


@dataclass(frozen=True, order=True)
class Measure:
    """One column of a comparison: a metric of a task, computed in one profile."""

    task: str
    metric: str
    profile: str
    aggregate: str
    higher_is_better: bool

    @property
    def unit(self) -> str:
        """Unit of a score and of a difference between two."""
        return self.metric.replace("_", " ") if self.aggregate == "ratio" else "points"

    @property
    def decimals(self) -> int:
        """Digits that are worth printing."""
        return 3 if self.aggregate == "ratio" else 1

    @classmethod
    def of(cls, record: EvaluationRecord) -> Measure:
        """The measure an evaluation record belongs to."""
        return cls(record.task, record.metric, record.profile, record.aggregate, record.higher_is_better)


@dataclass(frozen=True)
class Contrast:
    """Two cells that differ in one factor; `pairs` are (run, baseline run) of the same seed."""

    label: str
    factor: str
    level: str
    baseline_level: str
    cell: str
    baseline_cell: str
    pairs: tuple[tuple[str, str], ...]
    consequences: tuple[str, ...] = ()  # groups that the question declares to follow the factor


@dataclass(frozen=True)
class Missing:
    """Something the sweep asks for that is not on disk. run_id: empty when it concerns several."""

    label: str
    run_id: str
    reason: str


@dataclass(frozen=True)
class Study:
    """Everything a report is made from."""

    out: Path
    name: str
    question: str
    section: str
    baseline: Mapping[str, str]
    axes: Mapping[str, Sequence[str]]
    cells: tuple[Cell, ...]
    contrasts: tuple[Contrast, ...]
    records: tuple[EvaluationRecord, ...]
    runs: pd.DataFrame
    scores: pd.DataFrame
    curves: pd.DataFrame
    missing: tuple[Missing, ...]
    measures: tuple[Measure, ...]
    expects: str = ""  # what was thought before the runs
    last_checkpoints: int = 1  # a run's score is the mean of so many of its last checkpoints, as the question declared
    is_null: bool = False  # the question declares that its cells differ in nothing real
    signs: Mapping[str, Any] = field(default_factory=dict)  # expected directions by task, or by level and task
    declared: Mapping[str, str] = field(default_factory=dict)  # task -> metric that the question names
    outcome: str = ""  # what was written down after them
    health: tuple[HealthRecord, ...] = ()
    overlap: tuple[OverlapRecord, ...] = ()
    broken: tuple[Problem, ...] = ()  # seen on loading; `problems` has those of items too
    _items: dict[Path, ItemReader] = field(default_factory=dict, repr=False)
    _tokens: dict[str, list[int]] = field(default_factory=dict, repr=False)
    _by_measure: dict[Measure, list[EvaluationRecord]] = field(default_factory=dict, repr=False)
    _index: dict[tuple[str, int, Measure], EvaluationRecord] = field(default_factory=dict, repr=False)
    _health: dict[tuple[str, int, str, str], HealthRecord] = field(default_factory=dict, repr=False)

    def label_of(self, measure: Measure) -> str:
        """The task's name; metric and profile are added only where the task has several."""
        same = [m for m in self.measures if m.task == measure.task]
        parts = [measure.metric] * (len({m.metric for m in same}) > 1) + [measure.profile] * (len({m.profile for m in same}) > 1)
        return f"{measure.task} ({', '.join(parts)})" if parts else measure.task

    def checkpoints_of(self, run_id: str) -> list[int]:
        """Trained tokens of the evaluated checkpoints of a run, ascending."""
        if not self._tokens:
            marks = sorted({(r.run_id, r.trained_tokens) for r in self.records})
            for evaluated, tokens in marks:
                self._tokens.setdefault(evaluated, []).append(tokens)
        return list(self._tokens.get(run_id, ()))

    def state_of(self, run_id: str) -> str:
        """State of a run; `missing` when it has no folder."""
        states = self.runs.loc[self.runs["run_id"] == run_id, "state"]
        return str(states.iloc[0]) if len(states) else "missing"

    def records_of(self, measure: Measure) -> Sequence[EvaluationRecord]:
        """Every evaluation of one measure."""
        if not self._by_measure:
            for record in self.records:
                self._by_measure.setdefault(Measure.of(record), []).append(record)
        return self._by_measure.get(measure, ())

    def record_of(self, run_id: str, trained_tokens: int, measure: Measure) -> EvaluationRecord | None:
        """The evaluation of one measure at one checkpoint, or None."""
        if not self._index:
            self._index.update({(r.run_id, r.trained_tokens, Measure.of(r)): r for r in self.records})
        return self._index.get((run_id, trained_tokens, measure))

    def health_of(self, run_id: str, trained_tokens: int, measure: Measure) -> HealthRecord | None:
        """The health of the task behind a measure at one checkpoint, or None."""
        if not self._health:
            self._health.update({(r.run_id, r.trained_tokens, r.task, r.profile): r for r in self.health})
        return next(
            (r for p in (measure.profile, "both") if (r := self._health.get((run_id, trained_tokens, measure.task, p))) is not None), None
        )

    def items_of(self, record: EvaluationRecord) -> ItemStatistics | None:
        """Item statistics behind a record, or None when they are gone or unusable (then `problems` says why)."""
        return self._reader.of(record)

    @property
    def _reader(self) -> ItemReader:
        return self._items.setdefault(self.out, ItemReader(self.out))

    def problem_of(self, record: EvaluationRecord) -> Problem | None:
        """What is wrong with the items of a record; None as long as they have not been read, or when nothing is."""
        return self._reader.problems.get(record)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that is there and cannot be used: results seen on loading, and items read so far."""
        return tuple(dict.fromkeys((*self.broken, *sorted(self._reader.problems.values()))))


def load_study(out: Path, name: str) -> Study:
    """Read sweep `name`. Raises RequestError when the sweep is unknown or nothing has been evaluated."""
    sweep = read_sweep(out, name)
    if sweep is None:
        path = sweep_file(out, name)
        known = sorted(p.stem for p in path.parent.glob("*.json"))
        raise RequestError(
            f"{path} is there, but is no expanded sweep" if path.exists() else f"no sweep file {path}",
            expected=f"one of the sweeps there: {', '.join(known)}" if known else "at least one expanded sweep there (there is none)",
            remedy=f"run `swallow train -m +sweep={name}` first, or give another --out",
        )
    cells = _cells_of(sweep)
    run_ids = [run_id for cell in cells for run_id in cell.run_ids]
    results = {run_id: read_run_results(out, run_id) for run_id in run_ids}
    records, contradictions = usable_records([record for run_id in run_ids for record in results[run_id].evaluations])
    broken = [Problem(run_id, tokens, task, reason) for run_id in run_ids for tokens, task, reason in results[run_id].broken]
    curves = _read_each(read_curve, out, run_ids, "events.jsonl", broken)
    overlap = _read_each(read_overlap, out, run_ids, "overlap.json", broken)
    if not records:
        unusable = f" that can be used ({broken[0] if broken else contradictions[0]})" if broken or contradictions else ""
        raise RequestError(
            f"none of the {len(run_ids)} runs of sweep {name!r} has an evaluation{unusable}",
            expected="at least one evaluated checkpoint",
            remedy="`swallow status` shows how far the runs are; `swallow evaluate` evaluates their checkpoints",
        )
    runs = runs_frame(out, cells)
    measures = _measures_of(records, dict(sweep.get("measures") or {}))
    return Study(
        out=out,
        name=name,
        question=str(sweep.get("question") or name),
        section=str(sweep.get("section") or ""),
        expects=str(sweep.get("expects") or ""),
        signs=dict(sweep.get("signs") or {}),
        declared=dict(sweep.get("measures") or {}),
        outcome=str(sweep.get("outcome") or ""),
        last_checkpoints=int(sweep.get("last_checkpoints") or 1),
        is_null=bool(sweep.get("null_study")),
        baseline=dict(sweep.get("baseline") or {}),
        axes=dict(sweep.get("axes") or {}),
        cells=cells,
        contrasts=_contrasts_of(sweep, cells),
        records=records,
        runs=runs,
        scores=scores_frame(records, cells),
        curves=curves_frame(curves, cells),
        missing=(*_missing_of(cells, runs, records, measures, (*broken, *contradictions)), *_absent_tasks(out, cells)),
        measures=measures,
        health=tuple(record for run_id in run_ids for record in results[run_id].health),
        overlap=tuple(overlap),
        broken=(*broken, *contradictions),
    )


def _read_each(
    read: Callable[[Path, str], Iterable[Row]], out: Path, run_ids: Sequence[str], what: str, broken: list[Problem]
) -> list[Row]:
    """The rows of every run; a run whose file has rows of another shape has none, and is named."""
    rows: list[Row] = []
    for run_id in run_ids:
        try:
            rows += list(read(out, run_id))
        except (KeyError, TypeError, ValueError) as error:
            broken.append(Problem(run_id, 0, what, f"it cannot be used ({error!r})"))
    return rows


def _key(choices: Mapping[str, Any], label: str) -> tuple[Any, ...]:
    return tuple(sorted((str(k), str(v)) for k, v in choices.items())) or (label,)


def _grouped(entries: Sequence[Mapping[str, Any]]) -> dict[tuple[Any, ...], list[Mapping[str, Any]]]:
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for entry in entries:
        groups.setdefault(_key(entry.get("choices") or {}, str(entry.get("label"))), []).append(entry)
    return {key: sorted(group, key=lambda entry: int(entry.get("seed", 0))) for key, group in groups.items()}


def _cells_of(sweep: Mapping[str, Any]) -> tuple[Cell, ...]:
    """Runs with equal choices form one cell; several seeds with several labels get a label from the varied factors."""
    varied = list(sweep.get("axes") or {})
    cells = []
    for group in _grouped(sweep.get("cells") or []).values():
        labels = list(dict.fromkeys(str(entry.get("label") or "") for entry in group))
        choices = {str(k): str(v) for k, v in (group[0].get("choices") or {}).items()}
        from_choices = ", ".join(choices[factor] for factor in varied if factor in choices)
        label = labels[0] if len(labels) == 1 and labels[0] else from_choices or str(group[0]["run_id"])
        cells.append(
            Cell(label, choices, tuple(str(entry["run_id"]) for entry in group), tuple(int(entry.get("seed", 0)) for entry in group))
        )
    taken = [cell.label for cell in cells]
    return tuple(replace(cell, label=f"{cell.label} ({cell.run_ids[0]})") if taken.count(cell.label) > 1 else cell for cell in cells)


def _contrasts_of(sweep: Mapping[str, Any], cells: Sequence[Cell]) -> tuple[Contrast, ...]:
    """Contrasts of the same two cells at several seeds are one contrast with several pairs."""
    cell_of = {run_id: cell for cell in cells for run_id in cell.run_ids}
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in sweep.get("contrasts") or []:
        cell, baseline = cell_of.get(row["run_id"]), cell_of.get(row["baseline_run_id"])
        if cell is None or baseline is None:
            continue
        groups.setdefault((str(row["factor"]), str(row["level"]), str(row["baseline_level"]), cell.label, baseline.label), []).append(row)
    contrasts = []
    for (factor, level, baseline_level, cell_label, baseline_label), rows in groups.items():
        labels = {str(row.get("label") or f"{level} vs {baseline_level}") for row in rows}
        label = labels.pop() if len(labels) == 1 else f"{cell_label} vs {baseline_label}"
        pairs = tuple((str(row["run_id"]), str(row["baseline_run_id"])) for row in rows)
        consequences = tuple(dict.fromkeys(str(group) for row in rows for group in row.get("consequences") or ()))
        contrasts.append(Contrast(label, factor, level, baseline_level, cell_label, baseline_label, pairs, consequences))
    taken = [contrast.label for contrast in contrasts]
    return tuple(replace(c, label=f"{c.cell} vs {c.baseline_cell}") if taken.count(c.label) > 1 else c for c in contrasts)


def _measures_of(records: Sequence[EvaluationRecord], declared: Mapping[str, str]) -> tuple[Measure, ...]:
    """Scores before bits per byte, each in order of suite and task. The declared metric of a task leads."""
    suites = {Measure.of(record): record.suite for record in records}

    def place(m: Measure) -> tuple[Any, ...]:
        leads = declared.get(m.task) == m.metric
        return m.aggregate == "ratio" and not leads, suites[m], m.task, not leads, m.metric, m.profile

    return tuple(sorted(suites, key=place))


def _absent_tasks(out: Path, cells: Sequence[Cell]) -> list[Missing]:
    """Tasks that could not be asked: one entry for each task and reason, whatever the number of runs."""
    found: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        for run_id in cell.run_ids:
            for task, reason in read_absent(RunPaths.of(out, run_id)).items():
                found.setdefault((task, reason), []).append(cell.label)
    everyone = [cell.label for cell in cells for _ in cell.run_ids]
    return [
        Missing("every cell" if labels == everyone else ", ".join(dict.fromkeys(labels)), "", f"{task} could not be asked: {reason}")
        for (task, reason), labels in found.items()
    ]


def _missing_of(
    cells: Sequence[Cell],
    runs: pd.DataFrame,
    records: Sequence[EvaluationRecord],
    measures: Sequence[Measure],
    problems: Sequence[Problem],
) -> list[Missing]:
    """Runs without folder or evaluation, runs whose last evaluation is not final, tasks without a result there (usable or not)."""
    unusable = {(problem.run_id, problem.trained_tokens, problem.task) for problem in problems}
    state_of = dict(zip(runs["run_id"], runs["state"], strict=True))
    cause_of = dict(zip(runs["run_id"], runs["cause"], strict=True))
    missing = []
    for cell in cells:
        for run_id in cell.run_ids:
            state = state_of[run_id]
            because = f" ({cause_of[run_id]})" if isinstance(cause_of[run_id], str) else ""
            mine = [record for record in records if record.run_id == run_id]
            if not mine:
                reason = "no such run yet" if state == "missing" else f"no evaluation; the run is {state}{because}"
                missing.append(Missing(cell.label, run_id, reason))
                continue
            last = max(record.trained_tokens for record in mine)
            if state != "trained":
                missing.append(Missing(cell.label, run_id, f"the run is {state}{because}; last evaluation at {last:,} tokens"))
            have = {record.task for record in mine if record.trained_tokens == last}
            folders = {task for run, tokens, task in unusable if (run, tokens) == (run_id, last)}
            have |= folders | {folder.removesuffix("-paper").removesuffix("-fair") for folder in folders}
            absent = list(dict.fromkeys(m.task for m in measures if m.task not in have))
            if absent:
                missing.append(Missing(cell.label, run_id, f"not evaluated at {last:,} tokens: {', '.join(absent)}"))
    return missing
