"""Contrasts to claims: what a choice did to every task, how sure that is, and whether it can be said at all.

(1) match     the checkpoints that are compared: the last of both runs, or the last both have reached     -> pairs of records
(2) check     one factor between them, same prompts, items, task version; otherwise not compared              -> what differs, in words
(3) align     items both sides have; seeds are summed item by item, each seed paired with itself          -> (n, k), (n, k)
(4) compare   paired bootstrap (analysis.claims.bootstrap)                                                       -> Claim without verdict
(5) adjust    Holm over every comparison of the report; the verdict follows the adjusted p                -> Claim

With several seeds the interval is over items, given these seeds: it says nothing about seeds that were not run. The difference of
each seed is in the claim, and a note when they disagree in sign.
Reads  items of evaluations.  Writes  nothing.  Source  paper 5.1 and 5.2 (relative change, there without intervals).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from analysis.claims.asked import constant_answers, difference_of_tests, test_of
from analysis.claims.bootstrap import FLOOR_POINTS, FloatArray, Interval, holm_adjusted, paired_bootstrap
from analysis.load import Contrast, Measure, Study
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.artefact.progress import track
from swallow_exp.record.aggregate import score_of_items, score_of_sums, summable
from swallow_exp.record.contrast import compare_runs, in_words
from swallow_exp.record.schema import EvaluationRecord, ItemStatistics

SIGNIFICANCE = 0.05
NUM_RESAMPLES = 10_000
# assumed: checkpoints are "at the same tokens" within 5%: a mark is the first step at or past it, and steps are coarse in small runs
SAME_TOKENS = 0.05
FEW_UNITS = 20
FEW_DIFFERING = 5
POWER_FACTOR = 2.8  # 1.96 + 0.84: two-sided 5%, found in 80% of repetitions
IMPROVED, DEGRADED, EQUIVALENT = "improved", "degraded", "equivalent"
INCONCLUSIVE, NOT_COMPARED = "inconclusive", "not compared"

RecordPair = tuple[EvaluationRecord, EvaluationRecord]


@dataclass(frozen=True)
class Claim:
    """One contrast on one measure. Everything numeric is None when the two could not be compared."""

    contrast: str
    factor: str
    level: str
    baseline_level: str
    cell: str
    baseline_cell: str
    task: str
    metric: str
    profile: str
    measure: str
    unit: str
    higher_is_better: bool
    verdict: str
    run_ids: tuple[str, ...] = ()
    baseline_run_ids: tuple[str, ...] = ()
    trained_tokens: tuple[int, ...] = ()
    baseline_trained_tokens: tuple[int, ...] = ()
    num_items: int | None = None
    num_units: int | None = None
    score: float | None = None
    baseline_score: float | None = None
    difference: float | None = None
    difference_interval: Interval | None = None
    relative_change: float | None = None
    relative_interval: Interval | None = None
    p: float | None = None
    p_holm: float | None = None
    p_bh: float | None = None
    detectable_difference: float | None = None
    seed_differences: tuple[float, ...] = ()
    size: str = ""
    sign_agreement: str = ""
    equivalence_margin: float | None = None
    noise_floor: float | None = None
    noise_source: str = ""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def at_floor(self) -> bool:
        """Compared, but the baseline is too close to zero for a relative change."""
        return self.difference is not None and self.relative_change is None

    @property
    def both_at_floor(self) -> bool:
        """Neither side scores: a difference there, however certain, is no finding about the choice."""
        return self.at_floor and self.unit == "points" and self.score is not None and self.score <= FLOOR_POINTS


def compare_contrasts(study: Study, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> tuple[Claim, ...]:
    """Every contrast on every measure, with Holm's adjustment over all that could be compared."""
    wanted = [(contrast, measure) for contrast in study.contrasts for measure in study.measures]
    claims = [_compare(study, c, m, num_resamples, seed) for c, m in track(wanted, "comparing", len(wanted))]
    adjusted = holm_adjusted({str(i): claim.p for i, claim in enumerate(claims) if claim.p is not None})
    return tuple(_with_verdict(claim, adjusted.get(str(i))) for i, claim in enumerate(claims))


def _with_verdict(claim: Claim, p_holm: float | None) -> Claim:
    if p_holm is None or claim.difference is None or claim.p is None:
        return claim
    if p_holm >= SIGNIFICANCE or claim.difference == 0:
        notes = claim.notes
        if claim.p < SIGNIFICANCE:
            notes = (*notes, "on its own this would pass for a difference; after adjusting for all comparisons of this report it does not")
        return replace(claim, p_holm=p_holm, verdict=INCONCLUSIVE, notes=notes)
    if claim.both_at_floor:
        return replace(
            claim, p_holm=p_holm, verdict=INCONCLUSIVE, notes=(*claim.notes, "both scores are at the floor: neither side can do this")
        )
    better = (claim.difference > 0) == claim.higher_is_better
    return replace(claim, p_holm=p_holm, verdict=IMPROVED if better else DEGRADED)


def matched_tokens(study: Study, run_id: str, baseline_run_id: str) -> tuple[int, int] | None:
    """Trained tokens of the two checkpoints to compare, or None when there is no such pair past token 0.

    Both trained: the last evaluated checkpoint of each. Otherwise: the last pair that is at the same tokens.
    """
    first, second = ([t for t in study.checkpoints_of(r) if t > 0] for r in (run_id, baseline_run_id))
    if not first or not second:
        return None
    if study.state_of(run_id) == study.state_of(baseline_run_id) == "trained":
        return first[-1], second[-1]
    same = [(a, b) for a in first for b in second if abs(a - b) <= SAME_TOKENS * max(a, b)]
    return max(same, key=lambda pair: (min(pair), -abs(pair[0] - pair[1])), default=None)


def _compare(study: Study, contrast: Contrast, measure: Measure, num_resamples: int, seed: int) -> Claim:
    blank = Claim(
        contrast=contrast.label,
        factor=contrast.factor,
        level=contrast.level,
        baseline_level=contrast.baseline_level,
        cell=contrast.cell,
        baseline_cell=contrast.baseline_cell,
        task=measure.task,
        metric=measure.metric,
        profile=measure.profile,
        measure=study.label_of(measure),
        unit=measure.unit,
        higher_is_better=measure.higher_is_better,
        verdict=NOT_COMPARED,
    )
    pairs, notes = _record_pairs(study, contrast, measure)
    if not pairs:
        return replace(blank, notes=tuple(notes))
    aligned = _align(study, pairs)
    if isinstance(aligned, str):
        return replace(blank, notes=(*notes, aligned))
    # The same contrast draws the same resamples whatever else is in the report.
    key = zlib.crc32(f"{contrast.cell}|{contrast.baseline_cell}|{measure.task}|{measure.metric}|{measure.profile}".encode())
    result = paired_bootstrap(
        aligned.first_NK,
        aligned.baseline_NK,
        aligned.clusters,
        measure.aggregate,
        num_resamples=num_resamples,
        rng=np.random.default_rng([seed, key]),
    )
    claim = replace(
        blank,
        verdict=INCONCLUSIVE,
        run_ids=tuple(a.run_id for a, _ in pairs),
        baseline_run_ids=tuple(b.run_id for _, b in pairs),
        trained_tokens=tuple(a.trained_tokens for a, _ in pairs),
        baseline_trained_tokens=tuple(b.trained_tokens for _, b in pairs),
        num_items=len(aligned.clusters),
        num_units=result.num_units,
        score=result.score,
        baseline_score=result.baseline_score,
        difference=result.difference,
        difference_interval=result.difference_interval,
        relative_change=result.relative_change,
        relative_interval=result.relative_interval,
        p=result.p,
        detectable_difference=POWER_FACTOR * result.standard_error,
        seed_differences=aligned.seed_differences,
    )
    cautions = [*_cautions(claim, result.num_differing_units), *constant_answers(study, pairs, measure)]
    return replace(claim, notes=(*notes, *aligned.notes, *cautions))


def _cautions(claim: Claim, num_differing: int) -> list[str]:
    assert claim.num_units is not None and claim.num_items is not None
    notes = []
    if claim.at_floor:
        notes.append("the baseline score is at the floor: a relative change would be unstable, so only the difference is given")
    if claim.num_units < FEW_UNITS:
        notes.append(f"only {claim.num_units} independent units: the interval is rough")
    elif claim.num_units < claim.num_items:
        notes.append(f"{claim.num_items} items in {claim.num_units} clusters, resampled by cluster")
    if num_differing < FEW_DIFFERING:
        some = "no unit" if num_differing == 0 else f"only {num_differing} of {claim.num_units} units"
        notes.append(f"the two sides differ on {some}: the interval is narrower than it should be")
    signs = {d > 0 for d in claim.seed_differences if d != 0}
    if len(signs) > 1:
        notes.append("the seeds disagree in sign")
    return notes


def _record_pairs(study: Study, contrast: Contrast, measure: Measure) -> tuple[list[RecordPair], list[str]]:
    """Records to compare, one pair a seed; and what was left out, in words."""
    pairs: list[RecordPair] = []
    notes: list[str] = []
    for run_id, baseline_run_id in contrast.pairs:
        mine, theirs = (RunPaths.of(study.out, r) for r in (run_id, baseline_run_id))
        if undeclared := compare_runs(mine, theirs, factor=contrast.factor, consequences=contrast.consequences):
            notes.append(f"{run_id} and {baseline_run_id} differ in more than {contrast.factor}: {in_words(undeclared)}")
            continue
        tokens = matched_tokens(study, run_id, baseline_run_id)
        if tokens is None:
            notes.append(f"{run_id} and {baseline_run_id} have no evaluated checkpoint at the same tokens")
            continue
        a, b = (study.record_of(r, t, measure) for r, t in zip((run_id, baseline_run_id), tokens, strict=True))
        if a is None or b is None:
            without = " and ".join(r for r, record in ((run_id, a), (baseline_run_id, b)) if record is None)
            notes.append(f"no result of {without} at the compared checkpoint")
            continue
        if test_of(a) != test_of(b):
            notes.append(f"{run_id} and {baseline_run_id} were asked differently: {difference_of_tests(a, b)}: not the same test")
            continue
        if pairs and test_of(a) != test_of(pairs[0][0]):
            notes.append(f"{run_id} was asked differently than {pairs[0][0].run_id}: {difference_of_tests(a, pairs[0][0])}: left out")
            continue
        pairs.append((a, b))
        if abs(tokens[0] - tokens[1]) > SAME_TOKENS * max(tokens):
            notes.append(f"compared at different amounts of training: {tokens[0]:,} and {tokens[1]:,} tokens")
        if tokens != (study.checkpoints_of(run_id)[-1], study.checkpoints_of(baseline_run_id)[-1]) or (
            {study.state_of(run_id), study.state_of(baseline_run_id)} != {"trained"}
        ):
            notes.append(f"not final: compared at {tokens[0]:,} tokens")
    return pairs, list(dict.fromkeys(notes))


@dataclass(frozen=True)
class _Aligned:
    first_NK: FloatArray
    baseline_NK: FloatArray
    clusters: tuple[str, ...]
    seed_differences: tuple[float, ...]
    notes: tuple[str, ...]


def _align(study: Study, pairs: Sequence[RecordPair]) -> _Aligned | str:
    """Statistics of the items that every run of the comparison has, summed over seeds; or why that is impossible."""
    items: list[tuple[ItemStatistics, ItemStatistics]] = []
    for a, b in pairs:
        first, baseline = study.items_of(a), study.items_of(b)
        if first is None or baseline is None:
            return f"item statistics of {a.run_id if first is None else b.run_id} are missing: no interval, so no comparison"
        items.append((first, baseline))
    everyone = [side for pair in items for side in pair]
    ids = sorted(set.intersection(*(set(side.item_ids) for side in everyone)))
    if not ids:
        return "the two sides share no item"
    notes = []
    if any(len(side.item_ids) != len(ids) for side in everyone):
        notes.append(f"only the {len(ids)} items that all runs have are compared")
    aggregate = everyone[0].aggregate
    first_by_seed = [_rows(first, ids) for first, _ in items]
    baseline_by_seed = [_rows(baseline, ids) for _, baseline in items]
    differences = tuple(
        score_of_items(a, aggregate) - score_of_items(b, aggregate) for a, b in zip(first_by_seed, baseline_by_seed, strict=True)
    )
    cluster_of = clusters_of(everyone[0])
    return _Aligned(
        first_NK=summed(first_by_seed, aggregate),
        baseline_NK=summed(baseline_by_seed, aggregate),
        clusters=tuple(cluster_of[item_id] for item_id in ids),
        seed_differences=differences if len(differences) > 1 else (),
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class Pooled:
    """One measure at one checkpoint of a cell, over its seeds: statistics in the form `score_of_sums` wants."""

    statistics_NK: FloatArray
    clusters: tuple[str, ...]
    score: float


def pooled(study: Study, records: Sequence[EvaluationRecord]) -> Pooled | None:
    """The items that all these records (one a seed) share, summed over seeds; None when some statistics are gone."""
    items = [study.items_of(record) for record in records]
    present = [side for side in items if side is not None]
    if not present or len(present) < len(items):
        return None
    ids = sorted(set.intersection(*(set(side.item_ids) for side in present)))
    if not ids:
        return None
    statistics_NK = summed([_rows(side, ids) for side in present], present[0].aggregate)
    cluster_of = clusters_of(present[0])
    score = float(score_of_sums(statistics_NK.sum(axis=0), present[0].aggregate))
    return Pooled(statistics_NK, tuple(cluster_of[i] for i in ids), score)


def clusters_of(items: ItemStatistics) -> Mapping[str, str]:
    """Cluster of every item; an item without one is a cluster of its own."""
    return {i: f"cluster {c}" if c else f"item {i}" for i, c in zip(items.item_ids, items.clusters, strict=True)}


def _rows(items: ItemStatistics, ids: Sequence[str]) -> FloatArray:
    index = {item_id: row for row, item_id in enumerate(items.item_ids)}
    return items.statistics[[index[item_id] for item_id in ids]]


def summed(by_seed: Sequence[FloatArray], aggregate: str) -> FloatArray:
    """Statistics of aligned items summed over seeds, in the form `score_of_sums` wants: a mean over seeds and items."""
    return np.asarray(sum(summable(rows, aggregate) for rows in by_seed), dtype=np.float64)
