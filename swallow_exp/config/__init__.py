"""The config of a run: one dataclass per conf group (schema), the rules of its fields (fields) and of what spans them (checks)."""

from swallow_exp.config.checks import check_config, check_init
from swallow_exp.config.compose import Composed, compose_config
from swallow_exp.config.fields import BF16_PRECISIONS, VOCABULARY_INITS
from swallow_exp.config.schema import (
    BaseModelConfig,
    BudgetConfig,
    Config,
    GroupConfig,
    MachineConfig,
    MixtureConfig,
    NumericsConfig,
    OptimConfig,
    ParallelConfig,
    PartConfig,
    PathsConfig,
    SourceConfig,
    StrategyConfig,
    SuiteConfig,
    TrackingConfig,
    VocabularyConfig,
)

__all__ = [
    "BF16_PRECISIONS",
    "VOCABULARY_INITS",
    "BaseModelConfig",
    "BudgetConfig",
    "Composed",
    "Config",
    "GroupConfig",
    "MachineConfig",
    "MixtureConfig",
    "NumericsConfig",
    "OptimConfig",
    "ParallelConfig",
    "PartConfig",
    "PathsConfig",
    "SourceConfig",
    "StrategyConfig",
    "SuiteConfig",
    "TrackingConfig",
    "VocabularyConfig",
    "check_config",
    "check_init",
    "compose_config",
]
