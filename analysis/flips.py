"""Which items changed sides, in every comparison a reader may want: each contrast, and each trained cell against its own start.

(1) compare   the records behind every claim, and the last checkpoint of a run with its token 0     -> pairs of records
(2) find      items right on one side only (swallow_exp.record.flips)                               -> counts, flips
(3) write     all of them, one file a comparison and task                                           -> flips/*.jsonl
(4) keep      the first few with their texts, for the page                                          -> FlipGroup

Prompts of one task mostly begin alike (the same worked examples): that beginning is written once, in flips/beginnings.json, and every
line has only what follows it (`prompt_end`).
Reads   items of evaluations.  Writes  <report>/flips/.  Source  paper Figure 2 (which questions moved).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from analysis.claims.asked import test_of
from analysis.claims.claim import Claim
from analysis.load import Measure, Study
from analysis.table import Table
from analysis.wording import signed
from swallow_exp.artefact.files import write_json_atomic, write_text_atomic
from swallow_exp.artefact.paths import ReportPaths
from swallow_exp.artefact.progress import track
from swallow_exp.record.flips import Flip, find_flips
from swallow_exp.record.schema import EvaluationRecord

KEPT = 40  # flips of a group whose texts go on the page, at most
START = "its start weights"
CAPTION = (
    "Items that changed sides. won: wrong on the baseline's side, right here; lost: the other way round; an item counts as right from half "
    "of its points on. Metrics of a whole corpus (BLEU, bits per byte) have no items that are right or wrong."
)


@dataclass(frozen=True)
class FlipGroup:
    """What changed sides on one task in one comparison of two runs."""

    comparison: str
    side: str  # what the comparison is about, and what it is compared with
    baseline_side: str
    measure: str
    name: str  # of its file, without suffix
    record: EvaluationRecord
    baseline: EvaluationRecord
    num_items: int
    won: int
    lost: int
    beginning: str  # what every prompt of the group starts with
    kept: tuple[Flip, ...]  # the largest changes, won and lost alternating


def gather_flips(study: Study, claims: Sequence[Claim], paths: ReportPaths) -> tuple[list[FlipGroup], list[str]]:
    """Every comparison on every task with a score per item, and what could not be read, in words; writes all flips and keeps a few."""
    wanted = [*_contrasted(study, claims), *_against_start(study)]
    groups: list[FlipGroup] = []
    unread: list[str] = []
    for comparison, label, sides, record, baseline in track(wanted, "items that changed sides", len(wanted)):
        try:
            flips = list(find_flips(study.out, record, baseline))
        except (OSError, LookupError, TypeError, ValueError) as error:  # gone, or damaged in a way that only reading shows
            what = "are gone" if isinstance(error, FileNotFoundError) else f"cannot be read ({' '.join(str(error).split())[:80]})"
            both = tuple(dict.fromkeys((record.run_id, baseline.run_id)))
            named = [run_id for run_id in both if run_id in str(error)] or both  # the error mostly has the path
            unread.append(f"{comparison} on {label}: items of {' or '.join(named)} {what}")
            continue
        name = _file_name((comparison, label), {group.name for group in groups})
        beginning = shared_beginning([flip.prompt for flip in flips])
        won, few = sum(flip.won for flip in flips), tuple(flips[:KEPT])
        num_items = min(record.num_items, baseline.num_items)
        groups.append(FlipGroup(comparison, *sides, label, name, record, baseline, num_items, won, len(flips) - won, beginning, few))
        write_text_atomic(paths.flips(name), "".join(_line(flip, beginning) for flip in flips))
    if groups:
        write_json_atomic(paths.flip_beginnings, {group.name: group.beginning for group in groups})
    return groups, unread


Wanted = tuple[str, str, tuple[str, str], EvaluationRecord, EvaluationRecord]  # comparison, measure, both sides, record, baseline


def _contrasted(study: Study, claims: Sequence[Claim]) -> Iterator[Wanted]:
    """The pairs behind every claim that was compared, one for each seed."""
    by_key = {(m.task, m.metric, m.profile): m for m in study.measures}
    for claim in claims:
        measure = by_key[claim.task, claim.metric, claim.profile]
        sides = zip(claim.run_ids, claim.trained_tokens, claim.baseline_run_ids, claim.baseline_trained_tokens, strict=True)
        for run_id, tokens, baseline_run_id, baseline_tokens in sides if measure.aggregate == "mean" else ():
            record, baseline = study.record_of(run_id, tokens, measure), study.record_of(baseline_run_id, baseline_tokens, measure)
            if record and baseline:
                sides_named = (claim.cell, claim.baseline_cell)
                yield f"{claim.contrast}{_seed(study, run_id)}", claim.measure, sides_named, record, baseline


def _against_start(study: Study) -> Iterator[Wanted]:
    """The last evaluated checkpoint of every run and the weights it started from, where both were asked the same."""
    for cell in study.cells:
        for run_id in cell.run_ids:
            tokens = study.checkpoints_of(run_id)
            for measure in _with_items(study) if tokens else ():
                record, baseline = (study.record_of(run_id, t, measure) for t in (tokens[-1], 0))
                if record and baseline and tokens[-1] > 0 and test_of(record) == test_of(baseline):
                    comparison = f"{cell.label}{_seed(study, run_id)} vs {START}"
                    yield comparison, study.label_of(measure), (cell.label, START), record, baseline


def _with_items(study: Study) -> list[Measure]:
    return [measure for measure in study.measures if measure.aggregate == "mean"]


def _seed(study: Study, run_id: str) -> str:
    """Named only where a cell has several."""
    cell = next(cell for cell in study.cells if run_id in cell.run_ids)
    return f" (seed {cell.seeds[cell.run_ids.index(run_id)]})" if len(cell.run_ids) > 1 else ""


def _file_name(labels: Sequence[str], taken: set[str]) -> str:
    name = "--".join(re.sub(r"[^\w.+-]+", "-", label).strip("-.")[:80] for label in labels)
    return name if name not in taken else next(f"{name}-{i}" for i in range(2, len(taken) + 3) if f"{name}-{i}" not in taken)


def shared_beginning(prompts: Sequence[str]) -> str:
    """What all prompts start with, up to the end of a line; nothing for a single prompt."""
    if len(prompts) < 2:
        return ""
    first, last = min(prompts), max(prompts)  # what these two share, all share
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[: first.rfind("\n", 0, length) + 1]


def _line(flip: Flip, beginning: str) -> str:
    facts: Mapping[str, object] = {
        "item_id": flip.item_id,
        "won": flip.won,
        "baseline_score": flip.baseline_score,
        "score": flip.score,
        "prompt_end": flip.prompt[len(beginning) :],
        "reference": flip.reference,
        "baseline_prediction": flip.baseline_prediction,
        "prediction": flip.prediction,
    }
    return json.dumps(facts, ensure_ascii=False) + "\n"


def flips_table(groups: Sequence[FlipGroup]) -> Table:
    """One row a comparison and task: how many items it won and lost."""
    return Table(
        name="flips",
        caption=CAPTION,
        columns=("comparison", "task", "items", "won", "lost", "net"),
        rows=tuple((g.comparison, g.measure, f"{g.num_items}", f"{g.won}", f"{g.lost}", signed(g.won - g.lost, 0)) for g in groups),
        values=tuple((None, None, float(g.num_items), float(g.won), float(g.lost), float(g.won - g.lost)) for g in groups),
        sources={(i, j): (g.baseline, g.record) for i, g in enumerate(groups) for j in (3, 4, 5)},
    )
