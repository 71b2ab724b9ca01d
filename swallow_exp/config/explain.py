"""One line for what Hydra and OmegaConf refuse: what was given, what was expected, what to do.

(1) place   the level file or the override the mistake stands in
(2) rules   the first pattern that fits the message         -> RequestError
(3) else    the message itself, shortened

Reads  conf/**/*.yaml, <config-dir>/**/*.yaml (only to name levels and to find a file that is no text)
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config.levels import list_groups, list_levels
from swallow_exp.config.schema import Config

Dirs = Sequence[Path]


def explain(error: BaseException, overrides: Sequence[str], config_dirs: Dirs = ()) -> RequestError:
    """The user error behind a composition error."""
    import yaml

    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return RequestError(
            f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}: {error.problem}",
            expected="valid YAML",
            remedy="correct that line",
        )
    if isinstance(error, yaml.reader.ReaderError | UnicodeDecodeError | OSError | RecursionError):
        for folder in config_dirs:
            for path in sorted(folder.glob("**/*.yaml")):
                refuse_unreadable_level(path)
    if isinstance(error, RecursionError):
        return RequestError("levels that name themselves", expected="no circle in a defaults list or an anchor", remedy="remove the circle")
    text = re.sub(r" See https?://\S+ for details", "", _chain(error))
    where = _place(text, overrides)
    for pattern, rule in RULES:
        if match := re.search(pattern, text):
            return rule(match, where, config_dirs)
    return RequestError(
        _shorten(text) + where, expected="overrides of the form group=level or group.field=value", remedy="see `swallow --help`"
    )


def refuse_unreadable_level(path: Path) -> None:
    """Raise RequestError when `path` is no UTF-8 text, no YAML, or no mapping."""
    import yaml

    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, yaml.reader.ReaderError) as error:
        raise RequestError(f"{path} is not UTF-8 text", expected="YAML in UTF-8", remedy="convert the file") from error
    except OSError as error:
        raise RequestError(f"cannot read {path}: {error.strerror}", expected="a readable file", remedy="check the file") from error
    except (yaml.YAMLError, RecursionError):
        return  # said elsewhere, with its line
    if plain is not None and not isinstance(plain, dict):
        raise RequestError(f"{path} is not a mapping", expected="lines of the form key: value", remedy="see a level of conf/")


def _level(match: re.Match[str], where: str, dirs: Dirs) -> RequestError:
    group, level = match.groups()
    known = list_levels(group, dirs)
    return RequestError(f"{group}={level}", expected=f"one of {', '.join(known) or 'no level at all'}", remedy=_suggest(level, known))


def _group(match: re.Match[str], where: str, dirs: Dirs) -> RequestError:
    group, groups = match.group(1), list_groups(dirs)
    if group in groups:
        remedy = "a group of your own is used through the defaults list of a level (source/ through mixture/), or by a field of the schema"
    else:
        remedy = _suggest(group, groups)
    return RequestError(f"{group}=...", expected=f"one of the groups {', '.join(groups)}", remedy=remedy)


def _key(match: re.Match[str], where: str, dirs: Dirs) -> RequestError:
    key, _owner, dotted = match.groups()
    return RequestError(f"unknown key {dotted or key}{where}", expected="a field of the schema", remedy=_suggest(dotted or key, _leaves()))


def _value(match: re.Match[str], where: str, dirs: Dirs) -> RequestError:
    value, dotted = match.groups()
    return RequestError(f"{dotted}={value}{where}", expected=_type_of(dotted), remedy="give a value of that type")


def _null(match: re.Match[str], where: str, dirs: Dirs) -> RequestError:
    return RequestError(f"{match.group(1)}=null{where}", expected=_type_of(match.group(1)), remedy="give a value of that type")


def _no_list(match: re.Match[str], where: str, dirs: Dirs) -> RequestError:
    return RequestError(f"{match.group(1)} is no list{where}", expected="a list", remedy=f"write {match.group(1)}=[first,second]")


def _no_mapping(match: re.Match[str], where: str, dirs: Dirs) -> RequestError:
    return RequestError(f"{match.group(1)}.yaml is not a mapping", expected="lines of the form key: value", remedy="see a level of conf/")


def _list_for_mapping(match: re.Match[str], where: str, dirs: Dirs) -> RequestError:
    file = f"{match.group(1)}.yaml"
    return RequestError(f"{file} has a list where names belong", expected="{name: value}", remedy="compare with a level of conf/")


def _missing(match: re.Match[str], where: str, dirs: Dirs) -> RequestError:
    name = match.group(2) or match.group(1)
    return RequestError(f"{name} is not set", expected="a value", remedy=f"add {name}=... or set it in your level file")


def _variable(match: re.Match[str], where: str, dirs: Dirs) -> RequestError:
    return RequestError(f"environment variable {match.group(1)} is not set", expected="a value", remedy=f"export {match.group(1)}=...")


def _interpolation(match: re.Match[str], where: str, dirs: Dirs) -> RequestError:
    name = match.group(1)
    return RequestError(f"${{{name}}}{where} names nothing", expected="a field of the schema", remedy=_suggest(name, _leaves()))


def _twice(match: re.Match[str], where: str, dirs: Dirs) -> RequestError:
    group = match.group(1)
    return RequestError(f"{group} is chosen twice", expected="one level a group", remedy=f"write {group}=LEVEL, without +")


# pattern of the message -> who explains it; the first that fits is asked
RULES: tuple[tuple[str, Callable[[re.Match[str], str, Dirs], RequestError]], ...] = (
    (r"(?:In '[^']*': )?Could not (?:find|load) '?(\w+)/([^'\s]*)'?", _level),
    (r"Could not override '([\w@/]+)'\. No match in the defaults list", _group),
    (r"Key '([^']+)' not in '(\w+)'(?:.*?full_key: ([\w.]+))?", _key),
    (r"(?:field '[\w.]+' is not Optional|Incompatible value 'None' for field of type '\w+') full_key: ([\w.]+)", _null),
    (r"NoneType is not a subclass of \w+\. value: None full_key: ([\w.\[\]]+)", _null),
    (r"is not a ListConfig, list or tuple\. full_key: ([\w.]+)", _no_list),
    (r"In '([\w/-]+)': .*is not a subclass of \w+Config", _no_mapping),
    (r"In '([\w/-]+)': .*Cannot merge DictConfig with ListConfig", _list_for_mapping),
    (
        r"Value '(.*?)'.*? (?:could not be converted to|is not a valid|of type '\w+' (?:could not|is not)).*?\s*full_key: ([\w.]+)",
        _value,
    ),
    (r"Missing mandatory value: ([\w.]+)(?: full_key: ([\w.]+))?", _missing),
    (r"Environment variable '([^']+)' not found", _variable),
    (r"Interpolation key '([^']+)' not found", _interpolation),
    (r"^(\w+) appears more than once in the final defaults list", _twice),
)


def _leaves(node: Any = None, prefix: str = "") -> list[str]:
    """Dotted names of every field of the schema."""
    names = []
    for item in fields(Config() if node is None else node):
        value = getattr(Config() if node is None else node, item.name)
        dotted = f"{prefix}{item.name}"
        names.append(dotted)
        if is_dataclass(value):
            names += _leaves(value, f"{dotted}.")
    return names


def _suggest(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, [name for name in known if name != word], n=1, cutoff=0.6)
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
    known = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}
    return known.get(kind, {"dict[str, float]": "a number behind each name"}.get(kind, "a value" if "Config" in kind else kind))


def _shorten(text: str, limit: int = 300) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
