"""One statement of the paper's text, held against its tables: how it is told, and how printed numbers are compared.

A range `36–63%` falls out when the lowest and the highest computed value print as its two ends, in the digits the text uses.
`up to N` when the highest does; `less than N` when every value is; `about N` when every value prints as N.
Reads   analysis/paper/*.csv.  Writes  nothing.  Source  paper text, Table 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from analysis.paper.published import Stated, paper_scores, read_numbers
from analysis.wording import signed

SIZES = ("7b", "13b", "70b")


@dataclass(frozen=True)
class Statement:
    """holds: None where no published number lets anyone compute it."""

    key: str
    section: str
    says: str
    found: str
    holds: bool | None

    @property
    def verdict(self) -> str:
        """In words."""
        return "cannot be computed" if self.holds is None else "falls out" if self.holds else "does not fall out"


def statement_line(statement: Statement) -> str:
    """One line for a terminal."""
    sign = {True: "ok", False: "NO", None: "--"}[statement.holds]
    return f"{sign}  {place_of(statement)}: {statement.says} | {statement.found}"


def place_of(statement: Statement) -> str:
    """`section 4.1`, `appendix D.3`, `Table 9`."""
    kind = "section " if statement.section[0].isdigit() else "appendix " if statement.section[1:2] in ("", ".") else ""
    return kind + statement.section


def statements_summary(statements: Sequence[Statement]) -> str:
    """How many fall out, do not, cannot be computed."""
    counts = [sum(statement.holds is kind for statement in statements) for kind in (True, False, None)]
    return (
        f"{len(statements)} statements of the text held against its tables: {counts[0]} fall out, {counts[1]} do not, "
        f"{counts[2]} cannot be computed because the values behind them are not printed"
    )


def relative_changes(tasks: Iterable[str]) -> dict[tuple[str, str], float]:
    """(task, size) -> (Swallow - Llama 2) / Llama 2 in %, from Table 4."""
    scores = paper_scores()
    return {(task, size): 100 * (scores[f"swallow_{size}", task] / scores[f"llama2_{size}", task] - 1) for task in tasks for size in SIZES}


def printed(value: float, like: str) -> Decimal:
    """Rounded half up to as many decimals as `like` has."""
    step = Decimal(1).scaleb(-len(like.partition(".")[2]))
    return Decimal(repr(round(value, 9))).quantize(step, rounding=ROUND_HALF_UP)


def has_ends(number: Stated, values: Sequence[float]) -> bool:
    """Lowest and highest value against a range, or the highest against one number."""
    low, _, high = number.text.partition("–")
    if not high:
        return printed(max(values), low) == Decimal(low)
    return printed(min(values), low) == Decimal(low) and printed(max(values), high) == Decimal(high)


def spread(values: Sequence[float], unit: str = "%", decimals: int = 1) -> str:
    """The lowest and the highest, with their signs."""
    space = "" if unit == "%" else " "
    return f"{signed(min(values), decimals)} to {signed(max(values), decimals)}{space}{unit}"


def stated(key: str, says: str, found: str, holds: bool | None) -> Statement:
    """A statement about a number of numbers.csv, in its section."""
    return Statement(key, read_numbers()[key].section, says, found, holds)
