"""The digest of the weights depends on the weights alone; files are cut and found as Hugging Face does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from swallow_exp.artefact.errors import RequestError
from swallow_exp.model import folder as rooms
from swallow_exp.model.folder import count_parameters, save_weights, stored_tensors, weight_files, weights_digest

TENSORS = {"b": torch.arange(300.0).reshape(30, 10), "a": torch.ones(4, dtype=torch.bfloat16), "c": torch.zeros(20, 10)}


def saved(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    path.mkdir()
    save_weights(tensors, path)
    return path


def test_the_digest_sees_every_number_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = saved(tmp_path / "one", TENSORS)
    assert [file.name for file in weight_files(one)] == ["model.safetensors"]
    reordered = saved(tmp_path / "reordered", dict(reversed(TENSORS.items())))
    monkeypatch.setattr(rooms, "MAX_FILE_SIZE", 1000)
    cut = saved(tmp_path / "cut", TENSORS)
    assert len(weight_files(cut)) > 1
    assert weights_digest(one) == weights_digest(reordered) == weights_digest(cut)
    changed = TENSORS["b"].clone()
    changed[29, 9] += 1
    variants = [{**TENSORS, "b": changed}, {**TENSORS, "b": TENSORS["b"].reshape(10, 30)}, {**TENSORS, "c": TENSORS["c"].int()}]
    assert len({weights_digest(saved(tmp_path / f"v{i}", v)) for i, v in enumerate(variants)} | {weights_digest(one)}) == 4
    assert count_parameters(cut) == 300 + 4 + 200
    assert {name: tensor.shape for name, tensor in stored_tensors(cut).items()} == {"a": (4,), "b": (30, 10), "c": (20, 10)}


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(RequestError, match="weights in safetensors files"):
        weight_files(tmp_path)
