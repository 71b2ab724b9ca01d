"""How long a report of a whole grid takes, and what it needs: python benchmarks/report.py [--to FOLDER] [--cells 24] [--resamples 10000]

Makes (once, in FOLDER) the records of 24 cells (3 sizes x 2 vocabularies x 4 uses of a parallel corpus) x 6 checkpoints x 19 tasks with
45,000 items a checkpoint (the sizes of the real test sets, TriviaQA and SQuAD2 halved), with made-up answers and training curves of
2,400 rows. Then measures, each in a process of its own: the scores without claims, the claims, the claims as one would write them first
(a bootstrap with indices gathered for each contrast, with numpy; scipy.stats.bootstrap), and the whole report. Seconds, CPU seconds,
largest memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from swallow_exp.artefact.paths import RunPaths, sweep_file
from swallow_exp.record.aggregate import score_of_items
from swallow_exp.record.status import write_status
from swallow_exp.record.store import statistics_column

SIZES, VOCABULARIES = ("llama2_7b", "llama2_13b", "llama2_70b"), ("base", "ja_16k")
PARALLEL = ("none", "ntp_mixed", "ntp_two_staged", "ti_two_staged")
MARKS, BUDGET, CURVE_ROWS, SUM = 6, 104_857_600_000, 2_400, 45_000
# task -> (share of the items, aggregate, items in a cluster, kind of answer, profiles); sizes of the sets behind the paper's tables
TASKS = {
    "jcqa": (1_119, "mean", 1, "binary", ("both",)),
    "jemhopqa": (120, "mean", 1, "real", ("both",)),
    "niilc": (198, "mean", 1, "real", ("both",)),
    "jsquad": (4_442, "mean", 4, "real", ("paper", "fair")),
    "xlsum": (766, "mean", 1, "real", ("paper", "fair")),
    "mgsm": (250, "mean", 1, "binary", ("paper", "fair")),
    "wmt20_en_ja": (1_000, "bleu", 1, "bleu", ("paper", "fair")),
    "wmt20_ja_en": (993, "bleu", 1, "bleu", ("paper", "fair")),
    "openbookqa": (500, "mean", 1, "binary", ("both",)),
    "triviaqa": (9_000, "mean", 1, "binary", ("paper", "fair")),
    "hellaswag": (10_042, "mean", 1, "binary", ("both",)),
    "squad2": (5_900, "mean", 10, "binary", ("both",)),
    "xwino": (2_325, "mean", 1, "binary", ("both",)),
    "gsm8k": (1_319, "mean", 1, "binary", ("paper", "fair")),
    "jamp": (348, "mean", 1, "binary", ("both",)),
    "janli": (720, "mean", 1, "binary", ("both",)),
    "jnli": (2_434, "mean", 1, "binary", ("both",)),
    "jsem": (2_000, "mean", 1, "binary", ("both",)),
    "heldout_japanese": (1_524, "ratio", 1, "ratio", ("both",)),
}


def statistics_of(task: str, skill: float, own: np.random.Generator) -> np.ndarray:
    """(n, k) made-up statistics; what is hard is the task's, not the run's."""
    size, _, cluster, kind, _ = TASKS[task]
    shared = np.random.default_rng([1, *task.encode()])
    hard = np.repeat(shared.normal(size=-(-size // cluster)), cluster)[:size] * 0.8 + shared.normal(size=size) * 0.4
    ability = skill - hard + own.normal(size=size) * 0.5
    if kind == "binary":
        return (ability > 0).astype(float)[:, None]
    if kind == "real":
        return np.round(np.clip(0.5 + 0.35 * ability, 0, 1), 2)[:, None]
    if kind == "ratio":
        num_bytes = shared.integers(800, 4000, size=size).astype(float)
        return np.stack([num_bytes * np.exp(-0.3 - 0.1 * ability), num_bytes], axis=1)
    length = shared.integers(8, 40, size=size)
    totals = np.stack([length - order for order in range(4)], axis=1)
    rate = 1 / (1 + np.exp(-1.2 * ability))
    correct = np.stack([own.binomial(totals[:, order], rate ** (1 + order * 0.6)) for order in range(4)], axis=1)
    return np.concatenate([np.stack([length, length], axis=1), correct, totals], axis=1).astype(float)


def write_task(out: Path, run_id: str, tokens: int, task: str, skill: float) -> None:
    """result.json and items.parquet, the columns straight from numpy."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    size, aggregate, cluster, _, profiles = TASKS[task]
    columns = {
        "item_id": pa.array([f"{task}-{i:05d}" for i in range(size)]),
        "cluster": pa.array([f"{task}-p{i // cluster}" if cluster > 1 else "" for i in range(size)]),
        "prompt": pa.array([f"made-up question {i} of {task}" for i in range(size)]),
        "prediction": pa.array([f"answer {i}" for i in range(size)]),
    }
    metrics = []
    for number, profile in enumerate(profiles):
        statistics = statistics_of(task, skill, np.random.default_rng([number, tokens // 10**9, *run_id.encode()]))
        offsets = np.arange(0, statistics.size + 1, statistics.shape[1], dtype=np.int32)
        columns[statistics_column("score", profile)] = pa.ListArray.from_arrays(offsets, pa.array(statistics.ravel()))
        metrics.append(
            {
                "metric": "score",
                "profile": profile,
                "aggregate": aggregate,
                "higher_is_better": aggregate != "ratio",
                "score": score_of_items(statistics, aggregate),
                "num_items": size,
            }
        )
    folder = RunPaths.of(out, run_id).evaluation(tokens, task)
    folder.mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / "items.parquet", compression="zstd")
    facts = {"task": task, "suite": "paper", "task_version": "1", "num_fewshot": 4, "prompt_digest": f"{task}-prompts"}
    health = {"truncated": 0, "empty": 3, "majority_share": 0.3, "num_predicted": 5}
    result = {**facts, "checkpoint_digest": f"{run_id}-{tokens}" if tokens else "start", "metrics": metrics, "health": health}
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


def write_run(out: Path, run_id: str, choices: dict[str, str], effect: float) -> None:
    """One finished run with its curve and evaluations."""
    run = RunPaths.of(out, run_id)
    run.folder.mkdir(parents=True)
    identity = {group: {"name": name} for group, name in choices.items()}
    identity["budget"]["tokens"] = BUDGET
    run.identity.write_text(json.dumps({**identity, "seed": 0}), encoding="utf-8")
    write_status(run.status, "trained", trained_tokens=BUDGET)
    step = BUDGET // CURVE_ROWS
    rows = ({"kind": "train", "trained_tokens": (i + 1) * step, "step": (i + 1) * 10, "loss": 1.8, "learning_rate": 1e-4, "flops": 1e18}
            for i in range(CURVE_ROWS))  # fmt: skip
    run.events.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for mark in range(MARKS):
        for place, task in enumerate(TASKS):
            skill = -0.5 + (1 - np.exp(-mark / 2)) * (0.6 + effect * (place % 3 - 1))
            write_task(out, run_id, mark * BUDGET // (MARKS - 1), task, skill)


def write_study(out: Path, num_cells: int) -> None:
    """The grid, its runs, and the sweep file with every contrast of one factor."""
    grid = [(s, v, p) for s in SIZES for v in VOCABULARIES for p in PARALLEL][:num_cells]
    fixed = {"mixture": "ja90_en10", "budget": "tokens_100b", "optim": "swallow", "numerics": "bf16_mixed"}
    baseline = {"base_model": SIZES[0], "vocabulary": VOCABULARIES[0], "parallel": PARALLEL[0]}
    cells, contrasts = [], []
    for position, (size, vocabulary, parallel) in enumerate(grid):
        choices = {"base_model": size, "vocabulary": vocabulary, "parallel": parallel, **fixed}
        run_id = f"{size}-{vocabulary}-{parallel}"
        if not RunPaths.of(out, run_id).folder.exists():
            write_run(out, run_id, choices, 0.04 * (position % 4))
        print(f"{position + 1} of {len(grid)} runs", file=sys.stderr)
        cells.append({"run_id": run_id, "choices": choices, "seed": 0, "label": f"{size} {vocabulary} {parallel}"})
        for factor in ("vocabulary", "parallel"):
            other = {**choices, factor: baseline[factor]}
            if other != choices:
                pair = {"run_id": run_id, "baseline_run_id": f"{size}-{other['vocabulary']}-{other['parallel']}"}
                levels = {"factor": factor, "level": choices[factor], "baseline_level": baseline[factor]}
                rest = ", ".join(choices[f] for f in baseline if f != factor)
                contrasts.append({**pair, **levels, "label": f"{levels['level']} vs {levels['baseline_level']} ({rest})"})
    axes = {"base_model": SIZES, "vocabulary": VOCABULARIES, "parallel": PARALLEL}
    sweep = {"name": "grid", "question": "How long does a report take?", "baseline": baseline, "axes": axes}
    path = sweep_file(out, "grid")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**sweep, "cells": cells, "contrasts": contrasts}), encoding="utf-8")


# What is measured, as a program of its own; {out} and {resamples} are filled in.
PROGRAMS = {
    "scores without claims": """
from analysis.load import load_study
from analysis.scores import study_summary
print(study_summary(load_study({out!r}, 'grid')).count(chr(10)), 'lines')""",
    "claims": """
from analysis.claims.compare import compare_contrasts
from analysis.load import load_study
claims = compare_contrasts(load_study({out!r}, 'grid'))
print(len(claims), 'claims', sum(c.difference is not None for c in claims), 'compared')""",
    "claims, gathered by contrast": """
import numpy as np
from analysis.load import Measure, load_study
from swallow_exp.record.aggregate import score_of_sums, summable
study, done = load_study({out!r}, 'grid'), 0
for contrast in study.contrasts[:{some}]:
    (a, b), = contrast.pairs
    for m in study.measures:
        sides = [study.items_of(study.record_of(r, study.checkpoints_of(r)[-1], m)) for r in (a, b)]
        units = []
        for side in sides:
            names = np.array([c or i for c, i in zip(side.clusters, side.item_ids)])
            _, index = np.unique(names, return_inverse=True)
            unit = np.zeros((index.max() + 1, summable(side.statistics, m.aggregate).shape[1]))
            np.add.at(unit, index, summable(side.statistics, m.aggregate))
            units.append(unit)
        rng, differences = np.random.default_rng(0), []
        for _ in range({resamples} // 500):
            drawn = rng.integers(len(units[0]), size=(500, len(units[0])))
            differences.append(np.subtract(*(score_of_sums(unit[drawn].sum(axis=1), m.aggregate) for unit in units)))
        np.quantile(np.concatenate(differences), [0.025, 0.975])
        done += 1
print(done, 'claims')""",
    "claims, scipy.stats.bootstrap": """
import numpy as np
from scipy.stats import bootstrap
from analysis.load import load_study
study, done = load_study({out!r}, 'grid'), 0
for contrast in study.contrasts[:{some}]:
    (a, b), = contrast.pairs
    for m in study.measures:
        if m.aggregate != 'mean':
            continue
        sides = [study.items_of(study.record_of(r, study.checkpoints_of(r)[-1], m)).statistics[:, 0] for r in (a, b)]
        bootstrap((sides[0] - sides[1],), np.mean, n_resamples={resamples}, method='percentile', batch=500, rng=0)
        done += 1
print(done, 'claims')""",
    "the whole report": """
from analysis.report import build_report
from swallow_exp.artefact.processes import usable_cores
print(build_report({out!r}, 'grid', processes=usable_cores()).stat().st_size >> 10, 'KiB of page')""",
}
PEAK = "\nimport resource, sys\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10, file=sys.stderr)"


def measured(program: str, fill: dict[str, object]) -> tuple[float, float, int, str]:
    """(seconds, seconds of CPU, MiB at most, what it printed) of one program, imports included."""
    code = "from pathlib import Path\n" + program.strip().format(**fill).replace("PosixPath", "Path") + PEAK
    started, before = time.perf_counter(), os.times()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    after = os.times()
    busy = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - started, busy, int(done.stderr.split()[-1]), done.stdout.strip()


def main() -> None:
    """Make the records where they are not there yet, then one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--to", type=Path, default=Path(tempfile.gettempdir()) / "swallow_report_benchmark")
    parser.add_argument("--cells", type=int, default=24)
    parser.add_argument("--resamples", type=int, default=10_000)
    parser.add_argument("--contrasts", type=int, default=2, help="for the ways of doing it that are timed for comparison only")
    parser.add_argument("--only", default="", help="measurements whose names have this; `claims` is measured first for the comparison")
    given = parser.parse_args()
    out = given.to / f"{given.cells}"
    if not sweep_file(out, "grid").exists():
        write_study(out, given.cells)
    contrasts = len(json.loads(sweep_file(out, "grid").read_text(encoding="utf-8"))["contrasts"])
    assert sum(size for size, *_ in TASKS.values()) == SUM
    print(f"{given.cells} cells x {MARKS} checkpoints x {len(TASKS)} tasks, {SUM:,} items a checkpoint, {contrasts} contrasts")
    per_claim: dict[str, float] = {}
    fill = {"out": out, "resamples": given.resamples, "some": given.contrasts}
    for name, program in PROGRAMS.items():
        if given.only in name or (name == "claims" and "claims" in given.only):
            seconds, busy, mebibytes, said = measured(program, fill)
            print(f"{name:<30} {seconds:7.1f} s  {busy:7.1f} s of CPU  {mebibytes:6,} MiB  {said}", flush=True)
            if "claims" in said:
                per_claim[name] = busy / int(said.split()[0])
    for name, each in per_claim.items() if "claims" in per_claim else ():
        print(f"{name:<30} {1000 * each:7.1f} ms of CPU a claim, {each / per_claim['claims']:6.1f} times the engine's")


if __name__ == "__main__":
    main()
