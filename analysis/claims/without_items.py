"""Claims from scores alone: published numbers, or results whose items are lost. No interval, no p, no verdict, and it is said.

Reads/Writes  nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from analysis.claims.bootstrap import FLOOR_POINTS, relative_change
from analysis.claims.claim import NO_INTERVAL, NOT_COMPARED, Claim
from analysis.load import Measure
from swallow_exp.record.schema import EvaluationRecord

RecordPair = tuple[EvaluationRecord, EvaluationRecord]
NOT_PUBLISHED = "items are not published, so there is no interval and no verdict"


def without_items(blank: Claim, pairs: Sequence[RecordPair], why: str) -> Claim:
    """Fill a claim with what the records of both sides say (means over seeds). blank: a claim with its names, nothing compared."""
    records = [record for pair in pairs for record in pair]
    score, baseline = (sum(pair[side].score for pair in pairs) / len(pairs) for side in (0, 1))
    at_floor = baseline <= (FLOOR_POINTS if blank.unit == "points" else 0.0)
    differences = tuple(a.score - b.score for a, b in pairs)
    numbers = {record.num_items for record in records}
    return replace(
        blank,
        verdict=NO_INTERVAL,
        run_ids=tuple(a.run_id for a, _ in pairs),
        baseline_run_ids=tuple(b.run_id for _, b in pairs),
        trained_tokens=tuple(a.trained_tokens for a, _ in pairs),
        baseline_trained_tokens=tuple(b.trained_tokens for _, b in pairs),
        num_items=numbers.pop() if len(numbers) == 1 else None,
        score=score,
        baseline_score=baseline,
        difference=score - baseline,
        relative_change=None if at_floor else relative_change(score, baseline),
        seed_differences=differences if len(differences) > 1 else (),
        notes=(*blank.notes, why),
    )


def claims_without_items(
    pairs: Sequence[RecordPair],
    *,
    factor: str,
    level: str,
    baseline_level: str,
    contrast: str = "",
    cell: str = "",
    baseline_cell: str = "",
    size: str = "",
    why: str = NOT_PUBLISHED,
) -> tuple[Claim, ...]:
    """One claim a pair (record, baseline record), in their order; both of one measure (task, metric, profile).

    Nothing is tested: the verdict is `no interval`. Pairs of different measures are an error of the caller.
    """
    claims = []
    for record, baseline in pairs:
        measure = Measure.of(record)
        assert measure == Measure.of(baseline), (measure, Measure.of(baseline))
        blank = Claim(
            contrast=contrast or f"{level} vs {baseline_level}",
            factor=factor,
            level=level,
            baseline_level=baseline_level,
            cell=cell or record.run_id,
            baseline_cell=baseline_cell or baseline.run_id,
            task=measure.task,
            metric=measure.metric,
            profile=measure.profile,
            measure=measure.task,
            unit=measure.unit,
            higher_is_better=measure.higher_is_better,
            verdict=NOT_COMPARED,
            size=size,
        )
        claims.append(without_items(blank, [(record, baseline)], why))
    return tuple(claims)
