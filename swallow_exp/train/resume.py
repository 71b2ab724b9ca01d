"""Continue from a saved state, whatever number of processes wrote it and however the vocabulary was padded then.

(1) part    tables that were saved with another number of rows, and everything else
(2) read    everything else straight into this process's shards
(3) tables  one at a time: whole, in CPU memory, then this process's rows of it; rows there were none of are pads, so zero

There is no random state to restore: training draws no random numbers (the order of the text is part of the plan, start weights
are made before, dropout is refused). So weights, moments, schedule and one integer, the step, are all of it.

Reads  runs/<run_id>/checkpoints/tokens_<n>/state/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError

Keys = tuple[str, ...]  # way to a tensor through the nested state


def check_no_randomness(model: Any) -> None:
    """Raises RequestError for a model that draws random numbers in training: continuing it would not be exact."""
    import torch

    settings = [f"{key}={value}" for key, value in model.config.to_dict().items() if "dropout" in key and value]
    layers = [f"{name}.p={module.p}" for name, module in model.named_modules() if isinstance(module, torch.nn.Dropout) and module.p > 0]
    for found in (*settings, *layers):
        raise RequestError(
            f"the base model has {found}",
            expected="no dropout: training draws no random numbers, so that a run continues exactly",
            remedy="set it to 0 in the model's config.json",
        )


def read_state(folder: Path, model: Any, optimizers: Sequence[Any]) -> dict[str, Any]:
    """Fill model and optimizers from a distributed checkpoint; the rest of the checkpoint."""
    import torch
    from torch.distributed.checkpoint.filesystem import FileSystemReader
    from torch.distributed.checkpoint.state_dict import (
        get_model_state_dict,
        get_optimizer_state_dict,
        set_model_state_dict,
        set_optimizer_state_dict,
    )
    from torch.distributed.checkpoint.state_dict_loader import load

    # Lightning's names: save_checkpoint writes them
    state: dict[str, Any] = {"state_dict": get_model_state_dict(model)}
    state |= {f"optimizer_{number}": get_optimizer_state_dict(model, optimizer) for number, optimizer in enumerate(optimizers)}
    stored: Mapping[str, Any] = FileSystemReader(folder).read_metadata().state_dict_metadata
    saved = {name: tuple(facts.size) for name, facts in stored.items() if hasattr(facts, "size")}
    padded: dict[Keys, Any] = {}
    state = _without_padded(state, saved, padded, ())
    load(state, checkpoint_id=folder)
    for keys, tensor in padded.items():
        _read_padded(folder, keys, tensor, saved[".".join(keys)])
        inner = state
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = tensor
    set_model_state_dict(model, state["state_dict"])
    for number, optimizer in enumerate(optimizers):
        set_optimizer_state_dict(model, optimizer, state[f"optimizer_{number}"])
    rest: dict[str, Any] = torch.load(folder / "meta.pt", weights_only=True)
    return rest


def _without_padded(node: Any, saved: Mapping[str, tuple[int, ...]], padded: dict[Keys, Any], keys: Keys) -> Any:
    """The nested state without tensors that were saved with another number of rows; those are put into `padded`."""
    kept = {}
    for key, value in node.items():
        path = (*keys, str(key))
        if isinstance(value, Mapping):
            kept[key] = _without_padded(value, saved, padded, path)
            continue
        size = saved.get(".".join(path))
        shape = tuple(getattr(value, "shape", ()))
        if size is not None and size != shape and len(size) == 2 and size[1:] == shape[1:]:
            padded[path] = value
        else:
            kept[key] = value
    return kept


def _read_padded(folder: Path, keys: Keys, tensor: Any, size: tuple[int, ...]) -> None:
    """Every process must call it."""
    import torch
    from torch.distributed.checkpoint.state_dict_loader import load

    from swallow_exp.model.load_model import copy_rows

    whole = torch.empty(size, dtype=tensor.dtype)
    wanted: Any = whole
    for key in reversed(keys):
        wanted = {key: wanted}
    load(wanted, checkpoint_id=folder)
    copy_rows(tensor, whole, rows=size[0])
