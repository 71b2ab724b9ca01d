"""Metrics of answers from a closed set of labels: what a constant answer cannot raise.

balanced_accuracy   mean recall over the gold labels, 0..100; a constant answer scores 100 / labels
macro_f1            mean F1 over the gold labels, 0..100
matthews            Matthews correlation of several classes, -1..1; a constant answer scores 0

Balanced accuracy is a ratio of sums over items: [100 * correct / size, 1 / size], where `size` is the number of items with the same gold
label in the whole dataset. On the whole dataset that is the mean recall exactly; on a part of it the labels keep the weight they have in
the whole, and the health of the result has the mean recall of the part.

Source  paper appendix F; the team's own re-evaluation of these sets takes the mean recall over gold labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from swallow_exp.evaluate.metrics.strings import first_line, is_paper_answer
from swallow_exp.evaluate.task import BOTH, FAIR, PAPER, Item, Metric, Output

CLASS_SIZE = "class_size"  # name of the fact in Item.extra


def _balanced(correct: Callable[[Item, Output], bool]) -> Callable[[Item, Output], tuple[float, ...]]:
    def statistics(item: Item, output: Output) -> tuple[float, ...]:
        size = int(dict(item.extra)[CLASS_SIZE])
        return (100.0 * correct(item, output) / size, 1.0 / size)

    return statistics


BALANCED_ACCURACY_PAPER = Metric("balanced_accuracy", "ratio", _balanced(is_paper_answer), profile=PAPER)
BALANCED_ACCURACY_FAIR = Metric(
    "balanced_accuracy", "ratio", _balanced(lambda item, output: first_line(output.text) == first_line(item.target)), profile=FAIR
)
BALANCED_ACCURACY_CHOICE = Metric(
    "balanced_accuracy", "ratio", _balanced(lambda item, output: item.choices[output.best] == item.target), profile=BOTH
)


def mean_recall(golds: Sequence[str], predictions: Sequence[str]) -> float:
    """Mean over the gold labels of the share of their items that were predicted, 0..100."""
    sizes, hits = Counter(golds), Counter(gold for gold, found in zip(golds, predictions, strict=True) if gold == found)
    return 100.0 * sum(hits[label] / size for label, size in sizes.items()) / len(sizes)


def macro_f1(golds: Sequence[str], predictions: Sequence[str]) -> float:
    """Mean F1 over the gold labels, 0..100; predictions outside them are misses and no class of their own."""
    sizes, predicted = Counter(golds), Counter(predictions)
    hits = Counter(gold for gold, found in zip(golds, predictions, strict=True) if gold == found)
    return 100.0 * sum(2 * hits[label] / (size + predicted[label]) for label, size in sizes.items()) / len(sizes)


def matthews(golds: Sequence[str], predictions: Sequence[str]) -> float:
    """Matthews correlation over every label that is gold or predicted, -1..1; 0 when either side is constant."""
    labels = sorted({*golds, *predictions})
    sizes, predicted = Counter(golds), Counter(predictions)
    gold_counts = np.array([sizes[label] for label in labels], dtype=np.float64)
    predicted_counts = np.array([predicted[label] for label in labels], dtype=np.float64)
    total = float(len(golds))
    correct = float(sum(gold == found for gold, found in zip(golds, predictions, strict=True)))
    spread = (total**2 - predicted_counts @ predicted_counts) * (total**2 - gold_counts @ gold_counts)
    return float((correct * total - gold_counts @ predicted_counts) / np.sqrt(spread)) if spread > 0 else 0.0
