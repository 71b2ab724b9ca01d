import os
import socket
import threading
import time
from pathlib import Path

import pytest

from swallow_exp.record.status import STALE_AFTER_SECONDS, STATES, is_stale, read_status, write_status


def test_no_or_torn_status_is_planned(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    assert read_status(path) == {"state": "planned"}
    for torn in ("", '{"state": "runn', "[]"):
        path.write_text(torn)
        assert read_status(path) == {"state": "planned"}


def test_facts_stay_and_are_stamped(tmp_path: Path) -> None:
    path = tmp_path / "run" / "status.json"
    before = time.time()
    write_status(path, "running", attempts=2, trained_tokens=0)
    written = write_status(path, "running", trained_tokens=4096)
    assert read_status(path) == written
    assert (written["attempts"], written["trained_tokens"], written["state"]) == (2, 4096, "running")
    assert (written["host"], written["pid"]) == (socket.gethostname(), os.getpid())
    assert before <= written["heartbeat"] <= time.time()


@pytest.mark.parametrize("state", STATES)
def test_a_cause_outlives_only_failures_and_preemptions(tmp_path: Path, state: str) -> None:
    path = tmp_path / "status.json"
    write_status(path, "failed", cause="out of memory")
    write_status(path, state)
    assert ("cause" in read_status(path)) == (state in ("failed", "preempted"))


def test_an_unknown_state_is_a_defect(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        write_status(tmp_path / "status.json", "finished")


def test_stale_means_running_without_a_recent_heartbeat() -> None:
    now = 1_000_000.0
    silent = {"state": "running", "heartbeat": now - STALE_AFTER_SECONDS - 1}
    assert is_stale(silent, now)
    assert not is_stale({**silent, "heartbeat": now - STALE_AFTER_SECONDS + 1}, now)
    assert not is_stale({**silent, "state": "trained"}, now)
    assert is_stale({"state": "running"}, now)  # never a heartbeat
    assert is_stale(silent)


def test_a_reader_never_sees_half_a_status(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    write_status(path, "running", note="x" * 20_000)
    stop = threading.Event()

    def rewrite() -> None:
        while not stop.is_set():
            write_status(path, "running")

    writer = threading.Thread(target=rewrite)
    writer.start()
    seen = [read_status(path) for _ in range(500)]
    stop.set()
    writer.join()
    assert all(status["state"] == "running" and len(status["note"]) == 20_000 for status in seen)
    assert [p.name for p in tmp_path.iterdir()] == ["status.json"]
