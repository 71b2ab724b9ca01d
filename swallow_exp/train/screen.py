"""What the person who watches sees: a bar on a terminal, a line every so often elsewhere. Both on stderr, both say the same.

    train step=1200/25000 tokens=5.0B/104.9B loss=1.9312 lr=9.97e-05 grad_norm=0.412 tokens/s=98304 tflops=134.1 mfu=43.0% memory=34.1GB
    wait=0.2% eta=11d18h next=20.0B

(one line in fact; a figure that is not known is not there.)
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from swallow_exp.artefact.progress import say
from swallow_exp.artefact.units import format_bytes, format_count

PACE_WEIGHT = 0.2  # of the newest reading in the speed behind the ETA


def short(amount: str) -> str:
    """`104.9 B` -> `104.9B`: no blanks inside a key=value line."""
    return amount.replace(" ", "")


def format_duration(seconds: float) -> str:
    """The two largest units: 45s, 12m05s, 3h20m, 11d18h."""
    whole = int(seconds)
    days, hours, minutes = whole // 86_400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days}d{hours:02d}h"
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{whole % 60:02d}s" if minutes else f"{whole}s"


class Pace:
    """Smoothed speed, and how long the rest takes at it."""

    def __init__(self, total_tokens: int) -> None:
        """`total_tokens` of the whole run."""
        self._total = total_tokens
        self._speed: float | None = None

    def eta_seconds(self, row: Mapping[str, Any]) -> float | None:
        """Seconds left after this train row, checkpoints not counted; None while the speed is not known."""
        speed = float(row["tokens_per_second"])
        if speed > 0:
            self._speed = speed if self._speed is None else PACE_WEIGHT * speed + (1 - PACE_WEIGHT) * self._speed
        return None if self._speed is None else max(self._total - int(row["trained_tokens"]), 0) / self._speed


def train_line(row: Mapping[str, Any], *, total_tokens: int, total_steps: int, eta: float | None, next_mark: int | None) -> str:
    """One train row as a line of key=value words."""
    words = [
        "train",
        f"step={row['step']}/{total_steps}",
        f"tokens={short(format_count(row['trained_tokens']))}/{short(format_count(total_tokens))}",
        f"loss={row['loss']:.4f}",
        f"lr={row['learning_rate']:.3g}",
    ]
    shown = {
        "grad_norm": ("grad_norm", "{:.3g}"),
        "tokens_per_second": ("tokens/s", "{:.0f}"),
        "tflops_per_device": ("tflops", "{:.3g}"),
        "mfu": ("mfu", "{:.1%}"),
        "hfu": ("hfu", "{:.1%}"),
        "data_wait_share": ("wait", "{:.1%}"),
        "skipped_updates": ("skipped", "{}"),
    }
    words += [f"{name}={form.format(row[key])}" for key, (name, form) in shown.items() if row.get(key) is not None]
    if row.get("peak_memory_bytes"):
        words.append(f"memory={short(format_bytes(row['peak_memory_bytes']))}")
    words += [f"eta={format_duration(eta)}"] if eta is not None else []
    words += [f"next={short(format_count(next_mark))}"] if next_mark is not None else []
    return " ".join(words)


class LogLines:
    """A line every `every_seconds`, the first after as long; short runs say nothing."""

    def __init__(self, *, total_tokens: int, total_steps: int, every_seconds: float, note: str | None) -> None:
        """`note` is said once, before the first line."""
        self._total_tokens, self._total_steps, self._every, self._note = total_tokens, total_steps, every_seconds, note
        self._pace = Pace(total_tokens)
        self._said = time.monotonic()

    def show(self, row: Mapping[str, Any], *, next_mark: int | None) -> None:
        """A line, if it is time."""
        eta = self._pace.eta_seconds(row)
        now = time.monotonic()
        if now - self._said < self._every:
            return
        self._said = now
        if self._note is not None:
            say(f"train {self._note}")
            self._note = None
        say(train_line(row, total_tokens=self._total_tokens, total_steps=self._total_steps, eta=eta, next_mark=next_mark))

    def say(self, line: str) -> None:
        """At once."""
        say(line)

    def close(self) -> None:
        """Nothing to take away."""


class Bar:
    """Tokens, loss, speed, MFU, time left, the next checkpoint."""

    def __init__(self, label: str, *, total_tokens: int, done_tokens: int, note: str | None) -> None:
        """Draws at once; `note` is said once, above it."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}"), BarColumn(bar_width=None), TextColumn("{task.fields[figures]}"))
        self._bars = Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False, expand=True)
        self._total, self._pace = total_tokens, Pace(total_tokens)
        self._task = self._bars.add_task(label, total=total_tokens, completed=done_tokens, figures="first step")
        self._bars.start()
        self._bars.refresh()
        if note is not None:
            self.say(f"train {note}")

    def show(self, row: Mapping[str, Any], *, next_mark: int | None) -> None:
        """Redraw."""
        eta = self._pace.eta_seconds(row)
        figures = [
            f"{short(format_count(row['trained_tokens']))}/{short(format_count(self._total))}",
            f"loss {row['loss']:.3f}",
            f"{short(format_count(round(row['tokens_per_second'])))}/s",
        ]
        figures += [f"mfu {row['mfu']:.1%}"] if row.get("mfu") is not None else []
        figures += [f"eta {format_duration(eta)}"] if eta is not None else []
        figures += [f"next {short(format_count(next_mark))}"] if next_mark is not None else []
        self._bars.update(self._task, completed=row["trained_tokens"], figures="  ".join(figures), refresh=True)

    def say(self, line: str) -> None:
        """Above the bar."""
        self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Take it away."""
        self._bars.stop()
