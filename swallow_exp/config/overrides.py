"""Overrides as a person types them -> overrides as Hydra reads them.

Hydra's grammar has no Japanese, no comma and no equals sign outside quotes; a path may hold all of them. It reads 1e3 and true as a
number and a truth value; a field that is text gets the word as it was typed.

Reads/Writes  nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config.schema import field_type


def set_value(key: str, value: object) -> str:
    """`key='value'` with everything in the value taken literally."""
    text, quoted, backslashes = str(value), "", 0
    for letter in text:
        if letter == "'":
            quoted += "\\" * backslashes + "\\'"  # backslashes in front of a quote count double
        else:
            quoted += letter
        backslashes = backslashes + 1 if letter == "\\" else 0
    return f"{key}='{quoted}{chr(92) * backslashes}'"


def read_overrides(words: Sequence[str]) -> list[str]:
    """The words, with quotes put around values Hydra could not read. Raises RequestError for what is no override at all."""
    return [_readable(word) for word in words]


def parse_overrides(words: Sequence[str]) -> list[Any]:
    """Hydra's own view of words that `read_overrides` has seen; to be looked at only."""
    return [_parse(word) for word in words]


@lru_cache(maxsize=1024)  # several milliseconds a word, and a grid looks at its words several times
def _parse(word: str) -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create().parse_overrides([word])[0]


def _readable(word: str) -> str:
    from hydra.errors import HydraException

    key, equals, value = word.partition("=")
    try:
        (parsed,) = parse_overrides([word])
    except HydraException as error:
        if not equals or not value.isprintable() or value[:1] in ("'", '"', "[", "{"):
            raise _unreadable(word) from error
        quoted = set_value(key, value)
        try:
            parse_overrides([quoted])
        except HydraException:
            raise _unreadable(word) from error
        return quoted
    read_as = parsed.value()
    lossy = isinstance(read_as, bool | int | float) and str(read_as) != value
    return set_value(key, value) if lossy and field_type(parsed.key_or_group) is str else word


def _unreadable(word: str) -> RequestError:
    return RequestError(
        f"override {word!r}",
        expected="the form group=level or group.field=value",
        remedy="close what is open, or put the value in quotes of its own",
    )


def refuse_several_values(words: Sequence[str]) -> None:
    """A run has one value for each key. Raises RequestError naming the first that has more."""
    for word, parsed in zip(words, parse_overrides(words), strict=True):
        if parsed.is_sweep_override():
            key, _, value = word.partition("=")
            raise RequestError(
                f"{word} has several values",
                expected="one value a run",
                remedy=f'add -m to `swallow train` for a grid; if the comma belongs to the value, quote it: "{set_value(key, value)}"',
            )
