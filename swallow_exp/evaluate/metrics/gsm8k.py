"""The number a solution of GSM8K ends with.

paper   the first number after "#### ", commas deleted, as text: "18.0" is not "18" (lm-eval v0.3.0)
fair    the first number after "####" with or without a space or a dollar sign, else the last number of the answer; compared as numbers

Source  paper Table 3; Cobbe et al. (2021).
"""

from __future__ import annotations

import re
from decimal import Decimal

from swallow_exp.evaluate.task import FAIR, PAPER, Metric

_MARKED_PAPER = re.compile(r"#### (\-?[0-9\.\,]+)")
_NUMBER = r"-?\$?(?:\d[\d,]*(?:\.\d+)?|\.\d+)"
_MARKED = re.compile(rf"####\s*({_NUMBER})")
# a minus between two numbers ("16-3") is a sign of arithmetic, not of the second number
_ANY = re.compile(rf"(?<![\d.)]){_NUMBER}|(?:\d[\d,]*(?:\.\d+)?|\.\d+)")


def marked_number(text: str) -> str | None:
    """The first number after "#### " without its commas, as it is written; None without one."""
    found = _MARKED_PAPER.search(text)
    return found.group(1).strip().replace(",", "") if found else None


def final_number(text: str) -> Decimal | None:
    """The first number after "####", else the last one; None without any."""
    marked = _MARKED.search(text)
    every = [marked.group(1)] if marked else _ANY.findall(text)
    return Decimal(every[-1].replace(",", "").replace("$", "")) if every else None


GSM8K_PAPER = Metric(
    "accuracy", "mean", lambda item, output: (float(marked_number(output.text) == marked_number(item.target)),), profile=PAPER
)
GSM8K_FAIR = Metric("accuracy", "mean", lambda item, output: (float(final_number(output.text) == final_number(item.target)),), profile=FAIR)
