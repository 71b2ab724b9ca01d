"""Parameters, FLOPs, memory and disk of a run as lines for a person; what is not known is said so. No torch.

Reads  config.json of a pretrained base model, where its level does not state the shape
"""

from __future__ import annotations

from dataclasses import replace

from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.paths import user_path
from swallow_exp.artefact.units import format_bytes, steps_to_reach
from swallow_exp.config import BaseModelConfig, Config
from swallow_exp.config.layout import Layout
from swallow_exp.model.flops import (
    flops_per_token,
    num_parameters,
    padded_size,
    paper_flops_difference,
    recomputed_flops_per_token,
    shape_of,
)
from swallow_exp.model.folder import CONFIG_NAME
from swallow_exp.model.memory import MemoryEstimate, export_bytes, memory_estimate, state_bytes

GIB = 1 << 30


def memory_of(config: Config, model: BaseModelConfig, *, rows: int) -> MemoryEstimate:
    """The estimate for one process of a run; `rows` of the padded vocabulary."""
    strategy, layout = config.strategy, Layout.of(config.strategy, config.machine)
    return memory_estimate(
        model,
        vocabulary_size=rows,
        sequence_length=config.optim.sequence_length,
        micro_batch_sequences=config.machine.micro_batch_sequences,
        precision=config.numerics.precision,
        level=strategy.activation_checkpointing,
        shards=layout.shards,
        tensor=layout.tensor,
        loss_chunk_positions=strategy.loss_chunk_positions,
    )


def known_model(model: BaseModelConfig) -> BaseModelConfig:
    """The model with what its level leaves to its folder: shape, positions, and how many pieces its tables are for.

    Fields stay 0 where the folder is not on this machine or holds no Llama.
    """
    plain = read_json(user_path(model.path) / CONFIG_NAME) if model.path is not None else None
    if not isinstance(plain, dict) or plain.get("model_type") != "llama":
        return model
    shaped = shape_of(plain, model) if not model.hidden_size else model
    positions = int(plain.get("max_position_embeddings") or model.max_position_embeddings)
    return replace(shaped, num_pieces=model.num_pieces or int(plain.get("vocab_size", 0)), max_position_embeddings=positions)


def describe_model(config: Config, *, vocabulary_size: int | None) -> list[str]:
    """Parameters, FLOPs beside the paper's, memory of a process, disk of a checkpoint."""
    model = known_model(config.base_model)
    if model.hidden_size <= 0 or model.num_layers <= 0 or model.num_heads <= 0:
        return [
            f"model    {model.name}: its shape is read from {model.path} (set base_model.hidden_size, ... to see FLOPs and memory here)"
        ]
    counted = f"vocabulary of {vocabulary_size or 0:,}"
    if vocabulary_size is None and model.num_pieces > 0:
        vocabulary_size = model.num_pieces
        counted = f"counted with the base's {vocabulary_size:,} pieces"
        if config.vocabulary.method != "base":
            counted += f"; vocabulary {config.vocabulary.name} is not built yet"
    if vocabulary_size is None:
        return [f"model    {model.name}: parameters, FLOPs and memory are known once the vocabulary is built"]
    rows = padded_size(vocabulary_size, config.strategy.pad_vocabulary_multiple)
    if rows != vocabulary_size:
        counted += f" in {rows:,} rows (strategy.pad_vocabulary_multiple)"
    parameters = num_parameters(model, vocabulary_size=vocabulary_size)
    lines = [f"model    {model.name}: {parameters:,} parameters, {counted}", *_flops(config, model, vocabulary_size)]
    lines += _memory(memory_of(config, model, rows=rows))
    state = state_bytes(model, vocabulary_size=rows)
    export = export_bytes(model, vocabulary_size=vocabulary_size, precision=config.numerics.precision)
    return [*lines, f"  disk   {format_bytes(state)} of resumable state, {format_bytes(export)} an exported checkpoint"]


def _flops(config: Config, model: BaseModelConfig, vocabulary_size: int) -> list[str]:
    optim = config.optim
    per_token = flops_per_token(model, vocabulary_size=vocabulary_size, sequence_length=optim.sequence_length)
    step_tokens = optim.sequence_length * optim.global_batch_sequences
    total = per_token * step_tokens * steps_to_reach(config.budget.tokens, step_tokens)
    lines = [f"  FLOPs  {per_token:.3e} a token, {total:.3e} for the budget when every position is trained"]
    level = config.strategy.activation_checkpointing
    recomputed = recomputed_flops_per_token(model, sequence_length=optim.sequence_length, level=level)
    if recomputed:
        lines[0] += f"; recomputing activations does {recomputed / per_token:.0%} on top"
    if (paper := paper_flops_difference(model)) is not None:
        lines.append(
            f"         the paper's 25,000 steps: {paper.computed:.3e} by this formula, {paper.printed:.1e} in Appendix D.4 "
            f"({paper.difference:+.1%})"
        )
    return lines


def _memory(memory: MemoryEstimate) -> list[str]:
    parts = {
        "weights": memory.parameter_bytes,
        "gradients": memory.gradient_bytes,
        "optimizer": memory.optimizer_bytes,
        "communication": memory.communication_bytes,
        "activations": memory.activation_bytes,
        "loss": memory.loss_bytes,
        "working": memory.working_bytes,
    }
    shown = ", ".join(f"{name} {_gib(size)}" for name, size in parts.items() if size)
    return [f"  memory about {_gib(memory.total_bytes)} GiB a process (loss and working take turns): {shown}"]


def _gib(num_bytes: float) -> str:
    """Two digits that mean something, for 0.0023 as for 131."""
    return f"{num_bytes / GIB:.1f}" if num_bytes >= GIB else f"{num_bytes / GIB:.2g}"
