"""A Hydra app of somebody's own over this project's conf/: what `hydra/sweeper=swallow` is outside `swallow train -m`."""

from __future__ import annotations

from typing import Any

import hydra
from hydra.core.config_store import ConfigStore

from swallow_exp.config.levels import shipped_folder
from swallow_exp.config.schema import Config

ConfigStore.instance().store(name="config_schema", node=Config)


@hydra.main(version_base="1.3", config_path=str(shipped_folder("conf")), config_name="train")
def main(config: Any) -> None:
    raise AssertionError("a cell is a `swallow train` of its own")


if __name__ == "__main__":
    main()
