"""Completion with the tab key: verbs, flags, groups, levels and questions (extra `completion`).

    eval "$(register-python-argcomplete swallow)"       in ~/.bashrc or ~/.zshrc

Reads  the names of conf/**/*.yaml and sweeps/*.yaml, and those of a --config-dir on the line
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swallow_exp.cli.parser import Verb, verb_parser
from swallow_exp.config.levels import SWEEPS, list_groups, list_levels, shipped_folder


def words_beginning_with(prefix: str, parsed_args: Namespace, **_: Any) -> list[str]:
    """What may stand behind a verb: GROUP= and its levels, +sweep= and its questions."""
    folders = [path for text in getattr(parsed_args, "config_dir", None) or [] if (path := Path(text).expanduser()).is_dir()]
    key, equals, _level = prefix.partition("=")
    if not equals:
        return [f"{group}=" for group in (*list_groups(folders), "+sweep") if group.startswith(prefix)]
    if key == "+sweep":
        places = [shipped_folder(SWEEPS), *(folder / SWEEPS for folder in folders)]
        levels = sorted({path.stem for place in places for path in place.glob("*.yaml")})
    else:
        levels = list_levels(key, folders)
    return [word for level in levels if (word := f"{key}={level}").startswith(prefix)]


def complete(verbs: Mapping[str, Verb]) -> None:
    """Answer the shell and end the process, if argcomplete is installed."""
    try:
        import argcomplete
    except ImportError:
        return
    parser = ArgumentParser(prog="swallow")
    choices = parser.add_subparsers()
    for name, verb in verbs.items():
        own = verb_parser(name, verb)
        choices.add_parser(name, parents=[own], add_help=False, help=verb.summary)
        next(action for action in own._actions if action.dest == "words").completer = words_beginning_with  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser, print_suppressed=True, always_complete_options="long")
