"""The noise register: how far runs that differ in nothing real lie apart, as a null study measured it.

<out>/noise/<study>.json    {"study", "setting", "setting_names", "measures": [NoiseEntry, ...]}

A register counts for runs of the same setting only: equal base model, mixture and budget, as their
identities state them. It is a recorded result like any other: `swallow report` writes it for a
question that declares `null_study: true`, and other reports and plans read it.

Source  Madaan et al. 2024, arXiv 2406.10229 (variance between seeds, by benchmark)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from swallow_exp.artefact.files import digest_of, make_folder, read_json, write_json_atomic
from swallow_exp.artefact.paths import RunPaths, noise_folder

SETTING_GROUPS = ("base_model", "mixture", "budget")


@dataclass(frozen=True)
class NoiseEntry:
    """Spread between runs on one measure, in squared units of its score.

    variance, freedom            of one run, without what all runs of a seed share: for paired differences
    within_variance, _freedom    of one run, seeds and all: for a run against its own start
    """

    task: str
    metric: str
    profile: str
    prompt_digest: str
    task_version: str
    unit: str
    num_runs: int
    num_items: int
    variance: float
    freedom: int
    within_variance: float
    within_freedom: int


@dataclass(frozen=True)
class NoiseRegister:
    """What one null study says of one setting."""

    study: str
    setting: str
    setting_names: Mapping[str, str]
    measures: tuple[NoiseEntry, ...]

    def entry(self, task: str, metric: str, profile: str) -> NoiseEntry | None:
        """The entry of one measure, whatever prompts it was asked with."""
        same = (e for e in self.measures if (e.task, e.metric, e.profile) == (task, metric, profile))
        return next(same, None)


def setting_of(identity: Mapping[str, Any]) -> str:
    """Digest of what a register depends on; empty where the identity lacks a group."""
    if not all(isinstance(identity.get(group), Mapping) for group in SETTING_GROUPS):
        return ""
    return digest_of({group: identity[group] for group in SETTING_GROUPS})


def setting_of_run(run: RunPaths) -> str:
    """Setting of a run on disk; empty where its identity cannot be read."""
    identity = read_json(run.identity)
    return setting_of(identity) if isinstance(identity, Mapping) else ""


def setting_names(identity: Mapping[str, Any]) -> dict[str, str]:
    """Level names of the setting, for people."""
    return {group: str(identity[group].get("name", "")) for group in SETTING_GROUPS}


def write_register(out: Path, register: NoiseRegister) -> Path:
    """Write one register, replacing an earlier one of the same study."""
    path = make_folder(noise_folder(out)) / f"{register.study}.json"
    write_json_atomic(path, asdict(register))
    return path


def read_registers(out: Path) -> tuple[NoiseRegister, ...]:
    """Every register under an output root that can be read, in order of their names."""
    paths = sorted(noise_folder(out).glob("*.json"))
    return tuple(found for path in paths if (found := _register(read_json(path))) is not None)


def find_register(registers: Sequence[NoiseRegister], setting: str) -> NoiseRegister | None:
    """The register of a setting that rests on most runs; None when there is none."""
    same = [register for register in registers if setting and register.setting == setting]
    return max(same, key=lambda r: max((e.num_runs for e in r.measures), default=0), default=None)


def _register(raw: Any) -> NoiseRegister | None:
    """A register from JSON; None for anything of another shape."""
    try:
        names = [field.name for field in fields(NoiseEntry)]
        entries = tuple(NoiseEntry(**{name: row[name] for name in names}) for row in raw["measures"])
        if not all(e.variance >= 0 and e.freedom >= 0 and e.within_freedom >= 0 and e.num_items > 0 for e in entries):
            return None
        return NoiseRegister(str(raw["study"]), str(raw["setting"]), dict(raw["setting_names"]), entries)
    except (KeyError, TypeError, ValueError):
        return None
