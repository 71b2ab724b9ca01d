"""A pretrained model's folder: where it is, and whether it is a Llama that this project computes as its makers did.

The library's own Llama is what trains, from the folder's own config.json: head_dim, rope_theta, rope scaling, activation, biases
and tied tables are as the folder says. Refused is what would be dropped without a word, or would make the numbers depend on how
a run is spread: other families, quantised weights, dropout, attention that is not causal, rotary types the library does not know,
tensors that no such Llama has, lacks, or has in another shape; and a base_model level that states something else.

Reads  config.json and the headers of the safetensors files of a Hugging Face folder or of the hub's copy of one
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config import BaseModelConfig
from swallow_exp.model.expand import FLOATS
from swallow_exp.model.folder import CONFIG_NAME, HEAD, fetch_model, read_model_config
from swallow_exp.model.headers import StoredTensor

HUB_FILES = ("*.safetensors", "*.safetensors.index.json", "config.json", "tokenizer.model")
# Field of BaseModelConfig -> key of config.json. 0 is stated by levels that read their shape from the folder.
SHAPE_KEYS = {
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "num_kv_heads": "num_key_value_heads",
}
# What the folder decides as well; a level that states something of its own must agree. With the library's value where none is given.
OTHER_KEYS: Mapping[str, tuple[str, Any]] = {
    "rms_norm_eps": ("rms_norm_eps", 1e-6),
    "tie_word_embeddings": ("tie_word_embeddings", False),
    "initializer_range": ("initializer_range", 0.02),
}
DEFAULT_ROPE_THETA, DEFAULT_POSITIONS = 10_000.0, 2048  # of a config.json that gives none
# rotary embeddings of the library that need nothing but config.json
ROPE_TYPES = ("default", "linear", "dynamic", "yarn", "longrope", "llama3")
ROTARY_BUFFER = "rotary_emb.inv_freq"  # older files hold it; the library computes it from config.json


def locate_model(model: BaseModelConfig, *, network: bool) -> Path:
    """The folder of a pretrained model: base_model.path itself, or the hub's snapshot of that name. Raises RequestError.

    network   paths.network; without it, no request is made: a snapshot must have been downloaded earlier
    """
    assert model.path is not None
    folder = Path(model.path).expanduser()
    if folder.is_dir():
        return folder
    looks_like_path = folder.is_absolute() or model.path.startswith((".", "~")) or model.path.count("/") != 1
    if not looks_like_path:
        forbids, asked = None if network else "paths.network", f"base_model.path={model.path}"
        return fetch_model(model.path, asked=asked, revision=model.revision, patterns=HUB_FILES, network=forbids)
    raise RequestError(
        f"base_model.path={model.path} does not exist",
        expected="a Hugging Face folder or a hub name",
        remedy="correct base_model.path (null: random initialisation)",
    )


def check_source(model: BaseModelConfig, source: Path, *, sequence_length: int) -> dict[str, Any]:
    """The folder's config.json, once it is a Llama of the stated shape that can be trained as it is. Raises RequestError. No torch."""
    plain = read_model_config(source)
    if plain.get("model_type") != "llama":
        raise RequestError(
            f"model folder {source} holds a '{plain.get('model_type')}' model",
            expected="a Llama (model_type llama)",
            remedy="choose a Llama model; other families are not supported",
        )
    _check_kind(plain, source)
    _check_stated(model, plain, source)
    positions = int(plain.get("max_position_embeddings") or DEFAULT_POSITIONS)
    if sequence_length > positions:
        raise RequestError(
            f"optim.sequence_length={sequence_length}, but {source / CONFIG_NAME} says max_position_embeddings={positions}",
            expected="sequences the model was made for",
            remedy=f"set optim.sequence_length={positions} or less",
        )
    return plain


def _check_kind(plain: Mapping[str, Any], source: Path) -> None:
    """Refuse what this project would compute differently from the model's makers."""
    rope = rope_of(plain)
    refused = {
        "quantization_config": (plain.get("quantization_config") is not None, "give the model's unquantised weights"),
        "attention_dropout": (bool(plain.get("attention_dropout")), "set it to 0 in config.json: masks at random depend on the processes"),
        "is_causal": (plain.get("is_causal") is False, "choose a causal language model"),
        "rope_scaling": (rope["rope_type"] not in ROPE_TYPES, f"choose one of {', '.join(ROPE_TYPES)}"),
    }
    for key, (wrong, remedy) in refused.items():
        if wrong:
            shown = rope["rope_type"] if key == "rope_scaling" else plain.get(key)
            raise RequestError(f"{source / CONFIG_NAME} says {key}={shown}", expected="a plain causal Llama", remedy=remedy)


def rope_of(plain: Mapping[str, Any]) -> dict[str, Any]:
    """rope_type and rope_theta of a config.json, in its newer form (rope_parameters) or its older one (rope_theta, rope_scaling)."""
    given = plain.get("rope_parameters") or plain.get("rope_scaling") or {}
    theta = given.get("rope_theta") or plain.get("rope_theta") or DEFAULT_ROPE_THETA
    if type(theta) not in (int, float):
        raise RequestError(f"{CONFIG_NAME} says rope_theta={theta!r:.40}", expected="a number", remedy="correct it")
    return {"rope_type": str(given.get("rope_type") or given.get("type") or "default"), "rope_theta": float(theta)}


def _check_stated(model: BaseModelConfig, plain: Mapping[str, Any], source: Path) -> None:
    for field, key in SHAPE_KEYS.items():
        stated, found = getattr(model, field), plain.get(key, plain.get("num_attention_heads") if field == "num_kv_heads" else None)
        if stated and stated != found:
            raise _contradiction(field, stated, found, source, remedy=f"set base_model.{field}={found}, or 0 to read it from the weights")
    found_values = {field: plain.get(key, default) for field, (key, default) in OTHER_KEYS.items()}
    found_values["rope_theta"] = rope_of(plain)["rope_theta"]
    unstated = BaseModelConfig()
    for field, found in found_values.items():
        stated = getattr(model, field)
        if stated != getattr(unstated, field) and stated != found:
            raise _contradiction(field, stated, found, source, remedy=f"set base_model.{field}={found}: the folder decides")


def _contradiction(field: str, stated: Any, found: Any, source: Path, *, remedy: str) -> RequestError:
    return RequestError(
        f"base_model.{field}={stated}, but {source / CONFIG_NAME} says {found}",
        expected="a base_model level that describes its weights",
        remedy=remedy,
    )


def check_tensors(stored: Mapping[str, StoredTensor], source: Path) -> None:
    """Refuse weights that are not exactly the tensors of the Llama that config.json describes. Raises RequestError. Imports torch."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig.from_pretrained(str(source))
    with torch.device("meta"):
        expected = {name: tuple(tensor.shape) for name, tensor in LlamaForCausalLM(config).state_dict().items()}
    for name, shape in expected.items():
        if name not in stored:
            if name == HEAD and config.tie_word_embeddings:
                continue
            raise RequestError(f"model folder {source} has no tensor {name}", expected="a whole Llama", remedy="check base_model.path")
        if stored[name].dtype not in FLOATS:
            raise RequestError(
                f"model folder {source}: {name} holds {stored[name].dtype} numbers",
                expected=f"one of {', '.join(FLOATS)}",
                remedy="give the model's unquantised weights",
            )
        # rows of the tables are the tokenizer's business (model/segments.py)
        if stored[name].shape[1:] != shape[1:] or (stored[name].shape != shape and shape[0] != config.vocab_size):
            raise RequestError(
                f"model folder {source}: {name} is {stored[name].shape}",
                expected=f"{shape}, by its {CONFIG_NAME}",
                remedy="check base_model.path: config.json and weights are of two models",
            )
    for name in stored:
        if name not in expected and not name.endswith(ROTARY_BUFFER):
            raise RequestError(
                f"model folder {source} holds a tensor {name}, which no Llama with its {CONFIG_NAME} has",
                expected="a Llama and nothing else",
                remedy="choose another model, or correct config.json (attention_bias, mlp_bias)",
            )
