"""Plans and shards are held against their manifests when a stream is opened; what was read once is not read again."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from made_shards import config_of, make_shard

from swallow_exp.artefact import remember
from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import sha256_file
from swallow_exp.artefact.manifest import Artefact, build_artefact
from swallow_exp.mixture.build_plan import build_plan
from swallow_exp.mixture.stream import open_stream


@pytest.fixture
def built(tmp_path: Path) -> tuple[Path, dict[str, Any], list[Artefact]]:
    """An output root, the inputs.json of a run, and its plan and shard."""
    out = tmp_path / "out"
    made = {
        "miniature_japanese": make_shard(tmp_path, "ja", 1_601, first_id=0),
        "miniature_english": make_shard(tmp_path, "en", 401, first_id=10_000),
    }

    def as_artefact(name: str, one: Artefact) -> Artefact:
        def copy(partial: Path) -> dict[str, Any]:
            shutil.copytree(one.folder, partial, dirs_exist_ok=True)
            return dict(one.counts)

        place = out / "artefacts" / "tokens" / f"{name}-1"
        return build_artefact(place, copy, kind="tokens", digest=f"1{name}", request={}, made_from={"tokenizer": "t"})

    shards = {name: as_artefact(name, one) for name, one in made.items()}
    plan = build_plan(config_of("parallel=none", "budget.tokens=500"), shards, out=out)
    reference = {
        name: {"folder": one.folder.relative_to(out).as_posix(), "digest": one.digest} for name, one in {"": plan, **shards}.items()
    }
    return out, {"mixture": reference.pop(""), "tokens": reference}, [plan, *shards.values()]


def test_every_file_of_plan_and_shard_is_checked(built: tuple[Path, dict[str, Any], list[Artefact]]) -> None:
    out, inputs, artefacts = built
    open_stream(out, inputs)
    checked = 0
    for artefact in artefacts:
        for name in artefact.manifest["files"]:
            file = artefact.folder / name
            whole = file.read_bytes()
            for position in (0, len(whole) // 2, len(whole) - 1):
                file.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
                with pytest.raises(RequestError, match=f"{artefact.folder}.*expected .*; .*remove the folder"):
                    open_stream(out, inputs)
                checked += 1
            file.write_bytes(whole)
    open_stream(out, inputs)
    assert checked >= 3 * 7


def test_what_was_checked_is_not_read_again(built: tuple[Path, dict[str, Any], list[Artefact]], monkeypatch: pytest.MonkeyPatch) -> None:
    out, inputs, _ = built
    read: list[Path] = []
    monkeypatch.setattr(remember, "sha256_file", lambda path: (read.append(path), sha256_file(path))[1])
    time.sleep(2 * remember.SETTLED_SECONDS)
    open_stream(out, inputs)
    open_stream(out, inputs)
    assert len(read) == len(set(read)) > 0


def test_another_artefact_in_its_place_is_refused(built: tuple[Path, dict[str, Any], list[Artefact]]) -> None:
    out, inputs, _ = built
    with pytest.raises(RequestError, match="is another artefact now"):
        open_stream(out, {**inputs, "mixture": {**inputs["mixture"], "digest": "2" * 64}})
    shutil.rmtree(out / inputs["tokens"]["miniature_english"]["folder"])
    with pytest.raises(RequestError, match=r"tokens/miniature_english-1 is not there; expected .*; run the run's `swallow train`"):
        open_stream(out, inputs)
