"""Expansion before any training: loss and bits per byte on held-out Japanese, beside the base model, by the ordinary evaluation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swallow_exp.artefact.manifest import Artefact
from swallow_exp.config import Config, compose_config
from swallow_exp.corpus.build_corpus import read_documents
from swallow_exp.evaluate.harness import evaluate_task, load_checkpoint, settings_of
from swallow_exp.evaluate.tasks.heldout import HeldoutSource, heldout_tasks
from swallow_exp.model.weights import build_weights
from swallow_exp.vocabulary.build_vocabulary import build_vocabulary
from swallow_exp.vocabulary.tokenizer import load_tokenizer

STEPS, ROWS, LENGTH = 150, 16, 64
SOURCE = "miniature_japanese"


def config_of(*overrides: str) -> Config:
    return compose_config(
        ["base_model=miniature_random", "base_model.hidden_size=64", "base_model.intermediate_size=128", *overrides]
    ).config


def train_briefly(folder: Path, corpus: Artefact) -> None:
    """The model in `folder` learns some Japanese, character by character: that is all its tokenizer has."""
    import torch
    from transformers import LlamaForCausalLM

    tokenizer = load_tokenizer(folder)
    ids = [i for document in read_documents(corpus, "train") for i in (1, *tokenizer.encode(document.text), 2)]
    sequences = torch.tensor(ids[: len(ids) // LENGTH * LENGTH]).reshape(-1, LENGTH)
    model = LlamaForCausalLM.from_pretrained(folder).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    order = np.random.default_rng(0)
    for _ in range(STEPS):
        batch = sequences[torch.from_numpy(order.integers(0, len(sequences), ROWS))]
        loss = model(batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.save_pretrained(folder)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, corpora: tuple[Path, dict[str, Any]]) -> dict[str, tuple[float, float, int]]:
    """name -> (bits per byte, nats per token, vocabulary size) on held-out Japanese text."""
    out, built = corpora
    documents = {name: corpus for name, corpus in built.items() if name != "miniature_pairs"}
    scratch = build_vocabulary(config_of("vocabulary=miniature_en").vocabulary, base_tokenizer=None, corpora=documents, out=out)
    first = build_weights(config_of("vocabulary=miniature_en"), scratch, base_tokenizer=None, out=tmp_path_factory.mktemp("first"))
    train_briefly(first.folder, built[SOURCE])
    tokenizer = first.folder / "tokenizer.model"
    (task,) = heldout_tasks(HeldoutSource(SOURCE, "documents", built[SOURCE]), 20)
    found = {}
    for name in ("base", "subword_mean", "normal"):
        choice = (
            ["vocabulary=base"] if name == "base" else ["vocabulary=miniature_ja", "vocabulary.vocab_size=500", f"vocabulary.init={name}"]
        )
        config = config_of(*choice, "base_model.name=taught")
        config.base_model.path = str(first.folder)
        vocabulary = build_vocabulary(config.vocabulary, base_tokenizer=tokenizer, corpora=documents, out=out)
        folder = build_weights(config, vocabulary, base_tokenizer=tokenizer, out=out).folder
        outcome = evaluate_task(load_checkpoint(folder, settings_of(folder, batch_size=8, device="cpu")), task)
        bits = outcome.metrics[0]["score"]
        texts = [item.target for item in task.all_items]
        encode = load_tokenizer(vocabulary).encode
        nats = bits * sum(len(text.encode()) for text in texts) * math.log(2) / sum(len(encode(text)) for text in texts)
        found[name] = (bits, nats, int(vocabulary.counts["size"]))
    return found


def test_the_expanded_model_starts_far_below_a_uniform_guess(start: dict[str, tuple[float, float, int]]) -> None:
    print({name: tuple(round(value, 3) for value in values) for name, values in start.items()})
    base, mean, normal = start["base"], start["subword_mean"], start["normal"]
    assert mean[2] > base[2] and normal[2] == mean[2]
    assert mean[1] < 0.7 * math.log(mean[2])
    assert mean[0] < normal[0]
    assert base[0] < mean[0] < 3 * base[0]
