"""Every kind of Llama the library computes loads with its own numbers; what would be computed otherwise is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from test_model_load import mesh  # noqa: F401  a fixture

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config import BaseModelConfig
from swallow_exp.model.folder import CONFIG_NAME, save_weights, stored_tensors
from swallow_exp.model.load_model import load_model
from swallow_exp.model.source import ROPE_TYPES, check_source, check_tensors, rope_of

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
KINDS: dict[str, dict[str, Any]] = {
    "biases": {"attention_bias": True, "mlp_bias": True},
    "tied": {"tie_word_embeddings": True},
    "head_dim": {"head_dim": 16},
    "gelu": {"hidden_act": "gelu"},
    "theta": {"rope_parameters": {"rope_type": "default", "rope_theta": 123.0}},
    "linear": {"rope_parameters": {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}},
    "llama3": {"rope_parameters": LLAMA3},
    "eps": {"rms_norm_eps": 0.1},
}


def save(folder: Path, **changes: Any) -> Path:
    """A small random Llama as the library saves it."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = LlamaConfig(vocab_size=64, max_position_embeddings=128, **{**shape, **changes})
    model = LlamaForCausalLM(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # biases too, which start at zero
    model.save_pretrained(folder)
    return folder


def rewrite(folder: Path, **changes: Any) -> None:
    plain = json.loads((folder / CONFIG_NAME).read_text())
    (folder / CONFIG_NAME).write_text(json.dumps({**plain, **changes}))


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_folder_says_is_what_is_computed(kind: str, tmp_path: Path, mesh: Any) -> None:  # noqa: F811
    from transformers import LlamaForCausalLM

    folder = save(tmp_path / "model", **KINDS[kind])
    check_source(BaseModelConfig(), folder, sequence_length=128)
    check_tensors(stored_tensors(folder), folder)
    model = load_model(folder, mesh=mesh, device=torch.device("cpu"), attention="sdpa", precision="32-true")
    ids = torch.arange(60)[None]
    logits = model(input_ids=ids).logits
    assert torch.allclose(logits, LlamaForCausalLM.from_pretrained(folder)(input_ids=ids).logits, atol=1e-5)
    # and the same weights without that line of config.json are another function
    plain = {"head_dim": {}, "tied": {}, "biases": {}}.get(kind, {"hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_parameters": None})
    if plain:
        rewrite(folder, **plain)
        other = LlamaForCausalLM.from_pretrained(folder)(input_ids=ids).logits
        assert not torch.allclose(logits, other, atol=1e-3)


def test_the_older_way_to_write_rotary_settings_is_read(tmp_path: Path, mesh: Any) -> None:  # noqa: F811
    folder = save(tmp_path / "new", rope_parameters=LLAMA3)
    plain = json.loads((folder / CONFIG_NAME).read_text())
    ids = torch.arange(60)[None]

    def logits() -> torch.Tensor:
        model = load_model(folder, mesh=mesh, device=torch.device("cpu"), attention="sdpa", precision="32-true")
        found: torch.Tensor = model(input_ids=ids).logits
        return found

    expected = logits()
    del plain["rope_parameters"]
    older = {key: value for key, value in LLAMA3.items() if key != "rope_theta"}
    (folder / CONFIG_NAME).write_text(json.dumps({**plain, "rope_theta": 500_000.0, "rope_scaling": older}))
    assert torch.equal(logits(), expected)
    assert rope_of(json.loads((folder / CONFIG_NAME).read_text())) == {"rope_type": "llama3", "rope_theta": 500_000.0}


def test_rotary_types_are_the_librarys() -> None:
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    assert set(ROPE_TYPES) - {"default"} <= ROPE_INIT_FUNCTIONS.keys()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"model_type": "mistral"}, "holds a 'mistral' model"),
        ({"quantization_config": {"quant_method": "gptq"}}, "unquantised weights"),
        ({"attention_dropout": 0.1}, r"attention_dropout=0\.1"),
        ({"is_causal": False}, "is_causal=False"),
        ({"rope_parameters": {"rope_type": "mystery", "rope_theta": 1e4}}, "rope_scaling=mystery; expected .*; choose one of default"),
        ({"rope_parameters": None, "rope_scaling": {"type": "su"}}, "rope_scaling=su"),
        ({"max_position_embeddings": 64}, "sequence_length=128, but .* says max_position_embeddings=64"),
    ],
)
def test_what_would_be_computed_otherwise_is_refused(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    folder = save(tmp_path / "model")
    rewrite(folder, **changes)
    with pytest.raises(RequestError, match=match) as caught:
        check_source(BaseModelConfig(), folder, sequence_length=128)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"), [("rope_theta", 5e5), ("rms_norm_eps", 1e-3), ("tie_word_embeddings", True), ("num_kv_heads", 4)]
)
def test_a_level_that_contradicts_its_folder_is_refused(tmp_path: Path, field: str, value: Any) -> None:
    folder = save(tmp_path / "model")
    with pytest.raises(RequestError, match=f"base_model.{field}={value}, but .* says"):
        check_source(BaseModelConfig(**{field: value}), folder, sequence_length=16)


def test_tensors_must_be_the_configs(tmp_path: Path) -> None:
    folder = save(tmp_path / "model", attention_bias=True)

    def refused(match: str) -> None:
        with pytest.raises(RequestError, match=match) as caught:
            check_tensors(stored_tensors(folder), folder)
        assert "\n" not in str(caught.value)

    rewrite(folder, attention_bias=False)
    refused(r"holds a tensor model\.layers\.0\.self_attn\.k_proj\.bias, which no Llama")
    rewrite(folder, attention_bias=True, mlp_bias=True)
    refused(r"has no tensor model\.layers\.0\.mlp\.gate_proj\.bias")
    rewrite(folder, mlp_bias=False, head_dim=16)
    refused(r"k_proj\.weight is \(16, 32\); expected \(32, 32\)")
    rewrite(folder, head_dim=8)
    check_tensors(stored_tensors(folder), folder)
    from safetensors.torch import load_file

    tensors = load_file(folder / "model.safetensors")
    save_weights({**tensors, "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}, folder)
    check_tensors(stored_tensors(folder), folder)  # older files hold it
    save_weights({**tensors, "model.norm.weight": torch.ones(32, dtype=torch.int8)}, folder)
    refused("norm.weight holds I8 numbers")
