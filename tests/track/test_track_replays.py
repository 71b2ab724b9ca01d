"""Runs that resume, go on and end, as a W&B server knows them after publishing with the real client."""

import json
import signal
import subprocess
import sys
from collections import Counter
from typing import Any

from outbox_events import KILLED_PUBLISHER, evaluation_event, train_events
from wandb_log import read_fragments
from wandb_server import FakeWandbServer, ServerRun

from swallow_exp.artefact.files import write_json_atomic
from swallow_exp.artefact.paths import RunPaths, sweep_file
from swallow_exp.record.events import append_events
from swallow_exp.record.status import write_status
from swallow_exp.track.lag import publish_lags
from swallow_exp.track.launch import launch_publication
from swallow_exp.track.publish import publish_run
from swallow_exp.track.sinks import Destination

ONLINE, OFFLINE = Destination("wandb", "online", "ablation"), Destination("wandb", "offline", "ablation")


def send(run: RunPaths, to: Destination = ONLINE) -> int:
    if to is OFFLINE:  # no server to be told about: quicker in this process
        return publish_run(run.out, run.run_id, to)
    return launch_publication(run.out, run.run_id, to)


def received(server: FakeWandbServer, run: RunPaths) -> ServerRun:
    return server.runs["ablation", run.run_id]


def counted(server: FakeWandbServer, run: RunPaths) -> Counter[tuple[str, int]]:
    """How often the server holds each (what, trained tokens)."""
    rows = received(server, run).rows()
    return Counter((max(name for name in row if "/" in name).split("/")[0], row["trained_tokens"]) for row in rows)


def resumed(first: int, last: int) -> list[dict[str, Any]]:
    return [{**event, "tokens_per_second": 5.0} for event in train_events(first, last)]


def test_no_row_is_published_twice_although_training_repeats_steps(run: RunPaths, server: FakeWandbServer) -> None:
    write_status(run.status, "running")
    append_events(run.events, train_events(0, 20))
    assert send(run) == 20
    append_events(
        run.events, [*resumed(12, 30), *resumed(24, 36)]
    )  # stopped and resumed twice; steps 24 to 29 of the first time were never sent
    command = [sys.executable, "-c", KILLED_PUBLISHER, str(run.out), run.run_id]
    assert subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == -signal.SIGKILL
    append_events(run.events, [*resumed(34, 40), evaluation_event(4096 * 5, 10.0), evaluation_event(4096 * 5, 10.0)])
    send(run)
    assert counted(server, run) == Counter([*(("train", 4096 * step) for step in range(40)), ("eval", 4096 * 5)])
    assert received(server, run).rewritten == []
    steps = [row["_step"] for row in received(server, run).rows()]
    assert steps == sorted(set(steps))
    assert send(run) == 0


def test_a_replay_with_another_result_is_sent_and_counted(run: RunPaths, server: FakeWandbServer) -> None:
    append_events(run.events, train_events(0, 5))
    send(run)
    append_events(run.events, [{**event, "loss": 99.0} for event in train_events(3, 5)])
    assert send(run) == 2
    assert counted(server, run)["train", 4096 * 4] == 2
    assert received(server, run).summary()["replays_that_differ"] == 2
    assert received(server, run).summary()["train/loss"] == 99.0


def test_a_cursor_of_an_earlier_version_continues(run: RunPaths, server: FakeWandbServer) -> None:
    """It sent everything, repeated steps too, no checkpoint rows, and knew neither cuts nor states."""
    checkpoint = {"kind": "checkpoint", "trained_tokens": 4096 * 4, "step": 4, "bytes": 10, "checkpoint_stall_seconds": 0.5}
    append_events(run.events, [*train_events(0, 5), checkpoint, *resumed(3, 8)])
    send(run)
    known = received(server, run)
    names = {5: None, 3: 0, 4: 0, 6: 0, 7: 0}  # what the earlier version did with these places
    rows = {row["_step"]: row for row in known.rows()}
    rows[3], rows[4] = ({**rows[6], "_step": 3}, {**rows[7], "_step": 4})
    kept = [rows[place] for place in range(11) if names.get(place, 0) is not None]
    known.streams["wandb-history.jsonl"] = {number: json.dumps(row) for number, row in enumerate(kept)}
    assert [row["_step"] for row in known.rows()] == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    write_json_atomic(run.publication("wandb-online"), {"destinations": {"/ablation": {"next": 11, "confirmed": 0, "fragments": []}}})
    append_events(run.events, [*resumed(7, 10), {**checkpoint, "trained_tokens": 4096 * 9, "checkpoint_stall_seconds": 0.25}])
    assert send(run) == 3  # steps 8 and 9, and what the checkpoint cost; step 7 is a replay of what was sent
    steps = [row["_step"] for row in known.rows()]
    assert steps == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 12, 13, 14]
    assert known.rows()[-1]["checkpoint/stall_seconds"] == 0.25 and known.rows()[-1]["checkpoint/bytes"] == 10


def test_an_unfinished_run_is_not_finished_and_ends_as_it_ended(run: RunPaths, server: FakeWandbServer) -> None:
    write_status(run.status, "running")
    append_events(run.events, train_events(0, 5))
    send(run)
    assert (received(server, run).state, received(server, run).exit_code) == ("running", None)
    write_status(run.status, "trained")
    assert send(run) == 0  # no row is new, the end is
    assert (received(server, run).state, received(server, run).exit_code) == ("finished", 0)


def test_fragments_end_as_the_run_did(run: RunPaths) -> None:
    for step, state in enumerate(["preempted", "failed", "trained"]):
        write_status(run.status, state)
        append_events(run.events, train_events(step, step + 1))
        send(run, OFFLINE)
    fragments = read_fragments(run.publication_folder("wandb-offline"))
    assert [(one.preempting, one.exit_code) for one in fragments] == [(True, 1), (False, 1), (False, 0)]


def test_the_sweep_of_a_run_is_its_group_and_its_factors_are_flat_keys(run: RunPaths) -> None:
    sweep = {"question": "Does the rate\nmatter?", "axes": {"optim.lr_peak": [], "vocabulary": [], "seed": []}}
    for name, cells in (("another", []), ("rates", [{"run_id": run.run_id}])):
        write_json_atomic(sweep_file(run.out, name), {"name": name, **sweep, "cells": cells})
    append_events(run.events, train_events(0, 2))
    send(run, OFFLINE)
    (fragment,) = read_fragments(run.publication_folder("wandb-offline"))
    assert (fragment.run["group"], fragment.run["job_type"], fragment.run["notes"]) == ("rates", "cell", "Does the rate matter?")
    assert fragment.run["tags"][0] == "rates"
    flat = {name: value for name, value in fragment.config.items() if name.startswith("axis_")}
    assert flat["axis_optim_lr_peak"] == 1e-4 and flat["axis_vocabulary"] == "base" and flat["axis_seed"] == 0
    assert all(isinstance(value, str | int | float) for value in flat.values())


def test_publish_lag_counts_what_came_since(run: RunPaths) -> None:
    assert publish_lags(run) == {}
    append_events(run.events, train_events(0, 5))
    send(run, OFFLINE)
    assert publish_lags(run) == {"wandb-offline /ablation": 0}
    append_events(run.events, [*train_events(5, 7), {"kind": "guard", "trained_tokens": 1, "step": 1, "action": "skip"}])
    assert publish_lags(run) == {"wandb-offline /ablation": 3}
    send(run, OFFLINE)
    append_events(run.events, [{"kind": "guard", "trained_tokens": 1, "step": 1, "action": "skip"}])
    assert (publish_lags(run), send(run, OFFLINE), publish_lags(run)) == (
        {"wandb-offline /ablation": 1}, 0, {"wandb-offline /ablation": 0},
    )  # fmt: skip
