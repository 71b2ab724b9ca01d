"""Build an artefact once, under a lock, into a temporary folder; the manifest is written last and means "done".

(1) look      <folder>/manifest.json present      -> return at once; also under another level's name, when the digest is the same
(2) lock      <folder>.lock                       -> one builder, others wait
(3) build     into <folder>.partial-*             -> files
(4) finish    sizes and sha256s of all files, manifest.json, then rename    -> <folder>

A folder without a manifest is never trusted. Leftover .partial folders of dead builders are removed by the next builder. A builder
whose work takes long may keep what is finished of it in a folder of its own, <folder>.work: it outlives a builder that was killed or
met a full disk, the next builder goes on from there, and it is removed when the artefact is done.
"""

from __future__ import annotations

import glob
import platform
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock

from swallow_exp import __version__
from swallow_exp.artefact.files import is_plain_name, make_folder, read_json, remove_folder, sha256_file, user_disk, write_json_atomic
from swallow_exp.artefact.progress import track

MANIFEST_NAME = "manifest.json"
PARTIAL_MARK, WORK_SUFFIX = ".partial-", ".work"
FORMAT_VERSION = 1
MANIFEST_PARTS = ("made_from", "request", "counts", "files", "sha256")  # objects, each of them
VERSIONED_PACKAGES = (
    "numpy",
    "sentencepiece",
    "tokenizers",
    "transformers",
    "torch",
    "lightning",
    "lm_eval",
    "fugashi",
    "unidic",
    "unidic-lite",
    "pyarrow",
)


@dataclass(frozen=True)
class Artefact:
    """A finished artefact: its folder and its manifest."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def id(self) -> str:
        """`<name>-<hash7>`."""
        return self.folder.name

    @property
    def digest(self) -> str:
        """Full hex digest of what the artefact was asked to be and made from."""
        return str(self.manifest["digest"])

    @property
    def counts(self) -> Mapping[str, Any]:
        """Numbers the builder reported."""
        counts: Mapping[str, Any] = self.manifest["counts"]
        return counts


def package_versions() -> dict[str, str]:
    """Versions of the packages that can change an artefact; absent packages are absent."""
    versions = {"python": platform.python_version(), "swallow_exp": __version__}
    for package in VERSIONED_PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def find_artefact(folder: Path) -> Artefact | None:
    """The finished artefact in `folder`, or None when it is missing, torn, or its manifest has another shape."""
    manifest = read_json(folder / MANIFEST_NAME)
    return Artefact(folder, manifest) if isinstance(manifest, dict) and _is_manifest(manifest) else None


def _is_manifest(manifest: Mapping[str, Any]) -> bool:
    """Every part that readers use has its shape, and no file leads out of the folder."""
    if not isinstance(manifest.get("digest"), str) or not all(isinstance(manifest.get(part, {}), dict) for part in MANIFEST_PARTS):
        return False
    names = [*manifest.get("files", {}), *manifest.get("sha256", {})]
    sizes, digests = manifest.get("files", {}).values(), manifest.get("sha256", {}).values()
    shaped = all(isinstance(size, int) for size in sizes) and all(isinstance(digest, str) for digest in digests)
    return shaped and all(is_plain_name(part) for name in names for part in name.split("/"))


def work_folder(folder: Path) -> Path:
    """Where a builder of the artefact `folder` keeps what it has finished."""
    return folder.with_name(folder.name + WORK_SUFFIX)


def _hash_files(name: str, files: Mapping[str, Path], known: Mapping[str, str]) -> dict[str, str]:
    unknown = {file: path for file, path in files.items() if file not in known}
    hashed = {file: sha256_file(path) for file, path in track(unknown.items(), f"{name}: checksums", len(unknown))}
    return {file: known.get(file) or hashed[file] for file in files}


def _made_already(folder: Path, digest: str) -> Artefact | None:
    """The finished artefact in `folder`, or the same one under another name: levels share what they have in common."""
    found = find_artefact(folder)
    if found is not None:
        return found
    for other in sorted(folder.parent.glob(f"*-{digest[:7]}")):
        twin = find_artefact(other)
        if twin is not None and twin.digest == digest:
            return twin
    return None


def build_artefact(
    folder: Path,
    build: Callable[[Path], Mapping[str, Any]],
    *,
    kind: str,
    digest: str,
    request: Mapping[str, Any],
    made_from: Mapping[str, str],
    work: Path | None = None,
    checksums: Mapping[str, str] | None = None,
) -> Artefact:
    """Return the artefact in `folder` (or its twin of the same digest under another name), building it when missing.

    build      writes files into the folder it is given and returns the counts for the manifest
    digest     full hex digest of request + made_from (its first 7 letters are in the folder's name)
    request    the part of the config that decided it
    made_from  role -> id or fingerprint of what it was made from
    work       `work_folder(folder)`, when `build` keeps there what the next builder can go on from; removed when the artefact is done
    checksums  file -> sha256, filled by `build` for files it hashed while writing; the others are read once more to be hashed
    Raises whatever `build` raises; nothing is left behind then but what `build` put into `work`.
    """
    found = _made_already(folder, digest)
    if found is not None:
        return found
    make_folder(folder.parent)
    with user_disk(folder), FileLock(str(folder) + ".lock"):
        found = _made_already(folder, digest)
        if found is not None:
            return found
        for leftover in folder.parent.glob(f"{glob.escape(folder.name)}{PARTIAL_MARK}*"):
            remove_folder(leftover)
        partial = folder.with_name(f"{folder.name}{PARTIAL_MARK}{uuid.uuid4().hex[:8]}")
        partial.mkdir()
        started = time.time()
        try:
            counts = dict(build(partial))
            files = {path.relative_to(partial).as_posix(): path for path in sorted(partial.rglob("*")) if path.is_file()}
            manifest = {
                "kind": kind,
                "format_version": FORMAT_VERSION,
                "digest": digest,
                "made_from": dict(made_from),
                "request": dict(request),
                "counts": counts,
                "files": {name: path.stat().st_size for name, path in files.items()},
                "sha256": _hash_files(folder.name, files, dict(checksums or {})),
                "seconds": round(time.time() - started, 3),
                "versions": package_versions(),
                "argv": [Path(sys.argv[0]).name, *sys.argv[1:]],
            }
            write_json_atomic(partial / MANIFEST_NAME, manifest)
            remove_folder(folder)  # a folder without a manifest is not an artefact
            partial.rename(folder)
        except BaseException:
            remove_folder(partial)
            raise
        if work is not None:
            remove_folder(work)
    return Artefact(folder, manifest)
