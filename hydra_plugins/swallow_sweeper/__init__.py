"""Hydra's sweeper of this project, `hydra/sweeper=swallow`: a question's cells, shared by lease, through any of Hydra's launchers.

`swallow train -m --launcher NAME` uses it. In a Hydra app of your own over conf/ (config_name="train"), `-m hydra/sweeper=swallow` carries
out the same cells: +sweep=NAME, key=a,b and --config-dir's levels as hydra.sweeper.config_dirs. A cell is a `swallow train` in a process
of its own; the app's own function is not called, and keys that conf/ does not have are refused.

Hydra imports this in every app of the environment: nothing heavy here, and no postponed annotations beside the dataclass
(Hydra runs this file without entering it into sys.modules, where dataclasses look annotations up).
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional  # noqa: UP035  (OmegaConf reads these)

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins


class SwallowSweeper(BasicSweeper):
    """Union of grids, exclusions, seeds, each run_id once; finished cells are skipped, failed and preempted ones continued."""

    def __init__(
        self,
        max_batch_size: Optional[int] = None,  # noqa: UP045
        params: Optional[Dict[str, Any]] = None,  # noqa: UP006, UP045
        config_dirs: Any = (),
        plan_only: bool = False,
    ) -> None:
        """As Hydra's own; `config_dirs` are folders with the user's levels; `plan_only` says what would be done."""
        super().__init__(max_batch_size=max_batch_size, params=params)
        self._config_dirs = [str(folder) for folder in config_dirs]
        self._plan_only = plan_only

    def sweep(self, arguments: List[str]) -> Any:  # noqa: UP006
        """Hydra's entrance: carry out, list what failed, end with the exit code of `swallow train -m`."""
        from swallow_exp.sweep.multirun import answer_hydra

        words, launcher_of = self._words(arguments), self._launcher_of
        return answer_hydra(words, self._config_dirs, launcher_of, batch=self.max_batch_size, plan_only=self._plan_only)

    def carry_out(self, arguments: List[str]) -> Any:  # noqa: UP006
        """The results, in the order of the cells; says nothing of them."""
        from swallow_exp.sweep.grid import expand_sweep
        from swallow_exp.sweep.multirun import sweep_question

        sweep = expand_sweep(self._words(arguments), list(map(Path, self._config_dirs)))
        return sweep_question(sweep, self._launcher_of, self.max_batch_size)

    def _words(self, arguments: List[str]) -> List[str]:  # noqa: UP006
        return [*(f"{key}={value}" for key, value in (self.params or {}).items()), *arguments]

    def _launcher_of(self, task: Any) -> Any:
        return Plugins.instance().instantiate_launcher(hydra_context=self.hydra_context, task_function=task, config=self.config)


@dataclass
class SwallowSweeperConfig:
    """hydra.sweeper.*"""

    _target_: str = "hydra_plugins.swallow_sweeper.SwallowSweeper"
    max_batch_size: Optional[int] = None  # noqa: UP045
    params: Optional[Dict[str, Any]] = None  # noqa: UP006, UP045
    config_dirs: List[str] = field(default_factory=list)  # noqa: UP006
    plan_only: bool = False


ConfigStore.instance().store(group="hydra/sweeper", name="swallow", node=SwallowSweeperConfig, provider="swallow_exp")
