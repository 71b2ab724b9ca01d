"""Every level of recomputation, loss and precision: two processes give the losses of one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pair_worker import WAYS, train
from patience import PATIENCE_SECONDS

from swallow_exp.model.folder import save_weights

Figures = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama whose weights are bfloat16 numbers, so that every precision starts from the same ones."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("levels")
    config = LlamaConfig(
        vocab_size=300, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2
    )
    config.save_pretrained(path)
    save_weights(dict(LlamaForCausalLM(config).bfloat16().state_dict()), path)
    return path


@pytest.fixture(scope="module")
def pair(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Figures:
    """What two processes found."""
    work = tmp_path_factory.mktemp("pair")
    worker = Path(__file__).with_name("pair_worker.py")
    command = [sys.executable, str(worker), str(folder)]
    tails = [[str(rank), str(work / "store"), str(work / "found.json")] for rank in (0, 1)]
    processes = [subprocess.Popen([*command, *tail], stderr=subprocess.PIPE, text=True) for tail in tails]
    errors = [process.communicate(timeout=PATIENCE_SECONDS)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    found: Figures = json.loads((work / "found.json").read_text())
    return found


@pytest.fixture(scope="module")
def single(folder: Path) -> Figures:
    """What one process finds."""
    from torch.distributed.device_mesh import init_device_mesh

    if torch.distributed.is_initialized():  # left by an in-process training of another file in this worker
        torch.distributed.destroy_process_group()
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    found = {name: train(folder, init_device_mesh("cpu", (1,)), **choices) for name, choices in WAYS.items()}
    torch.distributed.destroy_process_group()
    return found


def apart(first: Any, second: Any) -> float:
    return max(abs(a - b) / abs(b) for mine, other in zip(first, second, strict=True) for a, b in zip(mine, other, strict=True))


# float32: sums in another order. bfloat16 keeps 8 bits (4e-3): gradients of two processes are rounded apart before they are added
TOLERANCES = {name: 2e-2 if "bf16" in name else 1e-5 for name in WAYS}


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_find_what_one_finds(way: str, pair: Figures, single: Figures) -> None:
    assert apart(pair[way], single[way]) <= TOLERANCES[way]


@pytest.mark.parametrize("way", WAYS)
def test_ways_of_one_precision_agree(way: str, single: Figures) -> None:
    other = "documents" if "documents" in way else "bf16-mixed" if "bf16" in way else "plain"
    assert apart(single[way], single[other]) <= TOLERANCES[way]
    if way in ("selective", "bf16-master"):
        assert single[way] == single[other]  # to the bit; bf16-master as well, because it starts from the same numbers


def test_precisions_and_attentions_are_not_the_same(single: Figures) -> None:
    assert apart(single["bf16-mixed"], single["plain"]) > 1e-4
    assert apart(single["documents"], single["plain"]) > 1e-4


def test_a_head_cut_by_rows_gives_the_whole_loss(pair: Figures) -> None:
    assert max(pair["cut head"]) <= 1e-6
