"""The first thing on the page: for every contrast one sentence and a row of badges, with every task's sentence behind a fold.

Verdicts are words and signs, never colour alone.
Reads/Writes  nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from analysis.claims.claim import DEGRADED, EQUIVALENT, HELPS_LESS, HELPS_MORE, IMPROVED, INCONCLUSIVE, ONE_RUN, Claim
from analysis.expectations import Scored, expectations_words
from analysis.load import Study
from analysis.page.blocks import folded
from analysis.signal import Signal, clearly_better
from analysis.wording import ABSENT, cautions, decimals_of, listing, plain, sentence, signed, tally

SIGNS = {
    IMPROVED: "▲",
    DEGRADED: "▼",
    HELPS_MORE: "▲",
    HELPS_LESS: "▼",
    EQUIVALENT: "≈",
    INCONCLUSIVE: "○",
    ONE_RUN: "□",
}
DECIDED = (IMPROVED, DEGRADED, HELPS_MORE, HELPS_LESS, EQUIVALENT)
FEW = 12  # so many sentences on a page need no fold
LARGE_CHANGE = 25.0  # assumed: % from which an undecided change stands among the badges, so that bad news cannot hide
HELD_OUT = "heldout_"


def findings(study: Study, claims: Sequence[Claim], scored: Sequence[Scored] = ()) -> str:
    """All contrasts, or that there is none."""
    if not study.contrasts:
        return "<p>The sweep asks for no contrast between cells: see what training did to each of them, below.</p>"
    expected = expectations_words(scored)
    words = f"<p>{escape(expected)}</p>\n" if expected else ""
    return words + _one_run(study, claims) + _cards([contrast.label for contrast in study.contrasts], claims)


def base_language(training: Sequence[Claim]) -> str:
    """Held-out text before and after training, for every cell: what learning one language cost the other."""
    texts: dict[str, list[Claim]] = {}
    for claim in training:
        if claim.task.startswith(HELD_OUT) and claim.score is not None and claim.baseline_score is not None:
            texts.setdefault(claim.measure, []).append(claim)
    if not texts:
        return ""
    cells = list(dict.fromkeys(claim.cell for of in texts.values() for claim in of))
    head = "".join(f"<th scope=col>{escape(cell)}</th>" for cell in cells)
    rows = []
    for measure, of in texts.items():
        by_cell = {claim.cell: claim for claim in of}
        fields = "".join(f"<td>{_before_and_after(by_cell[cell])}</td>" if cell in by_cell else f"<td>{ABSENT}</td>" for cell in cells)
        rows.append(f"<tr><th scope=row>{escape(measure.removeprefix(HELD_OUT))}</th>{fields}</tr>")
    return (
        '<article class="card heldout"><h3>Held-out text before and after training</h3>'
        "<p>Bits per byte, lower is better; ▲ better, ▼ worse than its own token 0, □ one run, ○ undecided.</p>"
        f'<div class="scroll" tabindex="0" role="group" aria-label="Held-out text before and after training"><table>'
        f"<thead><tr><th scope=col>text</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></article>\n"
    )


def _before_and_after(claim: Claim) -> str:
    assert claim.baseline_score is not None and claim.score is not None
    sign = f'<span class="{claim.verdict.replace(" ", "-")}"><span class="sign">{SIGNS.get(claim.verdict, ABSENT)}</span></span>'
    return f"{plain(claim.baseline_score, 3)} → <b>{plain(claim.score, 3)}</b> {sign}"


def interaction_findings(claims: Sequence[Claim]) -> str:
    """Differences of differences; empty when the sweep crosses no two choices."""
    labels = list(dict.fromkeys(claim.contrast for claim in claims if claim.difference is not None))
    if not labels:
        return ""
    return (
        "<p>Each line compares the effect of a choice at two levels of another one, over the same runs and items. Positive points mean "
        "that the choice helps more at the first level.</p>\n"
    ) + _cards(labels, claims)


def measures_to_know(signals: Sequence[Signal]) -> str:
    """Where another way to measure a task tells the cells apart much better than the declared one."""
    lines = [
        f"<li>{escape(declared.task)}: {escape(better.measure)} has a signal of {plain(better.ratio, 1)} times its noise, "
        f"{escape(declared.measure)} of {plain(declared.ratio, 1)}.</li>"
        for declared, better in clearly_better(signals)
    ]
    if not lines:
        return ""
    return (
        '<div class="care"><strong>Another measure tells these cells apart better.</strong> Verdicts stay with the one declared '
        f"before the runs.<ul>{''.join(lines)}</ul></div>\n"
    )


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
    mine = sorted(claims, key=lambda claim: (order.get(claim.verdict, len(order)), not _never_decided(claim), -_prominence(claim)))
    shared = [note for note in cautions(mine[0]) if all(note in cautions(claim) for claim in mine)] if mine else []
    told = [claim for claim in mine if claim.difference is not None or cautions(claim, shared)]
    items = "".join(_item(claim, shared) for claim in told)
    every = folded(f"All {len(told)} tasks, with intervals", f'<ul class="claims">{items}</ul>') if told else ""
    head = f'<h3>{escape(label)}</h3><p class="lead">{_tally(mine)}</p>'
    return f'<article class="card">{head}{_badges(mine)}{_noise_source(mine)}{_notes(shared, "p")}{every}</article>\n'


def _never_decided(claim: Claim) -> bool:
    """Whether so few units differ that no effect could become significant."""
    return any(warning.startswith("never_decided:") for warning in claim.warnings)


def _prominence(claim: Claim) -> float:
    """Size of a change in %, or in points where the baseline is at the floor."""
    return abs(claim.relative_change if claim.relative_change is not None else claim.difference or 0.0)


def _noise_source(claims: Sequence[Claim]) -> str:
    """Where the noise between runs of this card is known from; per measure where it differs."""
    sources: dict[str, list[str]] = {}
    for claim in claims:
        if claim.noise_source:
            sources.setdefault(claim.noise_source, []).append(claim.measure)
    if not sources:
        return ""
    told = [words if len(sources) == 1 else f"{words} ({listing(names)})" for words, names in sources.items()]
    return f'<p class="note">Run noise from {escape("; ".join(told))}.</p>'


def _tally(claims: Sequence[Claim]) -> str:
    told = escape(tally(claims))
    return re.sub(r"\d+ (improved|degraded)", lambda m: f'<strong class="{m[1]}">{SIGNS[m[1]]} {m[0]}</strong>', told)


def _badges(claims: Sequence[Claim]) -> str:
    """What was decided, with its size; and undecided changes that are large or that these items can never decide."""
    decided = [claim for claim in claims if claim.verdict in DECIDED and claim.difference is not None]
    large = [claim for claim in claims if claim.verdict in (INCONCLUSIVE, ONE_RUN) and _stands_out(claim)]
    badges = "".join(
        f'<li class="{claim.verdict.replace(" ", "-")}"><span class="sign" aria-hidden="true">{SIGNS[claim.verdict]}</span> '
        f'<span class="unseen">{claim.verdict}: </span>{escape(claim.measure)} <b>{_size(claim)}</b>{_why_undecided(claim)}</li>'
        for claim in [*decided, *large]
    )
    return f'<ul class="badges">{badges}</ul>' if badges else ""


def _stands_out(claim: Claim) -> bool:
    """An undecided change that a reader must see: too few units to decide it, or large beside its own noise over items."""
    if claim.difference is None or claim.both_at_floor:
        return False
    beyond = claim.items_interval is not None and (claim.items_interval[0] > 0 or claim.items_interval[1] < 0)
    return _never_decided(claim) or (beyond and _prominence(claim) >= LARGE_CHANGE)


def _why_undecided(claim: Claim) -> str:
    if _never_decided(claim):
        return f" ({claim.num_differing_units} items can never decide)"
    return " (undecided)" if claim.verdict == INCONCLUSIVE else " (one run)" if claim.verdict == ONE_RUN else ""


def _size(claim: Claim) -> str:
    """Points with their sign; of other units the share, in words: a minus on something that improved would read as a loss."""
    assert claim.difference is not None
    if claim.verdict == EQUIVALENT and claim.equivalence_margin is not None:
        return escape(f"within ±{plain(claim.equivalence_margin, decimals_of(claim))} {claim.unit}")
    if claim.unit != "points" and claim.relative_change is not None:
        return escape(f"{abs(claim.relative_change):.1f}% {'fewer' if claim.relative_change < 0 else 'more'} {claim.unit}")
    return escape(f"{signed(claim.difference, decimals_of(claim))} {claim.unit}")


def _one_run(study: Study, claims: Sequence[Claim]) -> str:
    """Which comparisons have one run per side and nothing to judge it by. It follows the results that are there, not the plan."""
    single = [c.label for c in study.contrasts if any(claim.contrast == c.label and claim.verdict == ONE_RUN for claim in claims)]
    if not single:
        return ""
    which = "every comparison" if len(single) == len(study.contrasts) else listing(single)
    return (
        f'<p class="care"><strong>One run per side: no verdict for {escape(which)}.</strong> Intervals there say how far other items could '
        "move a difference, not how far another run could, and small models move by tens of points between runs. Add seeds, "
        "or run a null study of this setting (<code>swallow train -m +sweep=null</code>).</p>\n"
    )


def _item(claim: Claim, shared: Sequence[str]) -> str:
    kind = claim.verdict.replace(" ", "-") if claim.verdict in SIGNS else "absent"
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
