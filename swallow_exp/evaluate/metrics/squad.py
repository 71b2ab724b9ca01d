"""Exact match and word F1 of SQuAD 2.0, by the definition of its official script (metric `squad_v2`).

paper   the answer as generated: a question without an answer is right only when nothing is left of the normalised prediction
fair    the first line; an answer that begins with the word "unanswerable", which the examples teach, is no answer

exact, f1                        every question                 -> [0 .. 1]
has_answer_exact, has_answer_f1  questions with an answer        -> [100 * score, 1], others [0, 0]
no_answer_exact                  questions without an answer     -> [100 * score, 1], others [0, 0]

Source  paper Table 3 ("EM acc." is `exact`); Rajpurkar et al. (2018).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

from swallow_exp.evaluate.task import FAIR, PAPER, Item, Metric, Output, unchanged

NO_ANSWER = "unanswerable"
UNANSWERABLE = ("answerable", "no")  # the fact in Item.extra of a question without an answer

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def squad_normalise(text: str) -> str:
    """Lower case, without ASCII punctuation and English articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def word_f1(prediction: Sequence[str], gold: Sequence[str]) -> float:
    """Harmonic mean of precision and recall of the words, each counted as often as it occurs. Of two empty ones: 1."""
    if not prediction or not gold:
        return float(list(prediction) == list(gold))
    common = sum((Counter(prediction) & Counter(gold)).values())
    return 2 * common / (len(prediction) + len(gold))


def squad_scores(prediction: str, answers: Sequence[str]) -> tuple[float, float]:
    """(exact, f1) in 0..1 against the best of `answers`; without any, the right prediction is an empty one."""
    golds = [gold for gold in map(squad_normalise, answers) if gold] or [""]
    found = squad_normalise(prediction)
    return float(found in golds), max(word_f1(found.split(), gold.split()) for gold in golds)


def squad_prediction(text: str) -> str:
    """The first line of the stripped text; nothing when it begins with the word that stands for no answer."""
    line = text.strip().split("\n")[0].strip()
    return "" if squad_normalise(line).split()[:1] == [NO_ANSWER] else line


def squad_answers(item: Item) -> tuple[str, ...]:
    """The acceptable answers; none for a question without an answer."""
    return () if UNANSWERABLE in item.extra else item.golds


Statistics = Callable[[Item, Output], tuple[float, ...]]


def _of_all(read: Callable[[str], str], place: int) -> Statistics:
    return lambda item, output: (squad_scores(read(output.text), squad_answers(item))[place],)


def _of_part(read: Callable[[str], str], place: int, *, answered: bool) -> Statistics:
    def statistics(item: Item, output: Output) -> tuple[float, ...]:
        answers = squad_answers(item)
        if bool(answers) != answered:
            return (0.0, 0.0)
        return (100 * squad_scores(read(output.text), answers)[place], 1.0)

    return statistics


def _metrics(profile: str, read: Callable[[str], str]) -> tuple[tuple[Metric, ...], tuple[Metric, ...], tuple[Metric, ...]]:
    everything = (
        Metric("exact", "mean", _of_all(read, 0), profile=profile),
        Metric("f1", "mean", _of_all(read, 1), profile=profile),
    )
    answered = (
        Metric("has_answer_exact", "ratio", _of_part(read, 0, answered=True), profile=profile),
        Metric("has_answer_f1", "ratio", _of_part(read, 1, answered=True), profile=profile),
    )
    return everything, answered, (Metric("no_answer_exact", "ratio", _of_part(read, 0, answered=False), profile=profile),)


# (of every question, of those with an answer, of those without): a part of the questions that is empty has no score
SQUAD_PAPER = _metrics(PAPER, unchanged)
SQUAD_FAIR = _metrics(FAIR, squad_prediction)
