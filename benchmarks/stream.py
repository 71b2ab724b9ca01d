"""How fast packed sequences are read in random order, ours beside other libraries', as ratios to a bare memory map; and shard building.

Usage: python benchmarks/stream.py [--tokens 150000000] [--seconds 3] [--text FILE ...] [--tokenizer tokenizer.model] [--folder DIR]

One file of random tokens in documents of real lengths serves all. A row is the median of three rounds, rounds of all readers taking
turns. Each reader is asked for the same kind of thing: number i of all sequences, i at random, as int64 in memory.

    np.memmap             tokens[i * T : i * T + T + 1].astype(int64): the yardstick, which knows no sources, flags or documents
    ours                  SequenceStream[i] on a plan of one source; with loss flags; with documents (positions that restart)
    litdata               StreamingDataset[i] with TokensLoader                     (pip install litdata)
    megatron-core         GPTDataset[i], packed, no attention mask                  (pip install megatron-core)

A library that is not installed is named and left out. Shard building is measured by benchmarks/shards.py where that is present.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import io
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from swallow_exp.artefact.manifest import Artefact
from swallow_exp.config import MixtureConfig, SourceConfig, compose_config
from swallow_exp.mixture.build_plan import build_plan
from swallow_exp.mixture.stream import SequenceStream
from swallow_exp.tokens.shard import LOSS_NAME, OFFSETS_NAME, TOKENS_NAME, open_shard, write_meta

LENGTH, ROUNDS, VOCABULARY = 4096, 3, 43_176
PIECE = (LENGTH + 1) * 256  # tokens litdata is given at once
Read = Callable[[int], Any]


def make_tokens(folder: Path, tokens: int) -> Artefact:
    """Random ids in documents of log-normal length, </s> at their ends; two thirds of the tokens carry no loss in loss.bin."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    lengths = np.maximum(20, generator.lognormal(6.3, 1.0, tokens // 400).astype(np.int64))
    ends = np.cumsum(lengths)
    ends = ends[ends <= tokens]
    tokens = int(ends[-1])
    with (folder / TOKENS_NAME).open("wb") as handle, (folder / LOSS_NAME).open("wb") as flags:
        for first in range(0, tokens, 1 << 24):
            count = min(1 << 24, tokens - first)
            ids = generator.integers(3, VOCABULARY, count, dtype=np.uint16)
            ids[ends[(ends > first) & (ends <= first + count)] - 1 - first] = 2
            handle.write(ids.tobytes())
            flags.write((generator.integers(0, 3, count, dtype=np.uint8) == 0).astype(np.uint8).tobytes())
    np.save(folder / OFFSETS_NAME, ends.astype("<i8"))
    meta = {"dtype": "<u2", "documents": len(ends), "tokens": tokens, "text_bytes": 3 * tokens, "tokenizer_digest": "none"}
    write_meta(folder, {**meta, "trained_tokens": tokens // 3})
    return Artefact(folder, {"digest": "flagged", "counts": meta})


def without_flags(shard: Artefact, folder: Path) -> Artefact:
    """The same tokens, all of them targets."""
    folder.mkdir()
    for name in (TOKENS_NAME, OFFSETS_NAME):
        os.link(shard.folder / name, folder / name)
    write_meta(folder, {**shard.counts, "trained_tokens": shard.counts["tokens"]})
    return Artefact(folder, {"digest": "plain", "counts": shard.counts})


def make_stream(shard: Artefact, out: Path, *, attention: str = "packed", masked: bool = False) -> SequenceStream:
    """A plan over nearly the whole shard, as a mixture of one source."""
    sequences = (shard.counts["tokens"] - 1) // LENGTH // 8 * 8 - 8
    tokens = sequences * LENGTH
    words = [f"optim.sequence_length={LENGTH}", "optim.global_batch_sequences=8", f"budget.tokens={tokens}", "budget.counts=positions"]
    config = compose_config(["base_model=llama2_7b", *words]).config
    source = SourceConfig(name="source", language="ja", files=["-"])
    config.mixture = MixtureConfig(name="one", sources={"source": source}, weights={"source": 1.0}, attention=attention)
    plan = build_plan(config, {"source": shard}, out=out / ("masked" if masked else "plain"))
    return SequenceStream(plan, {"source": open_shard(shard)}, attention=attention)


def readers(shard: Artefact, plain: Artefact, folder: Path) -> dict[str, tuple[Read, int]]:
    """name -> (read sequence i, how many there are)."""
    memory = np.memmap(plain.folder / TOKENS_NAME, dtype="<u2", mode="r")
    num = (len(memory) - 1) // LENGTH
    streams = {
        "ours": make_stream(plain, folder),
        "ours, loss flags": make_stream(shard, folder, masked=True),
        "ours, documents": make_stream(plain, folder, attention="document"),
    }
    found: dict[str, tuple[Read, int]] = {
        "np.memmap": (lambda i: memory[i * LENGTH : i * LENGTH + LENGTH + 1].astype(np.int64), num),
        **{name: (stream.__getitem__, len(stream)) for name, stream in streams.items()},
    }
    for name, make in {"litdata": _litdata, "megatron-core": _megatron}.items():
        if importlib.util.find_spec({"megatron-core": "megatron"}.get(name, name)) is None:
            print(f"{name}: not installed (pip install {name})", flush=True)
            continue
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found[name] = make(plain, folder)
    return found


def _litdata(shard: Artefact, folder: Path) -> tuple[Read, int]:
    import torch
    from litdata import StreamingDataset, TokensLoader, optimize

    memory = np.memmap(shard.folder / TOKENS_NAME, dtype="<u2", mode="r")
    block, target = LENGTH + 1, str(folder / "litdata")
    pieces = [(str(shard.folder / TOKENS_NAME), first) for first in range(0, len(memory) - PIECE + 1, PIECE)]
    optimize(_litdata_piece, pieces, target, chunk_size=block * 4096, item_loader=TokensLoader(block_size=block), num_workers=1)
    dataset = StreamingDataset(target, item_loader=TokensLoader(block_size=block), shuffle=False)
    assert dataset[0].tolist() == memory[:block].tolist()
    return lambda i: dataset[i].to(torch.int64), len(dataset)


def _litdata_piece(piece: tuple[str, int]) -> Any:
    """For a worker process of litdata."""
    import torch

    path, first = piece
    yield torch.from_numpy(np.memmap(path, dtype="<u2", mode="r")[first : first + PIECE].astype(np.int32))


def _megatron(shard: Artefact, folder: Path) -> tuple[Read, int]:
    import torch
    from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
    from megatron.core.datasets.indexed_dataset import IndexedDataset, IndexedDatasetBuilder
    from megatron.core.datasets.utils import Split

    class Tokenizer:
        eod, pad, vocab_size, unique_identifiers = 2, 0, VOCABULARY, {"name": "none"}

    opened = open_shard(shard)
    builder = IndexedDatasetBuilder(str(folder / "megatron.bin"), dtype=np.uint16)
    for document in range(opened.num_documents):
        ids = opened.tokens[opened.span(document)]
        builder.add_document(torch.from_numpy(ids.astype(np.int32)), [len(ids)])
    builder.finalize(str(folder / "megatron.idx"))
    indexed = IndexedDataset(str(folder / "megatron"))
    config = GPTDatasetConfig(
        random_seed=0,
        sequence_length=LENGTH,
        split="1,0,0",
        path_to_cache=str(folder / "megatron_cache"),
        tokenizer=Tokenizer(),
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
        create_attention_mask=False,
        mmap_bin_files=True,
    )
    samples = opened.num_tokens // LENGTH
    documents = np.arange(len(indexed), dtype=np.int32)
    dataset = GPTDataset(indexed, str(folder / "megatron"), documents, samples, Split.train, config)
    return lambda i: dataset[i], len(dataset)


def measure_reading(read: Read, count: int, *, seconds: float, seed: int) -> float:
    """Million tokens a second, sequences in random order."""
    places = np.random.default_rng(seed).integers(0, count, 200_000).tolist()
    for place in places[:200]:
        read(place)
    done, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds:
        for place in places[done % 190_000 : done % 190_000 + 100]:
            read(place)
        done += 100
    return done * LENGTH / spent / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description="reading packed sequences in random order")
    parser.add_argument("--tokens", type=int, default=150_000_000)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each of the three rounds of a reader")
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--text", type=Path, nargs="*", default=[], help="for building shards; none: text of the miniature world")
    parser.add_argument("--tokenizer", type=Path, default=None)
    parser.add_argument("--megabytes", type=float, default=16.0)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=asked.folder))
    try:
        shard = make_tokens(folder / "shard", asked.tokens)
        plain = without_flags(shard, folder / "plain")
        found = readers(shard, plain, folder)
        speeds: dict[str, list[float]] = {name: [] for name in found}
        for each in range(ROUNDS):
            for name, (read, count) in found.items():
                speeds[name].append(measure_reading(read, count, seconds=asked.seconds, seed=each))
        bare = statistics.median(speeds["np.memmap"])
        print(f"{'reading in random order':<24} {'Mtokens/s':>10} {'of memmap':>10}   rounds")
        for name, rounds in speeds.items():
            speed = statistics.median(rounds)
            print(f"{name:<24} {speed:>10.1f} {speed / bare:>9.2f}x   {json.dumps([round(r, 1) for r in rounds])}")
    finally:
        shutil.rmtree(folder)
    _print_building(asked)


def _print_building(asked: argparse.Namespace) -> None:
    """The rows of benchmarks/shards.py: building shards of one text with one process, in this run."""
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        shards = importlib.import_module("shards")
    except ImportError as error:
        print(f"building shards: not measured ({error})")
        return
    with tempfile.TemporaryDirectory(dir=asked.folder) as out:
        corpus = shards.text_corpus(asked.text, megabytes=asked.megabytes, out=Path(out))
        vocabulary = shards.text_vocabulary(asked.tokenizer, corpus, out=Path(out))
        print(f"\nbuilding shards of {asked.megabytes:g} MB")
        shards.report(shards.measure_building(corpus, vocabulary, processes=(1,), rounds=ROUNDS))


if __name__ == "__main__":
    main()
