"""What a dashboard of one sweep shows: its question, the choices it varies, exact metric names, and our own claims in words.

(1) sweep      sweeps/<name>.json                  -> question, expectation, factors that vary, baseline, runs
(2) metrics    outbox of every run                 -> the names the publisher sends: training, scores, health
(3) claims     reports/<name>/claims.json          -> verdicts and relative changes with their intervals; absent before `swallow report`
(4) answers    health of the last evaluations      -> majority shares and worries, as `swallow status` has them

Reads  <out>/{sweeps, runs, reports}.  Writes  nothing.
Source  paper 5.1, 5.2 (learning curves and relative change by choice).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.paths import ReportPaths, RunPaths, sweep_file
from swallow_exp.artefact.progress import track
from swallow_exp.record.health import last_checkpoint, worries_of
from swallow_exp.record.store import read_health, read_sweep, sweeps_of
from swallow_exp.track.rows import PROGRESS, STEP_METRIC, metric_names, read_metric_rows

CURVES = ("train/loss",)
# Health of a run first, then what the publisher sends of the health of answers.
RUN_HEALTH = (
    "train/grad_norm", "train/skipped_updates", "train/tokens_per_second", "train/mfu", "train/data_wait_share", "train/peak_memory_bytes",
)  # fmt: skip
HALF = 0.5  # assumed: from this share of one answer on, a reader wants to see it; a worry it is from record/health.LIMITS on
VERDICT_ORDER = ("improved", "degraded", "helps more", "helps less", "equivalent", "inconclusive", "one run", "not compared")


@dataclass(frozen=True)
class ClaimRow:
    """What claims.json says of one contrast on one task, as far as a dashboard shows it."""

    contrast: str
    measure: str
    verdict: str
    unit: str = ""
    score: float | None = None
    baseline_score: float | None = None
    difference: float | None = None
    difference_interval: tuple[float, float] | None = None
    relative_change: float | None = None
    relative_interval: tuple[float, float] | None = None
    items_interval: tuple[float, float] | None = None  # over items alone: all there is of a single run per side
    items_relative_interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class ReportAnswers:
    """Health of one task's answers at the last evaluated checkpoint of a run. majority_share: of the most frequent answer, 0..1."""

    run: str
    task: str
    majority_share: float | None
    worries: tuple[str, ...]


@dataclass(frozen=True)
class Board:
    """Everything a dashboard of one sweep is made from. factors: what its runs differ in, in the sweep's order."""

    name: str
    question: str
    expects: str
    section: str
    factors: tuple[str, ...]
    run_ids: tuple[str, ...]  # those that have rows
    baseline_run_id: str | None
    metrics: tuple[str, ...]
    claims: tuple[ClaimRow, ...] = ()
    answers: tuple[ReportAnswers, ...] = ()
    shared_run_ids: tuple[str, ...] = ()  # runs that another sweep has as well

    @property
    def curves(self) -> tuple[str, ...]:
        """Training curves that answer the question."""
        return tuple(name for name in CURVES if name in self.metrics)

    @property
    def scores(self) -> tuple[str, ...]:
        """One metric of one task each."""
        return tuple(name for name in self.metrics if name.startswith("eval/"))

    @property
    def health(self) -> tuple[str, ...]:
        """What tells a broken run or a broken question from a bad score."""
        told = {*self.curves, *self.scores, *RUN_HEALTH, STEP_METRIC, *PROGRESS}
        other = tuple(name for name in self.metrics if name not in told and not name.startswith("train/"))
        return tuple(name for name in RUN_HEALTH if name in self.metrics) + other


def read_board(out: Path, name: str) -> Board:
    """The board of sweep `name`. Raises RequestError when there is no such sweep, or none of its runs has a row."""
    sweep = find_sweep(out, name)
    cells = sweep["cells"]
    rows_of = {}
    for cell in track(cells, "reading outboxes", len(cells)):
        if rows := read_metric_rows(RunPaths.of(out, str(cell["run_id"])).events):
            rows_of[str(cell["run_id"])] = metric_names(rows)
    if not rows_of:
        raise RequestError(
            f"no run of sweep {name} has written anything yet",
            expected="at least one run that trains",
            remedy=f"start it: swallow train -m +sweep={name}",
        )
    return Board(
        name=name,
        question=str(sweep.get("question") or name),
        expects=str(sweep.get("expects") or ""),
        section=str(sweep.get("section") or ""),
        factors=_factors(sweep),
        run_ids=tuple(rows_of),
        baseline_run_id=_baseline(sweep, rows_of),
        metrics=tuple(sorted({metric for names in rows_of.values() for metric in names})),
        claims=read_claims(out, name),
        answers=tuple(_answers(out, name, rows_of)),
        shared_run_ids=tuple(run_id for run_id in rows_of if len(sweeps_of(out, run_id)) > 1),
    )


def find_sweep(out: Path, name: str) -> dict[str, Any]:
    """The sweep's file. Raises RequestError when there is none, naming those there are."""
    sweep = read_sweep(out, name) if name == Path(name).name else None
    if sweep is None or not sweep["cells"]:
        known = sorted(path.stem for path in sweep_file(out, name).parent.glob("*.json"))
        raise RequestError(
            f"no sweep {name} under {out}", expected=f"one of {', '.join(known) or 'none yet'}", remedy="check --out and the name"
        )
    return sweep


def _factors(sweep: Mapping[str, Any]) -> tuple[str, ...]:
    """What differs among the cells: axes of the sweep first (groups, or fields as optim.lr_peak), then groups that follow them."""
    levels = {str(axis): {str(level) for level in values} for axis, values in (sweep.get("axes") or {}).items()}
    for cell in sweep["cells"]:
        for group, level in cell["choices"].items():
            levels.setdefault(str(group), set()).add(str(level))
    return tuple(factor for factor, values in levels.items() if len(values) > 1 and factor != "seed")


def _baseline(sweep: Mapping[str, Any], written: Mapping[str, Any]) -> str | None:
    """The first run that has rows and all levels of the baseline."""
    wanted = (sweep.get("baseline") or {}).items()
    matches = (str(cell["run_id"]) for cell in sweep["cells"] if wanted and wanted <= cell["choices"].items())
    return next((run_id for run_id in matches if run_id in written), None)


def shown_name(out: Path, group: str | None, run_id: str) -> str:
    """A run as a reader of its sweep knows it: its cell's label, with the seed where there are several; the run_id where that says less."""
    sweep = read_sweep(out, group) if group else None
    cells = sweep["cells"] if sweep else []
    seeds = {cell.get("seed") for cell in cells}
    names = {
        str(cell["run_id"]): f"{cell.get('label')} s{cell.get('seed')}" if len(seeds) > 1 else str(cell.get("label")) for cell in cells
    }
    name = names.get(run_id)
    return name if name and list(names.values()).count(name) == 1 else run_id


def read_claims(out: Path, name: str) -> tuple[ClaimRow, ...]:
    """The claims of the sweep's report; none when there is no report."""
    document = read_json(ReportPaths.of(out, name).claims)
    entries = document.get("claims", []) if isinstance(document, dict) else []
    return tuple(_claim(entry) for entry in entries)


def _claim(entry: Mapping[str, Any]) -> ClaimRow:
    keys = ("difference_interval", "relative_interval", "items_interval", "items_relative_interval")
    ends = {key: tuple(value) if (value := entry.get(key)) else None for key in keys}
    plain = {key: entry.get(key) for key in ("score", "baseline_score", "difference", "relative_change")}
    return ClaimRow(str(entry["contrast"]), str(entry["measure"]), str(entry["verdict"]), str(entry.get("unit", "")), **plain, **ends)  # type: ignore[arg-type]


def _answers(out: Path, name: str, run_ids: Iterable[str]) -> Iterator[ReportAnswers]:
    for run_id in run_ids:
        run = shown_name(out, name, run_id)
        for record in last_checkpoint(list(read_health(out, run_id))):
            worries = tuple(f"{worry.words} ({worry.share:.0%})" for worry in worries_of(record))
            yield ReportAnswers(run, record.task, record.health.get("majority_share"), worries)


def answers_markdown(answers: Sequence[ReportAnswers]) -> str:
    """What to know of the answers behind the scores: those that are half or more the same, and every worry."""
    told = [one for one in answers if one.worries or (one.majority_share or 0) >= HALF]
    if not told:
        return f"Answers at the last checkpoints: nothing to know of {len(answers)} results; none is half or more one answer."
    lines = [_cells(["run", "task", "majority share", "to know"]), _cells([":--", ":--", "--:", ":--"])]
    lines += [
        _cells([one.run, one.task, "-" if one.majority_share is None else f"{one.majority_share:.0%}", ", ".join(one.worries) or "-"])
        for one in told
    ]
    return f"Answers at the last checkpoints, {len(told)} of {len(answers)} results to look at:\n\n" + "\n".join(lines)


def verdict_sentences(claims: Sequence[ClaimRow]) -> list[str]:
    """One sentence a contrast: what it improved, degraded, left equivalent, and what cannot be told."""
    sentences = []
    for contrast in dict.fromkeys(claim.contrast for claim in claims):
        own = [claim for claim in claims if claim.contrast == contrast]
        verdicts = sorted(
            {claim.verdict for claim in own}, key=lambda v: VERDICT_ORDER.index(v) if v in VERDICT_ORDER else len(VERDICT_ORDER)
        )
        parts = [f"{verdict}: {', '.join(claim.measure for claim in own if claim.verdict == verdict)}" for verdict in verdicts]
        sentences.append(f"{contrast}. {'; '.join(parts)}.")
    return sentences


def changes_markdown(claims: Sequence[ClaimRow]) -> str:
    """The relative changes as a Markdown table, each with its 95% interval; no change stands without one."""
    head = ["contrast", "task", "verdict", "baseline", "score", "difference [95%]", "relative change [95%]"]
    lines = [_cells(head), _cells([":--", ":--", ":--", "--:", "--:", "--:", "--:"])]
    for claim in claims:
        lines.append(
            _cells(
                [
                    claim.contrast,
                    claim.measure,
                    claim.verdict,
                    _number(claim.baseline_score),
                    _number(claim.score),
                    _with_interval(
                        claim.difference, claim.difference_interval, claim.items_interval, f" {claim.unit}" if claim.unit else ""
                    ),
                    _with_interval(claim.relative_change, claim.relative_interval, claim.items_relative_interval, "%"),
                ]
            )
        )
    return "\n".join(lines)


def _cells(texts: Sequence[str]) -> str:
    return f"| {' | '.join(text.replace('|', '/') for text in texts)} |"


def _number(value: float | None) -> str:
    """Four significant digits: scores are 0-100 or bits per byte."""
    return "-" if value is None else f"{value:.4g}"


def _with_interval(value: float | None, interval: tuple[float, float] | None, over_items: tuple[float, float] | None, unit: str) -> str:
    """A change with its interval over runs and items; over items alone, and said so, where there is one run per side."""
    ends = interval or over_items
    if value is None or ends is None:
        return "-"
    words = "" if interval else " over items alone"
    return f"{value:+.3g}{unit} [{ends[0]:+.3g}, {ends[1]:+.3g}]{words}"
