"""Compose a config with Hydra, and say in one line what is wrong when it cannot be composed.

(1) find      conf/ of the checkout, or of the installed package; the user's --config-dir comes first, and its levels are checked
(2) compose   train.yaml + overrides, the dataclasses as schema     -> resolved plain dict
(3) type      Config.of, check_config                               -> Config

Reads  conf/**/*.yaml, <config-dir>/**/*.yaml
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config.checks import check_config, warmup_remark
from swallow_exp.config.explain import explain
from swallow_exp.config.levels import check_own_levels, refuse_merged_shares, shipped_folder
from swallow_exp.config.overrides import read_overrides, refuse_several_values, set_value
from swallow_exp.config.schema import Config

PRIMARY = "train"


@dataclass(frozen=True)
class Composed:
    """A composed run: typed, and as the plain dict that is hashed and saved."""

    config: Config
    plain: dict[str, Any]

    @property
    def remarks(self) -> list[str]:
        """Warnings about what can be carried out and is hardly meant, a line each."""
        optim, budget = self.config.optim, self.config.budget
        remark = warmup_remark(optim, math.ceil(budget.tokens / (optim.sequence_length * optim.global_batch_sequences)))
        return [remark] if remark else []


def compose_config(overrides: Sequence[str], config_dirs: Sequence[Path] = ()) -> Composed:
    """Compose, resolve, type and check. Raises RequestError for everything a user can get wrong."""
    for folder in config_dirs:
        check_own_levels(folder)
    overrides = read_overrides(overrides)
    refuse_several_values(overrides)
    import yaml
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        composed = _hydra_compose(list(overrides), config_dirs)
        plain = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
        assert isinstance(plain, dict)
        plain.pop("experiment", None)
        config = Config.of({str(key): value for key, value in plain.items()})
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError, OSError, RecursionError) as error:
        if isinstance(error, RequestError):
            raise
        raise explain(error, overrides, config_dirs) from error
    check_config(config)
    return Composed(config, asdict(config))


@cache
def _store_schema() -> None:
    """Once a process: reading the dataclasses takes a quarter of a composition."""
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="config_schema", node=Config)


def _hydra_compose(overrides: list[str], config_dirs: Sequence[Path]) -> Any:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    _store_schema()
    GlobalHydra.instance().clear()
    path = ",".join(set_value("", f"file://{folder.resolve()}").removeprefix("=") for folder in config_dirs)
    search = [f"hydra.searchpath=[{path}]"] if path else []
    with initialize_config_dir(config_dir=str(shipped_folder("conf")), version_base="1.3"):
        if config_dirs:
            refuse_merged_shares(GlobalHydra.instance().config_loader(), PRIMARY, [*search, *overrides], config_dirs)
        return compose(config_name=PRIMARY, overrides=[*search, *overrides])
