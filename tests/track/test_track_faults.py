"""The real client against a server that fails, and publishers that are killed: afterwards every row is there once, in order."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from outbox_events import evaluation_event, train_events
from patience import PATIENCE_SECONDS, wait_until
from wandb_server import Call, FakeWandbServer, Fault

from swallow_exp.artefact.errors import RunFailed
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.events import append_events
from swallow_exp.track.launch import launch_publication
from swallow_exp.track.live import LivePublication
from swallow_exp.track.rows import read_metric_rows, summary_of
from swallow_exp.track.sinks import Destination

ONLINE, OFFLINE = Destination("wandb", "online", "ablation"), Destination("wandb", "offline", "ablation")
WANDB = Path(sys.executable).with_name("wandb")
HANG = Fault(seconds=600)


def send(run: RunPaths, to: Destination = ONLINE, **options: float) -> int:
    return launch_publication(run.out, run.run_id, to, **options)


def assert_every_row_once_in_order(server: FakeWandbServer, run: RunPaths) -> None:
    known, rows = server.runs["ablation", run.run_id], read_metric_rows(run.events)
    history = known.rows()
    assert [row["_step"] for row in history] == [row.sequence for row in rows]
    assert [{key: value for key, value in row.items() if key[0] != "_"} for row in history] == [dict(row.values) for row in rows]
    assert {key: value for key, value in known.summary().items() if key[0] != "_"} == summary_of(rows)
    assert sorted(known.streams["wandb-history.jsonl"]) == list(range(len(rows)))


def first_calls(kind: str, *faults: Fault) -> Callable[[Call], Fault | None]:
    """These faults for the first calls of a kind, one after the other; then none."""
    left = list(faults)

    def ask(call: Call) -> Fault | None:
        return left.pop(0) if call.kind == kind and left else None

    return ask


CUT, TOO_MANY = Fault(seconds=0), Fault(429, {"Retry-After": "1"})
MANY = {
    "500 four times": [first_calls("stream", *[Fault(500)] * 4)],
    "429 ten times": [first_calls("stream", *[TOO_MANY] * 10), first_calls("graphql", *[TOO_MANY] * 3)],
    "a line that is cut five times": [first_calls("stream", *[CUT] * 5), first_calls("graphql", CUT, CUT)],
    "uploads meet 503": [first_calls("upload", *[Fault(503)] * 4)],
}


def check_faults(faults: list[Callable[[Call], Fault | None]], run: RunPaths, server: FakeWandbServer) -> None:
    append_events(run.events, [*train_events(0, 40), evaluation_event(4096 * 3, 20.0)])
    server.faults.extend(faults)
    assert send(run) == 41
    assert all(ask(Call(kind, "", 0)) is None for ask in faults for kind in ("stream", "graphql", "upload"))  # all of them happened
    server.faults.clear()
    append_events(run.events, train_events(40, 45))
    assert send(run) == 5
    assert_every_row_once_in_order(server, run)


def test_a_server_that_fails_and_recovers(run: RunPaths, server: FakeWandbServer) -> None:
    check_faults([first_calls("graphql", Fault(500), TOO_MANY, CUT), first_calls("stream", Fault(500), TOO_MANY, CUT)], run, server)


@pytest.mark.slow
@pytest.mark.parametrize("name", MANY)
def test_a_server_that_fails_often(run: RunPaths, server: FakeWandbServer, name: str) -> None:
    check_faults(MANY[name], run, server)


def test_a_server_that_hangs_costs_the_time_limit_and_nothing_else(run: RunPaths, server: FakeWandbServer) -> None:
    append_events(run.events, train_events(0, 10))
    send(run)
    append_events(run.events, train_events(10, 20))
    server.faults.append(lambda call: HANG if call.kind == "stream" else None)
    started = time.monotonic()
    with pytest.raises(RunFailed, match="took longer than 5 s; repeat the command, nothing is lost"):
        send(run, timeout_seconds=5)
    assert time.monotonic() - started < PATIENCE_SECONDS  # the server would hang for ever
    server.faults.clear()
    send(run)
    assert_every_row_once_in_order(server, run)


def test_training_does_not_wait_for_a_server_that_hangs(run: RunPaths, server: FakeWandbServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.faults.append(lambda call: HANG)
    append_events(run.events, train_events(0, 5))
    entered = threading.Event()

    def publish(stop: threading.Event) -> None:
        entered.set()
        launch_publication(run.out, run.run_id, ONLINE, stop=stop)

    with LivePublication(run.run_id, publish, every_seconds=0.01):
        assert entered.wait(PATIENCE_SECONDS)
        wait_until(lambda: server.calls)  # the publisher hangs now
        slowest = 0.0
        for step in range(5, 25):  # what training does meanwhile
            started = time.monotonic()
            append_events(run.events, train_events(step, step + 1))
            slowest = max(slowest, time.monotonic() - started)
        left = time.monotonic()
    assert slowest < 30 and time.monotonic() - left < 60  # the publisher would take its ONLINE time limit
    assert capsys.readouterr().err == ""  # it was stopped, it did not fail
    server.faults.clear()
    assert send(run) == 25
    assert_every_row_once_in_order(server, run)


def test_a_live_publication_that_fails_says_so_once_and_goes_on(run: RunPaths, capsys: pytest.CaptureFixture[str]) -> None:
    tries = []

    def publish(stop: threading.Event) -> None:
        tries.append(stop)
        raise RunFailed("no network")

    with LivePublication(run.run_id, publish, every_seconds=0.01):
        wait_until(lambda: len(tries) >= 3)
    assert capsys.readouterr().err == f"swallow: {run.run_id}: not published, training goes on: no network\n"


def kill_at_random(run: RunPaths, destination: Destination, *, kills: int, seed: int) -> None:
    """Start publishers and kill -9 `kills` of them at random moments, every other one with wandb's own process; rows come meanwhile."""
    chance, killed = random.Random(seed), 0
    started = time.monotonic()
    send(run, destination)
    whole = time.monotonic() - started  # what one publication takes here today
    words = [f"--sink={destination.sink}", f"--mode={destination.mode}", f"--project={destination.project}", "--timeout-seconds=300"]
    command = [sys.executable, "-m", "swallow_exp.track.worker", str(run.out), run.run_id, *words]
    for _ in range(5 * kills):
        last = read_metric_rows(run.events)[-1].sequence + 1
        append_events(run.events, train_events(last, last + 200))
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(whole * chance.uniform(0.3, 1.0))
        (os.killpg if killed % 2 else os.kill)(process.pid, signal.SIGKILL)
        if process.wait() == -signal.SIGKILL:
            killed += 1
        else:
            whole *= 0.8  # it had ended before
        if killed == kills:
            return
    raise AssertionError(f"{killed} of {kills} publishers were killed at work")


def check_kills_online(run: RunPaths, server: FakeWandbServer, *, kills: int, seed: int) -> None:
    append_events(run.events, train_events(0, 200))
    kill_at_random(run, ONLINE, kills=kills, seed=seed)
    send(run)
    assert_every_row_once_in_order(server, run)
    while send(run):  # until the server itself has said that nothing is missing
        pass
    assert_every_row_once_in_order(server, run)


def check_kills_offline(run: RunPaths, server: FakeWandbServer, *, kills: int, seed: int) -> None:
    append_events(run.events, train_events(0, 200))
    kill_at_random(run, OFFLINE, kills=kills, seed=seed)
    send(run, OFFLINE)
    folders = sorted(str(path) for path in run.publication_folder("wandb-offline").iterdir())
    assert len(folders) >= 2 and all("offline-run-" in folder for folder in folders)
    subprocess.run([WANDB, "sync", *folders], check=True, capture_output=True, timeout=PATIENCE_SECONDS)
    assert_every_row_once_in_order(server, run)


def test_publishers_killed_at_random_then_repeated(run: RunPaths, server: FakeWandbServer) -> None:
    check_kills_online(run, server, kills=3, seed=1)


@pytest.mark.slow
def test_offline_publishers_killed_at_random_then_synced(run: RunPaths, server: FakeWandbServer) -> None:
    check_kills_offline(run, server, kills=2, seed=2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3, 4])
def test_publishers_killed_ten_times(run: RunPaths, server: FakeWandbServer, seed: int) -> None:
    check_kills_online(run, server, kills=10, seed=seed)


@pytest.mark.slow
def test_offline_publishers_killed_ten_times(run: RunPaths, server: FakeWandbServer) -> None:
    check_kills_offline(run, server, kills=10, seed=5)
