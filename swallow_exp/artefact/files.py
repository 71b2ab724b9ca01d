"""Write files so that a kill at any moment leaves the old file or the new one, never half of one.

Reads/Writes  whatever path it is given.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from swallow_exp.artefact.errors import RequestError

FINGERPRINT_BLOCK_BYTES = 1 << 20


@contextlib.contextmanager
def user_disk(path: Path) -> Iterator[None]:
    """Turn 'disk full', 'no permission' and 'not a folder' into one-line user errors that name `path`.

    An error about a file elsewhere (an input that may not be read) passes unchanged: another output folder would not help.
    """
    try:
        yield
    except OSError as error:
        reasons = {
            errno.ENOSPC: ("no space left on the disk", "free space or choose another folder with paths.out="),
            errno.EDQUOT: ("the disk quota is used up", "free space or choose another folder with paths.out="),
            errno.EFBIG: (
                "files may not grow further here",
                "raise the file size limit (ulimit -f) or choose another folder with paths.out=",
            ),
            errno.EACCES: ("permission denied", "choose a folder you may write with paths.out="),
            errno.EROFS: ("the file system is read-only", "choose a folder you may write with paths.out="),
            errno.ENOTDIR: ("a part of the path is a file or leads nowhere", "choose another folder with paths.out="),
            errno.ENAMETOOLONG: ("the name is too long", "choose a shorter folder with paths.out=, or shorter names"),
            errno.ELOOP: ("a part of the path is a link to itself", "choose another folder with paths.out="),
            errno.EPERM: ("operation not permitted", "choose a folder you may write with paths.out="),
        }
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if error.errno not in reasons or not (full or _concerns(path, error.filename)):
            raise
        reason, remedy = reasons[error.errno]
        where = error.filename or str(path)
        raise RequestError(f"cannot write {where}: {reason}", expected="a writable folder with space", remedy=remedy) from error


def _concerns(path: Path, filename: object) -> bool:
    """True when `filename` (of an OSError) is `path`, beside or below it, or one of the folders above it."""
    if not isinstance(filename, str | bytes | os.PathLike):
        return True
    output, other = Path(os.path.abspath(path)), Path(os.path.abspath(os.fsdecode(filename)))
    return other.is_relative_to(output.parent) or output.is_relative_to(other)


def make_folder(path: Path) -> Path:
    """Create `path` and its parents; a user error when that is not possible."""
    with user_disk(path):
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(path))
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, FileNotFoundError) as error:  # a link to nothing; a place such as /proc
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(path)) from error
    return path


def write_bytes_atomic(path: Path, data: bytes) -> None:
    """Write to a temporary name beside `path`, flush to disk, rename."""
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    with user_disk(path):
        try:
            with temporary.open("wb") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text_atomic(path: Path, text: str) -> None:
    """UTF-8 twin of `write_bytes_atomic`."""
    write_bytes_atomic(path, text.encode("utf-8"))


def write_json_atomic(path: Path, value: Any) -> None:
    """Readable JSON (UTF-8, sorted keys as given, newline at the end), written atomically."""
    write_text_atomic(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """Parse a JSON file this project wrote; None when it is missing or torn (never trusted, always rebuilt).

    A folder, a pipe or a device of that name is no JSON file either, and is not opened.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):  # ValueError: no JSON, no UTF-8, a number too long
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None  # no file has such a name
        raise RequestError(f"cannot read {path}: {error.strerror}", expected="a readable file", remedy="check the file") from error


def sha256_file(path: Path) -> str:
    """Hex sha256 of the file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


class HashedFile:
    """A new file that knows the sha256 of what was written to it, so that nobody has to read it again. A context manager."""

    def __init__(self, path: Path) -> None:
        """Open `path` for writing; what was there is gone."""
        self.path = path
        self._handle = path.open("wb")
        self._digest = hashlib.sha256()

    def __enter__(self) -> HashedFile:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the file."""
        self._handle.close()

    def write(self, data: bytes | memoryview) -> None:
        """Append."""
        self._handle.write(data)
        self._digest.update(data)

    @property
    def sha256(self) -> str:
        """Hex digest of everything written so far."""
        return self._digest.hexdigest()


def fingerprint_file(path: Path) -> str:
    """Cheap content mark of a possibly huge file: size and its first and last MiB (full sha256s are in manifests)."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as handle:
        digest.update(handle.read(FINGERPRINT_BLOCK_BYTES))
        if size > 2 * FINGERPRINT_BLOCK_BYTES:
            handle.seek(-FINGERPRINT_BLOCK_BYTES, os.SEEK_END)
        digest.update(handle.read(FINGERPRINT_BLOCK_BYTES))
    return digest.hexdigest()


def digest_of(value: Any) -> str:
    """Hex sha256 of canonical JSON: the hash behind every identity in this project."""
    canonical = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()


def remove_folder(path: Path) -> None:
    """Remove a folder tree if it is there. Of a link, the link: what it leads to is somebody else's."""
    if path.is_symlink():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


def is_inside(path: Path, *roots: Path) -> bool:
    """True when `path`, with every link in it followed, is one of the roots or lies below one of them."""
    try:
        found = path.resolve()
        return any(found.is_relative_to(root.resolve()) for root in roots)
    except (OSError, ValueError, RuntimeError):  # a name that no file can have, a link to itself
        return False


def is_plain_name(name: object) -> bool:
    """True for the name of a file or folder: a text without separators that does not lead elsewhere."""
    return isinstance(name, str) and name not in ("", ".", "..") and not {"/", "\\", "\0"} & set(name)
