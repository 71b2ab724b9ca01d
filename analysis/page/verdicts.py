"""The first thing on the page: for every contrast one sentence and a row of badges, with every task's sentence behind a fold.

Verdicts are words and signs, never colour alone.
Reads/Writes  nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from analysis.claims.claim import DEGRADED, EQUIVALENT, IMPROVED, INCONCLUSIVE, Claim
from analysis.load import Study
from analysis.page.blocks import folded
from analysis.wording import ABSENT, cautions, decimals_of, plain, sentence, signed, tally

SIGNS = {IMPROVED: "▲", DEGRADED: "▼", EQUIVALENT: "≈", INCONCLUSIVE: "○"}
DECIDED = (IMPROVED, DEGRADED, EQUIVALENT)
FEW = 12  # so many sentences on a page need no fold


def findings(study: Study, claims: Sequence[Claim]) -> str:
    """All contrasts, or that there is none."""
    if not study.contrasts:
        return "<p>The sweep asks for no contrast between cells: see what training did to each of them, below.</p>"
    return _one_seed(study) + _cards([contrast.label for contrast in study.contrasts], claims)


def training_findings(training: Sequence[Claim]) -> str:
    """Every cell against its own start; empty when no start was evaluated."""
    compared = list(dict.fromkeys(claim.contrast for claim in training if claim.difference is not None))
    if not compared:
        return ""
    return (
        "<p>Each cell at its last checkpoint against its own weights at token 0, on the same items, adjusted (Holm) over the comparisons "
        "of this section. A cell with added pieces starts from the base weights with new rows.</p>\n"
    ) + _cards(compared, training)


def _cards(labels: Sequence[str], claims: Sequence[Claim]) -> str:
    cards = [_card(label, [claim for claim in claims if claim.contrast == label]) for label in labels]
    if len(claims) <= FEW:
        cards = [card.replace("<details>", "<details open>") for card in cards]
    return "".join(cards)


def _card(label: str, claims: Sequence[Claim]) -> str:
    order = {verdict: place for place, verdict in enumerate(SIGNS)}
    mine = sorted(claims, key=lambda claim: order.get(claim.verdict, len(order)))
    shared = [note for note in cautions(mine[0]) if all(note in cautions(claim) for claim in mine)] if mine else []
    told = [claim for claim in mine if claim.difference is not None or cautions(claim, shared)]
    items = "".join(_item(claim, shared) for claim in told)
    every = folded(f"All {len(told)} tasks, with intervals", f'<ul class="claims">{items}</ul>') if told else ""
    head = f'<h3>{escape(label)}</h3><p class="lead">{_tally(mine)}</p>'
    return f'<article class="card">{head}{_badges(mine)}{_notes(shared, "p")}{every}</article>\n'


def _tally(claims: Sequence[Claim]) -> str:
    told = escape(tally(claims))
    return re.sub(r"\d+ (improved|degraded)", lambda m: f'<strong class="{m[1]}">{SIGNS[m[1]]} {m[0]}</strong>', told)


def _badges(claims: Sequence[Claim]) -> str:
    """What was decided, with its size; the rest is only counted above."""
    decided = [claim for claim in claims if claim.verdict in DECIDED and claim.difference is not None]
    badges = "".join(
        f'<li class="{claim.verdict}"><span class="sign" aria-hidden="true">{SIGNS[claim.verdict]}</span> '
        f'<span class="unseen">{claim.verdict}: </span>{escape(claim.measure)} <b>{_size(claim)}</b></li>'
        for claim in decided
    )
    return f'<ul class="badges">{badges}</ul>' if badges else ""


def _size(claim: Claim) -> str:
    """Points with their sign; of other units the share, in words: a minus on something that improved would read as a loss."""
    assert claim.difference is not None
    if claim.verdict == EQUIVALENT and claim.equivalence_margin is not None:
        return escape(f"within ±{plain(claim.equivalence_margin, decimals_of(claim))} {claim.unit}")
    if claim.unit != "points" and claim.relative_change is not None:
        return escape(f"{abs(claim.relative_change):.1f}% {'fewer' if claim.relative_change < 0 else 'more'} {claim.unit}")
    return escape(f"{signed(claim.difference, decimals_of(claim))} {claim.unit}")


def _one_seed(study: Study) -> str:
    """What the intervals leave out, where no cell was trained twice."""
    if any(len(contrast.pairs) > 1 for contrast in study.contrasts):
        return ""
    return (
        '<p class="care"><strong>One training run a cell:</strong> the intervals say how far other items could move a difference, not how '
        "far another run could. Small models move by tens of points between runs; add seeds before believing a difference.</p>\n"
    )


def _item(claim: Claim, shared: Sequence[str]) -> str:
    kind = claim.verdict if claim.verdict in SIGNS else "absent"
    small = _notes(cautions(claim, shared), "small")
    sign = f'<span class="sign" aria-hidden="true">{SIGNS.get(claim.verdict, ABSENT)}</span>'
    return f'<li class="{kind}">{sign}<span>{escape(_unbroken(sentence(claim)))}</span>{small}</li>'


def _notes(notes: Sequence[str], tag: str) -> str:
    """Notes as one line. Only a plain first word gets a capital: a run_id keeps its spelling."""
    text = "; ".join(notes)
    if re.match(r"[a-z]+ ", text):
        text = text[:1].upper() + text[1:]
    return f'<{tag} class="note">{escape(text)}.</{tag}>' if text else ""


def _unbroken(text: str) -> str:
    """Keep both ends of an interval on one line."""
    return re.sub(r"\[(\S+), (\S+)\]", "[\\1,\N{NO-BREAK SPACE}\\2]", text)
