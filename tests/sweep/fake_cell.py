"""A cell of a second in place of a real one: fake_cell.py RUN_FOLDER.

It works in steps and notes each; a cell named in the file FAKE_CELLS_BROKEN fails half-way. Light, so that many can be started.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from swallow_exp.artefact.files import write_json_atomic
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.artefact.processes import die_with_parent
from swallow_exp.checkpoint.index import CheckpointRecord, write_checkpoints
from swallow_exp.record.status import read_status, write_status
from swallow_exp.record.store import read_config

STEPS = 4

if __name__ == "__main__":
    die_with_parent()
    run = RunPaths(Path(sys.argv[1]))
    assert read_config(run)["paths"]["out"] == str(run.out)  # as the sweep wrote it
    broken = Path(os.environ["FAKE_CELLS_BROKEN"])
    run.folder.mkdir(parents=True, exist_ok=True)
    with (run.folder / "launches").open("a") as handle:
        handle.write(f"{os.getpid()}\n")
    attempts = int(read_status(run.status).get("attempts") or 0) + 1
    write_status(run.status, "running", attempts=attempts)
    while "FAKE_CELLS_GO" in os.environ and not Path(os.environ["FAKE_CELLS_GO"]).exists():
        time.sleep(0.02)
    steps = run.folder / "steps"
    done = len(steps.read_text().splitlines()) if steps.exists() else 0
    for step in range(done, STEPS):
        time.sleep(float(os.environ.get("FAKE_CELLS_SECONDS", "0.02")))
        if step == STEPS // 2 and broken.exists() and run.run_id in broken.read_text().split():
            write_status(run.status, "failed", cause="asked to fail")
            sys.exit(1)
        with steps.open("a") as handle:
            handle.write(f"step {step}\n")
    run.checkpoint_export(STEPS).mkdir(parents=True, exist_ok=True)
    write_checkpoints(run, [CheckpointRecord(STEPS, STEPS, STEPS, f"checkpoints/tokens_{STEPS}/export", "d" * 64, False, 0.0)])
    write_json_atomic(run.folder / "record.json", {"seed": run.run_id.removeprefix("cell-"), "steps": steps.read_text().splitlines()})
    write_status(run.status, "trained", trained_tokens=STEPS)
