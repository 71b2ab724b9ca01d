"""A base model that is a name of the hub: no request without leave, and with it none but those for the model."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config import BaseModelConfig
from swallow_exp.model.source import locate_model

WORDS = ("vocabulary", "base_model=llama2_7b", "vocabulary=base", "mixture=miniature_en")


@pytest.fixture
def hub() -> Iterator[tuple[str, list[str]]]:
    """An endpoint that knows no model, and the paths it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


@pytest.mark.parametrize("network", [False, True])
def test_requests_are_made_with_leave_alone(swallow, hub: tuple[str, list[str]], tmp_path: Path, network: bool) -> None:
    endpoint, asked = hub
    home = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": endpoint}
    done = swallow(*WORDS, f"paths.network={str(network).lower()}", **home)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    if network:
        assert asked and all(path.startswith("/api/models/meta-llama/Llama-2-7b-hf") for path in asked)
    else:
        assert asked == []
        assert "base_model.path=meta-llama/Llama-2-7b-hf is no folder here" in done.stderr
        assert "`hf download meta-llama/Llama-2-7b-hf`, or set paths.network=true" in done.stderr


def test_a_copy_that_was_downloaded_earlier_needs_no_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def cached(name: str, *, local_files_only: bool, **_: object) -> str:
        assert local_files_only
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", cached)
    assert locate_model(BaseModelConfig(path="some/model"), network=False) == tmp_path
    with pytest.raises(RequestError, match="does not exist"):
        locate_model(BaseModelConfig(path="./not/there"), network=False)
