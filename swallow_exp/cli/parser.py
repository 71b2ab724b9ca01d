"""The parsers: one per verb, each flag described once.

(1) find    the verb, or the one that was meant                     -> Verb
(2) parse   flags (never abbreviated), and words in any order       -> Namespace
(3) check   values of flags: numbers above 0, paths, no empty text

Reads/Writes  nothing.
"""

from __future__ import annotations

import argparse
import difflib
import math
import os
from argparse import ArgumentError, ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.paths import DEFAULT_OUT, user_path


@dataclass(frozen=True)
class Verb:
    """One command: what it does, and what may stand behind it."""

    run: Callable[[Namespace], int]
    summary: str  # one line of `swallow --help`
    usages: tuple[str, ...]  # what stands behind the verb beside flags: a line of the usage for each way
    flags: tuple[str, ...]
    examples: tuple[str, str]
    more: str = ""  # further lines of the verb's own help


@dataclass(frozen=True)
class Flag:
    """One flag, the same for every verb that has it. Without a metavar it takes no value."""

    help: str
    metavar: str | None = None
    check: Callable[[str, str], Any] | None = None  # (flag, text) -> value
    repeated: bool = False


def _text(flag: str, text: str) -> str:
    if not text.strip() or "\0" in text:
        raise RequestError(f"{flag} with the value {text!r}", expected=f"{flag} VALUE", remedy="add the value")
    return text


def whole_number(flag: str, text: str) -> int:
    """A whole number above 0. Raises RequestError."""
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise RequestError(f"{flag} {text}", expected="a whole number above 0", remedy=f"write {flag} 2")
    return int(text)


def positive_number(flag: str, text: str) -> float:
    """A number above 0. Raises RequestError."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise RequestError(f"{flag} {text}", expected="a number above 0", remedy=f"write {flag} 0.4")
    return number


def _mark(flag: str, text: str) -> int:
    """The tokens of a mark. 0 is the start weights."""
    return 0 if text == "0" else whole_number(flag, text)


def _path(flag: str, text: str) -> Any:
    return user_path(_text(flag, text))


FLAGS: Mapping[str, Flag] = {
    "--config-dir": Flag("a folder with your own levels and questions; may be given several times", "DIR", _path, repeated=True),
    "--data": Flag("where your text lies (default: FOLDER/text)", "DIR", _path),
    "--out": Flag("output root (default: SWALLOW_OUT, or ./outputs)", "DIR", _path),
    "--json": Flag("print JSON, for programs"),
    "-m": Flag("a grid: +sweep=NAME, or several values of a key (seed=0,1)"),
    "--jobs": Flag("cells that run at the same time", "N", whole_number),
    "--launcher": Flag("run the cells elsewhere: joblib, submitit_local or submitit_slurm", "NAME", _text),
    "--plan-only": Flag("with -m: print what would be done, and stop"),
    "--train-only": Flag("train one run and leave its checkpoints without results"),
    "--system": Flag("scheduler of the job scripts: slurm, pbs or uge", "NAME", _text),
    "--array": Flag("one array job in place of a script per cell"),
    "--template": Flag("your site's own script template", "FILE", _path),
    "--mfu": Flag("count with this share of a GPU's peak (default: runs measured here, else the paper's)", "SHARE", positive_number),
    "--tokens-per-second": Flag("count with this speed of one GPU", "N", positive_number),
    "--detect": Flag("say how many seeds a true difference of so many points needs", "POINTS", positive_number),
    "--noise": Flag("noise between runs, one standard deviation in points (default: a null study's)", "POINTS", positive_number),
    "--price": Flag("price of a GPU-hour, in any currency", "P", positive_number),
    "--follow": Flag("wait for further checkpoints and evaluate them as they appear"),
    "--fraction": Flag("ask a fixed share of each dataset's items, as suite.fraction=F", "F", _text),
    "--processes": Flag("processes that share each question, one per GPU; the scores stay the same", "N", whole_number),
    "--sink": Flag("where the rows go: wandb (default) or trackio", "NAME", _text),
    "--mode": Flag("W&B mode: offline (default) or online", "MODE", _text),
    "--project": Flag("W&B project", "NAME", _text),
    "--entity": Flag("W&B user or team", "NAME", _text),
    "--rows-only": Flag("send metric rows, and neither artifacts nor tables of items"),
    "--port": Flag("port of the local dashboard", "N", whole_number),
    "--no-open": Flag("serve without opening a browser"),
    "--source": Flag("ours (default), or paper: the paper's own tables, its Figure 1 and its statements, computed", "NAME", _text),
    "--beside-paper": Flag("hold the sweep's numbers against the paper's"),
    "--summary": Flag("print the scores alone, without claims, figures and page"),
    "--tokens": Flag("which checkpoint, by its mark (default: the last; 0: the start weights)", "N", _mark),
    "--to": Flag("where the files are written", "PATH", _path),
    "--dtype": Flag("type of the exported weights, for example bfloat16", "NAME", _text),
    "--yes": Flag("remove what was listed"),
    "--dry-run": Flag("only list (the default)"),
    "--format": Flag("format of the other trainer: megatron or datatrove", "NAME", _text),
    "--tokenizer": Flag("import: the SentencePiece model the tokens were made with", "FILE", _path),
    "--name": Flag("import: name of the new shard", "NAME", _text),
    "--shuffle-seed": Flag("import: shuffle the documents with this seed", "N", whole_number),
}
OTHER_NAMES = {"-m": ("--multirun",)}


class _Parser(ArgumentParser):
    """A parser whose mistakes are RequestErrors."""

    def error(self, message: str) -> NoReturn:
        """Raises RequestError with argparse's own words."""
        raise RequestError(f"{self.prog}: {message}", expected="the usage of this verb", remedy=f"see `{self.prog} --help`")


def verb_parser(name: str, verb: Verb) -> ArgumentParser:
    """The parser of one verb."""
    parser = _Parser(
        prog=f"swallow {name}",
        usage="\n       ".join(f"swallow {name} {usage} [FLAG ...]".replace("  ", " ") for usage in verb.usages),
        description=f"{verb.summary[0].upper()}{verb.summary[1:]}.\n\n{verb.more}".rstrip(),
        epilog="examples:\n" + "\n".join(f"  swallow {example}" for example in verb.examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        exit_on_error=False,
        add_help=False,
    )
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    flags = parser.add_argument_group("flags")
    for name_of_flag in verb.flags:
        flag, names = FLAGS[name_of_flag], (name_of_flag, *OTHER_NAMES.get(name_of_flag, ()))
        dest = _dest(name_of_flag)
        if flag.metavar is None:
            flags.add_argument(*names, dest=dest, action="store_true", help=flag.help)
        else:
            action = "append" if flag.repeated else "store"
            flags.add_argument(*names, dest=dest, metavar=flag.metavar, action=action, help=flag.help)
    flags.add_argument("-h", "--help", action="help", help="show this page")
    return parser


def _dest(flag: str) -> str:
    """The attribute of the Namespace behind a flag."""
    return "multirun" if flag == "-m" else flag.lstrip("-").replace("-", "_")


def parse_verb(name: str, verb: Verb, words: Sequence[str]) -> Namespace:
    """Parse what stands behind the verb -> `overrides`, `names`, and an attribute per flag.

    A flag that is not given is None, False or an empty list. Raises RequestError.
    """
    parser = verb_parser(name, verb)
    try:
        arguments, unknown = parser.parse_known_intermixed_args(list(words))
    except ArgumentError as error:
        raise _misused(str(error.argument_name), error.message) from error
    if unknown:
        raise _unknown_flag(name, unknown[0], verb)
    for flag, described in FLAGS.items():
        dest = _dest(flag)
        given = getattr(arguments, dest, None)
        if described.check is not None and given is not None:
            checked = [described.check(flag, text) for text in given] if described.repeated else described.check(flag, given)
            setattr(arguments, dest, checked)
        elif given is None:
            setattr(arguments, dest, [] if described.repeated else None if described.metavar else False)
    is_override = [("=" in word or word.startswith("~")) for word in arguments.words]
    arguments.overrides = [word for word, override in zip(arguments.words, is_override, strict=True) if override]
    arguments.names = [word for word, override in zip(arguments.words, is_override, strict=True) if not override]
    return arguments


def _misused(flag: str, message: str) -> RequestError:
    """A flag without its value, or with one where none belongs."""
    name = flag.rpartition("/")[2]
    if "explicit argument" in message:
        return RequestError(f"{flag}: {message}", expected=f"{name} alone", remedy="leave the value out")
    return RequestError(f"{name} without a value", expected=f"{name} VALUE", remedy="add the value")


def _unknown_flag(name: str, word: str, verb: Verb) -> RequestError:
    known = sorted([*verb.flags, *(other for flag in verb.flags for other in OTHER_NAMES.get(flag, ()))])
    close = difflib.get_close_matches(word.partition("=")[0], known, n=1, cutoff=0.6)
    meant = f"did you mean {close[0]}? " if close else ""
    return RequestError(
        f"unknown flag {word}", expected=f"one of {', '.join(known) or 'none'}", remedy=f"{meant}see `swallow {name} --help`"
    )


def find_verb(word: str, verbs: Mapping[str, Verb]) -> Verb:
    """The verb of this name. Raises RequestError that suggests the one that was meant."""
    if word not in verbs:
        close = difflib.get_close_matches(word, verbs, n=1, cutoff=0.6)
        raise RequestError(
            f"swallow {word}",
            expected="a verb" if close else f"one of {', '.join(verbs)}",
            remedy=f"did you mean `swallow {close[0]}`?" if close else "see `swallow --help`",
        )
    return verbs[word]


def no_names(arguments: Namespace, verb: str) -> None:
    """Raises RequestError for a bare word where only overrides belong."""
    if arguments.names:
        raise RequestError(
            f"swallow {verb} {arguments.names[0]}", expected="overrides of the form key=value", remedy=f"see `swallow {verb} --help`"
        )


def names(arguments: Namespace, verb: str, least: int, most: int, what: str) -> list[str]:
    """The bare words, `least` to `most` of them.

    Raises RequestError for another number, or for overrides.
    """
    if arguments.overrides:
        raise RequestError(f"swallow {verb} {arguments.overrides[0]}", expected=what, remedy="this verb takes no overrides")
    if not least <= len(arguments.names) <= most:
        number = f"{len(arguments.names)} name{'' if len(arguments.names) == 1 else 's'}"
        raise RequestError(f"swallow {verb} with {number}", expected=what, remedy=f"see `swallow {verb} --help`")
    given: list[str] = arguments.names
    return given


def out_root(arguments: Namespace) -> Path:
    """Output root of the verbs that take no overrides."""
    given: Path | None = arguments.out
    return given or user_path(os.environ.get("SWALLOW_OUT") or DEFAULT_OUT)
