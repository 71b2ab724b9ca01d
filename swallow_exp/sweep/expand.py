"""A question (sweeps/NAME.yaml) -> its cells and the contrasts they answer.

(1) read      question, fixed levels, baseline, grids, exclude, seeds     -> strict: unknown keys are refused
(2) cells     union of the grids' products, minus exclude, times seeds    -> choices per cell
(3) compose   every cell                                                  -> run_id; cells with one run_id are one cell
(4) contrasts pairs of cells that differ in exactly one factor, against that factor's baseline level

Reads   sweeps/NAME.yaml or <config-dir>/sweeps/NAME.yaml        Writes  <out>/sweeps/NAME.json
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import digest_of, write_json_atomic
from swallow_exp.artefact.paths import sweep_file
from swallow_exp.config.compose import Composed, compose_config, explain, list_groups, shipped_folder
from swallow_exp.record.identity import IDENTITY_GROUPS, identity_of, run_id_of

KEYS = ("question", "section", "expects", "fixed", "baseline", "grids", "exclude", "seeds", "overrides")


@dataclass(frozen=True)
class Question:
    """One file of sweeps/."""

    name: str
    question: str
    section: str
    expects: str
    fixed: Mapping[str, str]
    baseline: Mapping[str, str]
    grids: Sequence[Mapping[str, Sequence[str]]]
    exclude: Sequence[Mapping[str, Any]]
    seeds: Sequence[int]
    overrides: Sequence[str]

    @property
    def factors(self) -> list[str]:
        """Groups that vary, in the order they are first named."""
        named = list(dict.fromkeys(factor for grid in self.grids for factor in grid))
        return [factor for factor in named if len(self.levels(factor)) > 1]

    def levels(self, factor: str) -> list[str]:
        """Levels of a factor over all grids, in order, the baseline's level first."""
        seen = dict.fromkeys(level for grid in self.grids for level in grid.get(factor, ()))
        first = [self.baseline[factor]] if factor in self.baseline else []
        return list(dict.fromkeys([*first, *seen]))


@dataclass(frozen=True)
class Cell:
    """One run of a sweep."""

    choices: Mapping[str, str]  # group -> level, the varied and the fixed ones
    seed: int
    overrides: tuple[str, ...]  # what `swallow train` is given
    composed: Composed
    run_id: str
    label: str


def question_folders(config_dirs: Sequence[Path] = ()) -> list[Path]:
    """Where questions are looked for: the user's folders first."""
    return [*(folder / "sweeps" for folder in config_dirs), shipped_folder("sweeps")]


def list_questions(config_dirs: Sequence[Path] = ()) -> list[str]:
    """Names of the questions there are."""
    return sorted({path.stem for folder in question_folders(config_dirs) for path in folder.glob("*.yaml")})


def read_question(name: str, config_dirs: Sequence[Path] = ()) -> Question:
    """Parse sweeps/NAME.yaml. Raises RequestError for a missing file, bad YAML, unknown keys or wrong shapes."""
    import yaml

    for folder in question_folders(config_dirs):
        path = folder / f"{name}.yaml"
        if path.exists():
            break
    else:
        raise RequestError(
            f"sweep {name}",
            expected=f"one of {', '.join(list_questions(config_dirs))}",
            remedy="check the name, or write sweeps/NAME.yaml in your --config-dir",
        )
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise RequestError(f"{path}: {' '.join(str(error).split())}", expected="valid YAML", remedy="correct that line") from error
    if not isinstance(raw, dict):
        raise RequestError(f"{path} is not a mapping", expected=f"keys {', '.join(KEYS)}", remedy="see sweeps/miniature.yaml")
    unknown = sorted(set(raw) - set(KEYS))
    if unknown:
        raise RequestError(f"{path}: unknown key {unknown[0]}", expected=f"keys {', '.join(KEYS)}", remedy="correct or remove it")
    if not raw.get("grids"):
        raise RequestError(f"{path} has no grids", expected="a list of {group: [levels]}", remedy="see sweeps/miniature.yaml")
    groups = list_groups(config_dirs)
    for factor in [*raw.get("fixed", {}), *raw.get("baseline", {}), *(f for grid in raw["grids"] for f in grid)]:
        if factor not in groups:
            raise RequestError(
                f"{path}: unknown factor {factor}", expected=f"one of the groups {', '.join(groups)}", remedy="correct the name"
            )
    return Question(
        name=name,
        question=str(raw.get("question", name)),
        section=str(raw.get("section", "")),
        expects=str(raw.get("expects", "")),
        fixed={k: str(v) for k, v in raw.get("fixed", {}).items()},
        baseline={k: str(v) for k, v in raw.get("baseline", {}).items()},
        grids=[{k: [str(x) for x in (v if isinstance(v, list) else [v])] for k, v in grid.items()} for grid in raw["grids"]],
        exclude=raw.get("exclude", []),
        seeds=[int(seed) for seed in raw.get("seeds", [0])],
        overrides=[str(item) for item in raw.get("overrides", [])],
    )


def question_of_overrides(overrides: Sequence[str], config_dirs: Sequence[Path] = ()) -> tuple[Question, list[str]]:
    """The question behind `-m`: `+sweep=NAME` reads its file; `vocabulary=base,ja_16k` makes one up.

    Returns the question and the overrides that stay the same in every cell.
    """
    named = [word.removeprefix("+sweep=") for word in overrides if word.startswith("+sweep=")]
    plain = [word for word in overrides if not word.startswith("+sweep=")]
    if len(named) > 1:
        raise RequestError(
            f"{len(named)} sweeps at once ({', '.join(named)})", expected="one +sweep=NAME", remedy="run them one after the other"
        )
    axes, fixed = _sweep_axes(plain)
    if named:
        if axes:
            raise RequestError(
                f"{next(iter(axes))}=... with several values and +sweep={named[0]}",
                expected="one or the other",
                remedy="write a sweep file of your own",
            )
        return read_question(named[0], config_dirs), fixed
    if not axes:
        raise RequestError("-m without anything to vary", expected="+sweep=NAME or key=a,b", remedy="leave out -m, or name two levels")
    seeds = [int(value) for value in axes.pop("seed", ["0"])]
    question = " x ".join(f"{key} in {', '.join(values)}" for key, values in axes.items()) or f"seeds {seeds}"
    name = f"multirun-{digest_of([axes, seeds, fixed])[:7]}"
    baseline = {key: values[0] for key, values in axes.items()}
    return Question(name, question, "", "", {}, baseline, [axes], [], seeds, []), fixed


def _sweep_axes(overrides: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Split overrides into those with several values (Hydra's own grammar) and the rest."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise explain(error, overrides) from error
    axes = {p.get_key_element(): list(p.sweep_string_iterator()) for p in parsed if p.is_sweep_override()}
    return axes, [word for word, p in zip(overrides, parsed, strict=True) if not p.is_sweep_override()]


def _excluded(choices: Mapping[str, str], rules: Sequence[Mapping[str, Any]]) -> bool:
    """True when every key of some rule matches (a list in a rule matches any of its levels)."""
    return any(
        all(choices.get(key) in ([str(x) for x in value] if isinstance(value, list) else [str(value)]) for key, value in rule.items())
        for rule in rules
    )


def expand_question(question: Question, overrides: Sequence[str] = (), config_dirs: Sequence[Path] = ()) -> list[Cell]:
    """Compose every cell. `overrides` (from the command line) apply to all cells; a cell met twice is kept once."""
    cells: dict[str, Cell] = {}
    for seed, grid in itertools.product(question.seeds, question.grids):
        for levels in itertools.product(*grid.values()):
            choices = {**question.fixed, **question.baseline, **dict(zip(grid, levels, strict=True))}
            if _excluded(choices, question.exclude):
                continue
            mine = (*(f"{group}={level}" for group, level in choices.items()), f"seed={seed}", *question.overrides, *overrides)
            composed = compose_config(mine, config_dirs)
            run_id = run_id_of(identity_of(composed.plain))
            label = " ".join(choices[factor] for factor in question.factors) or composed.config.base_model.name
            cells.setdefault(run_id, Cell(choices, seed, mine, composed, run_id, label))
    if not cells:
        raise RequestError(f"sweep {question.name} has no cell left", expected="at least one", remedy="check grids and exclude")
    return list(cells.values())


def find_contrasts(question: Question, cells: Sequence[Cell]) -> list[dict[str, str]]:
    """Pairs (cell, same cell with one factor at its baseline level), same seed: what a relative change may compare."""
    contrasts = []
    for factor in question.factors:
        baseline_level = question.levels(factor)[0]
        for cell in cells:
            if cell.choices.get(factor) == baseline_level:
                continue
            twin = {**cell.choices, factor: baseline_level}
            for other in cells:
                if dict(other.choices) == twin and other.seed == cell.seed:
                    level = str(cell.choices[factor])
                    rest = [cell.choices[f] for f in question.factors if f != factor and len(question.levels(f)) > 1]
                    where = f" ({', '.join(rest)})" if rest else ""
                    contrasts.append(
                        {
                            "factor": factor,
                            "level": level,
                            "baseline_level": baseline_level,
                            "run_id": cell.run_id,
                            "baseline_run_id": other.run_id,
                            "label": f"{level} vs {baseline_level}{where}",
                        }
                    )
    return contrasts


def write_sweep(out: Path, question: Question, cells: Sequence[Cell]) -> dict[str, Any]:
    """Write <out>/sweeps/NAME.json, which is all that status, report and publish need."""
    sweep = {
        "name": question.name,
        "question": question.question,
        "section": question.section,
        "expects": question.expects,
        "baseline": dict(question.baseline),
        "axes": {factor: question.levels(factor) for factor in question.factors},
        "cells": [
            {
                "run_id": cell.run_id,
                "choices": {group: str(cell.composed.plain[group]["name"]) for group in IDENTITY_GROUPS},
                "seed": cell.seed,
                "label": cell.label,
                "overrides": list(cell.overrides),
            }
            for cell in cells
        ],
        "contrasts": find_contrasts(question, cells),
    }
    write_json_atomic(sweep_file(out, question.name), sweep)
    return sweep
