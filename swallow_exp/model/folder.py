"""A Hugging Face folder: which files it has, how weights are cut into files, the digest of the weights.

config.json, generation_config.json, model.safetensors (or model-0000i-of-0000n.safetensors with an index),
tokenizer.json, tokenizer_config.json, tokenizer.model

The digest goes over tensor names, dtypes, shapes and bytes in the order of the names, so it is the same however
the weights are cut into files.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import is_plain_name, read_json, write_json_atomic
from swallow_exp.model.headers import StoredTensor, damaged_weights, read_header

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
# keys of config.json that are read here; null and absent mean the library's own value
CONFIG_COUNTS = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "max_position_embeddings",
)  # fmt: skip
CONFIG_NUMBERS = ("rms_norm_eps", "initializer_range", "rope_theta")
MAX_FILE_SIZE = "5GB"
READ_BYTES = 1 << 20


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a Hugging Face folder, in order. Raises RequestError when there are none.

    Files that an index names lie beside it: a name that leads elsewhere is refused.
    """
    index = read_index(folder)
    files = [folder / name for name in (sorted(set(index["weight_map"].values())) if index is not None else [WEIGHTS_NAME])]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise RequestError(
            f"model folder {folder} has no {missing[0]}",
            expected="weights in safetensors files",
            remedy="save the model again with save_pretrained (this project loads no pickled weights)",
        )
    return files


def read_index(folder: Path) -> dict[str, Any] | None:
    """The index of weights that are cut into files; None where there is none. Raises RequestError for one of another shape."""
    path = folder / WEIGHTS_INDEX_NAME
    if not path.exists():
        return None
    index = read_json(path)
    named = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(named, dict) or not named or not all(is_plain_name(name) for name in named.values()):
        shown = "" if not isinstance(named, dict) else next((f": {name!r:.80}" for name in named.values() if not is_plain_name(name)), "")
        raise RequestError(
            f"{path} is no index of weights{shown}",
            expected="weight_map: each tensor and the name of the file beside it that holds it",
            remedy="export or download the model again",
        )
    assert isinstance(index, dict)
    metadata = index.get("metadata")
    return {**index, "metadata": metadata if isinstance(metadata, dict) else {}}


def read_model_config(folder: Path) -> dict[str, Any]:
    """config.json. Raises RequestError when it is not there, or a number in it is none."""
    path = folder / CONFIG_NAME
    config = read_json(path)
    if not isinstance(config, dict):
        raise RequestError(
            f"model folder {folder} has no readable {CONFIG_NAME}", expected="a Hugging Face folder", remedy="export or download it again"
        )
    for key in CONFIG_COUNTS:
        value = config.get(key)
        if value is not None and (type(value) is not int or value < 1):
            raise _no_number(path, key, value, "a whole number from 1 on")
    for key in CONFIG_NUMBERS:
        value = config.get(key)
        if value is not None and (type(value) not in (int, float) or not math.isfinite(value)):
            raise _no_number(path, key, value, "a number")
    for key in ("rope_parameters", "rope_scaling"):
        if not isinstance(config.get(key) or {}, dict):
            raise _no_number(path, key, config[key], "an object or null")
    return config


def _no_number(path: Path, key: str, value: Any, expected: str) -> RequestError:
    return RequestError(f"{path} says {key}={value!r:.40}", expected=expected, remedy="correct it, or export or download the model again")


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Every tensor of the folder by name, from the files' headers alone. Raises RequestError for a file that is not whole."""
    tensors: dict[str, StoredTensor] = {}
    for file in weight_files(folder):
        for name, tensor in read_header(file).items():
            if name in tensors:
                raise damaged_weights(file, f": {name!r:.80} is in {tensors[name].file.name} too")
            tensors[name] = tensor
    return dict(sorted(tensors.items()))


def fetch_model(name: str, *, asked: str, revision: str | None = None, patterns: Sequence[str], network: str | None = None) -> Path:
    """The hub's copy of a model. Raises RequestError, which calls it `asked`, when it cannot be had.

    network   the setting that forbids requests, as `paths.network`: only a copy that was downloaded earlier is used. None: they are allowed
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(patterns), local_files_only=network is not None))
    except LocalEntryNotFoundError as error:
        if network is None:
            raise _not_fetched(asked, error) from error
        raise RequestError(
            f"{asked} is no folder here and was not downloaded earlier, and {network}=false forbids to ask the hub",
            expected="a Hugging Face folder on this machine, or leave to download the model",
            remedy=f"give the folder, download it once with `hf download {name}`, or set {network}=true",
        ) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise _not_fetched(asked, error) from error


def _not_fetched(asked: str, error: Exception) -> RequestError:
    return RequestError(
        f"{asked} is no folder here and cannot be fetched from the hub ({type(error).__name__})",
        expected="a Hugging Face folder, or a hub name that this machine may download",
        remedy="download it once and give the folder (gated models: accept the licence and log in with `hf auth login`)",
    )


def blocks_of(tensor: StoredTensor) -> Iterator[memoryview]:
    """The tensor's bytes, at most READ_BYTES at once; the next block overwrites this one (fresh memory costs as much as reading)."""
    buffer = memoryview(bytearray(READ_BYTES))
    with tensor.file.open("rb", buffering=0) as handle:
        handle.seek(tensor.start)
        left = tensor.end - tensor.start
        while left > 0:
            count = handle.readinto(buffer[: min(left, READ_BYTES)])
            if not count:
                raise damaged_weights(tensor.file, " became shorter while it was read")
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


def save_tensors(tensors: dict[str, Any], file: Path) -> None:
    """One safetensors file of torch tensors, with the mode that the umask gives to every new file.

    The library's writer makes files that nobody else may read, and says of a full disk in words only: here it stays an OSError.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}.tmp")  # the tensors may be those of the file, mapped
    with temporary.open("wb") as handle:
        mode = stat.S_IMODE(os.fstat(handle.fileno()).st_mode)
    try:
        save_file(tensors, str(temporary), metadata={"format": "pt"})
        temporary.chmod(mode)
        temporary.replace(file)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        code = int(number.group(1))
        raise OSError(code, os.strerror(code), str(file)) from error
    finally:
        temporary.unlink(missing_ok=True)


def save_weights(tensors: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Write tensors as safetensors, cut into files of at most 5 GB, with an index when there is more than one."""
    from huggingface_hub import split_torch_state_dict_into_shards

    plan = split_torch_state_dict_into_shards(dict(tensors), max_shard_size=MAX_FILE_SIZE)
    for file, names in plan.filename_to_tensors.items():
        save_tensors({name: tensors[name].contiguous() for name in names}, folder / file)
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
