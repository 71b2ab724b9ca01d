"""Stop signals: remembered, and who insists gets their way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from patience import PATIENCE_SECONDS

from swallow_exp.artefact.processes import Children
from swallow_exp.train.stopping import ECHO_SECONDS, StopRequest

LISTEN = """
import os, sys, time
from swallow_exp.train import stopping
class Clock:
    now = 0.0
    monotonic = staticmethod(lambda: Clock.now)
stopping.time = Clock
stop = stopping.StopRequest()
stop.install()
print("listening", flush=True)
while not stop.asked:
    time.sleep(0.01)
print(stop.cause, flush=True)
for seconds in sys.stdin:
    Clock.now += float(seconds)
    print("later", flush=True)
"""


def listening() -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", LISTEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "listening\n"
    return process


def let_pass(process: subprocess.Popen[str], seconds: float) -> None:
    """On the process's own clock, once it has taken every signal that was sent; it must be alive."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{seconds}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "later\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_repeated_signal_ends_the_process_at_once(number: signal.Signals) -> None:
    process = listening()
    process.send_signal(number)
    assert process.stdout is not None and process.stdout.readline() == f"{number.name}\n"
    process.send_signal(number)  # the echo of the first, from a launcher
    let_pass(process, ECHO_SECONDS + 0.1)
    process.send_signal(number)
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == -number


def test_a_notice_asks_however_often() -> None:
    process = listening()
    process.send_signal(signal.SIGUSR1)
    assert process.stdout is not None and process.stdout.readline() == "SIGUSR1\n"
    let_pass(process, ECHO_SECONDS + 0.1)
    process.send_signal(signal.SIGUSR1)
    let_pass(process, ECHO_SECONDS + 0.1)
    process.send_signal(signal.SIGTERM)  # the time is up: still saving
    let_pass(process, 0.2)
    process.kill()
    process.communicate()


@pytest.mark.parametrize(
    ("sent", "count", "passed_on"),
    [
        ([signal.SIGUSR1], 1, [signal.SIGTERM]),
        ([signal.SIGUSR1, signal.SIGUSR1, signal.SIGTERM], 1, [signal.SIGTERM]),
        ([signal.SIGTERM, signal.SIGTERM], 2, [signal.SIGTERM] * 2),
        ([signal.SIGUSR1, signal.SIGINT, signal.SIGINT], 2, [signal.SIGTERM] * 2),
    ],
)
def test_a_launcher_counts_who_insists(sent: list[signal.Signals], count: int, passed_on: list[signal.Signals]) -> None:
    earlier = signal.getsignal(signal.SIGUSR1)
    program = "import signal; told = []; signal.signal(15, lambda n, _: (told.append(n), print(told, flush=True))); print(flush=True)"
    with Children() as children:
        process = children.start([sys.executable, "-S", "-c", f"{program}\nwhile True: signal.pause()"], output=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        told = b"[]"
        for number in sent:
            before = children.stop.count
            os.kill(os.getpid(), number)
            children.forward()
            if children.stop.count > before:  # one at a time: the system keeps no two signals of one kind
                told = process.stdout.readline()
        assert (children.stop.count, told.decode().strip()) == (count, str([int(number) for number in passed_on]))
        assert children.stop.interrupted == (signal.SIGINT in sent)
    assert process.returncode == -signal.SIGKILL and process.stdout.read() == b""
    process.stdout.close()
    assert signal.getsignal(signal.SIGUSR1) is earlier


def test_nothing_is_asked_at_first() -> None:
    stop = StopRequest()
    assert not stop.asked and stop.cause == "a stop signal to another process"
