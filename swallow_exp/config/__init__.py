"""The config of a run: one dataclass per conf group (schema) and the checks that span them (checks)."""

from swallow_exp.config.checks import check_config
from swallow_exp.config.compose import Composed, compose_config
from swallow_exp.config.schema import (
    BaseModelConfig,
    BudgetConfig,
    Config,
    MachineConfig,
    MixtureConfig,
    NumericsConfig,
    OptimConfig,
    ParallelConfig,
    PathsConfig,
    SourceConfig,
    StrategyConfig,
    SuiteConfig,
    TrackingConfig,
    VocabularyConfig,
)

__all__ = [
    "BaseModelConfig",
    "BudgetConfig",
    "Composed",
    "Config",
    "MachineConfig",
    "MixtureConfig",
    "NumericsConfig",
    "OptimConfig",
    "ParallelConfig",
    "PathsConfig",
    "SourceConfig",
    "StrategyConfig",
    "SuiteConfig",
    "TrackingConfig",
    "VocabularyConfig",
    "check_config",
    "compose_config",
]
