"""How fast a run is, and what it takes: rates between two reports, memory, the share of time spent waiting for data.

Measured, never guessed: a device without a known peak has no MFU. Time spent on checkpoints is left out of every rate (the row of the
checkpoint has it).

    tokens_per_second      loss-bearing targets, all processes
    text_bytes_per_second  bytes of text, all processes: comparable between tokenizers
    tflops_per_device      model FLOP/s of one process / 1e12 (formula: model/flops.py)
    mfu                    that / the device's dense bfloat16 peak; only in bf16 precision on a device of model/devices.py
    hfu                    the same with recomputed activations counted as work; only where something is recomputed
    peak_memory_bytes      of the first process since it started: the allocator's peak on a GPU, resident memory on a CPU
    data_wait_share        of the time, that training waited for batches
"""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from typing import Any

from swallow_exp.mixture.stream import Progress
from swallow_exp.model.devices import TERA, peak_flops


@dataclass(frozen=True)
class Device:
    """What one process computes on."""

    name: str
    peak_flops: float | None  # None: unknown, or not the precision it is stated for

    @classmethod
    def of(cls, device: Any, *, precision: str) -> Device:
        """From a torch.device."""
        if device.type != "cuda":
            return cls(device.type, None)
        import torch

        name = torch.cuda.get_device_name(device)
        return cls(name, peak_flops(name) if precision.startswith("bf16") else None)

    @property
    def why_no_mfu(self) -> str | None:
        """Said once, where there is no MFU to show."""
        return None if self.peak_flops else f"no mfu: no dense bf16 peak is known for {self.name} in this precision"


def peak_memory_bytes(device: Any) -> int:
    """Most memory this process has held since it started (see the module)."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Meter:
    """Rates since it was last read."""

    def __init__(self, device: Device, *, processes: int, flops_per_token: float, recomputed_flops_per_token: float) -> None:
        """FLOPs are of one position; `processes` share every position."""
        self.device = device
        self._processes = processes
        self._flops, self._recomputed = flops_per_token, recomputed_flops_per_token
        self._read_at = time.monotonic()
        self._progress: Progress | None = None
        self._waited = 0.0

    def start(self, progress: Progress, *, waited_seconds: float) -> None:
        """Rates are from here on."""
        self._read_at, self._progress, self._waited = time.monotonic(), progress, waited_seconds

    def pause(self, seconds: float) -> None:
        """Do not count these seconds as training."""
        self._read_at += seconds

    def read(self, progress: Progress, *, waited_seconds: float) -> dict[str, float]:
        """Rates since the last reading or `start`."""
        assert self._progress is not None, "start comes first"
        before, waited = self._progress, waited_seconds - self._waited
        seconds = max(time.monotonic() - self._read_at, 1e-9)
        self.start(progress, waited_seconds=waited_seconds)
        positions = (progress.positions - before.positions) / self._processes
        model_flops = positions * self._flops / seconds
        rates = {
            "tokens_per_second": (progress.trained_tokens - before.trained_tokens) / seconds,
            "text_bytes_per_second": (progress.text_bytes - before.text_bytes) / seconds,
            "tflops_per_device": model_flops / TERA,
            "data_wait_share": min(waited / seconds, 1.0),
        }
        if self.device.peak_flops:
            rates["mfu"] = model_flops / self.device.peak_flops
            if self._recomputed:
                rates["hfu"] = positions * (self._flops + self._recomputed) / seconds / self.device.peak_flops
        return rates
