import json
import subprocess
import sys
from pathlib import Path

import pytest

from swallow_exp.artefact.errors import RequestError
from swallow_exp.record.events import append_events, read_events


def row(tokens: int, **more: object) -> dict:
    return {"kind": "train", "trained_tokens": tokens, **more}


def test_rows_come_back_in_order_and_by_kind(tmp_path: Path) -> None:
    events = tmp_path / "deep" / "events.jsonl"
    rows = [row(1, text="日本語\n二行目"), {"kind": "checkpoint", "trained_tokens": 1}, row(0.5)]
    append_events(events, rows[:1])
    append_events(events, rows[1:])
    assert list(read_events(events)) == rows
    assert list(read_events(events, "checkpoint")) == rows[1:2]


def test_no_file_no_rows_and_no_rows_no_file(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    append_events(events, [])
    assert not events.exists()
    assert list(read_events(events)) == []


WHOLE = (json.dumps(row(2, text="日本語"), ensure_ascii=False) + "\n").encode()


@pytest.mark.parametrize("kept", range(1, len(WHOLE)))
def test_a_line_torn_anywhere_is_ignored_and_closed_by_the_next_writer(tmp_path: Path, kept: int) -> None:
    events = tmp_path / "events.jsonl"
    append_events(events, [row(1)])
    with events.open("ab") as handle:
        handle.write(WHOLE[:kept])
    assert list(read_events(events)) == [row(1)]
    append_events(events, [row(3)])
    # torn just before its newline the line was whole: nothing of it is lost
    recovered = [row(2, text="日本語")] if kept == len(WHOLE) - 1 else []
    assert list(read_events(events)) == [row(1), *recovered, row(3)]


def test_lines_that_are_no_rows_are_skipped(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    events.write_bytes(b'[1, 2]\n\n"text"\n\xff\xfe\n' + json.dumps(row(1)).encode() + b"\n")
    assert list(read_events(events)) == [row(1)]


def test_a_row_that_is_not_json_writes_nothing_of_its_batch(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    with pytest.raises(ValueError, match="not JSON compliant"):
        append_events(events, [row(1), row(2, loss=float("nan"))])
    assert list(read_events(events)) == []


def test_a_row_without_tokens_is_a_defect(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        append_events(tmp_path / "events.jsonl", [{"kind": "train", "loss": 1.0}])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_a_user_error() -> None:
    with pytest.raises(RequestError, match="no space left"):
        append_events(Path("/dev/full"), [row(1)])


WRITER = """
import sys
from pathlib import Path
from swallow_exp.record.events import append_events
writer = int(sys.argv[2])
for i in range(100):
    rows = [{"kind": "train", "trained_tokens": i, "writer": writer, "part": part, "text": "長い行" * 3000} for part in range(3)]
    append_events(Path(sys.argv[1]), rows)
"""


def test_four_processes_at_once_lose_and_mix_nothing(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(events), str(writer)]) for writer in range(4)]
    assert [process.wait() for process in writers] == [0] * 4
    rows = [(r["writer"], r["trained_tokens"], r["part"]) for r in read_events(events)]
    assert len(rows) == 4 * 100 * 3
    for writer in range(4):
        assert [r[1:] for r in rows if r[0] == writer] == [(i, part) for i in range(100) for part in range(3)]
    # each call's rows stay together
    assert all(len({r[:2] for r in rows[start : start + 3]}) == 1 for start in range(0, len(rows), 3))
