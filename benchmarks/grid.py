"""How long a grid takes to expand, to plan and to look at: python benchmarks/grid.py [CELLS...] (100 and 1,000)

(1) expand    a process: the sweeper's cells, beside Hydra's own composition of some of them (hydra.compose, nothing else)
(2) plan      a cold process a command, imports counted; with no run there, and beside as many runs
(3) status    the same over made-up run folders: six evaluated checkpoints of 19 tasks, an outbox of 5,000 rows, a publisher half-way

Best of three each. Writes  a temporary folder (1.4 MB a run)
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from swallow_exp.artefact.files import write_json_atomic
from swallow_exp.artefact.paths import RunPaths, sweep_file
from swallow_exp.checkpoint.index import CheckpointRecord, write_checkpoints
from swallow_exp.config.compose import compose_config
from swallow_exp.record.events import append_events
from swallow_exp.record.identity import identity_of
from swallow_exp.record.status import write_status

MARKS, TASKS, ROWS, BUDGET, TRIES = 6, 19, 5_000, 104_857_600_000, 3
AXES = ["base_model=llama2_7b,llama2_13b", "vocabulary=base,ja_16k", "parallel=none,ntp_mixed,ntp_two_staged,ti_two_staged,ti_mixed"]
FIXED = [
    "mixture=ja90_en10",
    "budget=tokens_100b",
    "optim=swallow_7b_13b",
    "numerics=bf16_mixed",
    "strategy=table6_7b",
    "machine=a100_40gb_8n",
]
EXPAND = """
import sys, time
words, sample = sys.argv[2:], int(sys.argv[1])
from swallow_exp.sweep.grid import expand_sweep
started = time.perf_counter()
cells = expand_sweep(words).cells
ours = time.perf_counter() - started
from hydra import compose, initialize_config_dir
from swallow_exp.config.levels import shipped_folder
with initialize_config_dir(config_dir=str(shipped_folder("conf")), version_base="1.3"):
    compose(config_name="train")  # warm
    started = time.perf_counter()
    for cell in cells[:: max(len(cells) // sample, 1)][:sample]:
        compose(config_name="train", overrides=list(cell.overrides))
hydras = (time.perf_counter() - started) / sample
print(len(cells), ours, hydras)
"""


def write_run(out: Path, run_id: str, state: str, templates: dict[str, str]) -> None:
    """One made-up run folder."""
    run = RunPaths.of(out, run_id)
    run.folder.mkdir(parents=True)
    run.identity.write_text(templates["identity"], encoding="utf-8")
    run.config.write_text(templates["config"], encoding="utf-8")
    write_status(run.status, state, trained_tokens=BUDGET // 2, attempts=1)
    run.events.write_text(templates["events"], encoding="utf-8")
    records = [
        CheckpointRecord(mark * 20 * 10**9, mark * 20 * 10**9, mark * 4_769, "export", "d" * 64, False, 0.0) for mark in range(MARKS)
    ]
    write_checkpoints(run, records)
    cursor = {"next": ROWS // 2, "confirmed": ROWS // 2, "outbox_bytes": len(templates["events"]) // 2, "fragments": []}
    write_json_atomic(run.publication("wandb-online"), {"destinations": {"/p": cursor}})
    for record in records:
        for task in range(TASKS):
            folder = run.evaluation(record.trained_tokens, f"task{task}")
            folder.mkdir(parents=True)
            (folder / "result.json").write_text(templates["result"].replace("TASK", f"task{task}"), encoding="utf-8")


def make_templates(folder: Path) -> dict[str, str]:
    """Texts that all run folders share."""
    import yaml

    composed = compose_config([*FIXED, "base_model=llama2_7b"])
    row = {"kind": "train", "loss": 2.0, "learning_rate": 1e-4, "grad_norm": 0.3, "tokens_per_second": 1.6e5, "tflops_per_device": 115.0}
    row |= {"mfu": 0.37, "text_bytes": 10**11, "positions": 10**11, "data_wait_share": 0.01, "peak_memory_bytes": 3 * 10**10}
    append_events(folder / "events.jsonl", [{**row, "trained_tokens": n * 20_971_520, "step": n, "flops": n * 1.9e17} for n in range(ROWS)])
    metric = {"metric": "accuracy", "score": 43.21, "num_items": 1_000, "profile": "paper", "standard_error": 1.5}
    result = {"task": "TASK", "metrics": [metric] * 3, "health": {"truncated": 0, "empty": 1}, "suite": "paper", "seconds": 61.5}
    result |= {"checkpoint_digest": "d" * 64, "prompt_digest": "p" * 64, "versions": {f"package{n}": "1.2.3" for n in range(12)}}
    return {
        "identity": json.dumps(identity_of(composed.plain), indent=1),
        "config": str(yaml.safe_dump(composed.plain, sort_keys=False)),
        "events": (folder / "events.jsonl").read_text(encoding="utf-8"),
        "result": json.dumps(result, indent=1),
    }


def timed(command: list[str], out: Path) -> tuple[float, float, str]:
    """(seconds, seconds of CPU, what was printed) of one command, the quickest of TRIES."""
    best = (float("inf"), 0.0, "")
    for _ in range(TRIES):
        started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        env = {**os.environ, "SWALLOW_OUT": str(out)}
        done = subprocess.run([sys.executable, *command], env=env, capture_output=True, text=True, check=True)
        after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - started
        best = min(best, (seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout))
    return best


def main() -> None:
    """One line a size and command."""
    for cells in [int(word) for word in sys.argv[1:]] or [100, 1_000]:
        words = [*AXES, *FIXED, f"seed=range(0,{cells // 20})"]
        with tempfile.TemporaryDirectory() as folder:
            empty, full = Path(folder) / "empty", Path(folder) / "full"
            _, _, said = timed(["-c", EXPAND, "10", *words], empty)
            number, ours, hydras = (float(word) for word in said.split())
            print(
                f"{cells:>5} cells  expand {ours:.2f} s, {1_000 * ours / number:.2f} ms a cell; "
                f"hydra.compose {1_000 * hydras:.0f} ms a cell, {hydras * number / ours:.0f} times as much",
                flush=True,
            )
            templates = make_templates(Path(folder))
            run_ids = [f"llama2_7b-run{number:04d}" for number in range(cells)]
            for place, run_id in enumerate(run_ids):
                write_run(full, run_id, "running" if place % 2 else "trained", templates)
            write_json_atomic(sweep_file(full, "grid"), {"cells": [{"run_id": one, "marks": MARKS, "tasks": TASKS} for one in run_ids]})
            for name, command, out in (
                ("plan", ["plan", *words], empty),
                ("plan --json", ["plan", *words, "--json"], empty),
                ("plan, beside as many runs", ["plan", *words], full),
                ("status", ["status"], full),
                ("status --json", ["status", "--json"], full),
                ("status NAME", ["status", "grid"], full),
            ):
                seconds, busy, said = timed(["-m", "swallow_exp", *command], out)
                lines = said.count("\n")
                print(f"{cells:>5} cells  {name:<26} {seconds:6.2f} s, {busy:5.2f} s of CPU  {lines:,} lines", flush=True)


if __name__ == "__main__":
    main()
