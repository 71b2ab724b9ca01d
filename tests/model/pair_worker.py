"""One of two processes: every way to compute a step, on half of its rows each, beside one process that has all rows.

pair_worker.py FOLDER RANK STORE OUT: `FOLDER` holds the model; process 0 writes what it found to OUT.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch.distributed.device_mesh import init_device_mesh

from swallow_exp.model.load_model import load_model
from swallow_exp.model.loss import IGNORED, chunked_loss
from swallow_exp.train.masters import MasterAdamW, collect_gradients, gradient_holders

ROWS, T, STEPS = 4, 32, 2
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "selective": {"recompute": "selective"},
    "full, eager": {"recompute": "full", "attention": "eager"},
    "padded, chunked, selective": {"loss_chunk_positions": 24, "recompute": "selective", "pad_vocabulary_multiple": 258},
    "bf16-mixed": {"precision": "bf16-mixed"},
    "bf16-master": {"precision": "bf16-master"},
    "bf16-master, chunked, full": {"precision": "bf16-master", "loss_chunk_positions": 7, "recompute": "full"},
    "documents": {"documents": True},
    "documents, eager, chunked": {"documents": True, "attention": "eager", "loss_chunk_positions": 7},
}


def batch_of(step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inputs, targets and positions of a whole step: the second half of the rows has few targets."""
    generator = torch.Generator().manual_seed(step)
    inputs, targets = (torch.randint(3, 300, (ROWS, T), generator=generator) for _ in range(2))
    targets[ROWS // 2 :, 3:] = IGNORED
    starts = torch.rand(ROWS, T, generator=generator) < 0.1
    starts[:, 0] = True
    index = torch.arange(T).expand(ROWS, T)
    return inputs, targets, index - torch.where(starts, index, 0).cummax(dim=1).values


def optimizer_of(model: Any) -> torch.optim.Optimizer:
    groups = [{"params": list(model.parameters()), "weight_decay": 0.1}]
    if next(model.parameters()).dtype == torch.bfloat16:
        return MasterAdamW(groups, lr=1e-2, betas=(0.9, 0.95), eps=1e-8)
    return torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95), eps=1e-8, fused=True)


def train(folder: Path, mesh: Any, *, documents: bool = False, **choices: Any) -> list[tuple[float, float]]:
    """Loss and gradient norm of some steps, two micro-batches each."""
    given: dict[str, Any] = {"attention": "sdpa", "precision": "32-true", **choices}
    model = load_model(folder, mesh=mesh, device=torch.device("cpu"), **given)
    optimizer = optimizer_of(model)
    rank, processes = mesh.get_local_rank(), mesh.size()
    share = ROWS // processes
    found = []
    for step in range(STEPS):
        inputs, targets, positions = (part[rank * share : (rank + 1) * share] for part in batch_of(step))
        number = int((batch_of(step)[1] != IGNORED).sum())
        total = torch.zeros(())
        for cut in (slice(0, share // 2), slice(share // 2, share)):
            loss = model(
                input_ids=inputs[cut], targets=targets[cut], document_positions=positions[cut] if documents else None, use_cache=False
            )
            (loss / number * processes).backward()
            collect_gradients(optimizer)
            total += loss.detach() / number
        if processes > 1:
            torch.distributed.all_reduce(total)
        norm = torch.nn.utils.clip_grad_norm_(gradient_holders(optimizer), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        found.append((float(total), float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)))
    return found


def cut_head(rank: int) -> list[float]:
    """Chunked loss with the head's rows cut over two processes against the whole head: differences of loss and gradients."""
    from torch.distributed.tensor import Shard, distribute_tensor

    generator = torch.Generator().manual_seed(0)
    hidden, head = torch.randn(20, 8, generator=generator), torch.randn(60, 8, generator=generator)
    targets = torch.randint(0, 50, (20,), generator=generator)
    targets[3] = IGNORED
    results = []
    for mesh in (None, init_device_mesh("cpu", (2,))):
        own_hidden = hidden.clone().requires_grad_()
        own_head: Any = head.clone().requires_grad_()
        if mesh is not None:
            own_head = distribute_tensor(head, mesh, [Shard(0)]).requires_grad_()
        loss = chunked_loss(own_hidden, own_head, targets, vocabulary_size=50, chunk=7)
        (loss / 20).backward()
        gradient = own_head.grad if mesh is None else own_head.grad.full_tensor()
        results.append((loss.detach(), own_hidden.grad, gradient))
    return [float((mine - whole).abs().max() / whole.abs().max()) for mine, whole in zip(*results, strict=True)]


def main(folder: Path, rank: int, store: str, out: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", store=torch.distributed.FileStore(store, 2), rank=rank, world_size=2)
    two = init_device_mesh("cpu", (2,))
    found: dict[str, Any] = {name: train(folder, two, **choices) for name, choices in WAYS.items()}
    found["cut head"] = cut_head(rank)
    if rank == 0:
        out.write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
