"""Are an artefact's files still what its manifest says? Sizes and sha256s, its digest, and what does not belong there.

check_files     reads every byte: what `swallow verify` says
require_sound   before a stage uses the files: the first one that has changed ends it; read once per version of a file (remember.py)

Reads   <artefact>/manifest.json and every file it lists
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import digest_of
from swallow_exp.artefact.manifest import MANIFEST_NAME, Artefact
from swallow_exp.artefact.remember import remembered_sha256s

READ_BYTES = 1 << 20
REBUILD = "remove the folder; the command that needs it builds it again"

Advance = Callable[[float], None]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where, what, and what to do about it."""

    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.where}: {self.what}; {self.remedy}"


def hash_file(path: Path, advance: Advance) -> str:
    """Hex sha256 of a file; `advance` is told how many bytes were read."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(READ_BYTES):
            digest.update(block)
            advance(len(block))
    return digest.hexdigest()


def bytes_to_hash(artefact: Artefact) -> int:
    """How much of an artefact `check_files` will read."""
    return sum(int(size) for size in artefact.manifest.get("files", {}).values())


def check_files(artefact: Artefact, *, where: str, advance: Advance) -> list[Problem]:
    """What is wrong with an artefact's manifest and files; nothing when all is well."""
    manifest, problems = artefact.manifest, []
    if manifest.get("digest") != digest_of({"request": manifest.get("request"), "made_from": manifest.get("made_from")}):
        problems.append(Problem(f"{where}/{MANIFEST_NAME}", "its digest is not that of its request and inputs: it was changed", REBUILD))
    if not artefact.id.endswith(f"-{artefact.digest[:7]}"):
        problems.append(Problem(where, f"the folder's name does not end in its digest ({artefact.digest[:7]})", "give it its name back"))
    known = manifest.get("sha256", {})
    for name, size in manifest.get("files", {}).items():
        path = artefact.folder / name
        if not path.is_file():
            problems.append(Problem(f"{where}/{name}", "missing", REBUILD))
        elif path.stat().st_size != size:
            problems.append(Problem(f"{where}/{name}", f"{path.stat().st_size:,} bytes where the manifest says {size:,}", REBUILD))
        else:
            try:
                found = hash_file(path, advance)
            except OSError as error:
                problems.append(Problem(f"{where}/{name}", f"cannot be read ({error.strerror})", "check the disk and the permissions"))
                continue
            if found != known.get(name):
                said = str(known.get(name, "nothing"))[:12]
                problems.append(Problem(f"{where}/{name}", f"sha256 {found[:12]} where the manifest says {said}", REBUILD))
    return problems


def require_sound(artefact: Artefact, *, only: str | None = None) -> None:
    """Raises RequestError naming the first file of an artefact that is not what its manifest says; of one file with `only`."""
    sizes, known = artefact.manifest.get("files", {}), artefact.manifest.get("sha256", {})
    if only is not None:
        sizes = {name: size for name, size in sizes.items() if name == only}
    for name, size in sizes.items():
        path = artefact.folder / name
        found = path.stat().st_size if path.is_file() else None
        if found != size:
            raise _changed(artefact, name, "it is missing" if found is None else f"it has {found:,} bytes", f"{size:,} bytes")
    try:
        digests = remembered_sha256s(artefact.folder, [name for name in sizes if name in known])
    except OSError as error:
        raise RequestError(
            f"{error.filename or artefact.folder} cannot be read: {error.strerror}",
            expected="the file as it was written",
            remedy="check the disk and the permissions",
        ) from error
    for name, digest in digests.items():
        if digest != known[name]:
            raise _changed(artefact, name, f"its sha256 is {digest[:12]}", str(known[name])[:12])


def _changed(artefact: Artefact, name: str, what: str, expected: str) -> RequestError:
    return RequestError(
        f"{artefact.folder / name} was damaged or changed since it was written: {what}",
        expected=f"{expected}, as its {MANIFEST_NAME} says",
        remedy=f"remove the folder {artefact.folder} and run the same command: it builds it again",
    )
