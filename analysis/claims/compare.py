"""Contrasts to claims: what a choice did to every task, how sure that is, and whether it can be said at all.

(1) match     the checkpoints that are compared: the last of both runs, or the last both have reached     -> pairs of records
(2) check     one factor between them, same prompts, items, task version; otherwise not compared              -> what differs, in words
(3) align     items both sides have; seeds are summed item by item, each seed paired with itself              -> (m, k), (m, k)
(4) resample  all contrasts of a task over the same units under the same draws                                   -> PairedResult
(5) judge     Holm over every comparison of the report, margin, noise (analysis.claims.judge)                     -> Claim

With several seeds the interval is over items, given these seeds: it says nothing about seeds that were not run. The difference of
each seed is in the claim, its spread is the noise floor, and a warning says when they disagree in sign.
Reads  items of evaluations.  Writes  nothing.  Source  paper 5.1 and 5.2 (relative change, there without intervals).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.claims.adjust import mcnemar_p
from analysis.claims.align import Aligned, Pooled, RecordPair, Units, align, clusters_of, pooled, summed
from analysis.claims.asked import answer_warnings, difference_of_tests, digest_warnings, test_of
from analysis.claims.bootstrap import FloatArray, PairedResult, distinct_rows, drawn_sums, multinomial_sums, paired_result
from analysis.claims.claim import (
    DEGRADED,
    EQUIVALENT,
    IMPROVED,
    INCONCLUSIVE,
    MARGINS,
    NO_INTERVAL,
    NOT_COMPARED,
    NUM_RESAMPLES,
    SIGNIFICANCE,
    WARNINGS,
    Claim,
    resampled,
)
from analysis.claims.judge import FEW_DIFFERING, FEW_UNITS, judge
from analysis.claims.noise import noise_floor
from analysis.claims.without_items import without_items
from analysis.load import Contrast, Measure, Study
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.artefact.progress import track
from swallow_exp.record.aggregate import score_of_sums
from swallow_exp.record.contrast import compare_runs, in_words

__all__ = [
    "DEGRADED",
    "EQUIVALENT",
    "IMPROVED",
    "INCONCLUSIVE",
    "NOT_COMPARED",
    "NO_INTERVAL",
    "NUM_RESAMPLES",
    "SAME_TOKENS",
    "SIGNIFICANCE",
    "WARNINGS",
    "Claim",
    "Pooled",
    "clusters_of",
    "compare_contrasts",
    "matched_tokens",
    "pooled",
    "summed",
]

# assumed: checkpoints are "at the same tokens" within 5%: a mark is the first step at or past it, and steps are coarse in small runs
SAME_TOKENS = 0.05


@dataclass(frozen=True)
class _Runs:
    """The runs of a contrast whose checkpoints may be compared, with trained tokens of both; and what was left out, in words."""

    matched: tuple[tuple[str, str, tuple[int, int]], ...]
    refused: tuple[str, ...]
    remarks: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class _Prepared:
    """A comparison before it is resampled. aligned: None when there is nothing to resample, then the claim is finished."""

    claim: Claim
    measure: Measure
    pairs: tuple[RecordPair, ...] = ()
    aligned: Aligned | None = None


def compare_contrasts(
    study: Study, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0, margins: Mapping[str, float] | None = None
) -> tuple[Claim, ...]:
    """Every contrast on every measure, judged as one family. margins: differences too small to matter, by unit (claim.MARGINS)."""
    runs = [_match_runs(study, contrast) for contrast in study.contrasts]
    by_task: dict[str, list[int]] = {}
    for j, measure in enumerate(study.measures):
        by_task.setdefault(measure.task, []).append(j)
    found: dict[tuple[int, int], Claim] = {}
    for measures in track(by_task.values(), "comparing", len(by_task)):
        places = [(i, j) for i in range(len(study.contrasts)) for j in measures]
        prepared = [_prepare(study, study.contrasts[i], runs[i], study.measures[j]) for i, j in places]
        results = _resample(prepared, num_resamples, seed)
        found |= {place: _claim(study, one, result) for place, one, result in zip(places, prepared, results, strict=True)}
    return judge(study, [found[place] for place in sorted(found)], {**MARGINS, **(margins or {})})


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


def _match_runs(study: Study, contrast: Contrast) -> _Runs:
    matched, refused, remarks = [], [], []
    for run_id, baseline_run_id in contrast.pairs:
        mine, theirs = (RunPaths.of(study.out, r) for r in (run_id, baseline_run_id))
        if undeclared := compare_runs(mine, theirs, factor=contrast.factor, consequences=contrast.consequences):
            refused.append(f"{run_id} and {baseline_run_id} differ in more than {contrast.factor}: {in_words(undeclared)}")
            continue
        tokens = matched_tokens(study, run_id, baseline_run_id)
        if tokens is None:
            refused.append(f"{run_id} and {baseline_run_id} have no evaluated checkpoint at the same tokens")
            continue
        notes = []
        if abs(tokens[0] - tokens[1]) > SAME_TOKENS * max(tokens):
            notes.append(f"compared at different amounts of training: {tokens[0]:,} and {tokens[1]:,} tokens")
        last = (study.checkpoints_of(run_id)[-1], study.checkpoints_of(baseline_run_id)[-1])
        if tokens != last or {study.state_of(run_id), study.state_of(baseline_run_id)} != {"trained"}:
            notes.append(f"not final: compared at {tokens[0]:,} tokens")
        matched.append((run_id, baseline_run_id, tokens))
        remarks.append(tuple(notes))
    return _Runs(tuple(matched), tuple(refused), tuple(remarks))


def _record_pairs(study: Study, runs: _Runs, measure: Measure) -> tuple[list[RecordPair], list[str], list[str]]:
    """Records to compare, one pair a seed; what was left out, in words; and warnings."""
    pairs: list[RecordPair] = []
    notes, warnings = list(runs.refused), []
    for (run_id, baseline_run_id, tokens), remarks in zip(runs.matched, runs.remarks, strict=True):
        a, b = (study.record_of(r, t, measure) for r, t in zip((run_id, baseline_run_id), tokens, strict=True))
        if a is None or b is None:
            without = " and ".join(r for r, record in ((run_id, a), (baseline_run_id, b)) if record is None)
            notes.append(f"no result of {without} at the compared checkpoint")
            continue
        if test_of(a) != test_of(b):
            notes.append(f"{run_id} and {baseline_run_id} were asked differently: {difference_of_tests(a, b)}: not the same test")
            warnings.append("digests_differ: not the same test on both sides")
            continue
        if pairs and test_of(a) != test_of(pairs[0][0]):
            notes.append(f"{run_id} was asked differently than {pairs[0][0].run_id}: {difference_of_tests(a, pairs[0][0])}: left out")
            warnings.append("digests_differ: not the same test in every seed")
            continue
        pairs.append((a, b))
        notes += remarks
    return pairs, list(dict.fromkeys(notes)), list(dict.fromkeys(warnings))


def _prepare(study: Study, contrast: Contrast, runs: _Runs, measure: Measure) -> _Prepared:
    pairs, notes, warnings = _record_pairs(study, runs, measure)
    claim = Claim(
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
        warnings=tuple(warnings),
        notes=tuple(notes),
    )
    if not pairs:
        return _Prepared(claim, measure)
    aligned = align(study, pairs)
    if isinstance(aligned, Aligned):
        return _Prepared(claim, measure, tuple(pairs), aligned)
    if aligned:
        return _Prepared(replace(claim, notes=(*claim.notes, aligned)), measure)
    return _Prepared(without_items(claim, pairs, "item statistics are missing, so there is no interval and no verdict"), measure)


def _resample(prepared: Sequence[_Prepared], num_resamples: int, seed: int) -> list[PairedResult | None]:
    """One result a comparison. The same contrast draws the same resamples whatever else is in the report."""
    results: list[PairedResult | None] = [None] * len(prepared)
    by_units: dict[Units, list[int]] = {}
    for i, one in enumerate(prepared):
        if one.aligned is None:
            continue
        first, baseline, k = one.aligned.first_MK, one.aligned.baseline_MK, one.aligned.first_MK.shape[1]
        distinct = distinct_rows(np.concatenate([first, baseline], axis=1))
        if distinct is None:
            by_units.setdefault(one.aligned.units, []).append(i)
            continue
        c, m = one.claim, one.measure
        rng = np.random.default_rng([seed, _key(f"{c.cell}|{c.baseline_cell}|{m.task}|{m.metric}|{m.profile}")])
        sums_BK = multinomial_sums(*distinct, num_resamples, rng)
        scores_B, baselines_B = score_of_sums(sums_BK[:, :k], m.aggregate), score_of_sums(sums_BK[:, k:], m.aggregate)
        results[i] = paired_result(first, baseline, scores_B, baselines_B, m.aggregate)
    for units, group in by_units.items():
        rng = np.random.default_rng([seed, _key(f"{prepared[group[0]].measure.task}|{units.num_units}")])
        _resample_together(prepared, group, num_resamples, rng, results)
    return results


def _resample_together(
    prepared: Sequence[_Prepared], group: Sequence[int], num_resamples: int, rng: np.random.Generator, results: list[PairedResult | None]
) -> None:
    """Contrasts over the same units: every side is resampled once, however many contrasts it is in."""
    sides: dict[tuple[object, ...], tuple[FloatArray, str]] = {}
    used: dict[int, tuple[tuple[object, ...], tuple[object, ...]]] = {}
    for i in group:
        one = prepared[i]
        assert one.aligned is not None
        used[i] = tuple(a for a, _ in one.pairs), tuple(b for _, b in one.pairs)
        for key, units_MK in zip(used[i], (one.aligned.first_MK, one.aligned.baseline_MK), strict=True):
            sides[key] = (units_MK, one.measure.aggregate)
    sums = drawn_sums([units_MK for units_MK, _ in sides.values()], num_resamples, rng)
    scores = {key: score_of_sums(sums_BK, aggregate) for (key, (_, aggregate)), sums_BK in zip(sides.items(), sums, strict=True)}
    for i, (key, baseline_key) in used.items():
        first, baseline = sides[key][0], sides[baseline_key][0]
        results[i] = paired_result(first, baseline, scores[key], scores[baseline_key], prepared[i].measure.aggregate)


def _key(text: str) -> int:
    return zlib.crc32(text.encode())


def _claim(study: Study, one: _Prepared, result: PairedResult | None) -> Claim:
    if result is None or one.aligned is None:
        return one.claim
    pairs, aligned = one.pairs, one.aligned
    floor, source = noise_floor(study, one.measure, pairs, aligned.seed_differences)
    single_items = aligned.right_or_wrong is not None and result.num_units == aligned.units.num_items
    claim = replace(
        resampled(one.claim, result),
        run_ids=tuple(a.run_id for a, _ in pairs),
        baseline_run_ids=tuple(b.run_id for _, b in pairs),
        trained_tokens=tuple(a.trained_tokens for a, _ in pairs),
        baseline_trained_tokens=tuple(b.trained_tokens for _, b in pairs),
        num_items=aligned.units.num_items,
        p_exact=mcnemar_p(*aligned.right_or_wrong) if single_items and aligned.right_or_wrong else None,
        seed_differences=aligned.seed_differences,
        noise_floor=floor,
        noise_source=source,
    )
    warnings = [*answer_warnings(study, pairs, one.measure), *digest_warnings(pairs), *_cautions(claim)]
    return replace(claim, warnings=(*claim.warnings, *dict.fromkeys(warnings)), notes=(*claim.notes, *aligned.notes, *_remarks(claim)))


def _cautions(claim: Claim) -> Iterable[str]:
    """Warnings about what the interval rests on."""
    assert claim.num_units is not None and claim.num_differing_units is not None
    if claim.num_units < FEW_UNITS:
        yield f"few_units: only {claim.num_units} independent units: the interval is rough"
    if claim.num_differing_units < FEW_DIFFERING:
        some = "no unit" if claim.num_differing_units == 0 else f"only {claim.num_differing_units} of {claim.num_units} units"
        yield f"few_units: the two sides differ on {some}: the interval is narrower than it should be"
    if not claim.seed_differences:
        yield "one_seed: one run a side: the interval is over items, and says nothing of another seed"
    elif len({d > 0 for d in claim.seed_differences if d != 0}) > 1:
        yield "seeds_disagree: the difference of some seeds has the other sign"


def _remarks(claim: Claim) -> Iterable[str]:
    assert claim.num_units is not None and claim.num_items is not None
    if claim.at_floor:
        yield "the baseline score is at the floor: a relative change would be unstable, so only the difference is given"
    if claim.num_units < claim.num_items:
        yield f"{claim.num_items} items in {claim.num_units} clusters, resampled by cluster"
