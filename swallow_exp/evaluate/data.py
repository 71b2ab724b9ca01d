"""Where a dataset's files are: in the user's folder, or fetched once from their official source when the user allows it.

(1) look     <data_dir>/<dataset>/<file>                            -> path
(2) fetch    only with suite.network=true: the pinned official file, under a temporary name, then renamed
(3) check    against the declared sha256, or against the one noted in <data_dir>/<dataset>/SHA256SUMS when it was fetched

Reads   <data_dir>/**        Writes  fetched files and SHA256SUMS, in <data_dir>/<dataset>/
"""

from __future__ import annotations

import shutil
import tarfile
import urllib.error
import urllib.request
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO

from filelock import FileLock

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import make_folder, sha256_file, user_disk, write_text_atomic
from swallow_exp.artefact.paths import user_path
from swallow_exp.artefact.progress import progress_bar, say
from swallow_exp.config.schema import SuiteConfig

SUMS_NAME = "SHA256SUMS"
TIMEOUT_SECONDS = 60.0  # of one silence, not of a whole download
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class DataFile:
    """One file of a dataset.

    url       official source; None: by hand only, as `remedy` says
    member    name of the file inside the archive behind `url` (zip or tar); None: the url is the file itself
    revision  the pinned version: a tag, a commit, a release
    sha256    of the file as it lies in the folder; None: noted when it is first fetched, checked from then on
    fetched_sha256  of the file behind `url`, for datasets of which a user may put a part into the folder: only a fetched file must have it
    """

    dataset: str
    name: str
    url: str | None
    revision: str
    licence: str
    sha256: str | None = None
    fetched_sha256: str | None = None
    member: str | None = None
    remedy: str = ""

    @property
    def source(self) -> str:
        """Where to get it, for a person."""
        inside = f" (the file {self.member} in it)" if self.member else ""
        return self.remedy or f"get it from {self.url}{inside}"


class MissingData(RequestError):
    """A file of a dataset is not there: the task is absent, other tasks go on."""

    def __init__(self, file: DataFile, root: Path | None, reason: str = "") -> None:
        """`root`: the data folder, None when the suite names none; `reason`: why it could not be fetched."""
        self.file = file
        place = f"{root or '<data_dir>'}/{file.dataset}/{file.name}"
        how = "" if root else "set suite.data_dir=FOLDER; "
        super().__init__(
            f"{file.dataset}: {place} is missing{f' ({reason})' if reason else ''}",
            expected=f"{file.name} ({file.revision}, {file.licence})",
            remedy=f"{how}{file.source}, or let suite.network=true fetch it" if file.url else f"{how}{file.source}",
        )


class MissingPackage(MissingData):
    """A package that only one profile of a task needs is not installed: that profile is absent, everything else goes on."""

    def __init__(self, task: str, package: str, *, extra: str) -> None:
        """`extra`: of swallow_exp, the one that installs it."""
        RequestError.__init__(
            self,
            f"{task} as the paper scored it, without the package {package}",
            expected=f"{package} (an extra: {extra})",
            remedy=f"run `pip install 'swallow_exp[{extra}]'`, or ask for suite.profiles=[fair] alone",
        )


@dataclass(frozen=True)
class DataFolder:
    """The user's data folder, laid out as <root>/<dataset>/<file>. `root` None: there is none."""

    root: Path | None = None
    network: bool = False

    @classmethod
    def of(cls, suite: SuiteConfig) -> DataFolder:
        """The folder of a suite. Raises RequestError when it names one that is not there, or allows the network and names none."""
        if suite.data_dir is None:
            if suite.network:
                raise RequestError(
                    "suite.network=true without suite.data_dir", expected="a folder to fetch into", remedy="set suite.data_dir=FOLDER"
                )
            return cls()
        root = user_path(suite.data_dir)
        if suite.network:
            make_folder(root)
        if not root.is_dir():
            raise RequestError(
                f"suite.data_dir={suite.data_dir} is not a folder",
                expected="a folder with <dataset>/<file>, as the README of each task says",
                remedy="correct suite.data_dir, or add suite.network=true to fetch into it",
            )
        return cls(root, suite.network)

    def path(self, file: DataFile) -> Path:
        """The checked file. Raises MissingData when it is nowhere, RequestError when it is not what it should be."""
        if self.root is None:
            raise MissingData(file, None)
        path = self.root / file.dataset / file.name
        if not path.is_file():
            if not self.network or file.url is None:
                raise MissingData(file, self.root)
            self._fetch(file, path)
        _check(file, path)
        return path

    def find(self, file: DataFile) -> Path | None:
        """The checked file if it lies in the folder, else None; never fetched. For files a user may add."""
        if self.root is None or not (self.root / file.dataset / file.name).is_file():
            return None
        return self.path(file)

    def _fetch(self, file: DataFile, path: Path) -> None:
        assert file.url is not None
        make_folder(path.parent)
        with user_disk(path.parent), FileLock(str(path.parent / ".fetch.lock")):
            if path.is_file():
                return  # another evaluator was faster
            partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
            try:
                _download(file, partial)
                if file.member is not None:
                    archive, partial = partial, partial.with_suffix(".member")
                    try:
                        with _open_member(archive, file.member) as source, partial.open("wb") as handle:
                            shutil.copyfileobj(source, handle, BLOCK_BYTES)
                    finally:
                        archive.unlink(missing_ok=True)
                found = sha256_file(partial)
                declared = file.sha256 or file.fetched_sha256
                if declared is not None:
                    _compare(path, found, declared, "declared")
                if file.sha256 is None:
                    sums = {**_sums(path.parent), path.name: found}
                    write_text_atomic(path.parent / SUMS_NAME, "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)))
                    say(f"{path}: fetched, sha256 {found} noted in {SUMS_NAME}")
                partial.replace(path)
            except (OSError, HTTPException, urllib.error.URLError, zipfile.BadZipFile, tarfile.TarError) as error:
                raise MissingData(file, self.root, f"{type(error).__name__}: {error}") from error
            finally:
                partial.unlink(missing_ok=True)


def _download(file: DataFile, partial: Path) -> None:
    assert file.url is not None
    request = urllib.request.Request(file.url, headers={"User-Agent": "swallow_exp"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer, partial.open("wb") as handle:
        length = answer.headers.get("Content-Length")
        total = int(length) if length and length.isdigit() else None
        received = 0
        with progress_bar(f"fetch {file.dataset}/{file.name}", total, unit="bytes") as advance:
            while block := answer.read(BLOCK_BYTES):
                handle.write(block)
                received += len(block)
                advance(len(block))
        if total is not None and received != total:
            raise OSError(f"{received} of {total} bytes came")


@contextmanager
def _open_member(archive: Path, member: str) -> Iterator[IO[bytes]]:
    """One file of a zip or tar archive, read without unpacking anything else."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped, zipped.open(member) as source:
                yield source
        else:
            with tarfile.open(archive) as tarred:
                found = tarred.extractfile(member)
                if found is None:
                    raise OSError(f"{member} is no file of the archive")
                yield found
    except KeyError as error:
        raise OSError(f"the archive has no {member}") from error


def _sums(folder: Path) -> dict[str, str]:
    try:
        lines = (folder / SUMS_NAME).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    return {name.strip(): digest for digest, _, name in (line.partition("  ") for line in lines) if name}


_checked: dict[tuple[str, int, int], str] = {}


def _check(file: DataFile, path: Path) -> None:
    expected, kind = (file.sha256, "declared") if file.sha256 else (_sums(path.parent).get(path.name), f"noted in {SUMS_NAME}")
    if expected is None:
        return
    facts = path.stat()
    key = (str(path), facts.st_size, facts.st_mtime_ns)
    if key not in _checked:
        _checked[key] = sha256_file(path)
    _compare(path, _checked[key], expected, kind)


def _compare(path: Path, found: str, expected: str, kind: str) -> None:
    if found != expected:
        raise RequestError(
            f"{path} has sha256 {found}", expected=f"{expected}, as {kind}", remedy="remove the file and get the pinned version again"
        )
