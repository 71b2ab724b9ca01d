"""Made-up grids of cells whose truth is known: runs that move by themselves, items that are hard for everyone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np

from analysis.claims.align import Aligned, Units
from analysis.claims.claim import INTERACTION, NOT_COMPARED, Claim
from analysis.claims.estimate import CONTRAST_WEIGHTS, INTERACTION_WEIGHTS, estimate
from analysis.claims.judge import judge
from analysis.claims.noise import Recorded, lattice_variance, noisy_cells, run_noise, spread_of
from analysis.claims.variance import Part
from analysis.load import Measure

STUDY = SimpleNamespace(cells=(), axes={})
MEASURE = Measure("made_up", "accuracy", "both", "mean", True)


@dataclass(frozen=True)
class World:
    """`noise`: standard deviation of a run's score in points, beyond its items; a number for each cell, or one for all."""

    num_cells: int
    num_seeds: int
    num_items: int
    noise: float | Sequence[float]
    shared: float = 0.5  # share of the answers that all runs give alike
    effects: Sequence[float] = ()  # points by which each cell is truly better

    def scores(self, rng: np.random.Generator) -> np.ndarray:
        """Right or wrong, (cells, seeds, items). Every item is answered with 30% to 70% chance, so no effect is cut off."""
        shape = (self.num_cells, self.num_seeds)
        noise = np.broadcast_to(np.asarray(self.noise, dtype=float), (self.num_cells,))[:, None]
        run = rng.normal(size=shape) * noise / 100.0
        effect = np.asarray(self.effects or [0.0] * self.num_cells)[:, None] / 100.0
        chance = rng.uniform(0.3, 0.7, size=self.num_items)[None, None, :] + (run + effect)[:, :, None]
        luck = np.where(
            rng.uniform(size=(*shape, self.num_items)) < self.shared,
            rng.uniform(size=self.num_items),
            rng.uniform(size=(*shape, self.num_items)),
        )
        return (luck < chance).astype(float)


def blank(name: str, kind: str) -> Claim:
    return Claim(name, "x", "b", "a", name, "base", name, "accuracy", "both", name, "points", True, NOT_COMPARED, kind=kind)


def means_of(right_CSN: np.ndarray) -> dict[str, dict[int, float]]:
    """Scores by cell and seed."""
    return {f"c{c}": dict(enumerate(of_seeds)) for c, of_seeds in enumerate((100.0 * right_CSN.mean(axis=2)).tolist())}


def claims_of(
    right_CSN: np.ndarray,
    *,
    name: str = "t",
    recorded: float | None = None,
    quads: Sequence[Sequence[int]] = (),
    leave_out: Sequence[str] = (),
) -> list[Claim]:
    """Every cell against the first one, before they are judged. quads: four cells of an interaction each."""
    cells, _, items = right_CSN.shape
    floor = lattice_variance(MEASURE, items)
    spread = spread_of(means_of(right_CSN), floor=floor, leave_out=leave_out)
    statistics = np.stack([right_CSN, np.ones_like(right_CSN)], axis=-1)
    units = Units(np.arange(items), items)
    arms = [((c, 0), CONTRAST_WEIGHTS) for c in range(1, cells)] + [(tuple(quad), INTERACTION_WEIGHTS) for quad in quads]
    found = []
    for places, weights in arms:
        scale = sum(w * w for w in weights)

        def noise_of(differences_S: np.ndarray, places: tuple[int, ...] = places, scale: float = scale):
            return run_noise(
                differences_S,
                cells=[f"c{c}" for c in places],
                spread=spread,
                pooled=Part(spread.paired.variance * scale, spread.paired.freedom) if spread else None,
                unpaired=Part(spread.within.variance * scale, spread.within.freedom) if spread else None,
                recorded=Recorded(Part(recorded * scale, 200), "null", 200) if recorded is not None else None,
                floor=floor * scale,
            )

        kind = INTERACTION if len(places) == 4 else "contrast"
        aligned = Aligned(units, np.stack([statistics[c] for c in places], axis=1))
        found.append(estimate(blank(f"{name}{places}", kind), aligned, "mean", weights, noise_of))
    return found


def judged(world: World, rng: np.random.Generator, *, num_measures: int, most_items: int | None = None) -> tuple[Claim, ...]:
    """One grid: all cells against the first on all measures, as one family. most_items: each measure has that many or fewer."""
    sizes = rng.integers(world.num_items, (most_items or world.num_items) + 1, size=num_measures)
    answers = [replace(world, num_items=int(size)).scores(rng) for size in sizes]
    noisy = noisy_cells([means_of(right_CSN) for right_CSN in answers])
    found = [claim for j, right_CSN in enumerate(answers) for claim in claims_of(right_CSN, name=f"m{j}", leave_out=noisy)]
    return judge(STUDY, found, {})


def with_margin(claim: Claim, margin: float) -> Claim:
    return replace(claim, equivalence_margin=margin)
