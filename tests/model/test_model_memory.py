"""The memory estimate against what autograd keeps, and its behaviour in every direction."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from swallow_exp.config.schema import BaseModelConfig
from swallow_exp.model.flops import num_parameters, shape_of
from swallow_exp.model.memory import activations_per_position, export_bytes, memory_estimate, state_bytes

LLAMA2_7B = BaseModelConfig(hidden_size=4096, intermediate_size=11008, num_layers=32, num_heads=32, num_kv_heads=32)
PARAMETERS = 6_738_415_616
ROWS, LENGTH = 2, 64


def kept_bytes(config: Any, dtype: torch.dtype, *, checkpointing: bool) -> int:
    """Bytes of all tensors that autograd keeps between forward and backward of the decoder; parameters are not among them."""
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM(config).to(dtype).train()
    if checkpointing:
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: list[torch.Tensor] = []  # held, so that no storage is freed and used again
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        output = model.model(input_ids=torch.zeros(ROWS, LENGTH, dtype=torch.long), use_cache=False)
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in kept}
    assert output is not None
    return sum(size for pointer, size in storages.items() if pointer not in parameters)


@pytest.mark.parametrize("level", ["none", "full"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_layers_activations_are_those_autograd_keeps(precision: str, level: str) -> None:
    from transformers import LlamaConfig

    def config(layers: int) -> Any:
        made = LlamaConfig(
            vocab_size=100, hidden_size=64, intermediate_size=176, num_hidden_layers=layers, num_attention_heads=4, num_key_value_heads=2
        )  # fmt: skip
        made._attn_implementation = "sdpa"
        return made

    dtype = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
    one, three = (kept_bytes(config(layers), dtype, checkpointing=level == "full") for layers in (1, 3))
    shape = shape_of(config(1).to_dict(), BaseModelConfig())
    assert (three - one) / 2 / (ROWS * LENGTH) == activations_per_position(shape, precision=precision, level=level)


def estimate(**changes: Any) -> int:
    given = {
        "vocabulary_size": 32_000,
        "sequence_length": 4_096,
        "micro_batch_sequences": 1,
        "precision": "bf16-mixed",
        "level": "full",
    }
    return memory_estimate(LLAMA2_7B, **{**given, **changes}).total_bytes


def test_memory_goes_where_it_should() -> None:
    assert estimate() > 18 * PARAMETERS  # float32 weights, gradients, two moments, and a bfloat16 copy of all weights
    assert estimate(shards=8) < estimate(shards=4) < estimate()
    assert estimate(shards=8, tensor=2) < estimate(shards=8)
    assert estimate(level="none") > estimate(level="selective") > estimate(level="full")
    assert estimate(micro_batch_sequences=2) > estimate()
    assert estimate(micro_batch_sequences=4, loss_chunk_positions=1024) < estimate(micro_batch_sequences=4)
    assert estimate(precision="bf16-master") - estimate() == 2 * PARAMETERS


def test_the_parts_of_one_process_in_float32() -> None:
    small = BaseModelConfig(hidden_size=8, intermediate_size=16, num_layers=1, num_heads=2, num_kv_heads=2)
    memory = memory_estimate(small, vocabulary_size=10, sequence_length=4, micro_batch_sequences=2, precision="32-true", level="none")
    size = 4 * num_parameters(small, vocabulary_size=10)
    assert (memory.parameter_bytes, memory.gradient_bytes, memory.optimizer_bytes, memory.communication_bytes) == (size, size, 2 * size, 0)
    assert memory.loss_bytes == 12 * 8 * 10
    parts = size * 4 + memory.activation_bytes + memory.loss_bytes + memory.working_bytes
    assert memory.total_bytes == parts - min(memory.loss_bytes, memory.working_bytes)


def test_a_checkpoint_on_disk() -> None:
    assert state_bytes(LLAMA2_7B, vocabulary_size=32_000) == 12 * PARAMETERS
    assert export_bytes(LLAMA2_7B, vocabulary_size=32_000, precision="bf16-mixed") == 2 * PARAMETERS
