"""A question (sweeps/NAME.yaml), read strictly: unknown keys, groups and levels are refused.

Reads  sweeps/NAME.yaml or <config-dir>/sweeps/NAME.yaml
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config.checks import check_folder_name
from swallow_exp.config.levels import list_groups, list_levels, shipped_folder


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
    outcome: str = ""  # written after the runs
    follows: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)  # factor -> level -> what comes along with it
    signs: Mapping[str, Any] = field(default_factory=dict)  # expected directions: task -> up | down | none, or level -> such a mapping
    measures: Mapping[str, str] = field(default_factory=dict)  # task -> the metric that counts, declared before the runs
    last_checkpoints: int = 1  # a run's score is the mean of so many of its last checkpoints
    curves: str = "all"  # seeds whose every mark is made and evaluated: all | first; the others have token 0 and the last
    null_study: bool = False  # its cells differ in nothing real: what they show is noise between runs
    part: Mapping[str, Sequence[Any]] = field(default_factory=dict)  # factor or seed -> levels asked for this time

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
        if name == path.stem and path.is_file():  # no ../ in a name
            break
    else:
        raise RequestError(
            f"sweep {name}",
            expected=f"one of {', '.join(list_questions(config_dirs))}",
            remedy="check the name, or write sweeps/NAME.yaml in your --config-dir",
        )
    check_folder_name("sweep", name)  # it becomes a file and a folder under the output root
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"{path}: {' '.join(str(error).split())}", expected="valid YAML", remedy="correct that line") from error
    _check_shape(path, raw)
    _check_levels(path, raw, config_dirs)
    return Question(
        name=name,
        question=str(raw.get("question", name)),
        section=str(raw.get("section", "")),
        expects=str((expects.pop("text", "") if isinstance(expects := _copied(raw.get("expects")), dict) else expects) or ""),
        signs=expects if isinstance(expects, dict) else {},
        measures=raw.get("measures") or {},
        last_checkpoints=raw.get("last_checkpoints") or 1,
        curves=raw.get("curves") or ALL_SEEDS,
        null_study=bool(raw.get("null_study")),
        fixed=raw.get("fixed") or {},
        baseline={factor: str(level) for factor, level in (raw.get("baseline") or {}).items()},
        grids=[{factor: [str(level) for level in _listed(levels)] for factor, levels in grid.items()} for grid in raw["grids"]],
        exclude=raw.get("exclude") or [],
        seeds=raw.get("seeds") or [0],
        overrides=raw.get("overrides") or [],
        outcome=str(raw.get("outcome") or ""),
        follows=raw.get("follows") or {},
    )


def _copied(value: Any) -> Any:
    return dict(value) if isinstance(value, dict) else value


def _listed(value: Any) -> list[Any]:
    """One level is a list of one."""
    return value if isinstance(value, list) else [value]


def _names(value: Any) -> bool:
    """{group: level}, or {group.field: value}."""
    return isinstance(value, dict) and all(isinstance(key, str) and _is_level(key, level) for key, level in value.items())


def _is_level(key: str, level: Any) -> bool:
    """A level is text. The value of a single field may be a number, too."""
    return isinstance(level, str) or (_is_field(key) and type(level) in (int, float))


def _is_field(factor: str) -> bool:
    return "." in factor


def _expects(value: Any) -> bool:
    """Text; or {text: ..., task: up | down | none, ...}, where the level of a contrast may have such a mapping of its own."""
    if not isinstance(value, dict):
        return isinstance(value, str)
    flat = [item for item in value.items() if not isinstance(item[1], dict)]
    flat += [item for below in value.values() if isinstance(below, dict) for item in below.items()]
    return all(isinstance(key, str) and isinstance(sign, str) and (key == "text" or sign in SIGNS) for key, sign in flat)


def _rules(value: Any) -> bool:
    """A list of {group: level or [levels]}, none of them empty."""
    if not isinstance(value, list) or not all(isinstance(rule, dict) and rule for rule in value):
        return False
    pairs = [(key, _listed(levels)) for rule in value for key, levels in rule.items()]
    return all(isinstance(key, str) and levels and all(_is_level(key, level) for level in levels) for key, levels in pairs)


def _follows(value: Any) -> bool:
    """{group: {level: {group: level}}}."""
    return isinstance(value, dict) and all(
        isinstance(by_level, dict) and all(map(_names, by_level.values())) for by_level in value.values()
    )


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


SIGNS = ("up", "down", "none")
ALL_SEEDS, FIRST_SEED = "all", "first"
# key -> (what its value must be, in words, how that is seen); a key that is left out or null is as if it were not there
SHAPES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "question": ("text", lambda value: isinstance(value, str)),
    "section": ("text", lambda value: isinstance(value, str)),
    "expects": ("text, or {text: ..., task: up, down or none}", _expects),
    "measures": ("{task: metric}", lambda value: isinstance(value, dict) and _texts([*value, *value.values()])),
    "last_checkpoints": ("a whole number from 1 on", lambda value: type(value) is int and value >= 1),
    "curves": ("all or first", lambda value: value in (ALL_SEEDS, FIRST_SEED)),
    "null_study": ("true or false", lambda value: isinstance(value, bool)),
    "fixed": ("{group: level}", _names),
    "baseline": ("{group: level}", _names),
    "grids": ("a list of {group: [levels]}", _rules),
    "exclude": ("a list of {group: [levels]}", _rules),
    "outcome": ("text", lambda value: isinstance(value, str)),
    "follows": ("{group: {level: {group: level}}}", _follows),
    "seeds": ("a list of whole numbers", lambda value: isinstance(value, list) and all(type(seed) is int for seed in value)),
    "overrides": ("a list of group.field=value", _texts),
}


def _check_shape(path: Path, raw: Any) -> None:
    """Keys and the kind of each value."""
    if not isinstance(raw, dict):
        raise RequestError(f"{path} is not a mapping", expected=f"keys {', '.join(SHAPES)}", remedy="see sweeps/miniature.yaml")
    unknown = [key for key in raw if key not in SHAPES]
    if unknown:
        raise RequestError(f"{path}: unknown key {unknown[0]}", expected=f"keys {', '.join(SHAPES)}", remedy="correct or remove it")
    if not raw.get("grids"):
        raise RequestError(f"{path} has no grids", expected="a list of {group: [levels]}", remedy="see sweeps/miniature.yaml")
    if raw.get("curves") == FIRST_SEED and (raw.get("last_checkpoints") or 1) != 1:
        raise RequestError(
            f"{path}: curves: first with last_checkpoints: {raw['last_checkpoints']}",
            expected="last_checkpoints: 1, as seeds above the first have one mark after token 0",
            remedy="remove one of them",
        )
    for key, value in raw.items():
        words, fits = SHAPES[key]
        if value is not None and not fits(value):
            remedy = "put the levels in quotes if YAML reads them as something else (yes, no, 1e3); see sweeps/miniature.yaml"
            raise RequestError(f"{path}: {key}: {value}", expected=words, remedy=remedy)


def _check_levels(path: Path, raw: Mapping[str, Any], config_dirs: Sequence[Path]) -> None:
    """Groups and levels that are named must be there, or a misspelt one would silently take no part."""
    groups = list_groups(config_dirs)
    follows = raw.get("follows") or {}
    parts = [raw.get("fixed") or {}, raw.get("baseline") or {}, *(raw.get("exclude") or []), *raw["grids"]]
    parts += [{factor: list(by_level)} for factor, by_level in follows.items()]
    parts += [along for by_level in follows.values() for along in by_level.values()]
    for factor, levels in ((factor, _listed(part[factor])) for part in parts for factor in part):
        if _is_field(factor) and factor.partition(".")[0] in groups:
            continue  # composing a cell says whether there is such a field, and whether the value fits
        if factor not in groups:
            raise RequestError(
                f"{path}: unknown factor {factor}", expected=f"one of the groups {', '.join(groups)}", remedy="correct the name"
            )
        known = list_levels(factor, config_dirs)
        for level in levels:
            if level not in known:
                raise RequestError(f"{path}: {factor}: {level}", expected=f"one of {', '.join(known)}", remedy="correct the level")
