"""Comparisons that are no contrast of the sweep, as claims: a cell against its own token 0, and two cells at equal text or compute.

(1) place      where both sides have been: their last checkpoints, or the largest number of bytes (FLOPs) both have reached
(2) side       the checkpoint within 5% of the place; between two checkpoints the item statistics are mixed, as on a straight line
(3) compare    over runs and items, as the contrasts of the sweep (claims.compare.Comparer)                 -> Claim
(4) judge      over the comparisons of the figure, as the contrasts of the sweep over those of the report   -> Claim

A mixed side has an interval over its items like any other; that the curve is straight between two checkpoints is assumed, so such a
claim has the note BETWEEN and a dotted interval. Beyond the last checkpoint nothing is made up: the comparison is absent.
Reads  items of evaluations.  Writes  nothing.  Source  paper Figures 1 and 4
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from analysis.claims.align import Side
from analysis.claims.asked import test_of, usual_test
from analysis.claims.claim import CONTRAST, MARGINS, NOT_COMPARED, TRAINING, Claim
from analysis.claims.compare import SAME_TOKENS, Comparer, side_up_to
from analysis.claims.estimate import CONTRAST_WEIGHTS
from analysis.claims.judge import judge
from analysis.figures.axes import TOKENS, Progress, reached
from analysis.figures.series import SIZE
from analysis.figures.tasks import row_name
from analysis.frames import Cell
from analysis.load import Contrast, Measure, Study
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.contrast import compare_runs
from swallow_exp.record.schema import EvaluationRecord

BETWEEN = "a side that is between two of its checkpoints, on a straight line between their item scores"


def training_claims(
    comparer: Comparer, measures: Sequence[Measure], *, progress: Progress = TOKENS, margins: Mapping[str, float] = MARGINS
) -> tuple[Claim, ...]:
    """Every cell against its own token 0. With BYTES or FLOPS: at the largest place that every cell of its size has reached."""
    study = comparer.study
    results = Results(study, progress)
    found: dict[tuple[int, int], Claim] = {}
    for j, measure in enumerate(measures):
        for i, cell in enumerate(study.cells):
            sides = [(results.end(cell, run_id, measure), results.start(run_id, measure)) for run_id in cell.run_ids]
            blank = _blank(cell.label, "training", ("trained", "token 0"), (cell.label, cell.label), measure, measures, TRAINING)
            found[i, j] = _compared(comparer, blank, measure, sides)
    return judge(study, [found[place] for place in sorted(found)], margins)


def equal_claims(
    comparer: Comparer,
    contrasts: Sequence[Contrast],
    measures: Sequence[Measure],
    *,
    progress: Progress,
    margins: Mapping[str, float] = MARGINS,
) -> tuple[Claim, ...]:
    """Every contrast at the largest place both cells have reached."""
    study = comparer.study
    results = Results(study, progress)
    alone_of = [[pair for pair in contrast.pairs if _one_factor(study, contrast, pair)] for contrast in contrasts]
    found: dict[tuple[int, int], Claim] = {}
    for j, measure in enumerate(measures):
        for i, (contrast, alone) in enumerate(zip(contrasts, alone_of, strict=True)):
            places = [results.common(pair, measure) for pair in alone]
            sides = [
                (results.side_at(pair[0], measure, at), results.side_at(pair[1], measure, at))
                for pair, at in zip(alone, places, strict=True)
                if at
            ]
            levels, cells = (contrast.level, contrast.baseline_level), (contrast.cell, contrast.baseline_cell)
            blank = _blank(contrast.label, contrast.factor, levels, cells, measure, measures, CONTRAST)
            found[i, j] = _compared(comparer, blank, measure, sides)
    return judge(study, [found[place] for place in sorted(found)], margins)


def _one_factor(study: Study, contrast: Contrast, pair: tuple[str, str]) -> bool:
    """Whether two runs differ in the factor of the contrast alone, as their records say."""
    mine, theirs = (RunPaths.of(study.out, run_id) for run_id in pair)
    return not compare_runs(mine, theirs, factor=contrast.factor, consequences=contrast.consequences)


def _blank(
    label: str, factor: str, levels: tuple[str, str], cells: tuple[str, str], measure: Measure, measures: Sequence[Measure], kind: str
) -> Claim:
    return Claim(
        contrast=label,
        factor=factor,
        level=levels[0],
        baseline_level=levels[1],
        cell=cells[0],
        baseline_cell=cells[1],
        task=measure.task,
        metric=measure.metric,
        profile=measure.profile,
        measure=row_name(measure, measures),
        unit=measure.unit,
        higher_is_better=measure.higher_is_better,
        verdict=NOT_COMPARED,
        kind=kind,
    )


@dataclass(frozen=True)
class Results:
    """Where every run was at each of its results, and the sides of comparisons that follow from it."""

    study: Study
    progress: Progress
    _placed: dict[tuple[str, Measure], list[tuple[float, EvaluationRecord]]] = field(default_factory=dict, repr=False)

    def placed(self, run_id: str, measure: Measure) -> list[tuple[float, EvaluationRecord]]:
        """(place, result) of one measure along a run, ascending: results asked as usual whose place is known."""
        if (run_id, measure) not in self._placed:
            usual = usual_test(self.study.records_of(measure))
            found = (self.study.record_of(run_id, t, measure) for t in self.study.checkpoints_of(run_id))
            records = [record for record in found if record is not None and test_of(record) == usual]
            places = [(reached(self.study, run_id, record.trained_tokens, self.progress), record) for record in records]
            self._placed[run_id, measure] = [(place, record) for place, record in places if place is not None]
        return self._placed[run_id, measure]

    def start(self, run_id: str, measure: Measure) -> Side | None:
        """Token 0."""
        placed = self.placed(run_id, measure)
        return ((1.0, placed[0][1]),) if placed and placed[0][0] == 0 else None

    def end(self, cell: Cell, run_id: str, measure: Measure) -> Side | None:
        """The last result of a run; on the other axes, the largest place that every run of its size has reached."""
        placed = self.placed(run_id, measure)
        if self.progress == TOKENS:
            last = placed[-1][1] if placed and placed[-1][0] > 0 else None
            return side_up_to(self.study, run_id, last.trained_tokens, measure) if last else None
        peers = [r for other in self.study.cells if other.choices.get(SIZE) == cell.choices.get(SIZE) for r in other.run_ids]
        place = self.common([r for r in peers if self.placed(r, measure)], measure)
        return self.side_at(run_id, measure, place) if place else None

    def common(self, run_ids: Sequence[str], measure: Measure) -> float | None:
        """The largest place at which every run has been evaluated or passed; None when one of them is nowhere past 0."""
        ends = [placed[-1][0] if (placed := self.placed(run_id, measure)) else 0.0 for run_id in run_ids]
        return min(ends) if ends and min(ends) > 0 else None

    def side_at(self, run_id: str, measure: Measure, place: float) -> Side | None:
        """The result nearest to a place when it is within 5% of it, else the two around it with their shares; None beyond the last."""
        placed = self.placed(run_id, measure)
        near = min(placed, key=lambda pair: abs(pair[0] - place), default=None)
        if near is not None and abs(near[0] - place) <= SAME_TOKENS * place:
            return ((1.0, near[1]),)
        below, above = [p for p in placed if p[0] < place], [p for p in placed if p[0] > place]
        if not below or not above:
            return None
        share = (place - below[-1][0]) / (above[0][0] - below[-1][0])
        return ((1.0 - share, below[-1][1]), (share, above[0][1]))


def _compared(comparer: Comparer, blank: Claim, measure: Measure, sides: Sequence[tuple[Side | None, Side | None]]) -> Claim:
    """The comparison of two sides, one pair per seed, or the blank claim where it cannot be made."""
    seeds = [(first, other) for first, other in sides if first and other]
    if len({test_of(record) for arms in seeds for side in arms for _, record in side}) > 1:
        return blank
    claim = comparer.compare(blank, measure, seeds, CONTRAST_WEIGHTS, tuple(dict.fromkeys((blank.cell, blank.baseline_cell))))
    if comparer.study.last_checkpoints == 1 and any(len(side) > 1 for arms in seeds for side in arms):
        return replace(claim, trained_tokens=(), baseline_trained_tokens=(), notes=(*claim.notes, BETWEEN))
    return claim
