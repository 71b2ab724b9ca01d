"""Load a Hugging Face Llama, sharded over processes (FSDP2): no process ever holds more than its shard and one layer.

(1) shape      config.json                        -> TrainingLlama on the meta device
(2) layers     recomputation, compilation, kernels (model/layers.py)
(3) shard      cut over the tensor mesh (model/parallel.py), then fully_shard on each layer and root -> DTensors
               (not for one process, bf16-mixed excepted)
(4) storage    to_empty; rotary tables rebuilt (they are in no file); tied tables tied again
(5) weights    each process reads its slices of the safetensors files
(6) pads       rows beyond the vocabulary are zero; no loss reaches them, so they stay zero

Three precisions; AdamW's moments are float32 in all of them, gradients are reduced in float32:

32-true      float32 parameters, float32 arithmetic
bf16-mixed   float32 parameters, cast to bfloat16 where they are gathered; sharded gradients are float32
bf16-master  bfloat16 parameters; the optimizer (train/masters.py) holds the float32 copies it updates, and adds the micro-batches'
             gradients up in float32. What the authors' training library keeps under its --bf16. Start weights are rounded to bfloat16

The two bf16 precisions compute with the same rounded weights; they differ in the float32 part of the start weights and in one more
rounding of each micro-batch's reduced gradient.

Reads   a Hugging Face folder
Source  paper 3.1, Appendix D (mixed precision bfloat16); Megatron-LM, megatron/optimizer/distrib_optimizer.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from swallow_exp.model.flops import padded_size
from swallow_exp.model.folder import HEAD, TABLES, stored_tensors
from swallow_exp.model.layers import prepare_layers
from swallow_exp.model.parallel import split_model


def load_model(
    folder: Path,
    *,
    mesh: DeviceMesh,
    tensor_mesh: DeviceMesh | None = None,
    device: torch.device,
    attention: str,
    precision: str,
    recompute: str = "none",
    compile_layers: bool = False,
    kernels: str = "torch",
    loss_chunk_positions: int | None = None,
    pad_vocabulary_multiple: int = 1,
) -> Any:
    """TrainingLlama in training mode, its parameters sharded over `mesh`. `attention` is the library's name of it.

    Embedding and head have a multiple of `pad_vocabulary_multiple` rows; logits of the last ones mean nothing.
    """
    from transformers import LlamaConfig

    from swallow_exp.model.llama import TrainingLlama

    config = LlamaConfig.from_pretrained(str(folder))
    config.use_cache = False
    config._attn_implementation = attention
    config.dtype = torch.float32
    vocabulary_size = config.vocab_size
    config.vocab_size = padded_size(vocabulary_size, pad_vocabulary_multiple)
    with torch.device("meta"):
        model = TrainingLlama(config)
    if precision == "bf16-master":
        model.to(torch.bfloat16)
    model.vocabulary_size, model.loss_chunk_positions, model.fused_loss = vocabulary_size, loss_chunk_positions, kernels == "liger"
    if tensor_mesh is not None:
        split_model(model, tensor_mesh)
    prepare_layers(model, recompute=recompute, compile_layers=compile_layers, kernels=kernels)
    shard_model(model, mesh=mesh, precision=precision)
    model.to_empty(device=device)
    rotary = type(model.model.rotary_emb)
    model.model.rotary_emb = rotary(config).to(device)
    if config.tie_word_embeddings:
        model.lm_head.weight = model.model.embed_tokens.weight  # to_empty made two tables of one
        assert model.lm_head.weight is model.model.embed_tokens.weight
    read_weights(model, folder)
    return model.train()


def shard_model(model: Any, *, mesh: DeviceMesh, precision: str) -> None:
    """fully_shard each layer, then the rest. Gradients are reduced in float32 whatever the precision."""
    mixed = precision == "bf16-mixed"
    split = isinstance(model.lm_head.weight, DTensor)  # FSDP then also makes gradients of replicated weights whole
    if mesh.size() == 1 and not mixed and not split:
        return  # one shard is the whole: plain parameters spare a second copy of all weights, and 8% of a small model's step
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16 if mixed else None, reduce_dtype=torch.float32)
    keep_gathered = mesh.size() == 1  # nothing is saved by dropping what this process owns anyway
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy, reshard_after_forward=not keep_gathered)
    fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=not keep_gathered)


def read_weights(model: Any, folder: Path) -> None:
    """Fill the model's shards from the folder's safetensors files, converting to the parameters' dtype."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    state = model.state_dict()
    if model.config.tie_word_embeddings:
        state.pop(HEAD)
    stored = stored_tensors(folder)
    longer = [name for name in TABLES if name in state and len(state[name]) != stored[name].shape[0]]
    for name in longer:
        _read_table(state.pop(name), stored[name].file, name)
    load(state, storage_reader=HuggingFaceStorageReader(str(folder)))
    model.load_state_dict(state, strict=not model.config.tie_word_embeddings and not longer)


def _read_table(parameter: torch.Tensor, file: Path, name: str) -> None:
    """Fill this process's rows of a table that has more rows than the file; the others become zero."""
    from safetensors import safe_open

    with safe_open(str(file), framework="pt") as handle:
        stored = handle.get_slice(name)
        copy_rows(parameter, stored, rows=stored.get_shape()[0])


@torch.no_grad()
def copy_rows(parameter: torch.Tensor, source: Any, *, rows: int) -> None:
    """Fill this process's part of a (padded) table from anything that can be cut by rows; rows the source lacks become zero."""
    local, first = local_rows(parameter)
    local.zero_()
    last = min(first + len(local), rows)
    if first < last:
        local[: last - first].copy_(source[first:last])


def local_rows(parameter: torch.Tensor) -> tuple[torch.Tensor, int]:
    """This process's rows of a table, and the number of the first of them; on any mesh that cuts by rows alone."""
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    if not isinstance(parameter, DTensor):
        return parameter, 0
    assert all(placement.is_replicate() or getattr(placement, "dim", None) == 0 for placement in parameter.placements), parameter.placements
    shape, offset = compute_local_shape_and_global_offset(parameter.shape, parameter.device_mesh, parameter.placements)
    local = parameter.to_local()
    assert local.shape == shape, (local.shape, shape)
    return local, offset[0]
