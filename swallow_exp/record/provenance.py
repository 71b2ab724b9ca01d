"""Where a run came from: commit, versions, host, devices, launcher, command. Facts only; what is unknown is absent.

(1) code      git commit, dirty flag and a hash of the difference -> only when `repository` is the root of a git work tree
(2) packages  versions that can change numbers
(3) machine   host, platform, processors, memory, CUDA devices as nvidia-smi names them (torch is not imported)
(4) command   argv without secrets, job id of the launcher, time in UTC

Reads   the git work tree, environment, nvidia-smi.  Writes  nothing.
"""

from __future__ import annotations

import csv
import hashlib
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from swallow_exp.artefact.manifest import package_versions

LAUNCHER_VARIABLES = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "PBS_JOBID", "JOB_ID")
COMMAND_TIMEOUT_SECONDS = 30.0
DEVICE_FIELDS = ("name", "uuid", "memory.total", "driver_version")
REMOVED = "<removed>"

# The last part of an option's name: `hf_token`, `wandb.api_key`; not `budget.tokens`, not `base_model.tokenizer`.
_SECRET_NAME = re.compile(
    r"(?:^|[._-])(?:(?:api|access|private|secret)?[_-]?key|token|secret|passw(?:or)?d|credentials?|auth|bearer)$", re.I
)
# Keys of services one meets here, and any long run of hex digits of the length W&B uses.
_SECRET_VALUE = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{16,}|wandb_v\d_\w{16,}|AKIA[A-Z0-9]{12,})\b"
)
_HEX_KEY = re.compile(r"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])", re.I)
_URL_LOGIN = re.compile(r"(?<=://)[^/\s@]+(?=@)")


def gather_provenance(*, repository: Path | None, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Facts about this process and its machine; `inputs` (what the run is made from, with digests) is kept as given."""
    facts: dict[str, Any] = {
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "git": _git_facts(repository) if repository is not None else None,
        "versions": package_versions(),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "cpu_count_usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "memory_bytes": _memory_bytes(),
        "cuda_devices": _cuda_devices(),
        "cuda_visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "launcher": {name: os.environ[name] for name in LAUNCHER_VARIABLES if os.environ.get(name)} or None,
        "argv": without_secrets([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "inputs": dict(inputs),
    }
    return {name: value for name, value in facts.items() if value is not None}


def without_secrets(arguments: Sequence[str]) -> list[str]:
    """Arguments with every value that looks like a key, token, password or URL login replaced by `<removed>`."""
    cleaned: list[str] = []
    hide_next = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if hide_next and not argument.startswith("--"):
            cleaned.append(REMOVED)
            hide_next = False
            continue
        hide_next = False
        if _SECRET_NAME.search(name):
            hide_next = not equals and argument.startswith("-")
            cleaned.append(f"{name}={REMOVED}" if equals else argument)
            continue
        for pattern in (_SECRET_VALUE, _HEX_KEY, _URL_LOGIN):
            argument = pattern.sub(REMOVED, argument)
        cleaned.append(argument)
    return cleaned


def _run(command: Sequence[str]) -> bytes | None:
    """Standard output, or None when the program is missing, fails or hangs."""
    if shutil.which(command[0]) is None:
        return None
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        result = subprocess.run(
            command, capture_output=True, check=True, timeout=COMMAND_TIMEOUT_SECONDS, stdin=subprocess.DEVNULL, env=environment
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout


def _git_facts(repository: Path) -> dict[str, Any] | None:
    git = ("git", "-C", str(repository))
    root = _run([*git, "rev-parse", "--show-toplevel"])
    # an installation inside someone else's work tree is not that work tree
    if root is None or Path(os.fsdecode(root.rstrip(b"\n"))).resolve() != repository.resolve():
        return None
    commit = _run([*git, "rev-parse", "HEAD"])
    status = _run([*git, "status", "--porcelain"])
    if commit is None or status is None:
        return None
    facts: dict[str, Any] = {"commit": commit.decode().strip(), "dirty": bool(status)}
    if status:
        difference = _run([*git, "diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv"]) or b""
        digest = hashlib.sha256(difference)
        for name in sorted((_run([*git, "ls-files", "--others", "--exclude-standard", "-z"]) or b"").split(b"\0")):
            digest.update(name + b"\0")  # untracked files count by name: they may be large
        facts["diff_sha256"] = digest.hexdigest()
    return facts


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _cuda_devices() -> list[dict[str, str]] | None:
    """One dictionary a device: name, uuid, memory.total (MiB), driver_version; None without nvidia-smi."""
    output = _run(["nvidia-smi", f"--query-gpu={','.join(DEVICE_FIELDS)}", "--format=csv,noheader,nounits"])
    if output is None:
        return None
    rows = csv.reader(output.decode(errors="replace").splitlines(), skipinitialspace=True)
    return [dict(zip(DEVICE_FIELDS, row, strict=True)) for row in rows if len(row) == len(DEVICE_FIELDS)] or None
