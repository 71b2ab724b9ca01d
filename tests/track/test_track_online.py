"""The real client against a server on loopback: what a W&B server would know after publishing."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from outbox_events import KILLED_PUBLISHER, evaluation_event, train_events
from patience import PATIENCE_SECONDS
from wandb_server import FakeWandbServer, Fault, ServerRun

from swallow_exp.artefact.errors import RequestError, RunFailed
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.events import append_events
from swallow_exp.track.launch import launch_publication
from swallow_exp.track.rows import read_metric_rows, summary_of
from swallow_exp.track.sinks import Destination

ONLINE = Destination("wandb", "online", "ablation")


def send(run: RunPaths, **options: float) -> int:
    return launch_publication(run.out, run.run_id, ONLINE, group="sweep", **options)


def received(server: FakeWandbServer, run: RunPaths) -> ServerRun:
    return server.runs["ablation", run.run_id]


def assert_server_has_the_outbox(server: FakeWandbServer, run: RunPaths) -> None:
    rows = read_metric_rows(run.events)
    history = received(server, run).rows()
    assert [row["_step"] for row in history] == [row.sequence for row in rows]
    assert [{key: value for key, value in row.items() if key[0] != "_"} for row in history] == [dict(row.values) for row in rows]
    summary = received(server, run).summary()
    assert {key: value for key, value in summary.items() if key[0] != "_"} == summary_of(rows)


def test_rows_arrive_once_and_continue(run: RunPaths, server: FakeWandbServer) -> None:
    checkpoint = {"kind": "checkpoint", "trained_tokens": 4096 * 19, "step": 19, "digest": "ab"}
    append_events(run.events, [*train_events(0, 20), checkpoint])
    assert send(run) == 20
    assert send(run) == 0
    append_events(run.events, [evaluation_event(4096 * 19, 40.0), evaluation_event(4096 * 5, 20.0), *train_events(20, 25)])
    assert send(run) == 7
    assert_server_has_the_outbox(server, run)
    known = received(server, run)
    assert known.exit_code == 0
    assert known.attributes["groupName"] == "sweep" and known.attributes["jobType"] == "cell"
    assert known.config["axis_mixture"]["value"] == "ja90en10"
    assert len(known.config["_wandb"]["value"]["m"]) == 8  # declared anew by the last opening: 7 metrics and the axis
    assert not list(run.publication_folder("wandb-online").iterdir())


def test_killed_half_way_then_repeated(run: RunPaths, server: FakeWandbServer) -> None:
    append_events(run.events, train_events(0, 20))
    assert send(run) == 20
    append_events(run.events, train_events(20, 60))
    command = [sys.executable, "-c", KILLED_PUBLISHER, str(run.folder.parent.parent), run.run_id]
    assert subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == -signal.SIGKILL
    arrived = len(received(server, run).rows())
    assert 20 <= arrived <= 40
    assert send(run) == 60 - arrived  # continues at the server's own next step
    assert_server_has_the_outbox(server, run)
    # the same when the client believed that all was delivered, and a part was not
    received(server, run).forget_rows_from(53)
    assert send(run) == 7
    assert_server_has_the_outbox(server, run)


def test_rows_a_broken_server_lost_are_sent_again(run: RunPaths, server: FakeWandbServer) -> None:
    append_events(run.events, train_events(0, 10))
    server.faults.append(lambda call: Fault(500) if call.kind == "stream" else None)
    with pytest.raises(RunFailed, match="took longer than 5 s; repeat the command"):
        send(run, timeout_seconds=5)
    server.faults.clear()
    assert send(run) == 10
    assert_server_has_the_outbox(server, run)


def test_a_run_from_another_outbox_is_refused(run: RunPaths, server: FakeWandbServer) -> None:
    append_events(run.events, train_events(0, 10))
    assert send(run) == 10
    run.events.unlink()
    append_events(run.events, train_events(1, 20))
    with pytest.raises(RequestError, match=r"filled from another outbox.*another project"):
        send(run)
    assert len(received(server, run).rows()) == 10


def test_offline_fragments_synced_later_equal_publishing_online(run: RunPaths, server: FakeWandbServer) -> None:
    for first, last in ((0, 5), (5, 12)):
        append_events(run.events, [*train_events(first, last), evaluation_event(4096 * first, 10.0 + first)])
        launch_publication(run.out, run.run_id, Destination("wandb", "offline", "ablation"))
    fragments = [str(path) for path in run.publication_folder("wandb-offline").iterdir()]
    assert len(fragments) == 2
    wandb = Path(sys.executable).with_name("wandb")
    subprocess.run([wandb, "sync", *fragments], check=True, capture_output=True, timeout=PATIENCE_SECONDS)
    assert_server_has_the_outbox(server, run)
    assert send(run) == 0  # and the two ways do not get into each other's


def test_no_login_and_no_network_are_one_line(run: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    append_events(run.events, train_events(0, 3))
    with pytest.raises(RequestError, match=r"could not be reached .*; expected a login .*; log in, or publish with mode offline"):
        send(run)
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "1")
    with pytest.raises(RequestError, match="could not be reached"):
        send(run)
