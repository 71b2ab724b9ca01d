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
from swallow_exp.config.schema import Config, field_type

Dirs = Sequence[Path]
HELP = "`swallow show GROUP=?` lists the levels of a group"


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
    for pattern, given, expected, remedy in SENTENCES:
        if match := re.search(pattern, text):
            name = match.group(1)
            said = (sentence.format(name, where=where, type=_type_of(name)) for sentence in (given, expected, remedy))
            return RequestError(next(said), expected=next(said), remedy=next(said))
    return RequestError(
        _shorten(text) + where, expected="overrides of the form group=level or group.field=value", remedy="see `swallow show --help`"
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
    remedy = _suggest(level, known) or f"`swallow show {group}=?` describes them"
    return RequestError(f"{group}={level}", expected=f"one of {', '.join(known) or 'no level at all'}", remedy=remedy)


def _group(match: re.Match[str], where: str, dirs: Dirs) -> RequestError:
    group, groups = match.group(1), list_groups(dirs)
    if group in groups:
        remedy = "a group of your own is used through the defaults list of a level (source/ through mixture/), or by a field of a level"
    else:
        remedy = _suggest(group, groups) or HELP
    return RequestError(f"{group}=...", expected=f"one of the groups {', '.join(groups)}", remedy=remedy)


def _key(match: re.Match[str], where: str, dirs: Dirs) -> RequestError:
    key, _owner, full = match.groups()
    dotted: str = full or key
    group, _, name = dotted.rpartition(".")
    siblings = _fields_of(field_type(group)) if group else [field.name for field in fields(Config)]
    if meant := _suggest(name, siblings, group):
        expected, remedy = f"a field of {group}" if group else "a group or a field of one", meant
    elif group:
        expected, remedy = f"one of {', '.join(siblings)}" if siblings else "a field of one value", "choose one of these"
    else:
        expected = f"a group ({', '.join(siblings)}) or a field of one, such as optim.lr_peak"
        ends = [leaf for leaf in _leaves() if leaf.rpartition(".")[2] == name]
        remedy = f"did you mean {' or '.join(ends)}?" if ends else HELP
    return RequestError(f"unknown key {dotted}{where}", expected=expected, remedy=remedy)


def _value(match: re.Match[str], where: str, dirs: Dirs) -> RequestError:
    value, dotted = match.groups()
    return RequestError(f"{dotted}={value}{where}", expected=_type_of(dotted), remedy="give a value of that type")


def _missing(match: re.Match[str], where: str, dirs: Dirs) -> RequestError:
    name = match.group(2) or match.group(1)
    return RequestError(f"{name} is not set", expected="a value", remedy=f"add {name}=... or set it in your level file")


def _interpolation(match: re.Match[str], where: str, dirs: Dirs) -> RequestError:
    name = match.group(1)
    meant = _suggest(name, _leaves()) or "write ${GROUP.FIELD}"
    return RequestError(f"${{{name}}}{where} names nothing", expected="a field, such as ${paths.data}", remedy=meant)


# pattern of the message -> who explains it; the first that fits is asked
RULES: tuple[tuple[str, Callable[[re.Match[str], str, Dirs], RequestError]], ...] = (
    (r"(?:In '[^']*': )?Could not (?:find|load) '?(\w+)/([^'\s]*)'?", _level),
    (r"Could not override '([\w@/]+)'\. No match in the defaults list", _group),
    (r"Key '([^']+)' not in '(\w+)'(?:.*?full_key: ([\w.]+))?", _key),
    (
        r"Value '(.*?)'.*? (?:could not be converted to|is not a valid|of type '\w+' (?:could not|is not)).*?\s*full_key: ([\w.]+)",
        _value,
    ),
    (r"Missing mandatory value: ([\w.]+)(?: full_key: ([\w.]+))?", _missing),
    (r"Interpolation key '([^']+)' not found", _interpolation),
)
# pattern of the message, what was given, what was expected, the remedy; {0} is what was found
SENTENCES = (
    (
        r"(?:field '[\w.]+' is not Optional|Incompatible value 'None' for field of type '\w+') full_key: ([\w.]+)",
        "{0}=null{where}",
        "{type}",
        "give a value of that type",
    ),
    (r"NoneType is not a subclass of \w+\. value: None full_key: ([\w.\[\]]+)", "{0}=null{where}", "{type}", "give a value of that type"),
    (r"is not a ListConfig, list or tuple\. full_key: ([\w.]+)", "{0} is no list{where}", "a list", "write {0}=[first,second]"),
    (
        r"In '([\w/-]+)': .*is not a subclass of \w+Config",
        "{0}.yaml is not a mapping",
        "lines of the form key: value",
        "see a level of conf/",
    ),
    (
        r"In '([\w/-]+)': .*Cannot merge DictConfig with ListConfig",
        "{0}.yaml has a list where names belong",
        "{{name: value}}",
        "compare with a level of conf/",
    ),
    (r"Environment variable '([^']+)' not found", "environment variable {0} is not set", "a value", "export {0}=..."),
    (
        r"^(\w+) appears more than once in the final defaults list",
        "{0} is chosen twice",
        "one level per group",
        "write {0}=LEVEL, without +",
    ),
)


def _fields_of(kind: Any) -> list[str]:
    return [field.name for field in fields(kind)] if is_dataclass(kind) else []


def _leaves(kind: Any = Config, prefix: str = "") -> list[str]:
    """Dotted names of every field of a dataclass, and of those inside it."""
    names = []
    for item in fields(kind):
        dotted = f"{prefix}{item.name}"
        names.append(dotted)
        inner = field_type(dotted)
        names += _leaves(inner, f"{dotted}.") if is_dataclass(inner) else []
    return names


def _suggest(word: str, known: Sequence[str], group: str = "") -> str:
    """Names that begin with the word, or hold it, or are closest to it, as a question; or nothing."""
    others = [name for name in known if name != word]
    close = [name for name in others if len(word) > 1 and name.startswith(word)]
    close = close or [name for name in others if len(word) > 2 and word in name]
    close = close or difflib.get_close_matches(word, others, n=1, cutoff=0.6)
    shown = [f"{group}.{name}" if group else name for name in close[:3]]
    return f"did you mean {' or '.join(filter(None, [', '.join(shown[:-1]), *shown[-1:]]))}?" if shown else ""


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
    """What a field holds, in words."""
    kind = field_type(dotted)
    known = {int: "a whole number", float: "a number", bool: "true or false", str: "text", dict[str, float]: "a number behind each name"}
    return known.get(kind) or ("a list" if str(kind).startswith("list") else "a value")


def _shorten(text: str, limit: int = 300) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
