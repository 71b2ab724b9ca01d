"""Numbers and claims in words: one way to print each, for tables, figures and the page.

Reads/Writes  nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.claims.bootstrap import Interval
from analysis.claims.compare import DEGRADED, IMPROVED, INCONCLUSIVE, NOT_COMPARED, Claim
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
    """`+31.2 points [28.0, 34.4]`, or an em dash."""
    if claim.difference is None or claim.difference_interval is None:
        return ABSENT
    decimals = decimals_of(claim)
    middle = f" {claim.unit} " if unit else " "
    return f"{signed(claim.difference, decimals)}{middle}{interval(claim.difference_interval, decimals)}"


def relative_text(claim: Claim) -> str:
    """`+12.0% [8.1, 15.9]`, or an em dash."""
    if claim.relative_change is None or claim.relative_interval is None:
        return ABSENT
    return f"{signed(claim.relative_change, 1)}% {interval(claim.relative_interval, 1)}"


def sentence(claim: Claim) -> str:
    """One claim in one sentence, without its contrast."""
    if claim.difference is None:
        return f"{claim.measure}: not compared."
    relative = "" if claim.relative_change is None else f" ({relative_text(claim)})"
    direction = "" if claim.higher_is_better else ", lower is better"
    return f"{claim.measure} {difference_text(claim)}{relative}{direction}: {claim.verdict}."


def listing(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def summary(label: str, claims: Sequence[Claim]) -> str:
    """One contrast in two sentences: what it improved, what it degraded, what cannot be told."""
    named = {v: [c.measure for c in claims if c.verdict == v] for v in (IMPROVED, DEGRADED, INCONCLUSIVE, NOT_COMPARED)}
    parts = [f"{verdict} {listing(named[verdict])}" for verdict in (IMPROVED, DEGRADED) if named[verdict]]
    if not parts:
        parts = ["no difference could be established" if named[INCONCLUSIVE] else "nothing could be compared"]
    sentences = [f"{label}: {' and '.join(parts)}."]
    if named[INCONCLUSIVE]:
        sentences.append(f"Inconclusive on {listing(named[INCONCLUSIVE])}.")
    if named[NOT_COMPARED]:
        sentences.append(f"Not compared: {listing(named[NOT_COMPARED])}.")
    return " ".join(sentences)
