"""Kill a run again and again with SIGKILL, at random moments and in the middle of saves, until it is done; then compare.

python tests/train/kill_drill.py FOLDER [--kills 20] [--steps 200] [--in-line] [--seed 0]
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from tiny_run import FAKE_WORKER, make_run, tiny_config, train_base_tokenizer

from swallow_exp.artefact.paths import RunPaths
from swallow_exp.checkpoint.check_states import check_states
from swallow_exp.checkpoint.index import read_checkpoints, resolve_export
from swallow_exp.checkpoint.state import find_states
from swallow_exp.model.folder import weights_digest
from swallow_exp.record.events import read_events

STEP_SECONDS = 0.02


def start(run: RunPaths, steps: int) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    environment |= {"FAKE_STREAM_STEPS": str(steps), "FAKE_STREAM_DELAY": str(STEP_SECONDS)}
    return subprocess.Popen([*FAKE_WORKER, str(run.folder)], env=environment)


def saved_step(run: RunPaths) -> int:
    states = find_states(run)
    return states[-1].step if states else 0


def is_saving(run: RunPaths) -> bool:
    try:
        return any(run.checkpoints.glob("*/*.partial"))
    except FileNotFoundError:  # an old state was removed while we looked
        return False


def kill_once(run: RunPaths, process: subprocess.Popen[bytes], target: int, *, in_a_save: bool, wait: float) -> str | None:
    """SIGKILL once the state at `target` or a later one is there, then at the next save or after `wait`; None when it ended first."""
    while saved_step(run) < target:
        if process.poll() is not None:
            return None
        time.sleep(0.002)
    deadline = time.monotonic() + wait
    while time.monotonic() < deadline and not (in_a_save and is_saving(run)):
        if process.poll() is not None:
            return None
    saving = is_saving(run)
    process.kill()
    process.wait()
    return "in a save" if saving or is_saving(run) else "between saves"


def drill(folder: Path, *, kills: int, steps: int, in_line: bool, seed: int) -> list[str]:
    """What happened, one line a kill; asserts that the weights are the same bits as without."""
    tokenizer = train_base_tokenizer(folder / "base.model")
    machine = {"async_checkpoints": not in_line, "rolling_checkpoint_tokens": 400, "rolling_checkpoint_seconds": None}
    config = tiny_config(machine=machine)
    undisturbed, _, _ = make_run(folder, "undisturbed", config, tokenizer=tokenizer)
    assert start(undisturbed, steps).wait() == 0
    run, _, _ = make_run(folder, "killed", config, tokenizer=tokenizer)
    generator = random.Random(seed)
    said = []
    for number in range(kills):
        target = max(saved_step(run), generator.randint(number * (steps - 10) // kills, (number + 1) * (steps - 10) // kills))
        where = kill_once(run, start(run, steps), target, in_a_save=number % 2 == 0, wait=generator.random() * 0.5)
        assert where is not None, f"it ended before kill {number + 1}"
        said.append(f"kill {number + 1:>2}: {where}, newest state at step {saved_step(run)}")
    assert start(run, steps).wait() == 0
    expected, found = read_checkpoints(undisturbed), read_checkpoints(run)
    assert [(r.step, r.digest) for r in found] == [(r.step, r.digest) for r in expected] and len(found) == 6
    losses = [{row["step"]: row["loss"] for row in read_events(one.events, "train")} for one in (undisturbed, run)]
    assert losses[0] == losses[1] and len(losses[0]) == steps
    assert check_states(run) == []
    assert all(weights_digest(resolve_export(run, record)) == record.digest for record in read_checkpoints(run))
    return said


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--in-line", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    lines = drill(options.folder, kills=options.kills, steps=options.steps, in_line=options.in_line, seed=options.seed)
    sys.stdout.write("\n".join([*lines, "the same weights at every mark, the same loss at every step"]) + "\n")
