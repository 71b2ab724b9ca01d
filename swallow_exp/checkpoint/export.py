"""A complete state -> a Hugging Face folder that anything can read. One process does it, without the model.

(1) plan     names, shapes and dtypes of the exported tensors -> which file each goes into (at most MAX_FILE_SIZE a file)
(2) read     the tensors of one file, whole, from the state; padded rows of the tables are cut off
(3) convert  to the dtype the forward pass saw: float32, or bfloat16 in the bf16 precisions
(4) write    config, weights, tokenizer files under a temporary name, then rename
(5) digest   sha256 over the weights

Memory: one file's tensors. Because it reads what was saved, it can run beside training and can be repeated later.

Reads   checkpoints/tokens_<n>/state/, the start weights' folder (config, tokenizer)    Writes  checkpoints/tokens_<n>/export/
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swallow_exp.artefact.files import make_folder, read_json, remove_folder, user_disk, write_json_atomic
from swallow_exp.checkpoint.state import partial_of, sync_folder, withdraw
from swallow_exp.model.folder import (
    CONFIG_NAME,
    HEAD,
    MAX_FILE_SIZE,
    TABLES,
    WEIGHTS_INDEX_NAME,
    copy_side_files,
    save_tensors,
    weights_digest,
)

if TYPE_CHECKING:
    import torch

MODEL_KEY = "state_dict.model."  # Lightning's module holds the model as `model`
FILE_PATTERN = "model{suffix}.safetensors"
Plan = Mapping[str, tuple[int, ...]]  # exported tensor -> shape


def export_state(
    state: Path, folder: Path, *, start_weights: Path, dtype_name: str = "float32", max_file_size: int | str = MAX_FILE_SIZE
) -> str:
    """Write the model in `state` as a Hugging Face folder and return the digest of its weights.

    `dtype_name` is float32 or bfloat16; `max_file_size` is bytes, or text such as 5GB.
    """
    import torch

    dtype = getattr(torch, dtype_name)
    config = read_json(start_weights / CONFIG_NAME)
    make_folder(folder.parent)
    partial = partial_of(folder)
    remove_folder(partial)
    make_folder(partial)
    with user_disk(partial), _removed_on_failure(partial):
        config.pop("torch_dtype", None)  # the older name of the same fact
        write_json_atomic(partial / CONFIG_NAME, {**config, "dtype": dtype_name})
        plan = _exported_shapes(state, vocabulary_size=int(config["vocab_size"]), tied=bool(config.get("tie_word_embeddings")))
        _write_weights(state, partial, plan, dtype, max_file_size)
        copy_side_files(start_weights, partial)
        digest = weights_digest(partial)
        sync_folder(partial)
        withdraw(folder)
        partial.rename(folder)
        sync_folder(folder.parent)
    return digest


@contextlib.contextmanager
def _removed_on_failure(partial: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        remove_folder(partial)  # it may be what fills the disk
        raise


def _exported_shapes(state: Path, *, vocabulary_size: int, tied: bool) -> dict[str, tuple[int, ...]]:
    from torch.distributed.checkpoint.filesystem import FileSystemReader

    stored: Mapping[str, Any] = FileSystemReader(state).read_metadata().state_dict_metadata
    shapes = {name.removeprefix(MODEL_KEY): tuple(facts.size) for name, facts in stored.items() if name.startswith(MODEL_KEY)}
    if tied:
        shapes.pop(HEAD, None)
    return {name: (vocabulary_size, *shape[1:]) if name in TABLES else shape for name, shape in shapes.items()}


def _write_weights(state: Path, folder: Path, plan: Plan, dtype: torch.dtype, max_file_size: int | str) -> None:
    import torch
    from huggingface_hub import split_state_dict_into_shards_factory

    empty = {name: torch.empty(shape, dtype=dtype, device="meta") for name, shape in sorted(plan.items())}
    cut = split_state_dict_into_shards_factory(
        empty,
        get_storage_size=lambda tensor: tensor.numel() * tensor.element_size(),
        filename_pattern=FILE_PATTERN,
        max_shard_size=max_file_size,
    )
    for file, names in cut.filename_to_tensors.items():
        whole = read_tensors(state, names)
        ready = {name: whole.pop(name)[: plan[name][0]].to(dtype).contiguous() for name in names}
        save_tensors(ready, folder / file)
        with (folder / file).open("rb+") as handle:
            os.fsync(handle.fileno())
    if cut.is_sharded:
        write_json_atomic(folder / WEIGHTS_INDEX_NAME, {"metadata": cut.metadata, "weight_map": cut.tensor_to_filename})


def read_tensors(state: Path, names: list[str]) -> dict[str, Any]:
    """Tensors of the model in a state, whole, in CPU memory, whatever number of processes wrote them."""
    import torch
    from torch.distributed.checkpoint.filesystem import FileSystemReader
    from torch.distributed.checkpoint.state_dict_loader import load

    # said of every read by one process alone, which is what is meant
    warnings.filterwarnings("ignore", message=r"torch\.distributed is disabled, unavailable or uninitialized")
    reader = FileSystemReader(state)
    stored = reader.read_metadata().state_dict_metadata
    whole: dict[str, Any] = {}
    for name in names:
        facts: Any = stored[MODEL_KEY + name]
        whole[name] = torch.empty(tuple(facts.size), dtype=facts.properties.dtype)
    load({"state_dict": {f"model.{name}": tensor for name, tensor in whole.items()}}, storage_reader=reader, no_dist=True)
    return whole
