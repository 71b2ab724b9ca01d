"""A model loaded shard by shard is the model that was saved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_run import base_vocabulary, tiny_config

from swallow_exp.model.load_model import load_model
from swallow_exp.model.weights import build_weights


@pytest.fixture
def mesh() -> Iterator[torch.distributed.device_mesh.DeviceMesh]:
    from torch.distributed.device_mesh import init_device_mesh

    if torch.distributed.is_initialized():  # left by an in-process training of another file in this worker
        torch.distributed.destroy_process_group()
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("tied", [False, True])
def test_loading_gives_the_logits_of_the_library(tmp_path: Path, small_tokenizer: Path, mesh: object, tied: bool) -> None:
    from transformers import LlamaForCausalLM

    vocabulary = base_vocabulary(tmp_path, small_tokenizer)
    config = tiny_config(base_model={"tie_word_embeddings": tied, "rope_theta": 500.0})
    folder = build_weights(config, vocabulary, base_tokenizer=small_tokenizer, out=tmp_path).folder
    model = load_model(
        folder,
        mesh=mesh,  # type: ignore[arg-type]
        device=torch.device("cpu"),
        attention="sdpa",
        precision="32-true",
    )
    assert model.training and not model.config.use_cache
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied
    ids = torch.arange(3, 51)[None]
    expected = LlamaForCausalLM.from_pretrained(folder)(input_ids=ids).logits
    assert torch.allclose(model(input_ids=ids).logits, expected, atol=1e-6)
