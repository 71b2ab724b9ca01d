"""How well a run used its devices, in the form of the paper's Table 7: TFLOPS per GPU and execution efficiency.

Reads   train rows of runs/<run_id>/events.jsonl
Source  paper Appendix D.3, Table 7 (A100 40GB, 312 TFLOPS); execution efficiency = TFLOPS per GPU / peak, which is MFU where the
        TFLOPS are model FLOPs. The paper's include recomputed attention, so its MFU is lower than its execution efficiency.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Efficiency:
    """One line of Table 7. None: not known (of a device without a known peak)."""

    model: str
    tflops_per_device: float | None
    execution_efficiency: float | None  # a share of 1
    tokens_per_second: float | None = None  # of the whole run


# paper Table 7
PAPER_TABLE7 = (
    Efficiency("7B", 134.0, 0.430),
    Efficiency("13B", 143.0, 0.458),
    Efficiency("70B", 158.0, 0.506),
)


def efficiency_of(rows: Iterable[Mapping[str, Any]], *, model: str) -> Efficiency:
    """Medians over a run's train rows: model TFLOPS per device and MFU, without recomputation."""
    train = [row for row in rows if row.get("kind") == "train"]

    def middle(name: str) -> float | None:
        values = [float(row[name]) for row in train if row.get(name) is not None]
        return median(values) if values else None

    return Efficiency(model, middle("tflops_per_device"), middle("mfu"), middle("tokens_per_second"))
