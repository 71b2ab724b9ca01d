"""Exact match of TriviaQA.

paper   lower case without ASCII punctuation, equal to one of the aliases (lm-eval v0.3.0, version 3 of its task)
fair    the normalisation of the dataset's own evaluation script (articles go, punctuation becomes a space), the best of all aliases;
        word F1 beside it, so that an answer with one word too many is not the same as nothing

Source  paper Table 3; Joshi et al. (2017).
"""

from __future__ import annotations

import re
import string

from swallow_exp.evaluate.metrics.squad import word_f1
from swallow_exp.evaluate.task import FAIR, PAPER, Item, Metric, Output

_DELETED = str.maketrans("", "", string.punctuation)
_SPACED = str.maketrans(dict.fromkeys(string.punctuation + "‘’´", " "))
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def trivia_paper(text: str) -> str:
    """Stripped, lower case, ASCII punctuation deleted."""
    return text.strip().lower().translate(_DELETED)


def trivia_normalise(text: str) -> str:
    """First line, lower case, punctuation as spaces, without articles, single spaces."""
    line = text.strip().split("\n")[0]
    return " ".join(_ARTICLES.sub(" ", line.lower().translate(_SPACED)).split())


def _golds(item: Item) -> set[str]:
    return {gold for gold in map(trivia_normalise, (*item.golds, item.target)) if gold}


def _f1_fair(item: Item, output: Output) -> tuple[float, ...]:
    words = trivia_normalise(output.text).split()
    return (max((word_f1(words, gold.split()) for gold in _golds(item)), default=0.0),)


TRIVIA_EXACT_PAPER = Metric(
    "exact_match",
    "mean",
    lambda item, output: (float(trivia_paper(output.text) in {alias.lower().translate(_DELETED) for alias in item.golds}),),
    profile=PAPER,
)
TRIVIA_EXACT_FAIR = Metric(
    "exact_match", "mean", lambda item, output: (float(trivia_normalise(output.text) in _golds(item)),), profile=FAIR
)
TRIVIA_F1 = Metric("f1", "mean", _f1_fair, profile=FAIR)
