"""Contrasts to claims: what a choice did to every task, over runs and items, and whether that can be said at all.

(1) match      the checkpoints that are compared: the last of both runs, or the last both have reached  -> pairs of runs
(2) check      one factor between them, same prompts, items, task version                                -> sides, or why not
(3) align      the items that all runs of a contrast have                                                -> (s, a, m, k)
(4) estimate   variance between runs and over items (analysis.claims.estimate)                           -> Claim
(5) judge      Holm over every comparison of the report, and a margin (analysis.claims.judge)            -> verdicts

Reads  items of evaluations.  Writes  nothing.  Source  paper 5.1 and 5.2 (relative change, there without intervals).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from analysis.claims.adjust import mcnemar_p
from analysis.claims.align import Aligned, Arms, Side, align
from analysis.claims.asked import answer_warnings, difference_of_tests, digest_warnings, test_of
from analysis.claims.claim import INTERACTION, MARGINS, NOT_COMPARED, ONE_RUN, SIGNIFICANCE, TRAINING, Claim
from analysis.claims.estimate import CONTRAST_WEIGHTS, estimate
from analysis.claims.judge import FEW_DIFFERING, FEW_UNITS, judge
from analysis.claims.noise import NoiseTable, Recorded, RunNoise, checkpoint_noise, lattice_variance, run_noise
from analysis.claims.variance import Part
from analysis.claims.without_items import without_items
from analysis.load import Contrast, Measure, Study
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.artefact.progress import track
from swallow_exp.record.aggregate import FloatArray
from swallow_exp.record.contrast import compare_runs, in_words
from swallow_exp.record.noise import NoiseRegister, find_register, read_registers, setting_of_run
from swallow_exp.record.schema import EvaluationRecord

# assumed: checkpoints are "at the same tokens" within 5%: a mark is the first step at or past it, and steps are coarse in small runs
SAME_TOKENS = 0.05
Noise = Callable[[FloatArray], RunNoise]


@dataclass
class Comparer:
    """What comparisons of one study share: noise between runs, null studies, and which runs may be compared."""

    study: Study
    noise: NoiseTable
    registers: tuple[NoiseRegister, ...]
    _settings: dict[str, str] = field(default_factory=dict, repr=False)
    _runs: dict[Contrast, MatchedRuns] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, study: Study) -> Comparer:
        """Read the registers beside the study, and its finished runs."""
        return cls(study, NoiseTable(_finals(study)), read_registers(study.out))

    def matched(self, contrast: Contrast) -> MatchedRuns:
        """The runs of a contrast whose checkpoints may be compared."""
        if contrast not in self._runs:
            self._runs[contrast] = _match_runs(self.study, contrast)
        return self._runs[contrast]

    def compare(self, blank: Claim, measure: Measure, seeds: Sequence[Arms], weights: Sequence[float], cells: Sequence[str]) -> Claim:
        """One comparison, before it is judged.

        Args:
            blank: names of the comparison, and what is known beforehand in its notes and warnings.
            seeds: the sides of every seed, in the order of `weights`.
            cells: cells of the arms, for the pool of seeds.
        """
        if not seeds:
            return blank
        aligned = align(self.study, seeds)
        if isinstance(aligned, str):
            if aligned:
                return replace(blank, notes=(*blank.notes, aligned))
            if len(weights) > len(CONTRAST_WEIGHTS):
                return blank
            return without_items(blank, seeds, "item statistics are missing, so there is no interval and no verdict")
        noise = self._noise(blank, measure, seeds, weights, cells, aligned.units.num_items)
        claim = replace(estimate(blank, aligned, measure.aggregate, weights, noise), notes=(*blank.notes, *aligned.notes))
        ends = [tuple(side[-1][1] for side in arms) for arms in seeds]
        warnings = _warnings(self.study, claim, measure, ends)
        claim = replace(claim, warnings=(*claim.warnings, *warnings), notes=(*claim.notes, *_remarks(claim)))
        if claim.kind == INTERACTION:
            return claim
        return replace(
            claim,
            run_ids=tuple(first.run_id for first, _ in ends),
            baseline_run_ids=tuple(other.run_id for _, other in ends),
            trained_tokens=tuple(first.trained_tokens for first, _ in ends),
            baseline_trained_tokens=tuple(other.trained_tokens for _, other in ends),
            p_exact=_exact_p(aligned, measure),
        )

    def _noise(
        self, blank: Claim, measure: Measure, seeds: Sequence[Arms], weights: Sequence[float], cells: Sequence[str], num_items: int
    ) -> Noise:
        """Where the noise of this comparison is known from, once its seeds' differences are known."""
        own_start = blank.kind == TRAINING  # the same weights at every seed: only one arm moves, seeds and all
        scale = 1.0 if own_start else sum(w * w for w in weights)
        spread = self.noise.spread(measure)
        part = None if spread is None else spread.within if own_start else spread.paired
        pooled = None if part is None else Part(part.variance * scale, part.freedom)
        unpaired = None if spread is None else Part(spread.within.variance * scale, spread.within.freedom)
        recorded = self._recorded(measure, seeds, scale, own_start=own_start)
        floor = lattice_variance(measure, num_items) * scale

        def noise_of(differences_S: FloatArray) -> RunNoise:
            found = run_noise(differences_S, cells=cells, spread=spread, pooled=pooled, unpaired=unpaired, recorded=recorded, floor=floor)
            if found.decides:
                return found
            return checkpoint_noise(self.study, measure, [side[-1][1] for side in seeds[0]]) or found

        return noise_of

    def _recorded(self, measure: Measure, seeds: Sequence[Arms], scale: float, *, own_start: bool) -> Recorded | None:
        """What a null study of the setting of all these runs says of the measure, asked the same."""
        last = seeds[0][0][-1][1]
        settings = {self._setting(side[-1][1].run_id) for arms in seeds for side in arms}
        register = find_register(self.registers, settings.pop()) if len(settings) == 1 else None
        entry = register.entry(measure.task, measure.metric, measure.profile) if register else None
        if register is None or entry is None or (entry.prompt_digest, entry.task_version) != test_of(last):
            return None
        variance, freedom = (entry.within_variance, entry.within_freedom) if own_start else (entry.variance, entry.freedom)
        return Recorded(Part(variance * scale, freedom), register.study, entry.num_runs) if freedom > 0 else None

    def _setting(self, run_id: str) -> str:
        if run_id not in self._settings:
            self._settings[run_id] = setting_of_run(RunPaths.of(self.study.out, run_id))
        return self._settings[run_id]


@dataclass(frozen=True)
class MatchedRuns:
    """The runs of a contrast whose checkpoints may be compared: (run, baseline run, trained tokens of both).

    refused: what was left out, in words. remarks: what to know of each pair.
    """

    pairs: tuple[tuple[str, str, tuple[int, int]], ...]
    refused: tuple[str, ...]
    remarks: tuple[tuple[str, ...], ...]


def compare_contrasts(study: Study, *, margins: Mapping[str, float] | None = None, comparer: Comparer | None = None) -> tuple[Claim, ...]:
    """Every contrast on every measure, then every interaction of two contrasts, judged as one family.

    Args:
        margins: differences too small to matter, by unit (claim.MARGINS).
    """
    from analysis.claims.interactions import find_interactions, interaction_claim

    comparer = comparer or Comparer.of(study)
    interactions = find_interactions(study)
    by_task: dict[str, list[int]] = {}
    for j, measure in enumerate(study.measures):
        by_task.setdefault(measure.task, []).append(j)
    found: dict[tuple[int, int, int], Claim] = {}
    for measures in track(by_task.values(), "comparing", len(by_task)):  # items of one task are read once
        for j in measures:
            measure = study.measures[j]
            found |= {(0, i, j): _contrast_claim(comparer, contrast, measure) for i, contrast in enumerate(study.contrasts)}
            found |= {(1, i, j): interaction_claim(comparer, one, measure) for i, one in enumerate(interactions)}
    return judge(study, [found[place] for place in sorted(found)], {**MARGINS, **(margins or {})})


def _contrast_claim(comparer: Comparer, contrast: Contrast, measure: Measure) -> Claim:
    seeds, notes, warnings = sides_of(comparer.study, comparer.matched(contrast), measure)
    blank = replace(blank_claim(comparer.study, contrast, measure), notes=tuple(notes), warnings=tuple(warnings))
    return comparer.compare(blank, measure, seeds, CONTRAST_WEIGHTS, (contrast.cell, contrast.baseline_cell))


def blank_claim(study: Study, contrast: Contrast, measure: Measure) -> Claim:
    """The names of a comparison, before anything is compared."""
    return Claim(
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


def _match_runs(study: Study, contrast: Contrast) -> MatchedRuns:
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
    return MatchedRuns(tuple(matched), tuple(refused), tuple(remarks))


def side_up_to(study: Study, run_id: str, tokens: int, measure: Measure) -> Side | None:
    """What a run contributes at a checkpoint: that result, or the mean of the last ones where the question asks for it."""
    last = study.record_of(run_id, tokens, measure)
    if last is None or study.last_checkpoints == 1:
        return None if last is None else ((1.0, last),)
    marks = [t for t in study.checkpoints_of(run_id) if 0 < t <= tokens]
    found = [record for t in marks if (record := study.record_of(run_id, t, measure)) and test_of(record) == test_of(last)]
    found = found[-study.last_checkpoints :]
    return tuple((1.0 / len(found), record) for record in found) if found else ((1.0, last),)


def sides_of(study: Study, runs: MatchedRuns, measure: Measure) -> tuple[list[Arms], list[str], list[str]]:
    """Sides to compare, one pair per seed; what was left out, in words; and warnings."""
    seeds: list[Arms] = []
    notes, warnings = list(runs.refused), []
    for (run_id, baseline_run_id, tokens), remarks in zip(runs.pairs, runs.remarks, strict=True):
        first, other = (side_up_to(study, r, t, measure) for r, t in zip((run_id, baseline_run_id), tokens, strict=True))
        if first is None or other is None:
            without = " and ".join(r for r, side in ((run_id, first), (baseline_run_id, other)) if side is None)
            notes.append(f"no result of {without} at the compared checkpoint")
            continue
        a, b = first[-1][1], other[-1][1]
        if test_of(a) != test_of(b):
            notes.append(f"{run_id} and {baseline_run_id} were asked differently: {difference_of_tests(a, b)}: not the same test")
            warnings.append("digests_differ: not the same test on both sides")
            continue
        if seeds and test_of(a) != test_of(before := seeds[0][0][-1][1]):
            notes.append(f"{run_id} was asked differently than {before.run_id}: {difference_of_tests(a, before)}: left out")
            warnings.append("digests_differ: not the same test in every seed")
            continue
        seeds.append((first, other))
        notes += remarks
    return seeds, list(dict.fromkeys(notes)), list(dict.fromkeys(warnings))


def _finals(study: Study) -> dict[tuple[str, int], dict[Measure, Side]]:
    """The last results of every finished run: what runs of one cell are compared by."""
    found: dict[tuple[str, int], dict[Measure, Side]] = {}
    for cell in study.cells:
        for run_id, seed in zip(cell.run_ids, cell.seeds, strict=True):
            tokens = study.checkpoints_of(run_id)
            if tokens and tokens[-1] > 0 and study.state_of(run_id) == "trained":
                sides = {m: side for m in study.measures if (side := side_up_to(study, run_id, tokens[-1], m))}
                found[cell.label, seed] = sides
    return found


def _exact_p(aligned: Aligned, measure: Measure) -> float | None:
    """McNemar's exact p over these items, where there is one run per side and every item is right or wrong."""
    runs, arms, units, _ = aligned.units_SAMK.shape
    if (runs, arms, measure.aggregate) != (1, 2, "mean") or units != aligned.units.num_items:
        return None
    first_M, baseline_M = aligned.units_SAMK[0, :, :, 0]
    if not all(bool(((side == 0) | (side == 1)).all()) for side in (first_M, baseline_M)):
        return None
    return mcnemar_p(int((first_M > baseline_M).sum()), int((baseline_M > first_M).sum()))


def _warnings(study: Study, claim: Claim, measure: Measure, ends: Sequence[Sequence[EvaluationRecord]]) -> list[str]:
    """Everything that a reader should know before believing the numbers, each once."""
    pairs = [(records[0], records[1]) for records in ends]
    return list(dict.fromkeys([*answer_warnings(study, pairs, measure), *digest_warnings(pairs), *_cautions(claim)]))


def _cautions(claim: Claim) -> Iterable[str]:
    """Warnings about what the interval rests on."""
    assert claim.num_units is not None and claim.num_differing_units is not None and claim.smallest_p is not None
    units, differing = claim.num_units, claim.num_differing_units
    if differing and claim.smallest_p >= SIGNIFICANCE:
        yield f"never_decided: {_items(differing)} that differ cannot reach p below {claim.smallest_p:.3g}, however large the effect"
    elif units < FEW_UNITS:
        yield f"few_units: only {units} independent units: the interval is rough"
    elif differing < FEW_DIFFERING:
        some = "no unit" if differing == 0 else f"only {differing} of {units} units"
        yield f"few_units: the two sides differ on {some}: the interval is narrower than it should be"
    if claim.verdict == ONE_RUN:
        yield f"one_run: run noise {claim.noise_source}"
    elif len({d > 0 for d in claim.seed_differences if d != 0}) > 1:
        yield "seeds_disagree: the difference of some seeds has the other sign"


def _items(number: int) -> str:
    return f"{number} unit{'s' * (number != 1)}"


def _remarks(claim: Claim) -> Iterable[str]:
    assert claim.num_units is not None and claim.num_items is not None
    if claim.at_floor and claim.kind != INTERACTION:
        yield "the baseline score is at the floor: a relative change would be unstable, so only the difference is given"
    if claim.num_units < claim.num_items:
        yield f"{claim.num_items} items in {claim.num_units} clusters, one unit each"
