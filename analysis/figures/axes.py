"""How far a checkpoint is: in trained tokens, in bytes of text read, or in FLOPs spent.

Equal tokens are not equal text: with another vocabulary a token stands for another number of bytes, and costs other FLOPs. Bytes and
FLOPs of a checkpoint are read off the training log of its run, on a straight line between two logged steps; token 0 is 0 of each.

Reads  nothing but the study (its training log).  Writes  nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.claims.compare import SAME_TOKENS
from analysis.figures.style import amount_axis
from analysis.load import Study
from analysis.wording import tokens_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Progress:
    """One way to count training. `column`: of the training log; `same`: what is equal when two runs are equally far."""

    suffix: str  # of a figure's name
    column: str
    label: str
    unit: str
    same: str

    def text(self, amount: float) -> str:
        """An amount in words: `20B tokens`, `1.2 GB`, `3.1e+21 FLOPs`."""
        if self.column == "text_bytes":
            return bytes_text(amount)
        return f"{tokens_text(amount)} tokens" if self.column == "trained_tokens" else f"{amount:.2g} FLOPs"


TOKENS = Progress("", "trained_tokens", "trained tokens", "tokens", "the same number of tokens")
BYTES = Progress("_bytes", "text_bytes", "bytes of text read", "bytes", "the same amount of text")
FLOPS = Progress("_flops", "flops", "training FLOPs", "FLOPs", "the same compute")


def bytes_text(amount: float) -> str:
    """1_500_000 -> `1.5 MB`."""
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if amount >= size:
            return f"{amount / size:.3g} {unit}"
    return f"{amount:.0f} B" if amount else "0"


def reached(study: Study, run_id: str, trained_tokens: float, progress: Progress) -> float | None:
    """How far a run was at `trained_tokens`; None when its log does not say or ends more than 5% earlier."""
    if progress.column == "trained_tokens" or trained_tokens == 0:
        return float(trained_tokens)
    rows = study.curves[study.curves["run_id"] == run_id]
    tokens = rows["trained_tokens"].to_numpy(dtype=np.float64)
    amounts = rows[progress.column].to_numpy(dtype=np.float64)
    known = np.isfinite(amounts)
    tokens, amounts = np.append(0.0, tokens[known]), np.append(0.0, amounts[known])
    if len(tokens) < 2 or trained_tokens > tokens[-1] * (1 + SAME_TOKENS):
        return None
    if trained_tokens > tokens[-1]:  # the last steps before the end are not always logged: at the run's own rate
        return float(amounts[-1] * trained_tokens / tokens[-1])
    return float(np.interp(trained_tokens, tokens, amounts))


def _flops_text(flops: float) -> str:
    return "0" if flops == 0 else f"{flops:.2g}"


def progress_axis(axes: Axes, progress: Progress) -> None:
    """Few, short tick labels in the unit of the axis."""
    words = {"trained_tokens": tokens_text, "text_bytes": bytes_text, "flops": _flops_text}
    amount_axis(axes, words[progress.column])


def has_two_vocabularies(study: Study, cells: frozenset[str] | None = None) -> bool:
    """Whether cells (all, or those named) differ in their vocabulary: then equal tokens are not equal text."""
    shown = [cell for cell in study.cells if cells is None or cell.label in cells]
    return len({cell.choices.get("vocabulary") for cell in shown}) > 1
