import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wandb_server import FakeWandbServer

from swallow_exp.artefact.files import write_json_atomic
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.identity import IDENTITY_GROUPS
from swallow_exp.record.status import write_status

RUN_ID = "tiny-base-ja90en10-none-1m-s0-3fa9c1e"


@pytest.fixture(autouse=True)
def no_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No login, no settings and no files of the person who runs the tests."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NETRC", str(home / "netrc"))


@pytest.fixture(scope="session", autouse=True)
def wandb_service() -> Iterator[None]:
    """End wandb's background process with the tests."""
    yield
    import wandb

    wandb.teardown()


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    """A trained run with an empty outbox, under tmp_path / "out"."""
    paths = RunPaths.of(tmp_path / "out", RUN_ID)
    names = {"base_model": "tiny", "vocabulary": "base", "mixture": "ja90en10", "parallel": "none", "budget": "1m"}
    identity: dict[str, Any] = {group: {"name": names.get(group, group)} for group in IDENTITY_GROUPS}
    identity["optim"]["lr_peak"] = 1e-4
    write_json_atomic(paths.identity, {**identity, "seed": 0, "identity_schema_version": 1})
    write_status(paths.status, "trained")
    return paths


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWandbServer]:
    with FakeWandbServer() as fake:
        monkeypatch.setenv("WANDB_BASE_URL", fake.url)
        monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
        for part in ("GRAPHQL", "FILE_STREAM", "FILE_TRANSFER"):  # the client's patience between two tries
            monkeypatch.setenv(f"WANDB_X_{part}_RETRY_WAIT_MIN_SECONDS", "0.1")
            monkeypatch.setenv(f"WANDB_X_{part}_RETRY_WAIT_MAX_SECONDS", "1")
        yield fake
    assert fake.unknown == []
