"""Where levels and questions lie: conf/ and sweeps/ of the checkout or of the installed package, and the user's folders.

Reads  the names of conf/**/*.yaml and <config-dir>/**/*.yaml
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
SWEEPS = "sweeps"  # lies in a --config-dir beside the groups, and is none


def shipped_folder(name: str) -> Path:
    """`conf` or `sweeps`: beside the package in a checkout, inside it (as _conf, _sweeps) when installed from a wheel."""
    checkout = PACKAGE.parent / name
    return checkout if (PACKAGE.parent / "pyproject.toml").exists() and checkout.is_dir() else PACKAGE / f"_{name}"


def list_levels(group: str, config_dirs: Sequence[Path] = ()) -> list[str]:
    """Names of the levels of a group, shipped and the user's."""
    folders = [shipped_folder("conf"), *config_dirs]
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml") if path.is_file()})


def list_groups(config_dirs: Sequence[Path] = ()) -> list[str]:
    """Names of the groups, shipped and the user's."""
    folders = [shipped_folder("conf"), *config_dirs]
    found = {path.name for folder in folders for path in folder.iterdir() if path.is_dir() and any(path.glob("*.yaml"))}
    return sorted(found - {SWEEPS})
