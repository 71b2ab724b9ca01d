"""Compose a config with Hydra, and say in one line what is wrong when it cannot be composed.

(1) find      conf/ of the checkout, or of the installed package; the user's --config-dir comes first
(2) compose   train.yaml + overrides, the dataclasses as schema     -> resolved plain dict
(3) type      Config.of, check_config                               -> Config

Reads  conf/**/*.yaml, <config-dir>/**/*.yaml
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config.checks import check_config
from swallow_exp.config.schema import Config

PRIMARY = "train"
PACKAGE = Path(__file__).resolve().parent.parent


def shipped_folder(name: str) -> Path:
    """`conf` or `sweeps`: beside the package in a checkout, inside it (as _conf, _sweeps) when installed from a wheel."""
    checkout = PACKAGE.parent / name
    return checkout if (PACKAGE.parent / "pyproject.toml").exists() and checkout.is_dir() else PACKAGE / f"_{name}"


@dataclass(frozen=True)
class Composed:
    """A composed run: typed, and as the plain dict that is hashed and saved."""

    config: Config
    plain: dict[str, Any]


def compose_config(overrides: Sequence[str], config_dirs: Sequence[Path] = ()) -> Composed:
    """Compose, resolve, type and check. Raises RequestError for everything a user can get wrong."""
    for folder in config_dirs:
        if not folder.is_dir():
            raise RequestError(f"--config-dir {folder}", expected="a folder with YAML levels", remedy="check the path")
        _refuse_shadowing(folder)
    import yaml
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        composed = _hydra_compose(list(overrides), config_dirs)
        plain = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
        assert isinstance(plain, dict)
        plain.pop("experiment", None)
        config = Config.of({str(key): value for key, value in plain.items()})
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
        if isinstance(error, RequestError):
            raise
        raise explain(error, overrides, config_dirs) from error
    check_config(config)
    typed = OmegaConf.to_container(OmegaConf.structured(config), resolve=True)
    assert isinstance(typed, dict)
    return Composed(config, {str(key): value for key, value in typed.items()})


def _refuse_shadowing(folder: Path) -> None:
    """A user's level with a shipped name would silently lose against it: refuse."""
    shipped = shipped_folder("conf")
    for path in sorted(folder.glob("*/*.yaml")):
        if (shipped / path.relative_to(folder)).exists():
            name = path.relative_to(folder).with_suffix("")
            raise RequestError(
                f"{path} has the name of a shipped level",
                expected="a name of its own",
                remedy=f"rename it and choose it as {name.parent}=...",
            )


def _hydra_compose(overrides: list[str], config_dirs: Sequence[Path]) -> Any:
    from hydra import compose, initialize_config_dir
    from hydra.core.config_store import ConfigStore
    from hydra.core.global_hydra import GlobalHydra

    ConfigStore.instance().store(name="config_schema", node=Config)
    GlobalHydra.instance().clear()
    path = ",".join(f"file://{folder.resolve()}" for folder in config_dirs)
    search = [f"hydra.searchpath=[{path}]"] if path else []
    with initialize_config_dir(config_dir=str(shipped_folder("conf")), version_base="1.3"):
        return compose(config_name=PRIMARY, overrides=[*search, *overrides])


def list_levels(group: str, config_dirs: Sequence[Path] = ()) -> list[str]:
    """Names of the levels of a group, shipped and the user's."""
    folders = [shipped_folder("conf"), *config_dirs]
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})


def list_groups(config_dirs: Sequence[Path] = ()) -> list[str]:
    """Names of the groups, shipped and the user's."""
    folders = [shipped_folder("conf"), *config_dirs]
    return sorted({path.name for folder in folders for path in folder.iterdir() if path.is_dir() and any(path.glob("*.yaml"))})


def _leaves(node: Any, prefix: str = "") -> list[str]:
    """Dotted names of every field of the schema."""
    from dataclasses import fields, is_dataclass

    names = []
    for item in fields(node):
        value = getattr(node, item.name)
        dotted = f"{prefix}{item.name}"
        names.append(dotted)
        if is_dataclass(value):
            names += _leaves(value, f"{dotted}.")
    return names


def _suggest(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else "see conf/ for what there is"


def _chain(error: BaseException) -> str:
    """Messages of an exception and its causes, on one line."""
    parts: list[str] = []
    current: BaseException | None = error
    while current is not None:
        text = " ".join(str(current).split())
        if text and not any(text in part for part in parts):
            parts.append(text)
        current = current.__cause__ or current.__context__
    return " | ".join(parts)


def explain(error: Exception, overrides: Sequence[str], config_dirs: Sequence[Path] = ()) -> RequestError:
    """One line for a composition error: what was given, what was expected, what to do."""
    import yaml

    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return RequestError(
            f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}: {error.problem}",
            expected="valid YAML",
            remedy="correct that line",
        )
    text = re.sub(r" See https?://\S+ for details", "", _chain(error))
    where = _place(text, overrides)
    if match := re.search(r"(?:In '[^']*': )?Could not (?:find|load) '?(\w+)/([^'\s]+)'?", text):
        group, level = match.groups()
        known = list_levels(group, config_dirs)
        return RequestError(f"{group}={level}", expected=f"one of {', '.join(known) or 'no level at all'}", remedy=_suggest(level, known))
    if match := re.search(r"Could not override '([\w@/]+)'\. No match in the defaults list", text):
        group = match.group(1)
        return RequestError(
            f"{group}=...",
            expected=f"one of the groups {', '.join(list_groups(config_dirs))}",
            remedy=_suggest(group, list_groups(config_dirs)),
        )
    if match := re.search(r"Key '([^']+)' not in '(\w+)'(?:.*?full_key: ([\w.]+))?", text):
        key, _owner, dotted = match.groups()
        known = _leaves(Config())
        return RequestError(f"unknown key {dotted or key}{where}", expected="a field of the schema", remedy=_suggest(dotted or key, known))
    if match := re.search(
        r"Value '(.*?)'.*? (?:could not be converted to|is not a valid|of type '\w+' (?:could not|is not)).*?(\w+)?\s*full_key: ([\w.]+)",
        text,
    ):
        return RequestError(
            f"{match.group(3)}={match.group(1)}{where}", expected=_type_of(match.group(3)), remedy="give a value of that type"
        )
    if match := re.search(r"Missing mandatory value: ([\w.]+)", text):
        return RequestError(
            f"{match.group(1)} is not set", expected="a value", remedy=f"add {match.group(1)}=... or set it in your level file"
        )
    if match := re.search(r"Environment variable '([^']+)' not found", text):
        return RequestError(f"environment variable {match.group(1)} is not set", expected="a value", remedy=f"export {match.group(1)}=...")
    return RequestError(
        _shorten(text) + where, expected="overrides of the form group=level or group.field=value", remedy="see `swallow --help`"
    )


def _place(text: str, overrides: Sequence[str]) -> str:
    """Where the mistake stands: the file Hydra named, or the override that holds the key."""
    if match := re.search(r"In '([\w./-]+)': ", text):
        return f" in {match.group(1)}.yaml"
    if match := re.search(r"full_key: ([\w.]+)", text):
        for override in overrides:
            if override.lstrip("+~").startswith(match.group(1) + "="):
                return " on the command line"
    return ""


def _type_of(dotted: str) -> str:
    from dataclasses import fields, is_dataclass

    node: Any = Config()
    kind = "another type"
    for part in dotted.split("."):
        if not is_dataclass(node):
            break
        found = {item.name: item for item in fields(node)}
        if part not in found:
            break
        kind = str(found[part].type)
        node = getattr(node, part)
    return {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}.get(kind, kind)


def _shorten(text: str, limit: int = 300) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
