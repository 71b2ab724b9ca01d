"""The end of a fragment is found however long the fragment is, and is not there while it is still being written."""

import struct
import zlib
from pathlib import Path

import pytest

from swallow_exp.artefact.errors import RunFailed
from swallow_exp.track import wandb_sink
from swallow_exp.track.fragment import BLOCK_BYTES, CHUNK_HEADER, last_records


def write_log(path: Path, records: list[bytes]) -> None:
    """A LevelDB log as its format says, written independently of the reader."""
    data = bytearray(struct.pack("<4sHB", b":W&B", 0xBEE1, 1))
    for record in records:
        rest, first = record, True
        while first or rest:
            room = BLOCK_BYTES - len(data) % BLOCK_BYTES
            if room < CHUNK_HEADER.size:
                data += bytes(room)
                continue
            body, rest = rest[: room - CHUNK_HEADER.size], rest[room - CHUNK_HEADER.size :]
            kind = (1 if not rest else 2) if first else (4 if not rest else 3)
            data += CHUNK_HEADER.pack(zlib.crc32(bytes([kind]) + body), len(body), kind) + body
            first = False
    path.write_bytes(data)


@pytest.mark.parametrize("sizes", [[5], [100] * 2000, [BLOCK_BYTES - 14, 3], [BLOCK_BYTES - 20, 40], [70_000, 12, 70_000, 9], [200_000, 1]])
def test_the_last_records_are_read_whole(tmp_path: Path, sizes: list[int]) -> None:
    records = [bytes([i % 251]) * size for i, size in enumerate(sizes)]
    path = tmp_path / "run-a.wandb"
    write_log(path, records)
    found = list(last_records(path))
    assert found and found == records[-len(found) :]
    path.write_bytes(path.read_bytes()[:-1])
    assert list(last_records(path)) == found[:-1]


def test_a_fragment_without_its_end_is_waited_for_and_then_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record, RunExitRecord

    monkeypatch.setattr(wandb_sink, "END_SECONDS", 0.1)
    path = tmp_path / "run-a.wandb"
    write_log(path, [Record(num=1).SerializeToString()])
    with pytest.raises(RunFailed, match="repeat the command, nothing is lost"):
        wandb_sink._await_end(tmp_path)
    write_log(path, [Record(num=1).SerializeToString(), Record(num=2, exit=RunExitRecord(exit_code=0)).SerializeToString()])
    wandb_sink._await_end(tmp_path)
