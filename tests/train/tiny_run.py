"""A run of seconds: a tokenizer trained here, a two-layer model, a stream made from a seed, and a plain training loop to compare with."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from swallow_exp.artefact.files import write_json_atomic
from swallow_exp.artefact.manifest import Artefact, build_artefact
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.config import Config
from swallow_exp.model.weights import build_weights
from swallow_exp.vocabulary.build_vocabulary import build_vocabulary
from swallow_exp.vocabulary.model_file import NORMAL, model_digest, read_model
from swallow_exp.vocabulary.tokenizer import HUGGING_FACE_FOLDER, MODEL_NAME

Train = Callable[..., int]  # the fixture train_here
SEQUENCE_LENGTH, GLOBAL_BATCH, NUM_STEPS, MARK_EVERY = 16, 8, 20, 4
FAKE_WORKER = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))


def train_base_tokenizer(path: Path) -> Path:
    import sentencepiece

    text = path.with_suffix(".txt")
    words = ["the", "cat", "sat", "on", "a", "mat", "and", "looked", "at", "another", "hat", "that", "was", "black", "then", "it", "slept"]
    generator = np.random.default_rng(0)
    text.write_text("\n".join(" ".join(generator.choice(words, 12)) for _ in range(200)) + "\n")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(path.with_suffix("")),
        model_type="bpe",
        vocab_size=320,
        byte_fallback=True,
        minloglevel=2,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
    )
    return path


def base_vocabulary(out: Path, tokenizer: Path) -> Artefact:
    config = Config().vocabulary
    config.name, config.method = "base", "base"
    return build_vocabulary(config, base_tokenizer=tokenizer, corpora={}, out=out)


def expanded_vocabulary(folder: Path, tokenizer: Path, pieces: list[str]) -> Artefact:
    """The base tokenizer with `pieces` appended, as an artefact."""
    proto = read_model(tokenizer)
    base_size = len(proto.pieces)
    for surface in pieces:
        piece = proto.pieces.add()
        piece.piece, piece.score, piece.type = surface, -1000.0 - len(proto.pieces), NORMAL

    def build(partial: Path) -> dict[str, Any]:
        (partial / MODEL_NAME).write_bytes(proto.SerializeToString())
        (partial / HUGGING_FACE_FOLDER).mkdir()
        for name in ("tokenizer.json", "tokenizer_config.json"):
            write_json_atomic(partial / HUGGING_FACE_FOLDER / name, {})
        return {"base_size": base_size, "size": len(proto.pieces), "tokenizer_digest": model_digest(proto)}

    return build_artefact(folder, build, kind="vocabulary", digest="0" * 64, request={}, made_from={})


def tiny_config(**changes: Any) -> Config:
    """`changes` are group=dict of fields."""
    config = Config()
    for group in (
        "base_model",
        "vocabulary",
        "mixture",
        "parallel",
        "budget",
        "optim",
        "numerics",
        "strategy",
        "machine",
        "suite",
        "tracking",
    ):
        getattr(config, group).name = "tiny"
    config.paths.name = "tiny"
    config.vocabulary.method = "base"
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_layers": 2, "num_heads": 4, "num_kv_heads": 2, "max_position_embeddings": 64}
    optim = {
        "lr_peak": 1e-2,
        "lr_final_ratio": 0.1,
        "warmup_steps": 4,
        "sequence_length": SEQUENCE_LENGTH,
        "global_batch_sequences": GLOBAL_BATCH,
    }
    defaults: dict[str, dict[str, Any]] = {
        "base_model": shape,
        "optim": optim,
        "machine": {"threads": 1, "micro_batch_sequences": GLOBAL_BATCH, "collective_timeout_seconds": 60.0},
        "tracking": {"log_every_steps": 1},
    }
    for group, fields in (*defaults.items(), *changes.items()):
        for name, value in fields.items():
            setattr(getattr(config, group), name, value)
    return config


@dataclass(frozen=True)
class FakeSequence:
    tokens: np.ndarray[Any, np.dtype[np.int64]]
    loss: np.ndarray[Any, np.dtype[np.bool_]]
    positions: np.ndarray[Any, np.dtype[np.int64]] | None = None


@dataclass(frozen=True)
class FakeProgress:
    trained_tokens: int
    positions: int
    text_bytes: int


class FakeStream:
    """Sequences from a seed. The second half of every step has loss on a few targets only, so processes differ in their share."""

    def __init__(self, vocabulary_size: int, *, num_steps: int = NUM_STEPS, mark_every: int = MARK_EVERY, delay: float = 0.0) -> None:
        self.num_steps, self._mark_every, self._vocabulary_size, self._delay = num_steps, mark_every, vocabulary_size, delay
        self._trained: list[int] = []
        flags = np.array([self[position].loss.sum() for position in range(len(self))])
        self._trained = [0, *np.cumsum(flags.reshape(num_steps, GLOBAL_BATCH).sum(axis=1)).tolist()]

    def __len__(self) -> int:
        return self.num_steps * GLOBAL_BATCH

    def __getitem__(self, position: int) -> FakeSequence:
        if self._delay and self._trained and position % GLOBAL_BATCH == 0:
            time.sleep(self._delay)
        generator = np.random.default_rng(position)
        tokens = generator.integers(3, self._vocabulary_size, SEQUENCE_LENGTH + 1)
        tokens[1::2] = tokens[0:-1:2]
        rare = position % GLOBAL_BATCH >= GLOBAL_BATCH // 2
        loss = generator.random(SEQUENCE_LENGTH) < (0.15 if rare else 1.0)
        return FakeSequence(tokens.astype(np.int64), loss)

    def source_name(self, position: int) -> str:
        return "plain" if position % GLOBAL_BATCH < GLOBAL_BATCH // 2 else "rare"

    def progress(self, step: int) -> FakeProgress:
        positions = step * GLOBAL_BATCH * SEQUENCE_LENGTH
        return FakeProgress(int(self._trained[step]), positions, positions * 3)

    def mark_steps(self, every_tokens: int) -> dict[int, int]:
        return {step: self._trained[step] for step in (*range(0, self.num_steps, self._mark_every), self.num_steps)}


def fake_open_stream(out: Path, inputs: dict[str, Any], *, attention: str = "packed") -> FakeStream:
    """What training gets instead of a real plan: seeded by position, slowed down by FAKE_STREAM_DELAY seconds a step."""
    num_steps = int(os.environ.get("FAKE_STREAM_STEPS", NUM_STEPS))
    delay = float(os.environ.get("FAKE_STREAM_DELAY", "0"))
    return FakeStream(inputs["fake_stream"]["vocabulary_size"], num_steps=num_steps, mark_every=num_steps // 5, delay=delay)


def make_run(out: Path, name: str, config: Config, *, tokenizer: Path) -> tuple[RunPaths, dict[str, Any], Artefact]:
    """A prepared run folder: config.yaml, inputs.json, and its start weights."""
    vocabulary = base_vocabulary(out, tokenizer)
    weights = build_weights(config, vocabulary, base_tokenizer=tokenizer, out=out)
    run = RunPaths.of(out, name)
    inputs = {
        "weights": {"folder": str(weights.folder.relative_to(out)), "digest": weights.digest},
        "vocabulary": {"folder": str(vocabulary.folder.relative_to(out)), "digest": vocabulary.digest},
        "mixture": {"folder": "none", "digest": "fake"},
        "fake_stream": {"vocabulary_size": int(vocabulary.counts["size"])},
    }
    write_json_atomic(run.inputs, inputs)
    run.config.write_text(yaml.safe_dump(dataclasses.asdict(config)))
    return run, inputs, weights


def plain_loop(
    config: Config, weights: Path, stream: FakeStream, *, left_out: frozenset[int] = frozenset()
) -> tuple[list[float], dict[str, Any], list[float]]:
    """The same training in plain PyTorch: whole batches, one process; no update in the steps `left_out`, which count from 0.

    Losses, final weights, gradient norms.
    """
    import math

    import torch
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(weights, dtype=torch.float32).train()
    optim = config.optim
    losses: list[float] = []
    norms: list[float] = []
    decay = [p for name, p in model.named_parameters() if "norm" not in name]
    plain = [p for name, p in model.named_parameters() if "norm" in name]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": optim.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=0.0,
        betas=(optim.beta1, optim.beta2),
        eps=optim.eps,
    )
    for step in range(stream.num_steps):
        sequences = [stream[step * GLOBAL_BATCH + row] for row in range(GLOBAL_BATCH)]
        tokens = torch.tensor(np.stack([s.tokens for s in sequences]))
        flags = torch.tensor(np.stack([s.loss for s in sequences]))
        log_probabilities = torch.log_softmax(model(input_ids=tokens[:, :-1]).logits, dim=-1)
        picked = log_probabilities.gather(-1, tokens[:, 1:, None])[..., 0]
        loss = -(picked * flags).sum() / flags.sum()
        if step < optim.warmup_steps:
            rate = optim.lr_peak * (step + 1) / optim.warmup_steps
        else:
            peak_at = max(optim.warmup_steps, 1)  # the first update is at the peak when there is no warmup
            share = (step + 1 - peak_at) / (stream.num_steps - peak_at)
            floor = optim.lr_final if optim.lr_final is not None else optim.lr_peak * optim.lr_final_ratio
            rate = floor + (optim.lr_peak - floor) * (1 + math.cos(math.pi * share)) / 2
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), optim.clip_norm)))
        if step not in left_out:
            optimizer.step()
        losses.append(float(loss.detach()))
    return losses, model.state_dict(), norms
