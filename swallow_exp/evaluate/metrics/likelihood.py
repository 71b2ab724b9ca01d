"""Metrics of log-likelihoods: accuracy of the likeliest choice (as it is, or per byte of its text), bits per byte of a target."""

from __future__ import annotations

import math

from swallow_exp.evaluate.task import Item, Metric, Output


def bits_of(loglikelihood: float) -> float:
    """Natural-log likelihood -> bits."""
    return -loglikelihood / math.log(2)


def _accuracy_norm(item: Item, output: Output) -> tuple[float, ...]:
    per_byte = [total / max(1, len(choice.encode("utf-8"))) for choice, total in zip(item.choices, output.loglikelihoods, strict=True)]
    best = max(range(len(per_byte)), key=lambda index: per_byte[index])
    return (float(item.choices[best] == item.target),)


def _bits_per_byte(item: Item, output: Output) -> tuple[float, ...]:
    (loglikelihood,) = output.loglikelihoods
    return (bits_of(loglikelihood), float(len(item.target.encode("utf-8"))))


ACCURACY = Metric("accuracy", "mean", lambda item, output: (float(item.choices[output.best] == item.target),))
# Long choices are not at a disadvantage; bytes, because a length in characters or tokens means something else in every language.
ACCURACY_NORM = Metric("accuracy_norm", "mean", _accuracy_norm)
BITS_PER_BYTE = Metric("bits_per_byte", "ratio", _bits_per_byte, higher_is_better=False)
