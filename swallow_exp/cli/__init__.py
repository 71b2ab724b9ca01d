"""One verb per stage; the only package that reads the command line.

table        every verb, with its help
parser       the words of a command line -> what stands behind the verb
verbs        what each does: compose, build, run, look after
results      what each does: read results and share them
completion   what the tab key offers

Exit codes: 0 done; 75 preempted, saved, run me again; 1 something failed; 2 the request is wrong (one line says what).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from swallow_exp.artefact.errors import EXIT_DONE, EXIT_FAILED, EXIT_PREEMPTED, SwallowError
from swallow_exp.artefact.processes import die_with_parent
from swallow_exp.cli.parser import find_verb, parse_verb
from swallow_exp.cli.table import VERBS, overview

__all__ = ["VERBS", "main", "overview", "run_verb"]


def run_verb(words: Sequence[str]) -> int:
    """Run one verb with what stands behind it -> its exit code. Raises SwallowError."""
    verb = find_verb(words[0], VERBS)
    return verb.run(parse_verb(words[0], verb, words[1:]))


def _terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM, and a scheduler's SIGUSR1, as Ctrl-C: nothing half-written stays."""
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of `swallow` and `python -m swallow_exp`: run a verb, exit with its code."""
    if "_ARGCOMPLETE" in os.environ:  # the shell asks what may stand next
        from swallow_exp.cli.completion import complete

        complete(VERBS)
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["help"] and len(words) > 1:
        words = [words[1], "--help"]
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        raise SystemExit(EXIT_DONE)
    if words[0] in ("--version", "version"):
        from swallow_exp import __version__

        print(f"swallow_exp {__version__}")
        raise SystemExit(EXIT_DONE)
    die_with_parent()
    if argv is None:  # a process of its own
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, _terminate)  # verbs that start processes set handlers of their own meanwhile
    try:
        code = run_verb(words)
    except SwallowError as error:
        print(f"swallow: {' '.join(str(error).split())}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print("swallow: stopped; what is finished is kept, the same command continues", file=sys.stderr)
        code = EXIT_PREEMPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader of our pipe left
        code = EXIT_FAILED
    raise SystemExit(code)
