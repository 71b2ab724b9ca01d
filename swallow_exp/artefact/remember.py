"""Digests of files, remembered for each version of a file, so that what was checked once on a machine is not read again.

(1) stamp   size, both times (ns) and inode of every file    -> the version that a digest is of
(2) look    the user's cache folder, one file for each folder -> the digest, when no file has changed since
(3) hash    under a lock: of the processes that start together, one reads and the others wait

A file that changed while it was read, or a moment before, is not remembered. Where the cache cannot be written, nothing is
remembered, and every check reads the files again.

Reads/Writes  $SWALLOW_CACHE/digests/ (without the variable: swallow_exp/digests/ in $XDG_CACHE_HOME or ~/.cache)
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from filelock import FileLock

from swallow_exp.artefact.errors import SwallowError
from swallow_exp.artefact.files import make_folder, read_json, sha256_file, write_json_atomic
from swallow_exp.artefact.processes import usable_cores
from swallow_exp.artefact.progress import say
from swallow_exp.artefact.units import format_bytes

SETTLED_SECONDS = 0.1  # assumed: coarser than the clock that a file system stamps its files with
SLOW_BYTES = 1 << 30  # reading more than this is announced
WAIT_SECONDS = 3600.0  # for the process that reads the same files; afterwards they are read here as well

Stamps = list[list[str | int]]  # name, bytes, modified (ns), changed (ns), inode
Compute = Callable[[str], str]


def remembered_digests(folder: Path, wanted: Mapping[str, Sequence[str]], compute: Compute) -> dict[str, str]:
    """The digest of every entry of `wanted` (entry -> names of the files it is over, relative to `folder`).

    `compute` gets the entry and reads its files; it is called only for what is not known. Raises OSError for a file that is not there.
    """
    place = folder.resolve()
    before = {entry: _stamps(place, names) for entry, names in wanted.items()}
    known = _known(place, before)
    if len(known) == len(wanted):
        return known
    with _alone(place):
        known = _known(place, before)
        missing = [entry for entry in wanted if entry not in known]
        size = sum(int(stamp[1]) for entry in missing for stamp in before[entry])
        if size > SLOW_BYTES:
            say(f"{folder}: checking {format_bytes(size)}, once on this machine")
        started = time.time_ns()
        with ThreadPoolExecutor(max(1, min(len(missing), usable_cores()))) as threads:
            found = dict(zip(missing, threads.map(compute, missing), strict=True))
        settled = started - int(SETTLED_SECONDS * 1e9)
        stable = {
            entry: {"files": before[entry], "digest": found[entry]}
            for entry in missing
            if _stamps(place, wanted[entry]) == before[entry] and all(int(stamp[3]) < settled for stamp in before[entry])
        }
        if stable:
            _remember(place, stable)
    return {entry: known.get(entry) or found[entry] for entry in wanted}


def remembered_sha256s(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """The sha256 of each file (relative to `folder`). Raises OSError for a file that is not there."""
    entries = {f"sha256 {name}": [name] for name in names}
    found = remembered_digests(folder, entries, lambda entry: sha256_file(folder / entry.removeprefix("sha256 ")))
    return {name: found[f"sha256 {name}"] for name in names}


def cache_folder() -> Path:
    """Where digests are remembered."""
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(os.environ.get("SWALLOW_CACHE") or Path(caches) / "swallow_exp") / "digests"


def _stamps(folder: Path, names: Sequence[str]) -> Stamps:
    facts = [(name, (folder / name).stat()) for name in names]
    return [[name, fact.st_size, fact.st_mtime_ns, fact.st_ctime_ns, fact.st_ino] for name, fact in facts]


def _file(place: Path) -> Path:
    return cache_folder() / f"{hashlib.sha256(os.fsencode(place)).hexdigest()[:32]}.json"


def _entries(place: Path) -> dict[str, dict[str, object]]:
    try:
        plain = read_json(_file(place))
    except SwallowError:
        return {}  # a cache that cannot be read knows nothing
    entries = plain.get("digests") if isinstance(plain, dict) and plain.get("folder") == str(place) else None
    return {name: entry for name, entry in entries.items() if isinstance(entry, dict)} if isinstance(entries, dict) else {}


def _known(place: Path, stamps: Mapping[str, Stamps]) -> dict[str, str]:
    entries = _entries(place)
    found = {entry: entries[entry] for entry in stamps if entry in entries and entries[entry].get("files") == stamps[entry]}
    return {entry: digest for entry, one in found.items() if isinstance(digest := one.get("digest"), str)}


def _remember(place: Path, entries: Mapping[str, Mapping[str, object]]) -> None:
    with contextlib.suppress(OSError, SwallowError):
        write_json_atomic(_file(place), {"folder": str(place), "digests": {**_entries(place), **entries}})


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Hold the lock of a folder's digests; where there can be none, go on without."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError, SwallowError):
            make_folder(cache_folder())
            held.enter_context(FileLock(str(_file(place).with_suffix(".lock")), timeout=WAIT_SECONDS))
        yield
