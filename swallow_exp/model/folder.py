"""A Hugging Face folder: which files it has, how weights are cut into files, the digest of the weights.

config.json, generation_config.json, model.safetensors (or model-0000i-of-0000n.safetensors with an index),
tokenizer.json, tokenizer_config.json, tokenizer.model

The digest goes over tensor names, dtypes, shapes and bytes in the order of the names, so it is the same however
the weights are cut into files.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import read_json, write_json_atomic

if TYPE_CHECKING:
    import torch

CONFIG_NAME = "config.json"
GENERATION_NAME = "generation_config.json"
WEIGHTS_NAME = "model.safetensors"
WEIGHTS_INDEX_NAME = "model.safetensors.index.json"
TOKENIZER_NAMES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")
EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
TABLES = (EMBEDDING, HEAD)  # one row for each piece of the vocabulary
MAX_FILE_SIZE = "5GB"
READ_BYTES = 1 << 20


@dataclass(frozen=True)
class StoredTensor:
    """Where one tensor lies in a safetensors file."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a Hugging Face folder, in order. Raises RequestError when there are none."""
    index = read_json(folder / WEIGHTS_INDEX_NAME)
    if isinstance(index, dict):
        files = [folder / name for name in sorted(set(index["weight_map"].values()))]
    else:
        files = [folder / WEIGHTS_NAME]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise RequestError(
            f"model folder {folder} has no {missing[0]}",
            expected="weights in safetensors files",
            remedy="save the model again with save_pretrained (this project loads no pickled weights)",
        )
    return files


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Every tensor of the folder by name, from the files' headers alone."""
    tensors: dict[str, StoredTensor] = {}
    for file in weight_files(folder):
        tensors |= read_header(file)
    return dict(sorted(tensors.items()))


def read_header(file: Path) -> dict[str, StoredTensor]:
    """Every tensor of one safetensors file by name."""
    with file.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        header: dict[str, Any] = json.loads(handle.read(length))
    tensors = {}
    for name, facts in header.items():
        if name != "__metadata__":
            start, end = (8 + length + offset for offset in facts["data_offsets"])
            tensors[name] = StoredTensor(file, facts["dtype"], tuple(facts["shape"]), start, end)
    return tensors


def weights_on_disk(folder: Path) -> Iterator[tuple[Path, int, int | None, dict[str, StoredTensor]]]:
    """Every weight file with the bytes it has, the bytes its header asks for, and its tensors.

    The third value is None, and no tensor is given, where there is no readable header. Raises
    RequestError when a file is missing.
    """
    for file in weight_files(folder):
        size = file.stat().st_size
        try:
            header = read_header(file)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, MemoryError):
            yield file, size, None, {}
        else:
            yield file, size, max((tensor.end for tensor in header.values()), default=8), header


def fetch_model(name: str, *, asked: str, revision: str | None = None, patterns: Sequence[str]) -> Path:
    """The hub's copy of a model. Raises RequestError, which calls it `asked`, when it cannot be had."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(patterns)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise RequestError(
            f"{asked} is no folder here and cannot be fetched from the hub ({type(error).__name__})",
            expected="a Hugging Face folder, or a hub name that this machine may download",
            remedy="download it once and give the folder (gated models: accept the licence and log in with `hf auth login`)",
        ) from error


def blocks_of(tensor: StoredTensor) -> Iterator[memoryview]:
    """The tensor's bytes, at most READ_BYTES at once; the next block overwrites this one (fresh memory costs as much as reading)."""
    buffer = memoryview(bytearray(READ_BYTES))
    with tensor.file.open("rb", buffering=0) as handle:
        handle.seek(tensor.start)
        left = tensor.end - tensor.start
        while left > 0:
            count = handle.readinto(buffer[: min(left, READ_BYTES)])
            assert count, f"{tensor.file} is shorter than its header says"
            left -= count
            yield buffer[:count]


def weights_digest(folder: Path) -> str:
    """Hex sha256 over all weights of a Hugging Face folder (see the module docstring). Needs no torch."""
    digest = hashlib.sha256()
    for name, tensor in stored_tensors(folder).items():
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        for block in blocks_of(tensor):
            digest.update(block)
    return digest.hexdigest()


def count_parameters(folder: Path) -> int:
    """Numbers stored in the folder's weights."""
    return sum(math.prod(tensor.shape) for tensor in stored_tensors(folder).values())


def save_weights(tensors: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Write tensors as safetensors, cut into files of at most 5 GB, with an index when there is more than one."""
    from huggingface_hub import split_torch_state_dict_into_shards
    from safetensors.torch import save_file

    plan = split_torch_state_dict_into_shards(dict(tensors), max_shard_size=MAX_FILE_SIZE)
    for file, names in plan.filename_to_tensors.items():
        save_file({name: tensors[name].contiguous() for name in names}, str(folder / file), metadata={"format": "pt"})
    if plan.is_sharded:
        write_json_atomic(folder / WEIGHTS_INDEX_NAME, {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename})


def write_generation_config(folder: Path) -> None:
    """Plain settings: nothing but the ids that begin and end a document."""
    config = read_json(folder / CONFIG_NAME)
    ids = {key: config[key] for key in ("bos_token_id", "eos_token_id") if config.get(key) is not None}
    write_json_atomic(folder / GENERATION_NAME, {"_from_model_config": True, **ids})


def copy_side_files(source: Path, target: Path) -> None:
    """Copy everything but the weights and config.json from one Hugging Face folder to another."""
    for name in (*TOKENIZER_NAMES, GENERATION_NAME):
        shutil.copyfile(source / name, target / name)
