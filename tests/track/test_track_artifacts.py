"""Checkpoints, results and items of a run, as a W&B server has them after publishing with the real client."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from evaluated_run import add_mark, add_result
from outbox_events import evaluation_event, train_events
from patience import PATIENCE_SECONDS
from wandb_log import read_fragments
from wandb_server import Call, FakeWandbServer, Fault

from swallow_exp.artefact.errors import RunFailed
from swallow_exp.artefact.files import remove_folder
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.events import append_events
from swallow_exp.track import attachments
from swallow_exp.track.attachments import artifacts_of, tables_of
from swallow_exp.track.launch import launch_publication
from swallow_exp.track.publish import PublishRequest, publish_run
from swallow_exp.track.sinks import Destination

ONLINE, OFFLINE = Destination("wandb", "online", "ablation"), Destination("wandb", "offline", "ablation")
LAST = 4096 * 19
WANDB = Path(sys.executable).with_name("wandb")


@pytest.fixture
def evaluated(run: RunPaths) -> RunPaths:
    """Two marks; items 0 and 1 were lost and 10 and 11 won between them."""
    append_events(run.events, train_events(0, 20))
    for tokens, right in ((0, lambda number: number < 4), (LAST, lambda number: 2 <= number < 4 or number >= 10)):
        add_mark(run, tokens, digest=f"{tokens:064x}")
        add_result(run, tokens, right)
        append_events(run.events, [evaluation_event(tokens, 33.0)])
    return run


def send(run: RunPaths, to: Destination = ONLINE, **options: Any) -> int:
    return launch_publication(run.out, run.run_id, to, artifacts=True, items_table=True, **options)


def items_on(server: FakeWandbServer, run: RunPaths) -> dict[str, Any]:
    """The table that the summary of the run points to."""
    known = server.runs["ablation", run.run_id]
    entry = known.summary()["items/mini_choice"]
    assert entry["_type"] == "table-file"
    return json.loads(known.files[entry["path"]])


def assert_server_has_everything_once(server: FakeWandbServer, run: RunPaths) -> None:
    checkpoints, results = server.artifacts.of_type("checkpoint"), server.artifacts.of_type("eval-results")
    assert [(one.collection, one.state, sorted(one.aliases)) for one in checkpoints] == [
        (f"checkpoint-{run.run_id}", "COMMITTED", aliases) for aliases in (["tokens-0"], ["latest", f"tokens-{LAST}"])
    ]
    assert [(one.collection, one.state, sorted(one.aliases)) for one in results] == [
        (f"eval-{run.run_id}", "COMMITTED", aliases) for aliases in (["tokens-0"], ["latest", f"tokens-{LAST}"])
    ]
    newest = checkpoints[1]
    assert newest.metadata["trained_tokens"] == LAST and newest.metadata["step"] == 19 and newest.metadata["digest"] == f"{LAST:064x}"
    assert newest.metadata["path"] == str(run.checkpoint_export(LAST))
    places = {name: entry["ref"] for name, entry in newest.entries(server).items() if "ref" in entry}
    assert places == {"export/model.safetensors": (run.checkpoint_export(LAST) / "model.safetensors").as_uri()}
    assert json.loads(newest.content(server, "checkpoint.json")) == newest.metadata
    stored = {name: results[1].content(server, name) for name in results[1].entries(server)}
    folder = run.evaluation(LAST, "mini_choice")
    assert stored == {f"mini_choice/{name}": (folder / name).read_bytes() for name in ("items.parquet", "result.json")}
    assert not any(b"weightsweights" in body for body in server.uploads.values())
    table = items_on(server, run)
    assert table["columns"] == attachments.COLUMNS
    assert [(row[0], row[1]) for row in table["data"][:4]] == [("q0010", "won"), ("q0000", "lost"), ("q0011", "won"), ("q0001", "lost")]
    assert table["data"][0][2:] == ["質問10：「日本の首都は？」", "東京", "東京", "京都"]
    assert len(table["data"]) == 12 and {row[1] for row in table["data"][4:]} == {""}


def test_online_each_arrives_once_and_late_ones_follow(evaluated: RunPaths, server: FakeWandbServer, tmp_path: Path) -> None:
    assert send(evaluated) == 22
    assert_server_has_everything_once(server, evaluated)
    assert send(evaluated) == 0  # asks whether the rows arrived
    logged = [one.times_logged for one in server.artifacts.versions]
    assert set(logged) == {1}
    late = add_result(evaluated, LAST, lambda number: number < 3, task="late_task", num_items=3)
    append_events(evaluated.events, [evaluation_event(LAST, 100.0)])
    assert send(evaluated) == 1
    newest = server.artifacts.of_type("eval-results")[-1]
    assert newest.version == 2 and f"tokens-{LAST}" in newest.aliases
    assert newest.content(server, "late_task/result.json") == (late / "result.json").read_bytes()
    summary = server.runs["ablation", evaluated.run_id].summary()
    assert {"items/late_task", "items/mini_choice"} <= summary.keys()  # the earlier table is still there
    assert list((tmp_path / "home").rglob("*")) == []


def test_offline_fragments_are_complete_after_sync(evaluated: RunPaths, server: FakeWandbServer, tmp_path: Path) -> None:
    assert send(evaluated, OFFLINE) == 22
    assert send(evaluated, OFFLINE) == 0
    assert list((tmp_path / "home").rglob("*")) == []  # nothing is copied there
    fragments = [str(path) for path in evaluated.publication_folder("wandb-offline").iterdir()]
    assert len(fragments) == 1
    append_events(evaluated.events, train_events(20, 22))
    assert send(evaluated, OFFLINE) == 2
    fragments = [str(path) for path in evaluated.publication_folder("wandb-offline").iterdir()]
    subprocess.run([WANDB, "sync", *fragments], check=True, capture_output=True, timeout=PATIENCE_SECONDS)
    assert_server_has_everything_once(server, evaluated)
    data = evaluated.publication_folder("wandb-offline-data")
    assert len(list(data.iterdir())) == 2  # the second has the table anew: its summary replaces the first's
    for fragment in fragments:
        remove_folder(Path(fragment))
    assert send(evaluated, OFFLINE) == 0
    assert list(data.iterdir()) == []  # nothing refers to it any more


def test_a_killed_publication_repeated_leaves_no_duplicates(evaluated: RunPaths, server: FakeWandbServer) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from swallow_exp.track import cursor, publish
from swallow_exp.track.sinks import Destination
cursor.Cursor.commit = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # everything arrived, nothing is written down
publish.publish_run(Path(sys.argv[1]), sys.argv[2], Destination("wandb", "online", "ablation"), request=publish.PublishRequest(True, True))
"""
    command = [sys.executable, "-c", code, str(evaluated.out), evaluated.run_id]
    assert subprocess.run(command, stderr=subprocess.DEVNULL, check=False, env=dict(os.environ)).returncode == -signal.SIGKILL
    send(evaluated)
    assert_server_has_everything_once(server, evaluated)


def test_an_artifact_that_is_refused_comes_again(evaluated: RunPaths, server: FakeWandbServer) -> None:
    def refuse_results(call: Call) -> Fault | None:
        return Fault(400) if call.kind == "upload" and "/artifact/" in call.name and "result.json" in call.name else None

    server.faults.append(refuse_results)
    with pytest.raises(RunFailed, match=r"22 rows of .* arrived, 2 artifacts did not \(eval-results/0\); repeat the command"):
        send(evaluated)
    assert len(server.runs["ablation", evaluated.run_id].rows()) == 22
    server.faults.clear()
    assert send(evaluated) == 0
    assert_server_has_everything_once(server, evaluated)


def test_unreadable_items_hold_no_row_back(evaluated: RunPaths) -> None:
    (evaluated.evaluation(LAST, "mini_choice") / "items.parquet").write_bytes(b"torn")
    with pytest.raises(RunFailed, match=r"22 rows of .* arrived, 1 artifacts did not \(items/mini_choice\); repeat the command"):
        publish_run(evaluated.out, evaluated.run_id, OFFLINE, request=PublishRequest(artifacts=True, items_table=True))
    (fragment,) = read_fragments(evaluated.publication_folder("wandb-offline"))
    assert len(fragment.rows) == 22 and fragment.exit_code == 0


def test_tables_are_capped_and_flips_come_first(evaluated: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "MAX_ITEMS", 3)
    (table,) = tables_of(evaluated)
    assert [row[0] for row in table.load()[1]] == ["q0010", "q0000", "q0011"]


def test_a_run_whose_only_mark_is_the_start_shows_its_items(run: RunPaths) -> None:
    add_result(run, 0, lambda number: True)
    (table,) = tables_of(run)
    columns, rows = table.load()
    assert len(rows) == 12 and {row[columns.index("changed")] for row in rows} == {""}
    assert {row[columns.index("prediction_at_start")] for row in rows} == {None}


def test_fingerprints_follow_content_and_not_retention(evaluated: RunPaths) -> None:
    before = {one.key: one.fingerprint for one in artifacts_of(evaluated)}
    index = json.loads(evaluated.checkpoint_index.read_text())
    index["checkpoints"][1]["resumable"] = True
    evaluated.checkpoint_index.write_text(json.dumps(index))
    assert {one.key: one.fingerprint for one in artifacts_of(evaluated)} == before
    add_result(evaluated, LAST, lambda number: True)
    after = {one.key: one.fingerprint for one in artifacts_of(evaluated)}
    assert {key for key in after if after[key] != before[key]} == {f"eval-results/{LAST}"}
