"""The tiny run of tests/train, for its tokenizer and config."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "train"))


@pytest.fixture(scope="session")
def small_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_run import train_base_tokenizer

    return train_base_tokenizer(tmp_path_factory.mktemp("small_tokenizer") / "base.model")
