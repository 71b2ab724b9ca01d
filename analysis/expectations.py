"""What was expected before the runs, held against what was found.

A question may state signs: `expects: {mini_en_ja: up, heldout_english: down, others: none}`, for all
contrasts, or below the level of a contrast. Up and down are directions of the score.

    as expected   the direction was decided, or no effect was expected and the two are equivalent
    against       the other direction was decided, or any direction where none was expected
    undecided     everything else

Reads/Writes  nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.claims.claim import DEGRADED, EQUIVALENT, IMPROVED, Claim
from analysis.load import Study
from analysis.table import Table

UP, DOWN, NONE, OTHERS = "up", "down", "none", "others"
AS_EXPECTED, AGAINST, UNDECIDED = "as expected", "against", "undecided"


@dataclass(frozen=True)
class Scored:
    """One expectation and what became of it."""

    claim: Claim
    expected: str
    result: str


def score_expectations(study: Study, claims: Sequence[Claim]) -> list[Scored]:
    """Every claim that the question states a sign for."""
    found = []
    for claim in claims:
        expected = _expected(study.signs, claim)
        if expected and claim.difference is not None:
            found.append(Scored(claim, expected, _result(claim, expected)))
    return found


def _expected(signs: Mapping[str, object], claim: Claim) -> str:
    """The sign for one claim: below its contrast's level first, then for all contrasts, then for the other tasks."""
    own = signs.get(claim.level)
    for stated in (own if isinstance(own, Mapping) else {}, signs):
        for key in (claim.measure, claim.task, OTHERS):
            if isinstance(stated.get(key), str):
                return str(stated[key])
    return ""


def _result(claim: Claim, expected: str) -> str:
    assert claim.difference is not None
    if claim.verdict == EQUIVALENT:
        return AS_EXPECTED if expected == NONE else AGAINST
    if claim.verdict not in (IMPROVED, DEGRADED):
        return UNDECIDED
    return AS_EXPECTED if expected == (UP if claim.difference > 0 else DOWN) else AGAINST


def expectations_table(scored: Sequence[Scored]) -> Table | None:
    """One row per expectation; None where no sign was stated."""
    if not scored:
        return None
    from analysis.wording import difference_text

    rows = tuple((s.claim.contrast, s.claim.measure, s.expected, difference_text(s.claim), s.claim.verdict, s.result) for s in scored)
    columns = ("contrast", "task", "expected", "found", "verdict", "result")
    caption = "Signs that were stated before the runs, as directions of the score, and what became of them."
    return Table("expectations", caption, columns, rows, tuple((None,) * len(columns) for _ in rows))


def expectations_words(scored: Sequence[Scored]) -> str:
    """`Of 12 expectations: 4 as expected, 0 against, 8 undecided.`; empty where none was stated."""
    if not scored:
        return ""
    counts = [f"{sum(s.result == result for s in scored)} {result}" for result in (AS_EXPECTED, AGAINST, UNDECIDED)]
    return f"Of {len(scored)} expectations stated before the runs: {', '.join(counts)}."
