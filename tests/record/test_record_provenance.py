import json
import os
import stat
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from swallow_exp.record.provenance import REMOVED, gather_provenance, without_secrets


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    result = subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True)
    return result.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "code.py").write_text("x = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def gather(repository: Path | None) -> dict:
    return gather_provenance(repository=repository, inputs={})


def test_clean_commit(repository: Path) -> None:
    assert gather(repository)["git"] == {"commit": git(repository, "rev-parse", "HEAD"), "dirty": False}


def test_dirty_tree_has_a_hash_that_follows_the_difference(repository: Path) -> None:
    (repository / "code.py").write_text("x = 2\n")
    first = gather(repository)["git"]
    assert first["dirty"] and len(first["diff_sha256"]) == 64
    assert gather(repository)["git"] == first
    (repository / "code.py").write_text("x = 3\n")
    second = gather(repository)["git"]
    assert second["diff_sha256"] != first["diff_sha256"]
    (repository / "new.py").write_text("")
    assert gather(repository)["git"]["diff_sha256"] != second["diff_sha256"]


def test_no_git_facts_outside_or_below_a_repository(repository: Path, tmp_path: Path) -> None:
    below = repository / "site-packages"
    below.mkdir()
    for folder in (None, below, tmp_path / "missing"):
        assert "git" not in gather(folder), folder


def test_no_git_facts_without_git(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert "git" not in gather(repository)


def test_machine_facts_are_json_and_truthful() -> None:
    facts = gather_provenance(repository=None, inputs={"weights": {"digest": "abc"}})
    assert json.loads(json.dumps(facts)) == facts
    assert facts["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert facts["cpu_count"] == os.cpu_count()
    assert facts["memory_bytes"] > 1 << 28
    assert facts["inputs"] == {"weights": {"digest": "abc"}}
    assert None not in facts.values()
    written = datetime.fromisoformat(facts["written"])
    assert written.utcoffset() == timedelta(0)
    assert abs(datetime.now(written.tzinfo) - written) < timedelta(minutes=1)


def test_does_not_import_torch() -> None:
    code = (
        "import sys; from swallow_exp.record.provenance import gather_provenance; "
        "gather_provenance(repository=None, inputs={}); assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_launcher_job_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "PBS_JOBID", "JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    assert "launcher" not in gather(None)
    monkeypatch.setenv("SLURM_JOB_ID", "1234")
    monkeypatch.setenv("PBS_JOBID", "7.pbs")
    assert gather(None)["launcher"] == {"SLURM_JOB_ID": "1234", "PBS_JOBID": "7.pbs"}


def fake_nvidia_smi(folder: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_cuda_devices_as_nvidia_smi_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvidia_smi(tmp_path, "echo 'NVIDIA A100, GPU-1, 40960, 550.1'\necho 'NVIDIA A100, GPU-2, 40960, 550.1'", monkeypatch)
    devices = gather(None)["cuda_devices"]
    assert [device["uuid"] for device in devices] == ["GPU-1", "GPU-2"]
    assert devices[0] == {"name": "NVIDIA A100", "uuid": "GPU-1", "memory.total": "40960", "driver_version": "550.1"}


@pytest.mark.parametrize("body", ["echo 'no devices were found'; exit 6", "true"])
def test_no_cuda_devices_when_nvidia_smi_has_none(body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvidia_smi(tmp_path, body, monkeypatch)
    assert "cuda_devices" not in gather(None)


HEX_KEY = "0123456789abcdef" * 2 + "01234567"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["hf_token=abc"], [f"hf_token={REMOVED}"]),
        (["+tracking.wandb_api_key=abc"], [f"+tracking.wandb_api_key={REMOVED}"]),
        (["--password", "abc", "x=1"], ["--password", REMOVED, "x=1"]),
        (["--api-key", "--verbose"], ["--api-key", "--verbose"]),
        (["note=hf_AbCdEfGhIjKlMnOpQrSt"], [f"note={REMOVED}"]),
        ([f"note={HEX_KEY}"], [f"note={REMOVED}"]),
        (["https://me:pw@example.org/x"], [f"https://{REMOVED}@example.org/x"]),
        (["budget.tokens=20_000", "base_model.tokenizer=a.model"], ["budget.tokens=20_000", "base_model.tokenizer=a.model"]),
        (["corpus", "paths.out=/a/b"], ["corpus", "paths.out=/a/b"]),
        ([HEX_KEY + HEX_KEY[:24]], [HEX_KEY + HEX_KEY[:24]]),  # a sha256 is no key
    ],
)
def test_secrets_are_removed_and_settings_are_not(given: list[str], kept: list[str]) -> None:
    assert without_secrets(given) == kept


def test_argv_is_recorded_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/swallow", "train", "hf_token=abc"])
    assert gather(None)["argv"] == ["swallow", "train", f"hf_token={REMOVED}"]
