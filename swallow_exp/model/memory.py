"""Memory of one training process and disk of one checkpoint, from the config alone. No torch.

Legend: h hidden_size, f intermediate_size, L num_layers, a num_heads, k num_kv_heads, V vocabulary, s sequence_length, w bytes of a
computed number (2 in bf16, 4 in fp32), N positions of a micro-batch, P parameters, S shards, T tensor parts.

    parameters     4 P / (S T), kept in float32 (bf16-master: 2 P more, the rounded ones)
    gradients      4 P / (S T)
    optimizer      8 P / (S T), the two moments of AdamW
    communication  what FSDP gathers and reduces: two layers and the tables in w, a layer's gradient in w and in float32
                   (one process in float32 has plain parameters and none of it; one in bf16 keeps all weights gathered)
    activations    kept for the backward pass, per position and layer:
                     none       w (4f + 6h + 2hk/a) + 8h + 4a + 8: inputs of every matrix, q, k, v, both norms (inputs in float32)
                     selective  results of matrix products and attention: w (2f + 4h + 2hk/a) + 4a
                     full       w h, the input of the layer
    working        one layer while its backward runs: gradients of its activations, and what was recomputed
    loss           12 N V: log-probabilities and two gradients in float32; of one chunk when the loss is computed in chunks

Communication, activations and loss are those of one micro-batch. The peak is at the start of the backward pass (activations and loss)
or in a layer's backward (activations and working), so the larger of loss and working counts. Replicas change nothing.
The allocator's slack, the CUDA context and libraries (1 to 2 GB a GPU) are left out.

Source  none: kept tensors counted in transformers' LlamaForCausalLM with SDPA attention; the tests compare with what autograd keeps.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from swallow_exp.config import BaseModelConfig
from swallow_exp.model.flops import num_parameters

FP32_BYTES = 4


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of one process at its peak, by what they hold."""

    parameter_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    communication_bytes: int
    activation_bytes: int
    loss_bytes: int
    working_bytes: int

    @property
    def total_bytes(self) -> int:
        """All that is there at once: loss and working memory take turns."""
        everything = sum(int(getattr(self, field.name)) for field in fields(self))
        return everything - min(self.loss_bytes, self.working_bytes)


def computed_bytes(precision: str) -> int:
    """Bytes of a number as the forward pass computes it."""
    return 2 if precision.startswith("bf16") else FP32_BYTES


def activations_per_position(model: BaseModelConfig, *, precision: str, level: str) -> float:
    """Bytes one layer keeps of one position for its backward pass."""
    w, h, f = computed_bytes(precision), model.hidden_size, model.intermediate_size
    keys_values = 2 * h * model.num_kv_heads / model.num_heads
    statistics = FP32_BYTES * model.num_heads
    if level == "full":
        return w * h
    if level == "selective":
        return w * (2 * f + 4 * h + keys_values) + statistics
    return w * (4 * f + 6 * h + keys_values) + 2 * FP32_BYTES * h + statistics + 2 * FP32_BYTES


def memory_estimate(
    model: BaseModelConfig,
    *,
    vocabulary_size: int,
    sequence_length: int,
    micro_batch_sequences: int,
    precision: str,
    level: str,
    shards: int = 1,
    tensor: int = 1,
    loss_chunk_positions: int | None = None,
) -> MemoryEstimate:
    """Peak of one process of a run (see the module). `vocabulary_size` with its padded rows.

    shards    processes that share one copy of the model by rows (data_parallel / replicas)
    tensor    processes that share each matrix
    """
    parameters = num_parameters(model, vocabulary_size=vocabulary_size)
    w, h, f, positions = computed_bytes(precision), model.hidden_size, model.intermediate_size, micro_batch_sequences * sequence_length
    share = -(-parameters // (shards * tensor)) * FP32_BYTES
    kept = activations_per_position(model, precision=precision, level=level) / tensor
    if tensor > 1 and level != "full":
        kept += 2 * h * w * (1 - 1 / tensor)  # inputs of the first matrix of both halves, gathered over the sequence
    whole_layer = activations_per_position(model, precision=precision, level="none") / tensor
    last_norm = 2 * h * w + h * FP32_BYTES
    working = positions * ((3 * f + 4 * h) * w / tensor + (whole_layer - kept if level != "none" else 0))
    loss_positions = positions if loss_chunk_positions is None else min(positions, loss_chunk_positions)
    return MemoryEstimate(
        parameter_bytes=share * 3 // 2 if precision == "bf16-master" else share,
        gradient_bytes=share,
        optimizer_bytes=2 * share,
        communication_bytes=_communication(model, parameters, vocabulary_size, w, shards, tensor),
        activation_bytes=round(positions * (model.num_layers * kept + last_norm)),
        loss_bytes=loss_positions * vocabulary_size * 3 * FP32_BYTES,
        working_bytes=round(working),
    )


def _communication(model: BaseModelConfig, parameters: int, vocabulary_size: int, w: int, shards: int, tensor: int) -> int:
    tables = (1 if model.tie_word_embeddings else 2) * vocabulary_size * model.hidden_size // tensor
    layer = max(parameters // tensor - tables, 0) // max(model.num_layers, 1)
    reduced = layer * (w + FP32_BYTES)
    if shards == 1:
        return parameters // tensor * w + reduced if w != FP32_BYTES else 0
    return (2 * layer + tables) * w + reduced


def state_bytes(model: BaseModelConfig, *, vocabulary_size: int) -> int:
    """Resumable state of one checkpoint on disk: float32 weights and two moments."""
    return 3 * FP32_BYTES * num_parameters(model, vocabulary_size=vocabulary_size)


def export_bytes(model: BaseModelConfig, *, vocabulary_size: int, precision: str) -> int:
    """Hugging Face folder of one checkpoint on disk, in the precision it was trained in."""
    return computed_bytes(precision) * num_parameters(model, vocabulary_size=vocabulary_size)
