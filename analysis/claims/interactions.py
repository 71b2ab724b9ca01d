"""Interactions: does the effect of one choice depend on another one?

An interaction is a difference of differences. `(pairs vs none with expansion) - (pairs vs none
without)` says what expansion does to the effect of pairs, and, read the other way, what pairs do to
the effect of expansion: both are one number, and one claim.

(1) find      two contrasts of one choice in cells that differ in one other factor   -> Interaction
(2) compare   four arms on the items that all of them have, seeds paired             -> Claim

Positive points mean that the choice helps more at the other level. Verdicts are `helps more` and
`helps less`, in the same Holm family as the contrasts.

Reads/Writes  nothing but the study.  Source  paper 5.1 (does expansion help more at a larger size?)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from analysis.claims.align import Arms
from analysis.claims.asked import test_of
from analysis.claims.claim import INTERACTION, Claim
from analysis.claims.compare import Comparer, blank_claim, sides_of
from analysis.claims.estimate import INTERACTION_WEIGHTS
from analysis.load import Contrast, Measure, Study


@dataclass(frozen=True)
class Interaction:
    """Two contrasts of one choice. `other` differs from `base` in the level of `factor` alone."""

    other: Contrast
    base: Contrast
    factor: str
    level: str
    base_level: str

    @property
    def label(self) -> str:
        """Names the choice and the two levels it is compared at."""
        choice = f"{self.other.level} vs {self.other.baseline_level}"
        return f"{choice}: {self.factor} {self.level} against {self.base_level}"

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """Cells of the four arms, in the order of their weights."""
        return (self.other.cell, self.other.baseline_cell, self.base.cell, self.base.baseline_cell)


def find_interactions(study: Study) -> list[Interaction]:
    """Every pair of contrasts that one other factor separates, each set of four cells once."""
    choices = {cell.label: cell.choices for cell in study.cells}
    found: list[Interaction] = []
    seen: set[frozenset[str]] = set()
    for base in study.contrasts:
        for other in study.contrasts:
            factor = _one_factor_between(study, base, other, choices)
            if factor is None or not _is_base(study, factor, choices[base.cell][factor], choices[other.cell][factor]):
                continue
            cells = frozenset((other.cell, other.baseline_cell, base.cell, base.baseline_cell))
            if len(cells) == 4 and cells not in seen:
                seen.add(cells)
                found.append(Interaction(other, base, factor, choices[other.cell][factor], choices[base.cell][factor]))
    return found


def _one_factor_between(study: Study, base: Contrast, other: Contrast, choices: Mapping[str, Mapping[str, str]]) -> str | None:
    """The one axis that separates two contrasts of the same choice; None when it is another number of axes."""
    if base is other or (base.factor, base.level, base.baseline_level) != (other.factor, other.level, other.baseline_level):
        return None
    axes = [axis for axis in study.axes if axis != base.factor]
    apart = [axis for axis in axes if choices[base.cell].get(axis) != choices[other.cell].get(axis)]
    apart_below = [axis for axis in axes if choices[base.baseline_cell].get(axis) != choices[other.baseline_cell].get(axis)]
    known = len(apart) == 1 and apart == apart_below and all(apart[0] in choices[c.cell] for c in (base, other))
    return apart[0] if known else None


def _is_base(study: Study, factor: str, base: str, other: str) -> bool:
    """Whether `base` is the level to count from: the question's baseline, or the earlier one of its axis."""
    levels = [str(level) for level in study.axes[factor]]
    stated = str(study.baseline.get(factor, levels[0]))
    if stated in (base, other):
        return base == stated
    return levels.index(base) < levels.index(other)


def interaction_claim(comparer: Comparer, interaction: Interaction, measure: Measure) -> Claim:
    """One interaction on one measure; runs are matched as for the contrasts it is made of."""
    study = comparer.study
    by_seed: list[dict[int, Arms]] = []
    notes: list[str] = []
    for contrast in (interaction.other, interaction.base):
        seeds, left_out, _ = sides_of(study, comparer.matched(contrast), measure)
        by_seed.append({_seed_of(study, arms): arms for arms in seeds})
        notes += left_out
    shared = sorted(by_seed[0].keys() & by_seed[1].keys())
    seeds = [(*by_seed[0][seed], *by_seed[1][seed]) for seed in shared]
    seeds = [arms for arms in seeds if len({test_of(side[-1][1]) for side in arms}) == 1]
    blank = replace(
        blank_claim(study, interaction.other, measure),
        contrast=interaction.label,
        factor=f"{interaction.other.factor} x {interaction.factor}",
        kind=INTERACTION,
        notes=tuple(dict.fromkeys(notes)),
    )
    return comparer.compare(blank, measure, seeds, INTERACTION_WEIGHTS, interaction.cells)


def _seed_of(study: Study, arms: Arms) -> int:
    run_id = arms[0][-1][1].run_id
    return next(seed for cell in study.cells for r, seed in zip(cell.run_ids, cell.seeds, strict=True) if r == run_id)
