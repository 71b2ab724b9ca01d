"""A suite by itself, for models and for runs that are asked more than their own: only `suite=` and `suite.<field>=` may be given.

Reads  conf/suite/*.yaml, <config-dir>/suite/*.yaml
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config.compose import compose_config
from swallow_exp.config.explain import explain
from swallow_exp.config.fields import check_suite
from swallow_exp.config.overrides import parse_overrides, read_overrides
from swallow_exp.config.schema import SuiteConfig


def compose_suite(
    overrides: Sequence[str], config_dirs: Sequence[Path] = (), *, base: SuiteConfig | None = None, default: str = "none"
) -> SuiteConfig:
    """The suite of a level (`suite=NAME`, else `base`, else the level `default`) with its fields overridden. Raises RequestError."""
    for word in overrides:
        if not word.lstrip("+").startswith(("suite=", "suite.")):
            raise RequestError(f"swallow evaluate {word}", expected="suite=NAME or suite.FIELD=VALUE", remedy="leave it out")
    named = any(word.startswith("suite=") for word in overrides)
    if named or base is None:
        return compose_config([*([] if named else [f"suite={default}"]), *overrides], config_dirs).config.suite
    return _changed(base, overrides)


def _changed(base: SuiteConfig, words: Sequence[str]) -> SuiteConfig:
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    parsed = parse_overrides(read_overrides(words))
    try:
        changes: dict[str, Any] = {override.key_or_group.removeprefix("suite."): override.value() for override in parsed}
        merged = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(SuiteConfig), asdict(base), changes))
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise explain(error, list(words)) from error
    assert isinstance(merged, SuiteConfig)
    check_suite(merged)
    return merged
