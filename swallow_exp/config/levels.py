"""Level files: where they lie, how they describe themselves, and which words they may hold.

(1) find      conf/ and sweeps/ of the checkout or of the installed package, and the user's folders
(2) describe  the first sentence of a file's leading comment
(3) check     the user's files: no name of a shipped level, no word that YAML reads as something else, shares from one file

Reads  conf/**/*.yaml, <config-dir>/**/*.yaml
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, get_args

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config.schema import Config, SourceConfig, inner_type

PACKAGE = Path(__file__).resolve().parent.parent
SWEEPS = "sweeps"  # lies in a --config-dir beside the groups, and is none
SHARES = ("weights", "groups")


def shipped_folder(name: str) -> Path:
    """`conf` or `sweeps`: beside the package in a checkout, inside it (as _conf, _sweeps) when installed from a wheel."""
    checkout = PACKAGE.parent / name
    return checkout if (PACKAGE.parent / "pyproject.toml").exists() and checkout.is_dir() else PACKAGE / f"_{name}"


def _level_files(group: str, config_dirs: Sequence[Path]) -> dict[str, Path]:
    """Name -> file of every level of a group, sorted by name."""
    folders = [shipped_folder("conf"), *config_dirs]
    found = {path.stem: path for folder in reversed(folders) for path in (folder / group).glob("*.yaml") if path.is_file()}
    return dict(sorted(found.items()))


def list_levels(group: str, config_dirs: Sequence[Path] = ()) -> list[str]:
    """Names of the levels of a group, shipped and the user's."""
    return list(_level_files(group, config_dirs))


def list_groups(config_dirs: Sequence[Path] = ()) -> list[str]:
    """Names of the groups, shipped and the user's."""
    folders = [shipped_folder("conf"), *config_dirs]
    found = {path.name for folder in folders for path in folder.iterdir() if path.is_dir() and any(path.glob("*.yaml"))}
    return sorted(found - {SWEEPS})


def describe_level(path: Path) -> str:
    """The first sentence of the comment a level file begins with. Empty when there is none."""
    comment = []
    for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            comment.append(line.lstrip("# ").strip())
    return re.split(r"(?<=\.)\s+(?=[A-Z])", " ".join(comment), maxsplit=1)[0]


def levels_page(group: str, config_dirs: Sequence[Path] = ()) -> str:
    """A line for each level of a group. The user's own are marked with their path.

    Raises RequestError for an unknown group.
    """
    groups = list_groups(config_dirs)
    if group not in groups:
        raise RequestError(f"{group}=?", expected=f"one of the groups {', '.join(groups)}", remedy="write GROUP=?")
    files, shipped = _level_files(group, config_dirs), shipped_folder("conf")
    width = max(map(len, files))
    lines = [f"levels of {group}"]
    for name, path in files.items():
        said = describe_level(path)
        yours = "" if path.is_relative_to(shipped) else f"yours, {path}" + (": " if said else "")
        lines.append(f"  {name:<{width}}  {yours}{said}".rstrip())
    return "\n".join(lines)


def check_own_levels(folder: Path) -> None:
    """Refuse levels of a user's folder that would not do what they say. Raises RequestError."""
    if not folder.is_dir():
        raise RequestError(f"--config-dir {folder}", expected="a folder with YAML levels", remedy="check the path")
    shipped = shipped_folder("conf")
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*/*.yaml")]):
        name = path.relative_to(folder).with_suffix("")
        if (shipped / path.relative_to(folder)).exists():  # it would silently lose against the shipped one
            raise RequestError(
                f"{path} has the name of a shipped level",
                expected="a name of its own",
                remedy=f"rename it and choose it as {name.parent}=..." if len(name.parts) > 1 else "write levels, not a second train.yaml",
            )
        if len(name.parts) > 1 and name.parts[0] != SWEEPS:
            check_words(path, path.stat().st_mtime_ns)


@cache
def check_words(path: Path, changed: int = 0) -> None:
    """Refuse an unquoted word where text belongs if YAML reads something else (no, 12:30, 1e3, 0123).

    A file that `changed` (nanoseconds) is read again. Raises RequestError.
    """
    import yaml
    from omegaconf._utils import get_yaml_loader  # what Hydra reads levels with

    try:
        text = path.read_text(encoding="utf-8-sig")
        loader = get_yaml_loader()(text)
        root = loader.get_single_node()
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
        return  # composing says it, with its line, if the level is used
    whole = re.search(r"^#\s*@package\s+_global_", text, re.MULTILINE)
    kind = Config if whole else SourceConfig if path.parent.name == "source" else inner_type(Config, path.parent.name)
    for node, where in _text_nodes(root, kind, ""):
        value = loader.construct_object(node)
        if value is not None and str(value) != node.value:
            key = where.rpartition(".")[2]
            raise RequestError(
                f"{path}, line {node.start_mark.line + 1}: {where}: {node.value} without quotes, which YAML reads as {value}",
                expected="text in quotes",
                remedy=f'write {key}: "{node.value}"' if key else f'write "{node.value}"',
            )


def _text_nodes(node: Any, kind: Any, where: str, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, str]]:
    """Unquoted scalars where text belongs: text fields, items of text lists, keys, names of levels."""
    import yaml

    if any(node is other for other in above):  # an anchor that holds itself: composing says it
        return
    above = (*above, node)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _text_nodes(key, str, where, above)
            name = str(key.value)
            inner = str if kind is str else list[str] if not where and name == "defaults" else inner_type(kind, name)
            yield from _text_nodes(value, inner, f"{where}.{name}".lstrip("."), above)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _text_nodes(item, next(iter(get_args(kind)), None), where, above)
    elif kind is str and isinstance(node, yaml.ScalarNode) and node.style is None:
        yield node, where


def refuse_merged_shares(loader: Any, primary: str, overrides: Sequence[str], config_dirs: Sequence[Path]) -> None:
    """Refuse a mixture whose weights or groups come from two files: Hydra would merge them.

    Raises RequestError.
    """
    from hydra.types import RunMode

    folders = [*config_dirs, shipped_folder("conf")]
    used = loader.compute_defaults_list(primary, list(overrides), RunMode.RUN).defaults
    writers = [level.config_path for level in used if level.config_path and _gives_shares(level, folders)]
    if len(writers) > 1:
        raise RequestError(
            f"{' and '.join(f'{path}.yaml' for path in writers)} both give the mixture's shares",
            expected="weights or groups in one file (Hydra would merge them, name by name)",
            remedy="drop them from one file, or write a mixture of its own",
        )


def _gives_shares(level: Any, folders: Sequence[Path]) -> bool:
    """True for a file that sets mixture.weights or mixture.groups, whichever package it is in."""
    if level.package not in ("mixture", "", "_global_", None):
        return False
    import yaml

    file = next((path for folder in folders if (path := folder / f"{level.config_path}.yaml").is_file()), None)
    plain = yaml.safe_load(file.read_text(encoding="utf-8-sig")) if file is not None else None
    mixture = plain.get("mixture") if isinstance(plain, dict) and level.package != "mixture" else plain
    return isinstance(mixture, dict) and any(bool(mixture.get(form)) for form in SHARES)
