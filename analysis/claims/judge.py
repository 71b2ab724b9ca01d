"""From differences with intervals to verdicts: the family, the margin, the other profile, the other sizes.

(1) adjust       Holm and Benjamini-Hochberg over every compared claim of the report
(2) judge        equivalent            the whole 95% interval lies within the margin (two one-sided
                                       tests at 2.5% each) and a margin is stated
                 improved, degraded    Holm's p is below 0.05 and not both sides are at the floor
                 helps more, less      the same for an interaction
                 inconclusive          everything else, which is no proof of no effect
                 one run               stays what it is: without noise between runs nothing is judged
(3) remark       tests that disagree and profiles that disagree
(4) sizes        in how many model sizes the same choice goes up

A difference that is certain and within the margin is called equivalent, with a note: its sign is known, and too small to matter.
Equivalence is not adjusted for the family: each such verdict is wrong in at most 2.5% of the cases where the margin is just reached.
Reads/Writes  nothing.  Source  Schuirmann 1987 and Lakens 2017 (two one-sided tests); Holm 1979; Benjamini and Hochberg 1995
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from analysis.claims.adjust import bh_adjusted, holm_adjusted
from analysis.claims.claim import (
    CONTRAST,
    DEGRADED,
    EQUIVALENT,
    HELPS_LESS,
    HELPS_MORE,
    IMPROVED,
    INCONCLUSIVE,
    INTERACTION,
    SIGNIFICANCE,
    Claim,
    margin_of,
)
from analysis.load import Study

SIZE_FACTOR = "base_model"
FEW_UNITS = 20
FEW_DIFFERING = 5
# 97.5% upper limit of how many items differ where 0, 1, ... 4 were seen to (Poisson, above the binomial's)
MOST_DIFFERING = (3.69, 5.58, 7.23, 8.77, 10.25)
DIRECTIONS = {IMPROVED: 1, DEGRADED: -1, HELPS_MORE: 1, HELPS_LESS: -1}


def judge(study: Study, claims: Sequence[Claim], margins: Mapping[str, float]) -> tuple[Claim, ...]:
    """Verdicts and what must be said with them. claims: every comparison of the report, in any order."""
    p_values = {str(i): claim.p for i, claim in enumerate(claims) if claim.compared and claim.p is not None}
    holm, bh = holm_adjusted(p_values), bh_adjusted(p_values)
    judged = [
        _with_verdict(replace(claim, p_holm=holm[str(i)], p_bh=bh[str(i)], equivalence_margin=margin_of(claim.unit, margins)))
        if str(i) in p_values
        else claim
        for i, claim in enumerate(claims)
    ]
    return tuple(_with_sizes(study, _with_profiles(judged)))


def _with_verdict(claim: Claim) -> Claim:
    assert claim.difference is not None and claim.p is not None and claim.p_holm is not None
    better = (claim.difference > 0) == claim.higher_is_better
    certain = claim.p_holm < SIGNIFICANCE and claim.difference != 0
    notes = list(claim.notes)
    if certain and claim.both_at_floor:
        verdict = INCONCLUSIVE
        notes.append("both scores are at the floor: neither side can do this")
    elif is_equivalent(claim):
        verdict = EQUIVALENT
        if certain:
            notes.append(f"{'better' if better else 'worse'} for certain, and by less than the margin of {_amount(claim)}")
    elif certain:
        better_word, worse_word = (HELPS_MORE, HELPS_LESS) if claim.kind == INTERACTION else (IMPROVED, DEGRADED)
        verdict = better_word if better else worse_word
    else:
        verdict = INCONCLUSIVE
        if claim.p < SIGNIFICANCE:
            notes.append("on its own this would pass for a difference; after adjusting for all comparisons of this report it does not")
    claim = replace(claim, verdict=verdict, notes=tuple(notes))
    return replace(claim, warnings=(*claim.warnings, *_tests_warning(claim)))


def is_equivalent(claim: Claim) -> bool:
    """Whether the interval, and what it cannot see, lie within the margin."""
    margin, ends = claim.equivalence_margin, claim.difference_interval
    if margin is None or ends is None or claim.num_units is None or claim.num_differing_units is None:
        return False
    if claim.both_at_floor or claim.num_units < FEW_UNITS or _neither_side_answers(claim):
        return False  # equal because there is nothing to tell apart
    if max(abs(end) for end in ends) >= margin:
        return False
    if claim.num_differing_units >= FEW_DIFFERING:
        return True
    # Hardly a unit differs: resampling cannot show what was not seen, a limit on the share of differing items can.
    single_items = claim.unit == "points" and claim.num_units == claim.num_items
    return single_items and 100.0 * MOST_DIFFERING[claim.num_differing_units] / claim.num_units < margin


def _neither_side_answers(claim: Claim) -> bool:
    """Every run of both sides answers alike everywhere, or by chance."""
    named = {run_id for w in claim.warnings for code in ("near_chance", "degenerate") for run_id in [_run_of(w, code)] if run_id}
    return bool(claim.run_ids) and named >= {*claim.run_ids, *claim.baseline_run_ids}


def _run_of(warning: str, code: str) -> str:
    head, _, words = warning.partition(": ")
    return words.partition(" ")[0] if head == code else ""


def _amount(claim: Claim) -> str:
    return f"{claim.equivalence_margin:g} {claim.unit}"


def _tests_warning(claim: Claim) -> list[str]:
    """Two tests of the same items on different sides of the line: say so, believe neither."""
    if claim.p_exact is None or claim.p_items is None or (claim.p_exact < SIGNIFICANCE) == (claim.p_items < SIGNIFICANCE):
        return []
    return [f"tests_disagree: over items p is {claim.p_items:.3g} by their spread and {claim.p_exact:.3g} by McNemar's exact test"]


def _with_profiles(claims: Sequence[Claim]) -> list[Claim]:
    """Warn where `paper` and `fair` of one task decide differently; the same metric where both have it."""
    by_task: dict[tuple[str, str, str, str], list[Claim]] = {}
    for claim in claims:
        by_task.setdefault((claim.contrast, claim.cell, claim.baseline_cell, claim.task), []).append(claim)
    warned = []
    for claim in claims:
        mine = by_task[claim.contrast, claim.cell, claim.baseline_cell, claim.task]
        others = [other for other in mine if other.profile != claim.profile and other.compared]
        others = [other for other in others if other.metric == claim.metric] or others
        odd = [other for other in others if DIRECTIONS.get(other.verdict, 0) != DIRECTIONS.get(claim.verdict, 0)]
        if odd and claim.compared:
            said = ", ".join(f"{other.verdict} in {other.profile} ({other.metric})" for other in odd)
            warning = f"profiles_disagree: {claim.verdict} in {claim.profile}, {said}"
            claim = replace(claim, warnings=(*claim.warnings, warning))
        warned.append(claim)
    return warned


def _with_sizes(study: Study, claims: Sequence[Claim]) -> list[Claim]:
    """The same choice on the same measure in other model sizes, all other factors of the sweep alike: how many go up."""
    choices = {cell.label: cell.choices for cell in study.cells}
    sized, groups = [], dict[tuple[object, ...], list[Claim]]()
    for claim in claims:
        mine = choices.get(claim.cell, {})
        size = "" if claim.factor == SIZE_FACTOR or claim.kind != CONTRAST else mine.get(SIZE_FACTOR, "")
        rest = tuple((f, mine.get(f)) for f in sorted(study.axes) if f not in (claim.factor, SIZE_FACTOR))
        key = (claim.factor, claim.level, claim.baseline_level, claim.task, claim.metric, claim.profile, rest)
        sized.append((replace(claim, size=size), key))
        groups.setdefault(key, []).append(sized[-1][0])
    return [replace(claim, sign_agreement=_agreement(groups[key])) for claim, key in sized]


def _agreement(claims: Sequence[Claim]) -> str:
    """`3 of 3 sizes up`, `2 of 3 sizes down`; empty with fewer than two sizes."""
    differences = {claim.size: claim.difference for claim in claims if claim.size and claim.difference is not None}
    if len(differences) < 2:
        return ""
    up, down = sum(d > 0 for d in differences.values()), sum(d < 0 for d in differences.values())
    return f"{max(up, down)} of {len(differences)} sizes {'up' if up >= down else 'down'}"
