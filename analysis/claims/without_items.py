"""Claims from scores alone: published numbers, or results whose items are lost. No interval, no p, no verdict, and it is said.

Reads/Writes  nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from analysis.claims.align import Arms, score_of
from analysis.claims.claim import FLOOR_POINTS, NO_INTERVAL, Claim


def without_items(blank: Claim, seeds: Sequence[Arms], why: str) -> Claim:
    """Fill a claim with what the records of both sides say, as means over seeds.

    Args:
        blank: a claim with its names, nothing compared.
        seeds: the two sides of every seed.
        why: a note.
    """
    pairs = [(first[-1][1], other[-1][1]) for first, other in seeds]
    records = [record for pair in pairs for record in pair]
    score, baseline = (sum(score_of(arms[side]) for arms in seeds) / len(seeds) for side in (0, 1))
    at_floor = baseline <= (FLOOR_POINTS if blank.unit == "points" else 0.0)
    differences = tuple(score_of(first) - score_of(other) for first, other in seeds)
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
        relative_change=None if at_floor else 100.0 * (score - baseline) / baseline,
        seed_differences=differences if len(differences) > 1 else (),
        notes=(*blank.notes, why),
    )
