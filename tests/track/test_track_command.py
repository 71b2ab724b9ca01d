"""Publishing as a person or a run asks for it: the verb's flags, a run's own tracking.*, and runs that do not care whether it works."""

import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from evaluated_run import add_mark, add_result
from outbox_events import evaluation_event, train_events
from wandb_log import read_fragments
from wandb_server import FakeWandbServer, Fault

from swallow_exp.artefact.errors import EXIT_DONE, RequestError
from swallow_exp.artefact.files import write_text_atomic
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.config.compose import compose_config
from swallow_exp.record.events import append_events
from swallow_exp.record.status import read_status
from swallow_exp.record.store import list_run_ids, read_curve
from swallow_exp.sweep.follow import publish_runs
from swallow_exp.track.sinks import SINKS, check_mode, sink_named

Swallow = Callable[..., CompletedProcess[str]]
SMOKE = "base_model=miniature_random vocabulary=miniature_en mixture=miniature_en parallel=none budget=smoke optim=miniature numerics=fp32"


def write_tracking(run: RunPaths, *lines: str) -> None:
    write_text_atomic(run.config, "tracking:\n" + "".join(f"  {line}\n" for line in ("name: mine", *lines)))


def test_a_run_is_published_as_its_own_tracking_says(run: RunPaths, capsys: pytest.CaptureFixture[str]) -> None:
    append_events(run.events, [*train_events(0, 3), evaluation_event(0, 1.0)])
    add_mark(run, 0)
    add_result(run, 0, lambda number: True)
    write_tracking(run, "wandb_project: mine", "wandb_entity: us", "artifacts: false", "items_table: false")
    assert publish_runs(run.out, [run.run_id], mode=None) == EXIT_DONE
    assert capsys.readouterr().out == f"{run.run_id}: 4 rows sent (wandb offline)\n"
    (fragment,) = read_fragments(run.publication_folder("wandb-offline"))
    assert (fragment.run["project"], fragment.run["entity"], fragment.num_artifacts) == ("mine", "us", 0)
    write_tracking(run, "wandb_project: mine", "wandb_entity: us")  # as written before there was a choice: both
    assert publish_runs(run.out, [run.run_id], mode="offline", rows_only=True) == EXIT_DONE
    assert len(read_fragments(run.publication_folder("wandb-offline"))) == 1
    assert publish_runs(run.out, [run.run_id], mode="offline") == EXIT_DONE
    second = max(read_fragments(run.publication_folder("wandb-offline")), key=lambda one: one.num_artifacts)
    assert second.num_artifacts == 3 and second.rows == []  # checkpoint, results, and the table's own


def test_the_verb_knows_its_sinks_and_modes(run: RunPaths, swallow: Swallow) -> None:
    write_tracking(run)
    append_events(run.events, train_events(0, 3))
    wrong = swallow("publish", run.run_id, "--sink", "elsewhere")
    assert wrong.returncode == 2 and "sink 'elsewhere'" in wrong.stderr and "wandb" in wrong.stderr
    wrong = swallow("publish", run.run_id, "--mode", "later")
    assert wrong.returncode == 2 and "wandb mode 'later'; expected one of offline, online" in wrong.stderr
    done = swallow("publish", run.run_id, "--rows-only")
    assert done.returncode == 0 and done.stdout == f"{run.run_id}: 3 rows sent (wandb offline)\n"


def test_sinks_are_named() -> None:
    assert check_mode("wandb", None) == "offline"
    assert set(SINKS) == {"wandb", "trackio"}
    with pytest.raises(RequestError, match="the sink 'nobody'; expected one of wandb, trackio"):
        sink_named("nobody")


@pytest.mark.parametrize("level", ["none", "offline", "online"])
def test_tracking_levels(level: str) -> None:
    tracking = compose_config([f"tracking={level}"]).config.tracking
    assert tracking.wandb_mode == (None if level == "none" else level)
    assert tracking.publish_every_seconds == (300 if level == "online" else None)
    assert tracking.artifacts and tracking.items_table


@pytest.mark.parametrize("every", ["0", "-1", ".inf", ".nan"])
def test_an_interval_that_is_none_is_refused(every: str) -> None:
    with pytest.raises(RequestError, match=r"tracking\.publish_every_seconds"):
        compose_config(["tracking=online", f"tracking.publish_every_seconds={every}"])


@pytest.mark.slow
def test_a_run_ends_well_whatever_the_server_does(server: FakeWandbServer, swallow: Swallow, tmp_path: Path) -> None:
    """A hanging server while it trains and at its end, against no tracking at all: same exit code, same losses, no loss of a row."""
    quick = {"WANDB_INIT_TIMEOUT": "4"}
    server.faults.append(lambda call: Fault(seconds=600))
    online = ["suite=none", "tracking=online", "tracking.publish_every_seconds=0.2", "tracking.log_every_steps=1"]
    tracked = swallow("train", *SMOKE.split(), *online, timeout=500, **quick)
    assert tracked.returncode == 0, tracked.stderr
    assert "not published" in tracked.stderr and server.calls
    (run_id,) = list_run_ids(tmp_path / "out")
    run = RunPaths.of(tmp_path / "out", run_id)
    assert read_status(run.status)["state"] == "trained"
    losses = [row.loss for row in read_curve(run.out, run_id)]
    server.faults.clear()
    done = swallow("publish", run_id, "--mode", "online")
    assert done.returncode == 0 and f"{run_id}: " in done.stdout
    known = server.runs["swallow_exp", run_id]
    assert [row["train/loss"] for row in known.rows() if "train/loss" in row] == losses and known.state == "finished"
    shutil.rmtree(run.folder)
    plain = swallow("train", *SMOKE.split(), "suite=none", "tracking=none", "tracking.log_every_steps=1", timeout=500)
    assert plain.returncode == 0, plain.stderr
    assert [row.loss for row in read_curve(run.out, run_id)] == losses
    assert not run.publication("wandb-online").parent.exists()  # none: nothing is published, nothing is imported
