"""What longer tables cost: peak memory and speed of expanding a checkpoint in several files, beside a plain copy of it.

Usage: python benchmarks/expand_weights.py [--gigabytes 5] [--shard-gigabytes 1] [--width 8192] [--folder DIR]

A checkpoint of Llama 2 70B's tables (32,000 x width, bfloat16, embedding and head in the first and last file) and layers of zeros is
made in DIR, copied, expanded by 11,176 rows, and removed. The expansion runs in a process of its own, whose peak memory is
read at its end. `expand` writes the new files; `with digest` also reads them again for the sha256 that every start-weights artefact has.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from swallow_exp.artefact.files import write_json_atomic
from swallow_exp.model.folder import CONFIG_NAME, EMBEDDING, HEAD, WEIGHTS_INDEX_NAME, weight_files, weights_digest

ROWS, ADDED, SUBWORDS = 32_000, 11_176, 3
BYTES_A_NUMBER = 2
GIGABYTE = 10**9


def write_file(path: Path, shapes: Mapping[str, tuple[int, int]], generator: np.random.Generator) -> None:
    """One safetensors file: tables of random bfloat16, everything else zero, written 64 MB at a time."""
    facts, position = {}, 0
    for name, shape in shapes.items():
        size = shape[0] * shape[1] * BYTES_A_NUMBER
        facts[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [position, position + size]}
        position += size
    text = json.dumps(facts).encode()
    text = text.ljust(len(text) + -len(text) % 8)
    with path.open("wb") as handle:
        handle.write(len(text).to_bytes(8, "little") + text)
        for name, (rows, columns) in shapes.items():
            for start in range(0, rows, 4096):
                count = min(4096, rows - start) * columns
                numbers = generator.standard_normal(count, dtype=np.float32) * 0.02 if name in (EMBEDDING, HEAD) else np.zeros(count, "<f4")
                handle.write((numbers.view("<u4") >> 16).astype("<u2").tobytes())


def make_checkpoint(folder: Path, *, width: int, gigabytes: float, shard_gigabytes: float) -> None:
    """Files of about `shard_gigabytes`, the embedding in the first, the head in the last."""
    folder.mkdir()
    layer = (4096, width)
    each = layer[0] * layer[1] * BYTES_A_NUMBER
    total = max(int((gigabytes * GIGABYTE - 2 * ROWS * width * BYTES_A_NUMBER) // each), 1)
    in_a_file = max(int(shard_gigabytes * GIGABYTE // each), 1)
    names = [f"model.layers.{number}.weight" for number in range(total)]
    table = ROWS * width * BYTES_A_NUMBER // each
    groups: list[dict[str, tuple[int, int]]] = [{EMBEDDING: (ROWS, width)}]
    room = in_a_file - table
    for name in names:
        if room <= 0:
            groups.append({})
            room = in_a_file
        groups[-1][name] = layer
        room -= 1
    if room < table:
        groups.append({})
    groups[-1][HEAD] = (ROWS, width)
    generator, weight_map = np.random.default_rng(0), {}
    for number, shapes in enumerate(groups, start=1):
        file = f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        write_file(folder / file, shapes, generator)
        weight_map |= dict.fromkeys(shapes, file)
    write_json_atomic(folder / WEIGHTS_INDEX_NAME, {"metadata": {}, "weight_map": weight_map})
    write_json_atomic(folder / CONFIG_NAME, {"vocab_size": ROWS, "hidden_size": width})


def expand(source: Path, target: Path, init: str) -> dict[str, Any]:
    """In a process of its own: seconds, and the peak of its resident memory before and at the end, in bytes."""
    import torch

    from swallow_exp.model.expand import expand_files
    from swallow_exp.model.rows import AddedPieces, added_rows, row_facts

    segments = np.random.default_rng(1).integers(259, ROWS, (ADDED, SUBWORDS)).tolist()
    added = AddedPieces(segments, init)

    making = [0.0]

    def make_rows(name: str, table_VD: torch.Tensor) -> torch.Tensor:
        begun = time.perf_counter()
        rows_ND = added_rows(table_VD, added, name=name)
        row_facts(table_VD, rows_ND)
        making[0] += time.perf_counter() - begun
        return rows_ND

    added_rows(torch.zeros(4, 8), AddedPieces([[1, 2]], init), name="warm-up")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    started = time.perf_counter()
    expand_files(source, target, tables=(EMBEDDING, HEAD), num_rows=ADDED, make_rows=make_rows)
    seconds = time.perf_counter() - started
    shutil.copyfile(source / WEIGHTS_INDEX_NAME, target / WEIGHTS_INDEX_NAME)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    started = time.perf_counter()
    weights_digest(target)
    return {"seconds": seconds, "digest_seconds": time.perf_counter() - started, "rows_seconds": making[0], "before": before, "peak": peak}


def copy(source: Path, target: Path) -> float:
    """Seconds of a plain copy."""
    target.mkdir()
    started = time.perf_counter()
    for file in weight_files(source):
        shutil.copyfile(file, target / file.name)
    return time.perf_counter() - started


def in_own_process(source: Path, target: Path, init: str) -> dict[str, Any]:
    target.mkdir()
    command = [sys.executable, __file__, "--expand", str(source), str(target), init]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Copy and expansion by turns, the faster of each. Nothing is left to be written by the system when one of them begins."""
    source, target = folder / "source", folder / "target"
    make_checkpoint(source, width=arguments.width, gigabytes=arguments.gigabytes, shard_gigabytes=arguments.shard_gigabytes)
    sizes = [file.stat().st_size for file in weight_files(source)]
    copies, expansions = [], []
    for _ in range(arguments.turns):
        for results, action in (
            (copies, lambda: copy(source, target)),
            (expansions, lambda: in_own_process(source, target, arguments.init)),
        ):
            os.sync()
            results.append(action())
            shutil.rmtree(target)
    best = min(expansions, key=lambda facts: facts["seconds"])
    peak = max(facts["peak"] for facts in expansions)
    rate = {"copy": sum(sizes) / min(copies) / 1e6, "expand": sum(sizes) / best["seconds"] / 1e6}
    rate["with_digest"] = sum(sizes) / (best["seconds"] + best["digest_seconds"]) / 1e6
    tables = 2 * (ROWS + ADDED) * arguments.width * BYTES_A_NUMBER
    return {
        "files": len(sizes),
        "gigabytes": round(sum(sizes) / GIGABYTE, 3),
        "largest_file_gigabytes": round(max(sizes) / GIGABYTE, 3),
        "two_tables_gigabytes": round(tables / GIGABYTE, 3),
        "peak_gigabytes": round(peak / GIGABYTE, 3),
        "of_which_torch_itself": round(max(facts["before"] for facts in expansions) / GIGABYTE, 3),
        "peak / largest file": round(peak / max(sizes), 3),
        "peak / (largest file + two tables)": round(peak / (max(sizes) + tables), 3),
        **{f"{name}_megabytes_per_second": round(value) for name, value in rate.items()},
        "expand / copy": round(rate["expand"] / rate["copy"], 3),
        "with digest / copy": round(rate["with_digest"] / rate["copy"], 3),
        "rows_seconds (the same for any number of layers)": round(best["rows_seconds"], 2),
        "everything but the rows / copy": round(min(copies) / (best["seconds"] - best["rows_seconds"]), 3),
    }


def main() -> None:
    if sys.argv[1:2] == ["--expand"]:
        print(json.dumps(expand(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])))
        return
    parser = argparse.ArgumentParser(description="Peak memory and speed of expanding a checkpoint in several files.")
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--shard-gigabytes", type=float, default=1.0)
    parser.add_argument("--width", type=int, default=8192)
    parser.add_argument("--init", default="subword_mean")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        print(json.dumps(measure(arguments, Path(folder)), indent=1))


if __name__ == "__main__":
    main()
