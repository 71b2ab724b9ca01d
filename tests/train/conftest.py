"""A tokenizer and an output root for all tiny runs, and training inside this process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_run import Train, fake_open_stream, train_base_tokenizer

from swallow_exp.artefact.paths import RunPaths


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny_out")


@pytest.fixture(scope="session")
def base_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_base_tokenizer(tmp_path_factory.mktemp("tokenizer") / "base.model")


@pytest.fixture(scope="session")
def train_here() -> Iterator[Train]:
    """train(run, stop_at_once=False): train a prepared run in this process; the exit code. stop_at_once: end after one step."""
    import torch

    from swallow_exp.train import fit
    from swallow_exp.train.stopping import StopRequest
    from swallow_exp.train.worker import train_run

    def train(run: RunPaths, *, stop_at_once: bool = False) -> int:
        stop = StopRequest()
        stop.number = signal.SIGTERM if stop_at_once else None
        return train_run(run, first_process=True, stop=stop)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "open_stream", fake_open_stream)
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
            patch.delenv(name, raising=False)
        yield train
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        os.environ.pop(name, None)
    torch.use_deterministic_algorithms(False)
