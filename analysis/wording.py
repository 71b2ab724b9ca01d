"""Numbers and claims in words: one way to print each, for tables, figures and the page.

Reads/Writes  nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from analysis.claims.claim import DEGRADED, EQUIVALENT, IMPROVED, INCONCLUSIVE, NOT_COMPARED, ONE_RUN, Claim, Interval
from analysis.load import Measure

ABSENT = "—"
MINUS = "−"


def plain(value: float, decimals: int) -> str:
    """A number with a typographic minus and no negative zero."""
    text = f"{value:.{decimals}f}"
    if float(text) == 0:
        text = f"{0:.{decimals}f}"
    return text.replace("-", MINUS)


def signed(value: float, decimals: int) -> str:
    """A change: always with its sign, except zero."""
    text = plain(value, decimals)
    return text if text.startswith(MINUS) or float(text) == 0 else f"+{text}"


def interval(ends: Interval, decimals: int) -> str:
    """`[low, high]`."""
    return f"[{plain(ends[0], decimals)}, {plain(ends[1], decimals)}]"


def score_text(value: float | None, measure: Measure) -> str:
    """A score, or an em dash."""
    return ABSENT if value is None else plain(value, measure.decimals)


def tokens_text(tokens: float) -> str:
    """1_500_000 -> `1.5M`."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if tokens >= size:
            return f"{tokens / size:.3g}{unit}"
    return f"{tokens:.0f}"


def p_text(p: float) -> str:
    """Three digits, and no more certainty than that."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def decimals_of(claim: Claim) -> int:
    """Digits of a claim's absolute numbers."""
    return 1 if claim.unit == "points" else 3


def difference_text(claim: Claim, *, unit: bool = True) -> str:
    """`+31.2 points [28.0, 34.4]`, without brackets where there is no interval, or an em dash."""
    if claim.difference is None:
        return ABSENT
    decimals = decimals_of(claim)
    ends = "" if claim.difference_interval is None else f" {interval(claim.difference_interval, decimals)}"
    return f"{signed(claim.difference, decimals)}{f' {claim.unit}' * unit}{ends}"


def relative_text(claim: Claim) -> str:
    """`+12.0% [8.1, 15.9]`, without brackets where there is no interval, or an em dash."""
    if claim.relative_change is None:
        return ABSENT
    return f"{signed(claim.relative_change, 1)}%" + ("" if claim.relative_interval is None else f" {interval(claim.relative_interval, 1)}")


def sentence(claim: Claim) -> str:
    """One claim in one sentence, without its contrast."""
    if claim.difference is None:
        return f"{claim.measure}: not compared."
    relative = "" if claim.relative_change is None else f" ({relative_text(claim)})"
    direction = "" if claim.higher_is_better else ", lower is better"
    alone = ""
    if claim.verdict == ONE_RUN and claim.items_interval is not None:
        alone = f", {interval(claim.items_interval, decimals_of(claim))} over items alone"
    return f"{claim.measure} {difference_text(claim)}{relative}{direction}{alone}: {claim.verdict}."


def listing(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def summary(label: str, claims: Sequence[Claim]) -> str:
    """One contrast in a few sentences: what it improved, what it degraded, what stayed the same, what cannot be told."""
    order = (IMPROVED, DEGRADED, EQUIVALENT, INCONCLUSIVE, ONE_RUN, NOT_COMPARED)
    named = {verdict: [claim.measure for claim in claims if claim.verdict == verdict] for verdict in order}
    parts = [f"{verdict} {listing(named[verdict])}" for verdict in (IMPROVED, DEGRADED) if named[verdict]]
    if not parts:
        some = named[INCONCLUSIVE] or named[EQUIVALENT] or named[ONE_RUN]
        parts = ["no difference could be established" if some else "nothing could be compared"]
    sentences = [f"{label}: {' and '.join(parts)}."]
    rest = {
        EQUIVALENT: "Equivalent on",
        INCONCLUSIVE: "Inconclusive on",
        ONE_RUN: "One run per side, so no verdict, on",
        NOT_COMPARED: "Not compared:",
    }
    sentences += [f"{words} {listing(named[verdict])}." for verdict, words in rest.items() if named[verdict]]
    return " ".join(sentences)


def tally(claims: Sequence[Claim]) -> str:
    """One contrast in numbers: `Of 12 tasks: 6 improved, 1 degraded, 5 inconclusive.`"""
    compared = [claim.verdict for claim in claims if claim.difference is not None]
    if not compared:
        return "Nothing could be compared yet."
    order = dict.fromkeys((IMPROVED, DEGRADED, EQUIVALENT, INCONCLUSIVE, ONE_RUN, *compared))
    words = {ONE_RUN: "with one run per side and no verdict"}
    told = ", ".join(f"{count} {words.get(verdict, verdict)}" for verdict in order if (count := compared.count(verdict)))
    absent = len(claims) - len(compared)
    return f"Of {len(compared)} task{'s' * (len(compared) > 1)}: {told}" + (f"; {absent} not compared." if absent else ".")


def cautions(claim: Claim, known: Sequence[str] = ()) -> list[str]:
    """What to know with a claim, beyond its sentence and what is `known` already."""
    decimals = decimals_of(claim)
    said = [words for warning in claim.warnings if (words := _warned(warning))]
    if claim.run_noise is not None:
        said.append(f"run noise {plain(claim.run_noise, decimals)}")
    if claim.verdict == EQUIVALENT and claim.equivalence_margin is not None:
        said.append(f"equivalent: the interval is within ±{plain(claim.equivalence_margin, decimals)}")
    if claim.sign_agreement:
        said.append(claim.sign_agreement)
    said += claim.notes
    if claim.verdict == INCONCLUSIVE and claim.detectable_difference and not claim.both_at_floor:
        said.append(f"a true difference below about {plain(claim.detectable_difference, decimals)} {claim.unit} would often go unseen here")
    return [words for words in dict.fromkeys(said) if words not in known]


def _warned(warning: str) -> str:
    """`code: words` -> the words. The caveat of single runs is said once per page, not with every claim."""
    code, colon, words = warning.partition(": ")
    if not colon or not re.fullmatch(r"[a-z]+(_[a-z]+)*", code):
        return warning
    return "" if code == "one_run" else words
