"""A state that is removed while somebody looks reads as torn."""

import threading
from pathlib import Path

from swallow_exp.artefact.files import write_json_atomic
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.checkpoint.state import COMPLETE_NAME, SavedState, TornState, read_state_mark


def test_files_may_vanish_between_two_looks(tmp_path: Path) -> None:
    folder = RunPaths.of(tmp_path, "run").checkpoint_state(100)
    folder.mkdir(parents=True)
    names = [f"part_{i}.pt" for i in range(4)]
    mark = {"step": 1, "trained_tokens": 100, "inputs_digest": "d", "files": {name: {"bytes": 3, "sha256": "0"} for name in names}}
    write_json_atomic(folder / COMPLETE_NAME, mark)
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            for name in names:
                (folder / name).write_bytes(b"abc")
            for name in names:
                (folder / name).unlink()

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        seen = [read_state_mark(folder) for _ in range(2000)]
    finally:
        stop.set()
        thread.join()
    assert all(isinstance(state, SavedState | TornState) for state in seen)
    assert any(isinstance(state, TornState) for state in seen)
