"""A question (sweeps/NAME.yaml) -> its cells and the contrasts they answer.

(1) cells     union of the grids' products, minus exclude, times seeds, of that the part asked for   -> choices per cell
(2) compose   every cell                                                  -> run_id; cells with one run_id are one cell
(3) contrasts pairs of cells that differ in exactly one factor, against that factor's baseline level

Writes  nothing
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config.compose import Composed
from swallow_exp.evaluate.suite import check_task_names
from swallow_exp.record.contrast import group_of
from swallow_exp.record.identity import IDENTITY_GROUPS, identity_of, run_id_of
from swallow_exp.sweep.composer import CellComposer
from swallow_exp.sweep.narrow import has_part
from swallow_exp.sweep.question import FIRST_SEED, Question

MARKS = "budget.checkpoint_every_tokens="


@dataclass(frozen=True)
class Cell:
    """One run of a sweep."""

    choices: Mapping[str, str]  # group -> level, the varied and the fixed ones
    seed: int
    overrides: tuple[str, ...]  # what `swallow train` is given
    composed: Composed
    run_id: str
    label: str
    identity: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)  # what the run_id is made from


def _excluded(choices: Mapping[str, str], rules: Sequence[Mapping[str, Any]]) -> bool:
    """True when every key of some rule matches (a list in a rule matches any of its levels)."""
    return any(
        all(choices.get(key) in ([str(x) for x in value] if isinstance(value, list) else [str(value)]) for key, value in rule.items())
        for rule in rules
    )


def _choices(question: Question) -> Iterator[tuple[dict[str, str], int]]:
    """(group -> level, seed) of every cell, one that two grids name twice."""
    for seed, grid in itertools.product(question.seeds, question.grids):
        for levels in itertools.product(*grid.values()):
            choices = {**question.fixed, **question.baseline, **dict(zip(grid, levels, strict=True))}
            if not _excluded(choices, question.exclude):
                for factor, by_level in question.follows.items():
                    choices |= by_level.get(choices.get(factor, ""), {})
                yield choices, seed


def expand_question(question: Question, overrides: Sequence[str] = (), config_dirs: Sequence[Path] = ()) -> list[Cell]:
    """Compose every cell. `overrides` (from the command line) apply to all cells; a cell met twice is kept once."""
    cells: dict[str, Cell] = {}
    composer = CellComposer([*question.overrides, *overrides], config_dirs)
    wanted = [(choices, seed) for choices, seed in _choices(question) if has_part(question, choices, seed)]
    composer.prepare(wanted)
    for choices, seed in wanted:
        mine, composed = composer.words(choices, seed), composer.compose(choices, seed)
        if question.curves == FIRST_SEED and seed != question.seeds[0] and not any(word.startswith(MARKS) for word in mine):
            mine, composed = _ends_alone(mine, composed)
        check_task_names(composed.config)
        identity = identity_of(composed.plain)
        run_id = run_id_of(identity)
        label = " ".join(choices[factor] for factor in question.factors) or composed.config.base_model.name
        cells.setdefault(run_id, Cell(choices, seed, mine, composed, run_id, label, identity))
    if not cells:
        raise _no_cell(question)
    return list(cells.values())


def _ends_alone(words: tuple[str, ...], composed: Composed) -> tuple[tuple[str, ...], Composed]:
    """The same run with no mark between token 0 and its last: marks say what is looked at, not what is trained."""
    tokens = composed.config.budget.tokens
    config = replace(composed.config, budget=replace(composed.config.budget, checkpoint_every_tokens=tokens))
    plain = {**composed.plain, "budget": {**composed.plain["budget"], "checkpoint_every_tokens": tokens}}
    return (*words, f"{MARKS}{tokens}"), Composed(config, plain)


def in_order(question: Question, cells: Sequence[Cell]) -> list[Cell]:
    """Cells in the order of the whole question, by the levels of its factors."""

    def place(choices: Mapping[str, str], seed: int) -> tuple[Any, ...]:
        return (seed, *(choices.get(factor) for factor in question.factors))

    order: dict[tuple[Any, ...], int] = {}
    for number, (choices, seed) in enumerate(_choices(question)):
        order.setdefault(place(choices, seed), number)
    return sorted(cells, key=lambda cell: order[place(cell.choices, cell.seed)])


def _no_cell(question: Question) -> RequestError:
    if question.part:
        asked = ", ".join(f"{key}={','.join(map(str, levels))}" for key, levels in question.part.items())
        return RequestError(
            f"sweep {question.name} has no cell of {asked}", expected="at least one", remedy="see `swallow plan` for its cells"
        )
    return RequestError(f"sweep {question.name} has no cell left", expected="at least one", remedy="check grids and exclude")


def find_contrasts(question: Question, cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Pairs (cell, same cell with one factor at its baseline level), same seed: what a relative change may compare."""
    along = {group for by_level in question.follows.values() for levels in by_level.values() for group in levels}

    def place(choices: Mapping[str, str], seed: int) -> tuple[Any, ...]:
        counted = ((key, level) for key, level in choices.items() if key not in along and group_of(key) in IDENTITY_GROUPS)
        return (seed, *sorted(counted))

    places = {place(cell.choices, cell.seed): cell for cell in reversed(cells)}
    contrasts: list[dict[str, Any]] = []
    for factor in question.factors:
        baseline_level = question.levels(factor)[0]
        rest = [other for other in question.factors if other != factor]
        for cell in cells:
            other = places.get(place({**cell.choices, factor: baseline_level}, cell.seed))
            if cell.choices.get(factor) == baseline_level or other is None or other is cell:
                continue
            level, where = str(cell.choices[factor]), ", ".join(cell.choices[name] for name in rest)
            contrasts.append(
                {
                    "factor": factor,
                    "level": level,
                    "baseline_level": baseline_level,
                    "run_id": cell.run_id,
                    "baseline_run_id": other.run_id,
                    "label": f"{level} vs {baseline_level}" + (f" ({where})" if where else ""),
                    "consequences": sorted({group for levels in question.follows.get(factor, {}).values() for group in levels}),
                }
            )
    return contrasts
