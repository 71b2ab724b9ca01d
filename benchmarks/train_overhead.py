"""What the harness costs: tokens/s of the training worker's loop and of a bare PyTorch loop, same model, same data, one process.

Usage: python benchmarks/train_overhead.py [--steps 200] [--rounds 3] [--threads 1]

Both read the same stream, which notes when each step begins; the numbers are medians of those intervals, so start-up and
the last save are left out. Rounds alternate between the two, so that other work on the machine hits both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from swallow_exp.artefact.manifest import Artefact, build_artefact
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.config.schema import Config
from swallow_exp.model.folder import TOKENIZER_NAMES, weights_digest
from swallow_exp.train import fit
from swallow_exp.train.stopping import StopRequest
from swallow_exp.train.strategy import Processes

LAYERS, WIDTH, VOCABULARY, LENGTH, BATCH = 2, 128, 2_000, 64, 16
SKIPPED_STEPS = 20


@dataclass(frozen=True)
class Sequence:
    tokens: np.ndarray[Any, np.dtype[np.int64]]
    loss: np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Progress:
    trained_tokens: int
    positions: int
    text_bytes: int


class TimedStream:
    """Random tokens, all with loss; notes the time at the first sequence of each step."""

    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps
        self.times: list[float] = []
        self._tokens = np.random.default_rng(0).integers(3, VOCABULARY, (num_steps * BATCH, LENGTH + 1))
        self._loss = np.ones(LENGTH, dtype=np.bool_)

    def __len__(self) -> int:
        return len(self._tokens)

    def __getitem__(self, position: int) -> Sequence:
        if position % BATCH == 0:
            self.times.append(time.perf_counter())
        return Sequence(self._tokens[position], self._loss)

    def progress(self, step: int) -> Progress:
        tokens = step * BATCH * LENGTH
        return Progress(tokens, tokens, 4 * tokens)

    def mark_steps(self, every_tokens: int) -> dict[int, int]:
        return {0: 0, self.num_steps: self.progress(self.num_steps).trained_tokens}

    def tokens_per_second(self) -> float:
        intervals = np.diff(self.times)[SKIPPED_STEPS:]
        return BATCH * LENGTH / float(np.median(intervals))


def make_config(threads: int) -> Config:
    config = Config()
    config.optim.sequence_length, config.optim.global_batch_sequences = LENGTH, BATCH
    config.optim.lr_peak, config.optim.lr_final_ratio, config.optim.warmup_steps = 1e-3, 0.1, 10
    config.machine.micro_batch_sequences, config.machine.threads = BATCH, threads
    return config


def make_weights(out: Path) -> Artefact:
    from transformers import LlamaConfig, LlamaForCausalLM

    def build(folder: Path) -> Mapping[str, Any]:
        torch.manual_seed(0)
        shape = LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=344, num_hidden_layers=LAYERS, num_attention_heads=4,
            num_key_value_heads=4, max_position_embeddings=256, dtype="float32",
        )  # fmt: skip
        LlamaForCausalLM(shape).save_pretrained(folder)
        for name in TOKENIZER_NAMES:
            (folder / name).write_text("{}")
        return {"weights_sha256": weights_digest(folder)}

    return build_artefact(out / "artefacts" / "weights" / "bench-0000000", build, kind="weights", digest="0" * 64, request={}, made_from={})


def ours(config: Config, weights: Artefact, out: Path, name: str, num_steps: int) -> float:
    stream = TimedStream(num_steps)
    fit.open_stream = lambda out, inputs: stream  # type: ignore[assignment, return-value]
    folder = str(weights.folder.relative_to(out))
    inputs = {role: {"folder": folder, "digest": "0"} for role in fit.INPUT_ROLES}
    outcome = fit.fit_run(RunPaths.of(out, name), config, inputs, processes=Processes(0, 1, 1), stop=StopRequest())
    assert outcome.step == num_steps
    return stream.tokens_per_second()


def bare(config: Config, weights: Artefact, num_steps: int) -> float:
    from transformers import LlamaForCausalLM

    stream = TimedStream(num_steps)
    model = LlamaForCausalLM.from_pretrained(weights.folder, attn_implementation="sdpa").train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    for step in range(num_steps):
        tokens = torch.from_numpy(np.stack([stream[step * BATCH + row].tokens for row in range(BATCH)]))
        logits = model(input_ids=tokens[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.optim.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return stream.tokens_per_second()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    Processes.of(__import__("os").environ)
    measured: dict[str, list[float]] = {"ours": [], "bare": []}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        config, weights = make_config(arguments.threads), make_weights(out)
        for number in range(arguments.rounds):
            measured["bare"].append(bare(config, weights, arguments.steps))
            measured["ours"].append(ours(config, weights, out, f"round_{number}", arguments.steps))
            print(f"round {number}: bare {measured['bare'][-1]:,.0f} tokens/s, ours {measured['ours'][-1]:,.0f} tokens/s", file=sys.stderr)
    result = {name: round(statistics.median(values), 1) for name, values in measured.items()}
    ratios = [a / b for a, b in zip(measured["ours"], measured["bare"], strict=True)]
    print(json.dumps({**result, "ratio": round(statistics.median(ratios), 4), "ratios": [round(r, 4) for r in ratios]}))


if __name__ == "__main__":
    main()
