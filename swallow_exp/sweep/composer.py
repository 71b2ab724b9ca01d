"""Compose many cells quickly: a cell made of levels that were all composed before is put together from them.

Composing with Hydra takes a fifth of a second, also when Hydra is initialised once for all cells, and a grid's cells share their levels.
1. Whole      a cell with a level not met yet is composed by Hydra, and its groups are remembered
2. Together   the others take each group from where it was met first
That gives what Hydra gives as long as a level speaks of its own group only. A level that does not (@package, override, an interpolation
of another group) is always composed whole. Every cell passes the same checks either way.

Reads  the text of conf/**/*.yaml and <config-dir>/**/*.yaml
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from swallow_exp.config.checks import check_config
from swallow_exp.config.compose import Composed, compose_config
from swallow_exp.config.levels import shipped_folder
from swallow_exp.config.schema import Config

GROUPS = frozenset(field.name for field in fields(Config)) - {"seed"}
NESTED = "source"  # a group that levels of others take in
# what makes a level depend on, or write into, another group; the output root and the environment are the same in every cell
OUTSIDE = re.compile(r"^#\s*@package|^\s*-\s*override\s|\$\{(?!paths\.|oc\.env:)", re.MULTILINE)
Part = tuple[str, tuple[tuple[str, str], ...]]  # a group and everything that is chosen in it


class CellComposer:
    """Composes the cells of one question; `common` overrides are the same in all of them."""

    def __init__(self, common: Sequence[str] = (), config_dirs: Sequence[Path] = ()) -> None:
        """Reads the level files once."""
        self._common, self._config_dirs = tuple(common), config_dirs
        self._outside = _levels_that_reach_outside([shipped_folder("conf"), *config_dirs])
        self._parts: dict[Part, tuple[Any, Any]] = {}  # -> the group as a dataclass and as a plain dict
        self._rest: Composed | None = None  # groups that no cell chooses, seed aside

    def words(self, choices: Mapping[str, str], seed: int) -> tuple[str, ...]:
        """What `swallow train` is given for the cell."""
        return (*(f"{key}={level}" for key, level in choices.items()), f"seed={seed}", *self._common)

    def prepare(self, wanted: Sequence[tuple[Mapping[str, str], int]]) -> None:
        """Compose first the (choices, seed) that together meet every level soonest, so that most others need no composing."""
        # parts of every cell that may be put together, with its place; cells that differ in the seed alone are one
        apart = {tuple(_parts_of(choices)): place for place, (choices, _) in enumerate(wanted) if self._stands_alone(choices)}
        while apart:
            missing = {parts: len([part for part in parts if part not in self._parts]) for parts in apart}
            most = max(apart, key=lambda parts: missing[parts])
            if not missing[most]:
                return
            self.compose(*wanted[apart.pop(most)])

    def compose(self, choices: Mapping[str, str], seed: int) -> Composed:
        """The cell's config. Raises RequestError as compose_config does."""
        parts = _parts_of(choices)
        if self._rest is not None and self._stands_alone(choices) and all(part in self._parts for part in parts):
            return self._put_together(parts, seed)
        composed = compose_config(self.words(choices, seed), self._config_dirs)
        if self._stands_alone(choices):
            self._parts |= {part: (getattr(composed.config, part[0]), composed.plain[part[0]]) for part in parts}
            self._rest = self._rest or composed
        return composed

    def _stands_alone(self, choices: Mapping[str, str]) -> bool:
        groups = {key.partition(".")[0] for key in choices}
        if not groups <= GROUPS - {"paths"} or any(word.startswith("seed=") for word in self._common):
            return False
        reaching = any((key, level) in self._outside for key, level in choices.items())
        return not reaching and not any(group == NESTED for group, _ in self._outside)

    def _put_together(self, parts: Sequence[Part], seed: int) -> Composed:
        assert self._rest is not None
        chosen = {part[0]: self._parts[part] for part in parts}
        config = replace(self._rest.config, seed=seed, **{group: typed for group, (typed, _) in chosen.items()})
        plain = {**self._rest.plain, **{group: plain for group, (_, plain) in chosen.items()}, "seed": seed}
        check_config(config)
        return Composed(config, plain)


def _parts_of(choices: Mapping[str, str]) -> list[Part]:
    """Choices by group, `optim` and `optim.lr_peak` together; groups that only some cells choose are told apart by their absence."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for key, level in choices.items():
        groups.setdefault(key.partition(".")[0], []).append((key, level))
    return [(group, tuple(groups.get(group, ()))) for group in sorted(GROUPS)] if groups.keys() <= GROUPS else []


def _levels_that_reach_outside(folders: Sequence[Path]) -> set[tuple[str, str]]:
    """(group, level) of every file whose text speaks of more than its own group."""
    files = [path for folder in folders for path in folder.glob("*/*.yaml") if path.is_file()]
    return {(path.parent.name, path.stem) for path in files if OUTSIDE.search(path.read_text(encoding="utf-8-sig", errors="replace"))}
