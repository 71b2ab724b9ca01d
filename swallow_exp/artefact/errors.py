"""The one tree of errors a user can meet.

SwallowError
|-- RequestError      the request is wrong: exit 2, one line (given, expected, what to do)
`-- RunFailed         some cell or process failed while the rest ran: exit 1

Anything else that escapes is a defect of this project and keeps its traceback.
"""

from __future__ import annotations

from typing import Any

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_WRONG_REQUEST = 2
EXIT_PREEMPTED = 75  # EX_TEMPFAIL of sysexits.h: "try again later"


# What a reader meets in a record of another shape that no check has named. Commands over many runs go on with the next run.
UNEXPECTED_SHAPE = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, MemoryError, AssertionError)


class SwallowError(Exception):
    """Base of every error that is reported without a traceback."""

    exit_code = EXIT_FAILED


class RequestError(SwallowError, ValueError):
    """The request cannot be carried out as given; the message says what to change."""

    exit_code = EXIT_WRONG_REQUEST

    def __init__(self, given: str, *, expected: str, remedy: str) -> None:
        """Compose the one line every user error has: `given; expected ...; remedy`."""
        self.given, self.expected, self.remedy = given, expected, remedy
        super().__init__(f"{given}; expected {expected}; {remedy}")


class RunFailed(SwallowError, RuntimeError):
    """A process or cell failed; the message names it and where its log is."""

    exit_code = EXIT_FAILED


def require(ok: bool, given: str, *, expected: str, remedy: str) -> None:
    """Raises RequestError unless `ok`."""
    if not ok:
        raise RequestError(given, expected=expected, remedy=remedy)


def one_of(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    """Raises RequestError unless `value` is among the allowed ones."""
    shown = ", ".join("null" if a is None else str(a) for a in allowed)
    given = f"{name}={'null' if value is None else value}"
    require(value in allowed, given, expected=f"one of {shown}", remedy=f"set {name} to one of them")
