"""Fixtures every room may use: an output root, the command line as a process, quiet environments."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from patience import PATIENCE_SECONDS

REPOSITORY = Path(__file__).resolve().parent.parent
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
CACHE = tempfile.TemporaryDirectory(prefix="swallow-cache-")  # digests that tests remember are no concern of the user's
os.environ["SWALLOW_CACHE"] = CACHE.name

Swallow = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def swallow(tmp_path: Path) -> Swallow:
    """Run `python -m swallow_exp ...` in a folder of its own, with its own output root."""

    def run(*words: str, timeout: float = PATIENCE_SECONDS, **environment: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "SWALLOW_OUT": str(tmp_path / "out"), **environment}
        command = [sys.executable, "-m", "swallow_exp", *words]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=timeout, check=False)

    return run
