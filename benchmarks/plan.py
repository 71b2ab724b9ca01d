"""What a plan of full size costs: seconds, peak memory and largest deviation of any prefix from a source's share; and a seek into it.

Usage: python benchmarks/plan.py [--sequences 25600000] [--folder DIR]

The authors' Swallow runs: 25,000 steps x 1,024 sequences x 4,096 tokens; crawl, Wikipedia, RefinedWeb, arXiv in their weights, and
the crawl in their five parts; alone, and after 5.6 billion tokens of pairs (two stages). Shards are files of the right length
without content (sparse), so the whole of `build_plan` runs: quotas, order, permutations, steps, files. Each plan is made in a
process of its own, whose peak memory is read at its end; then its stream is opened and sequences are read far inside.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.manifest import Artefact
from swallow_exp.config import Config, MixtureConfig, SourceConfig, compose_config
from swallow_exp.config.checks import check_config
from swallow_exp.mixture.build_plan import PLAN_NAME, build_plan, planned_sources
from swallow_exp.mixture.stream import SequenceStream
from swallow_exp.tokens.shard import LOSS_NAME, OFFSETS_NAME, TOKENS_NAME, open_shard, write_meta

LENGTH, BATCH = 4096, 1024
WIKIPEDIA = 1_672_543_873
CRAWL_PARTS = (10_605_477_142, 10_464_907_226, 12_465_407_213, 16_446_568_076, 38_345_096_470)
ENGLISH = {"refinedweb": 5_000_000_000, "arxiv": 5_000_000_000}
PAIRS = 5_600_000_000
FOUR = {"crawl": sum(CRAWL_PARTS), "wikipedia": WIKIPEDIA, **ENGLISH}
EIGHT = {**{f"crawl_{k}": tokens for k, tokens in enumerate(CRAWL_PARTS, start=1)}, "wikipedia": WIKIPEDIA, **ENGLISH}
CASES = {
    "4 sources": (FOUR, None),
    "4 sources, pairs first": (FOUR, "two_staged"),
    "4 sources, pairs mixed": (FOUR, "mixed"),
    "8 sources": (EIGHT, None),
    "8 sources, pairs first": (EIGHT, "two_staged"),
    "9 sources (8 and pairs mixed)": (EIGHT, "mixed"),
}
SPARE = 2  # the crawl has this many times what is planned; the others are a little short, as with the authors' 5% held out
SEEK = 20_000_000


def make_shard(folder: Path, tokens: int, *, documents: int = 1) -> Artefact:
    """A shard of `tokens` zeros that takes no disk."""
    folder.mkdir(parents=True)
    with (folder / TOKENS_NAME).open("wb") as handle:
        handle.truncate(2 * tokens)
    np.save(folder / OFFSETS_NAME, np.linspace(tokens / documents, tokens, documents).astype("<i8"))
    write_meta(
        folder,
        {
            **{"dtype": "<u2", "documents": documents, "tokens": tokens, "trained_tokens": tokens},
            **{"text_bytes": 3 * tokens, "tokenizer_digest": "none"},
        },
    )
    assert not (folder / LOSS_NAME).exists()
    return Artefact(folder, {"digest": f"{folder.name}-{tokens}", "counts": {"tokens": tokens}})


def make_config(weights: dict[str, int], order: str | None, sequences: int) -> Config:
    """The authors' weights as a mixture, over a budget of so many sequences."""
    words = [f"optim.sequence_length={LENGTH}", f"optim.global_batch_sequences={BATCH}", f"budget.tokens={sequences * LENGTH}"]
    level = {None: "none", "two_staged": "ntp_two_staged", "mixed": "ntp_mixed"}[order]
    config = compose_config(["base_model=llama2_7b", f"parallel={level}", *words]).config
    sources = {name: SourceConfig(name=name, language="ja", files=["-"]) for name in weights}
    sources["pairs"] = SourceConfig(name="pairs", language="en-ja", kind="pairs", files=["-"])
    total = sum(weights.values())
    shares = {name: tokens / total for name, tokens in weights.items()}
    config.mixture = MixtureConfig(name="swallow", sources=sources, weights=shares, parallel_source="pairs")
    check_config(config)
    return config


def measure(case: str, folder: Path, sequences: int) -> dict[str, object]:
    """Build one plan in this process."""
    weights, order = CASES[case]
    config = make_config(weights, order, sequences)
    scale = sequences / 25_600_000
    sizes = {**weights, "pairs": PAIRS}
    shards = {
        name: make_shard(folder / "shards" / name, int(sizes[name] * scale * (SPARE if name.startswith("crawl") else 0.949)) + 1)
        for name in planned_sources(config)
    }
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    plan = build_plan(config, shards, out=folder)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    facts = read_json(plan.folder / PLAN_NAME)
    row: dict[str, object] = {
        "plan": case,
        "sequences": facts["sequences"],
        "seconds": round(seconds, 2),
        "peak_MiB": round(peak / 1024),
        "of_it_before_MiB": round(before / 1024),
        "largest_prefix_deviation": [round(stage["largest_prefix_deviation"], 9) for stage in facts["stages"]],
        "off_by_sequences": max(abs(source["off_sequences"] or 0) for source in facts["sources"]),
    }
    return {**row, **_seek(plan, shards, facts["sequences"])}


def _seek(plan: Artefact, shards: dict[str, Artefact], sequences: int) -> dict[str, float]:
    """Milliseconds from nothing to the sequence training would resume at, to it again, and to sequences no one has read yet."""
    position = min(SEEK, sequences - 1)
    started = time.perf_counter()
    stream = SequenceStream(plan, {name: open_shard(artefact) for name, artefact in shards.items()})
    opened = time.perf_counter()
    assert len(stream[position].tokens) == LENGTH + 1
    first = time.perf_counter()
    assert len(stream[position].tokens) == LENGTH + 1
    again = time.perf_counter()
    places = np.random.default_rng(0).integers(0, sequences, 200)
    seeks = []
    for place in places:
        begun = time.perf_counter()
        assert len(stream[int(place)].tokens) == LENGTH + 1
        seeks.append(1e3 * (time.perf_counter() - begun))
    named = {"open_ms": 1e3 * (opened - started), "first_sequence_ms": 1e3 * (first - opened), "again_ms": 1e3 * (again - first)}
    named |= {"seek_ms_median": float(np.median(seeks))}
    return {**{name: round(value, 3) for name, value in named.items()}, "seek_ms_worst": round(max(seeks), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description="cost of plans of full size")
    parser.add_argument("--sequences", type=int, default=25_600_000)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--case", choices=CASES, default=None, help="only this one, in this process")
    asked = parser.parse_args()
    if asked.case is None:
        for case in CASES:
            more = ["--folder", str(asked.folder)] if asked.folder else []
            command = [sys.executable, __file__, "--case", case, "--sequences", str(asked.sequences), *more]
            subprocess.run(command, check=True)
        return
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        print(json.dumps(measure(asked.case, Path(folder), asked.sequences)), flush=True)


if __name__ == "__main__":
    main()
