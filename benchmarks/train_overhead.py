"""What the harness costs: tokens/s of the training worker's loop and of a bare PyTorch loop, same model, same data, one process.

Usage: python benchmarks/train_overhead.py [--steps 200] [--threads 1]

The two take turns step by step in one process: when the worker's loop asks for the first sequence of a step, the bare loop
makes its own step on the same data, then the worker's goes on. Other work on the machine hits both alike. The numbers are
medians over the steps; start-up and the last save are left out.
"""

from __future__ import annotations

import argparse
import json
import os
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


class TurnTakingStream:
    """Random tokens, all with loss. Times what happens between the steps of its reader, and a bare step before each of them."""

    def __init__(self, num_steps: int, bare: Bare) -> None:
        self.num_steps = num_steps
        self.ours_seconds: list[float] = []
        self.bare_seconds: list[float] = []
        self._bare = bare
        self._resumed_at: float | None = None
        self._tokens = np.random.default_rng(0).integers(3, VOCABULARY, (num_steps * BATCH, LENGTH + 1))
        self._loss = np.ones(LENGTH, dtype=np.bool_)

    def __len__(self) -> int:
        return len(self._tokens)

    def __getitem__(self, position: int) -> Sequence:
        if position % BATCH == 0:
            self._take_turns(position)
        return Sequence(self._tokens[position], self._loss)

    def _take_turns(self, position: int) -> None:
        now = time.perf_counter()
        if self._resumed_at is not None:
            self.ours_seconds.append(now - self._resumed_at)
        self._bare.step(np.stack([self._tokens[position + row] for row in range(BATCH)]))
        self._resumed_at = time.perf_counter()
        self.bare_seconds.append(self._resumed_at - now)

    def progress(self, step: int) -> Progress:
        tokens = step * BATCH * LENGTH
        return Progress(tokens, tokens, 4 * tokens)

    def mark_steps(self, every_tokens: int) -> dict[int, int]:
        return {0: 0, self.num_steps: self.progress(self.num_steps).trained_tokens}


class Bare:
    """The plainest training step."""

    def __init__(self, folder: Path, config: Config) -> None:
        from transformers import LlamaForCausalLM

        self._model = LlamaForCausalLM.from_pretrained(folder, attn_implementation="sdpa").train()
        self._clip_norm = config.optim.clip_norm
        self._optimizer = torch.optim.AdamW(self._model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def step(self, tokens_BT: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        tokens = torch.from_numpy(tokens_BT)
        logits = self._model(input_ids=tokens[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._clip_norm)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)


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


def main() -> None:
    parser = argparse.ArgumentParser(description="Tokens per second of the training worker's loop against a bare loop.")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    Processes.of(os.environ)
    fit.quiet_libraries()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        config, weights = make_config(arguments.threads), make_weights(out)
        stream = TurnTakingStream(arguments.steps, Bare(weights.folder, config))
        fit.open_stream = lambda out, inputs: stream  # type: ignore[assignment, return-value]
        inputs = {role: {"folder": str(weights.folder.relative_to(out)), "digest": "0"} for role in fit.INPUT_ROLES}
        fit.fit_run(RunPaths.of(out, "benchmark"), config, inputs, processes=Processes(0, 1, 1), stop=StopRequest())
    ours, bare = (np.array(seconds[SKIPPED_STEPS:]) for seconds in (stream.ours_seconds, stream.bare_seconds))
    bare = bare[: len(ours)]
    speed = {name: round(BATCH * LENGTH / float(np.median(seconds)), 1) for name, seconds in (("ours", ours), ("bare", bare))}
    extra = float(np.median(ours - bare)) * 1e3
    print(json.dumps({**speed, "ratio": round(speed["ours"] / speed["bare"], 4), "extra_ms_per_step": round(extra, 3), "steps": len(ours)}))


if __name__ == "__main__":
    main()
