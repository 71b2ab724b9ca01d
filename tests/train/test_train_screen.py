"""What is seen: the line word for word, how often it comes, and the bar on a terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE_SECONDS

from swallow_exp.train import screen
from swallow_exp.train.screen import LogLines, Pace, format_duration, train_line

ROW: dict[str, Any] = {
    "trained_tokens": 5_033_164_800, "step": 1_200, "loss": 1.93124, "learning_rate": 9.97e-5, "grad_norm": 0.4121,
    "tokens_per_second": 98_304.2, "tflops_per_device": 134.13, "mfu": 0.43, "data_wait_share": 0.002, "peak_memory_bytes": 34_100_000_000,
}  # fmt: skip
TOTAL = 104_857_600_000


def test_a_line_is_words_that_can_be_grepped() -> None:
    line = train_line(ROW, total_tokens=TOTAL, total_steps=25_000, eta=1_015_000.0, next_mark=20_000_000_000)
    assert line == (
        "train step=1200/25000 tokens=5.0B/104.9B loss=1.9312 lr=9.97e-05 grad_norm=0.412 tokens/s=98304 tflops=134 mfu=43.0% "
        "wait=0.2% memory=34.1GB eta=11d17h next=20.0B"
    )
    short = {key: ROW[key] for key in ("trained_tokens", "step", "loss", "learning_rate")}
    bare = train_line(short, total_tokens=TOTAL, total_steps=25_000, eta=None, next_mark=None)
    assert bare == "train step=1200/25000 tokens=5.0B/104.9B loss=1.9312 lr=9.97e-05"
    assert all("=" in word for word in line.split()[1:])


def test_durations() -> None:
    assert [format_duration(seconds) for seconds in (0.4, 59, 725, 12_000, 1_000_000)] == ["0s", "59s", "12m05s", "3h20m", "11d13h"]


def test_the_eta_follows_the_speed_and_does_not_jump() -> None:
    pace = Pace(1_000)
    assert pace.eta_seconds({"trained_tokens": 0, "tokens_per_second": 0.0}) is None
    assert pace.eta_seconds({"trained_tokens": 500, "tokens_per_second": 10.0}) == 50.0
    assert 30.0 < (pace.eta_seconds({"trained_tokens": 500, "tokens_per_second": 20.0}) or 0) < 50.0
    assert pace.eta_seconds({"trained_tokens": 1_000, "tokens_per_second": 20.0}) == 0.0


def test_lines_come_every_so_often_and_the_note_once(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    class Clock:
        now = 0.0

        @classmethod
        def monotonic(cls) -> float:
            return cls.now

    monkeypatch.setattr(screen, "time", Clock)
    lines = LogLines(total_tokens=TOTAL, total_steps=25_000, every_seconds=30.0, note="no mfu: nobody knows")
    for second in range(0, 100, 5):
        Clock.now = float(second)
        lines.show(ROW, next_mark=None)
    out, errors = capfd.readouterr()
    said = errors.splitlines()
    assert out == "" and said[0] == "train no mfu: nobody knows"
    assert len(said) == 4 and all(line.startswith("train step=1200/25000 ") for line in said[1:])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a pseudo-terminal as Linux has it")
def test_the_bar_on_a_terminal() -> None:
    program = (
        "from swallow_exp.train.screen import Bar\n"
        f"bar = Bar('train', total_tokens={TOTAL}, done_tokens=0, note='no mfu: nobody knows')\n"
        f"bar.show({ROW!r}, next_mark=20_000_000_000)\n"
        "bar.say('train step 1,201: warning: something')\n"
        "bar.close()\n"
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "150", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, stderr=theirs, stdout=subprocess.PIPE, timeout=PATIENCE_SECONDS, check=True
    )
    os.close(theirs)
    seen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", os.read(ours, 100_000).decode())
    os.close(ours)
    assert done.stdout == b""
    assert "5.0B/104.9B  loss 1.931  98.3K/s  mfu 43.0%  eta 11d" in seen and "next 20.0B" in seen
    assert "train no mfu: nobody knows" in seen and "train step 1,201: warning: something" in seen
