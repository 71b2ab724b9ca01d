"""Recomputation, compilation and kernels change memory and time, not numbers; what cannot run here is refused by name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Any

import pytest
import torch
from memory_trace import trace
from test_model_attention import tiny_model

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config import compose_config
from swallow_exp.model.layers import check_layers, prepare_layers

ROWS, T = 3, 128


def model_of(attention: str, recompute: str, *, compile_layers: bool = False) -> Any:
    model = tiny_model(attention).train()
    model.loss_chunk_positions = 64
    prepare_layers(model, recompute=recompute, compile_layers=compile_layers, kernels="torch")
    return model


def step(model: Any) -> tuple[torch.Tensor, list[torch.Tensor], int]:
    """Loss, gradients, bytes held between forward and backward pass."""
    generator = torch.Generator().manual_seed(1)
    ids, targets = (torch.randint(0, 300, (ROWS, T), generator=generator) for _ in range(2))
    model.zero_grad()
    loss, held, _ = trace(lambda: model(input_ids=ids, targets=targets))
    loss.backward()
    return loss.detach(), [parameter.grad for parameter in model.parameters()], held


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_recomputation_saves_memory_and_changes_no_bit(attention: str) -> None:
    loss, gradients, held = step(model_of(attention, "none"))
    for level in ("selective", "full"):
        again, same, less = step(model_of(attention, level))
        assert torch.equal(again, loss)
        assert all(torch.equal(mine, other) for mine, other in zip(same, gradients, strict=True))
        assert less < 0.7 * held, level
        held = less


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile on a CPU needs a C++ compiler")
@pytest.mark.parametrize("level", ["none", pytest.param("selective", marks=pytest.mark.slow), pytest.param("full", marks=pytest.mark.slow)])
def test_compiled_layers_give_the_same_numbers_under_the_same_names(level: str) -> None:
    """In a process of its own: torch's compiler warns about torch, and what was traced before decides where."""
    done = subprocess.run([sys.executable, "-W", "ignore", __file__, level], capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 0, done.stderr[-4000:]


def compare_compiled(level: str) -> None:
    """Fused loops round elsewhere: float32 losses within 1e-6, gradients within 1e-5 of the largest."""
    loss, gradients, _ = step(model_of("sdpa", level))
    compiled = model_of("sdpa", level, compile_layers=True)
    again, same, _ = step(compiled)
    assert torch.allclose(again, loss, rtol=1e-6)
    largest = max(float(gradient.abs().max()) for gradient in gradients)
    assert max(float((mine - other).abs().max()) for mine, other in zip(same, gradients, strict=True)) <= 1e-5 * largest
    assert compiled.state_dict().keys() == tiny_model("sdpa").state_dict().keys()


def test_levels_are_named() -> None:
    for level in ("none", "selective", "full"):
        assert compose_config([f"strategy.activation_checkpointing={level}"]).config.strategy.activation_checkpointing == level
    with pytest.raises(RequestError, match=r"strategy\.activation_checkpointing=some; expected one of none, selective, full"):
        compose_config(["strategy.activation_checkpointing=some"])


def test_what_cannot_run_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    check_layers(kernels="torch", compile_layers=False, accelerator="cpu")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"liger-kernel is not installed.*pip install liger-kernel"):
        check_layers(kernels="liger", compile_layers=False, accelerator="gpu")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(RequestError, match=r"machine\.accelerator=cpu"):
        check_layers(kernels="liger", compile_layers=False, accelerator="cpu")
    check_layers(kernels="liger", compile_layers=True, accelerator="gpu")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RequestError, match=r"no C\+\+ compiler"):
        check_layers(kernels="torch", compile_layers=True, accelerator="cpu")


@pytest.mark.gpu
def test_ligers_kernels_give_the_numbers_of_torch() -> None:
    pytest.importorskip("liger_kernel")
    ids = torch.randint(0, 300, (ROWS, T), generator=torch.Generator().manual_seed(1)).cuda()
    results = []
    for kernels in ("torch", "liger"):  # in this order: Liger's rotary kernel replaces the library's for good
        model = tiny_model("sdpa", "cuda").train()
        prepare_layers(model, recompute="none", compile_layers=False, kernels=kernels)
        model.fused_loss = kernels == "liger"
        loss = model(input_ids=ids, targets=ids)
        loss.backward()
        results.append((loss.detach(), torch.cat([parameter.grad.flatten() for parameter in model.parameters()])))
    (loss, gradient), (again, same) = results
    assert torch.allclose(again, loss, rtol=1e-4)
    assert float((same - gradient).norm() / gradient.norm()) <= 1e-3


if __name__ == "__main__":
    compare_compiled(sys.argv[1])
