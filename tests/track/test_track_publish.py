import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from outbox_events import evaluation_event, train_events
from wandb_log import WandbLog, read_fragments, read_wandb_log

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.events import append_events, read_events
from swallow_exp.track import publish
from swallow_exp.track.publish import publish_run
from swallow_exp.track.sinks import Destination


def send(run: RunPaths, mode: str = "offline", project: str = "ablation") -> int:
    return publish_run(run.out, run.run_id, Destination("wandb", mode, project), group="parallel_corpus")


def fragments(run: RunPaths) -> list[WandbLog]:
    return read_fragments(run.publication_folder("wandb-offline"))


def expected_rows(run: RunPaths) -> list[tuple[int, dict]]:
    """What the outbox says, worked out from its lines and not by the code under test."""
    rows = []
    for sequence, event in enumerate(read_events(run.events)):
        shared = {key: event[key] for key in ("trained_tokens", "text_bytes", "flops") if key in event}
        if event["kind"] == "train":
            rows.append((sequence, shared | {f"train/{k}": event[k] for k in ("loss", "learning_rate", "grad_norm", "tokens_per_second")}))
        elif event["kind"] == "evaluation":
            suffix = "" if event["profile"] == "both" else f"/{event['profile']}"
            rows.append((sequence, shared | {f"eval/{event['task']}/{event['metric']}{suffix}": event["score"]}))
    return rows


def all_rows(run: RunPaths) -> list[tuple[int, dict]]:
    return [row for log in fragments(run) for row in log.rows]


def test_offline_file_holds_the_outbox_exactly(run: RunPaths) -> None:
    checkpoint = {"kind": "checkpoint", "trained_tokens": 4096 * 49, "step": 49, "digest": "ab"}
    late = [evaluation_event(4096 * 49, 41.25), evaluation_event(4096 * 20, 33.5), evaluation_event(4096 * 20, 30.0, "fair")]
    append_events(run.events, [*train_events(0, 50), checkpoint, *late])
    assert send(run) == 53
    (log,) = fragments(run)
    assert log.rows == expected_rows(run)
    assert all("trained_tokens" in values for _, values in log.rows)
    assert log.exit_code == 0
    assert log.run == {
        "id": run.run_id,
        "name": run.run_id,
        "project": "ablation",
        "entity": "",
        "group": "parallel_corpus",
        "job_type": "cell",
        "tags": ["parallel_corpus", "tiny", "base", "ja90en10", "none", "1m"],
        "notes": "",
    }
    names = {name for _, values in log.rows for name in values}
    assert log.metrics == dict.fromkeys(names, "trained_tokens") | {"trained_tokens": ""}
    assert log.globs == []
    summary = {name: value for name, value in log.summary.items() if not name.startswith("_")}
    last = expected_rows(run)[49][1]
    assert summary == last | {"eval/mini_choice/accuracy": 41.25, "eval/mini_choice/accuracy/fair": 30.0}


def test_config_is_nested_identity_and_flat_axes(run: RunPaths) -> None:
    append_events(run.events, train_events(0, 1))
    send(run)
    (log,) = fragments(run)
    identity = json.loads(run.identity.read_text())
    assert {key: log.config[key] for key in identity} == identity
    assert log.config["seed"] == 0
    assert log.config["axis_vocabulary"] == "base" and log.config["axis_parallel"] == "none"


def test_repeating_sends_nothing_and_new_rows_go_into_a_second_fragment(run: RunPaths) -> None:
    append_events(run.events, train_events(0, 5))
    assert (send(run), send(run)) == (5, 0)
    # the late evaluation lies before the newest training row in tokens, after it in the outbox
    append_events(run.events, [evaluation_event(4096 * 4, 50.0), evaluation_event(4096, 10.0), *train_events(5, 9)])
    assert (send(run), send(run)) == (6, 0)
    first, second = fragments(run)
    assert first.rows + second.rows == expected_rows(run)
    steps = [step for step, _ in first.rows + second.rows]
    assert steps == sorted(set(steps)) == list(range(11))
    # each opening declares everything anew, and the summary of the last one knows all rows
    assert set(second.metrics) == {name for _, values in expected_rows(run) for name in values}
    assert second.summary["eval/mini_choice/accuracy"] == 50.0
    assert second.summary["trained_tokens"] == 4096 * 8
    assert second.run["id"] == first.run["id"]


def test_a_torn_last_line_is_not_sent_until_it_is_whole(run: RunPaths) -> None:
    append_events(run.events, train_events(0, 3))
    whole = run.events.read_bytes()
    run.events.write_bytes(whole[:-1])
    assert send(run) == 2
    append_events(run.events, train_events(3, 4))  # the next writer closes the line, which was whole but for its end
    assert send(run) == 2
    run.events.write_bytes(run.events.read_bytes() + b'{"kind": "train", "trained_tokens": 5')
    assert send(run) == 0
    assert all_rows(run) == expected_rows(run)
    assert len(all_rows(run)) == 4


KILLED_PUBLISHER = """
import os, signal, sys
from pathlib import Path
from swallow_exp.track import cursor, publish, wandb_sink
from swallow_exp.track.sinks import Destination

def die(*_args, **_kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

out, run_id, moment = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
wandb = wandb_sink.import_wandb()
if moment == "half of the rows":
    log = wandb.Run.log
    wandb.Run.log = lambda self, values, step, commit: die() if step == 600 else log(self, values, step=step, commit=commit)
elif moment == "before finish":
    wandb.Run.finish = die
elif moment == "finished, not listed":
    cursor.write_json_atomic = die
elif moment == "listed, not moved":
    cursor.Cursor._move = die
elif moment == "moved, not tidied":
    publish.remove_folder = die
publish.publish_run(out, run_id, Destination("wandb", "offline", "ablation"))
"""
MOMENTS = ["half of the rows", "before finish", "finished, not listed", "listed, not moved", "moved, not tidied"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_publisher_then_repeated_leaves_every_row_exactly_once(run: RunPaths, moment: str) -> None:
    append_events(run.events, train_events(0, 5))
    assert send(run) == 5
    append_events(run.events, train_events(5, 1000 if moment == "half of the rows" else 20))
    arguments = [str(run.folder.parent.parent), run.run_id, moment]
    environment = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}  # a background process of its own
    command = [sys.executable, "-c", KILLED_PUBLISHER, *arguments]
    killed = subprocess.run(command, capture_output=True, check=False, env=environment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    append_events(run.events, [evaluation_event(4096, 12.0)])
    send(run)
    assert send(run) == 0
    assert all_rows(run) == expected_rows(run)
    assert [log.exit_code for log in fragments(run)] == [0] * len(fragments(run))
    assert not list(run.publication_folder("wandb-offline").glob("work-*"))


def test_a_half_written_file_is_readable_up_to_its_tear(run: RunPaths) -> None:
    """The reader itself: it must not hide a loss behind a tear."""
    append_events(run.events, train_events(0, 400))
    send(run)
    (path,) = run.publication_folder("wandb-offline").glob("offline-run-*/run-*.wandb")
    data = path.read_bytes()
    assert len(data) > 2 * 32 * 1024  # several blocks
    path.write_bytes(data[: len(data) // 2])
    torn = read_wandb_log(path)
    assert torn.exit_code is None
    assert 0 < len(torn.rows) < 400 and torn.rows == expected_rows(run)[: len(torn.rows)]
    damaged = bytearray(data)
    damaged[5000] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(AssertionError, match="checksum"):
        read_wandb_log(path)


def test_another_project_gets_every_row(run: RunPaths) -> None:
    append_events(run.events, train_events(0, 3))
    assert send(run, project="mistyped") == 3
    assert send(run) == 3
    assert [log.run["project"] for log in fragments(run)].count("ablation") == 1


def test_a_fragment_the_user_removed_after_syncing_stays_sent(run: RunPaths) -> None:
    append_events(run.events, train_events(0, 3))
    send(run)
    for folder in run.publication_folder("wandb-offline").iterdir():
        publish.remove_folder(folder)
    assert send(run) == 0


def test_a_replaced_outbox_is_refused(run: RunPaths) -> None:
    append_events(run.events, train_events(0, 3))
    send(run)
    run.events.unlink()
    append_events(run.events, train_events(1, 9))
    with pytest.raises(RequestError, match=r"only grows; delete .*wandb-offline\.json"):
        send(run)


def test_nothing_is_opened_for_a_run_without_rows(run: RunPaths) -> None:
    append_events(run.events, [{"kind": "checkpoint", "trained_tokens": 0, "step": 0, "digest": "a"}])
    assert send(run) == 0
    assert not run.publication("wandb-offline").exists()


def test_everything_stays_inside_the_run_folder(run: RunPaths, tmp_path: Path) -> None:
    append_events(run.events, train_events(0, 3))
    environment = dict(os.environ)
    send(run)
    assert dict(os.environ) == environment
    assert list((tmp_path / "home").rglob("*")) == []
    published = run.publication("wandb-offline").parent
    assert {path.name for path in published.iterdir()} == {"wandb.lock", "wandb-offline", "wandb-offline.json"}
    assert {path.name for path in run.folder.iterdir()} == {"identity.json", "status.json", "events.jsonl", "published"}


def test_missing_wandb_is_named_with_its_remedy(run: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    append_events(run.events, train_events(0, 3))
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(RequestError, match=r"pip install 'swallow_exp\[wandb\]'"):
        send(run)
    monkeypatch.undo()
    assert send(run) == 3


def test_importing_the_room_needs_no_wandb() -> None:
    code = "import sys, swallow_exp.track.publish, swallow_exp.track.launch; assert 'wandb' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_publisher_at_a_time(run: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    append_events(run.events, train_events(0, 3))
    monkeypatch.setattr(publish, "LOCK_SECONDS", 0.1)
    run.publication_lock("wandb").parent.mkdir()
    with FileLock(run.publication_lock("wandb")), pytest.raises(RequestError, match="being published by another process"):
        send(run)
    assert send(run) == 3


def test_wrong_requests(run: RunPaths, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="wandb mode 'shared'; expected one of offline, online"):
        send(run, mode="shared")
    with pytest.raises(RequestError, match="no run nobody"):
        publish_run(tmp_path / "out", "nobody", Destination("wandb", "offline", "p"))
