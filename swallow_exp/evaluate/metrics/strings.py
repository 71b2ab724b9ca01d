"""Metrics of generated text against gold answers: exact match, and the similarity that the paper calls character F1.

paper   as llm-jp-eval v1.0 reads an answer: NFKC, the first line as it stands (a leading line break makes it empty), the target alone
fair    NFKC, the first line of the stripped text, the best of all gold answers

Source  paper appendix G, Table 2.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from swallow_exp.evaluate.task import FAIR, PAPER, Item, Metric, Output

# A full stop ends a sentence only before white space or the end ("3.5" goes on); Japanese ones always do.
_SENTENCE_END = re.compile(r"[。！？]|[.!?](?=\s|$)")


def first_sentence(text: str) -> str:
    """NFKC, first line of the stripped text, up to and without its first sentence end."""
    line = unicodedata.normalize("NFKC", text).strip().split("\n")[0]
    return _SENTENCE_END.split(line, maxsplit=1)[0].strip()


def first_line(text: str) -> str:
    """NFKC, first line of the stripped text."""
    return unicodedata.normalize("NFKC", text).strip().split("\n")[0].strip()


def paper_answer(text: str) -> str:
    """NFKC, first line, white space kept: how llm-jp-eval v1.0 reads an answer."""
    return unicodedata.normalize("NFKC", text).split("\n")[0]


def is_paper_answer(item: Item, output: Output) -> bool:
    """Whether the answer is the target, as llm-jp-eval v1.0 reads it."""
    return paper_answer(output.text) == unicodedata.normalize("NFKC", item.target)


def char_f1(prediction: str, gold: str) -> float:
    """Similarity in 0..1, in whole hundredths: thefuzz.token_sort_ratio. Not an F1, whatever the paper's tables call it.

    Both sides lose U+0080..U+00FF, become lower case words (anything but letters and digits divides), sorted and joined by spaces; then the
    share of characters that insertions and deletions leave alone. Equal texts give 1, an empty one beside another 0.
    """
    from thefuzz import fuzz

    return int(fuzz.token_sort_ratio(prediction, gold)) / 100


def _best(compare: Callable[[str, str], float]) -> Callable[[Item, Output], tuple[float, ...]]:
    """The best of all gold answers, both sides read by `first_line`."""
    return lambda item, output: (max(compare(first_line(output.text), first_line(gold)) for gold in item.golds),)


EXACT_MATCH = Metric("exact_match", "mean", lambda item, output: (float(first_sentence(output.text) == first_sentence(item.target)),))
EXACT_MATCH_PAPER = Metric("exact_match", "mean", lambda item, output: (float(is_paper_answer(item, output)),), profile=PAPER)
EXACT_MATCH_FAIR = Metric("exact_match", "mean", _best(lambda a, b: float(a == b)), profile=FAIR)
CHAR_F1_PAPER = Metric(
    "char_f1", "mean", lambda item, output: (char_f1(paper_answer(output.text), unicodedata.normalize("NFKC", item.target)),), profile=PAPER
)
CHAR_F1_FAIR = Metric("char_f1", "mean", _best(char_f1), profile=FAIR)
