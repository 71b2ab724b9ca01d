"""Token shards, configs and plans of a moment, for the tests of this folder."""

from __future__ import annotations

import copy
import functools
from pathlib import Path

import numpy as np

from swallow_exp.artefact.manifest import Artefact
from swallow_exp.config import Config, compose_config
from swallow_exp.mixture.build_plan import build_plan, planned_sources
from swallow_exp.mixture.stream import SequenceStream
from swallow_exp.tokens.shard import open_shard, write_meta

T, B = 8, 4  # sequence_length, global_batch_sequences


def make_shard(
    root: Path,
    name: str,
    num_tokens: int,
    *,
    first_id: int,
    flags: np.ndarray | None = None,
    lengths: list[int] | None = None,
    tokenizer: str = "t",
) -> Artefact:
    """A shard whose ids count upwards from first_id, so that a window tells where it was cut."""
    folder = root / name
    folder.mkdir(parents=True)
    np.arange(first_id, first_id + num_tokens, dtype="<u2").tofile(folder / "tokens.bin")
    if flags is not None:
        flags.astype(np.uint8).tofile(folder / "loss.bin")
    np.save(folder / "offsets.npy", np.cumsum(lengths or [num_tokens]).astype("<i8"))
    trained = num_tokens if flags is None else int(flags.sum())
    meta = {"dtype": "uint16", "documents": len(lengths or [0]), "tokens": num_tokens, "trained_tokens": trained}
    write_meta(folder, {**meta, "text_bytes": 3 * num_tokens, "tokenizer_digest": tokenizer})
    return Artefact(folder, {"digest": f"{name}{num_tokens}", "counts": meta})


def config_of(*overrides: str) -> Config:
    """A config of its own; composing is slow, so each list of overrides is composed once."""
    return copy.deepcopy(_composed(*overrides))


@functools.cache
def _composed(*overrides: str) -> Config:
    sizes = [f"optim.sequence_length={T}", f"optim.global_batch_sequences={B}", "budget.tokens=2000", "budget.checkpoint_every_tokens=500"]
    return compose_config([*sizes, *overrides]).config


def open_plan(config: Config, shards: dict[str, Artefact], out: Path) -> tuple[Artefact, SequenceStream]:
    plan = build_plan(config, shards, out=out)
    opened = {name: open_shard(shards[name]) for name in planned_sources(config)}
    return plan, SequenceStream(plan, opened, attention=config.mixture.attention)
