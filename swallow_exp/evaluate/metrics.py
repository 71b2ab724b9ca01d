"""Item statistics of every metric; record/aggregate.py turns their sums into scores.

exact_match       first line, first sentence, NFKC, stripped: equal or not          -> [0 or 1]
accuracy          the most likely choice is the target                              -> [0 or 1]
bleu              sacrebleu's counts of one segment                                 -> [hyp_len, ref_len, 4 correct, 4 total]
bits_per_byte     -log2 likelihood of the target, and its UTF-8 length              -> [bits, bytes]

Source  paper appendix C.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from swallow_exp.evaluate.task import Item, Metric, Output

# A full stop ends a sentence only before white space or the end ("3.5" goes on); Japanese ones always do.
_SENTENCE_END = re.compile(r"[。！？]|[.!?](?=\s|$)")


def first_sentence(text: str) -> str:
    """NFKC, first line of the stripped text, up to and without its first sentence end."""
    line = unicodedata.normalize("NFKC", text).strip().split("\n")[0]
    return _SENTENCE_END.split(line, maxsplit=1)[0].strip()


def first_line(text: str) -> str:
    """NFKC, first line of the stripped text."""
    return unicodedata.normalize("NFKC", text).strip().split("\n")[0].strip()


def _exact_match(normalise: Callable[[str], str]) -> Callable[[Item, Output], tuple[float, ...]]:
    return lambda item, output: (float(normalise(output.text) == normalise(item.target)),)


def _accuracy(item: Item, output: Output) -> tuple[float, ...]:
    return (float(item.choices[output.best] == item.target),)


def _bits_per_byte(item: Item, output: Output) -> tuple[float, ...]:
    (loglikelihood,) = output.loglikelihoods
    return (-loglikelihood / math.log(2), float(len(item.target.encode("utf-8"))))


@lru_cache(maxsize=4)
def _sacrebleu(tokenizer: str) -> Any:
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize=tokenizer)


def bleu_statistics(hypothesis: str, reference: str, tokenizer: str) -> tuple[float, ...]:
    """Counts of one segment: hyp_len, ref_len, correct n-grams 1..4, total n-grams 1..4."""
    score = _sacrebleu(tokenizer).corpus_score([hypothesis], [[reference]])
    return tuple(float(x) for x in (score.sys_len, score.ref_len, *score.counts, *score.totals))


def _bleu(tokenizer: str) -> Callable[[Item, Output], tuple[float, ...]]:
    return lambda item, output: bleu_statistics(first_line(output.text), item.target, tokenizer)


ACCURACY = Metric("accuracy", "mean", _accuracy)
EXACT_MATCH = Metric("exact_match", "mean", _exact_match(first_sentence))
BITS_PER_BYTE = Metric("bits_per_byte", "ratio", _bits_per_byte, higher_is_better=False)
# differs from paper appendix C: the paper segments Japanese with nagisa before BLEU; characters need no dictionary.
BLEU_JAPANESE = Metric("bleu", "bleu", _bleu("char"))
BLEU_ENGLISH = Metric("bleu", "bleu", _bleu("13a"))
