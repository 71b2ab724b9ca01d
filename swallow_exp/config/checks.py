"""Checks that span fields and groups. They never edit: the saved config is the one that was asked for."""

from __future__ import annotations

import math
import re
from dataclasses import fields

from swallow_exp.config.groups import check_groups
from swallow_exp.config.layout import check_layout
from swallow_exp.config.numbers import check_numbers
from swallow_exp.config.requirements import one_of, require
from swallow_exp.config.schema import Config, MixtureConfig, StrategyConfig

PARALLEL_FORMATS = ("next_token_prediction", "translation_instruction")
PARALLEL_ORDERS = ("mixed", "two_staged")
BUDGET_COUNTS = ("trained_tokens", "positions")
VOCABULARY_METHODS = ("base", "expand", "scratch")
# how the rows of added pieces start: model/rows.py says what each means
VOCABULARY_INITS = (
    "subword_mean",
    "subword_mean_with_prefix",
    "subword_mean_norm_matched",
    "global_mean",
    "normal",
    "first_subword",
    "last_subword",
)
BF16_PRECISIONS = ("bf16-mixed", "bf16-master")  # model/load_model.py says what each means
PRECISIONS = ("32-true", *BF16_PRECISIONS)
ATTENTIONS = ("auto", "sdpa", "eager", "flex", "flash_attention_2")
RECOMPUTATION = {"none": "none", "selective": "selective", "full": "full", "false": "none", "true": "full"}
MAX_NAME_LETTERS = 40  # five of them make a run_id, which is a folder's name (255 bytes at most)
MAX_SEED = 2**32 - 1


def check_init(init: str) -> None:
    """Refuse an initialisation that is not offered."""
    one_of("vocabulary.init", init, VOCABULARY_INITS)


def recomputation_level(strategy: StrategyConfig) -> str:
    """none | selective | full, of what strategy.activation_checkpointing says (true and false are older words). Raises RequestError."""
    wanted = str(strategy.activation_checkpointing)
    one_of("strategy.activation_checkpointing", wanted.lower(), tuple(RECOMPUTATION))
    return RECOMPUTATION[wanted.lower()]


def check_config(config: Config) -> None:
    """Checks that span fields and groups. Raises RequestError; never edits."""
    _check_names(config)
    check_seed(config.seed)
    _check_mixture(config.mixture)
    _check_parallel(config)
    check_layout(config)
    check_numbers(config)
    one_of("budget.counts", config.budget.counts, BUDGET_COUNTS)
    one_of("vocabulary.method", config.vocabulary.method, VOCABULARY_METHODS)
    check_init(config.vocabulary.init)
    one_of("vocabulary.segmenter", config.vocabulary.segmenter, ("mecab", "whitespace", "none"))
    one_of("mixture.attention", config.mixture.attention, ("packed", "document"))
    one_of("vocabulary.normalization", config.vocabulary.normalization, ("none", "nfkc"))
    one_of("numerics.precision", config.numerics.precision, PRECISIONS)
    _check_strategy(config.strategy)
    one_of("machine.accelerator", config.machine.accelerator, ("cpu", "gpu"))
    one_of("machine.encoder", config.machine.encoder, ("sentencepiece", "kitoken"))
    one_of("tracking.wandb_mode", config.tracking.wandb_mode, (None, "offline", "online"))
    every = config.tracking.publish_every_seconds
    require(
        every is None or (math.isfinite(every) and every > 0),
        f"tracking.publish_every_seconds={every}",
        expected="seconds above 0, or null",
        remedy="tracking.publish_every_seconds=300",
    )
    if config.vocabulary.method == "scratch":
        require(
            config.base_model.path is None,
            f"vocabulary={config.vocabulary.name} with pretrained base_model={config.base_model.name}",
            expected="a vocabulary made from scratch only with a randomly initialised model",
            remedy="choose vocabulary=base or an expanded vocabulary",
        )


def _check_strategy(strategy: StrategyConfig) -> None:
    recomputation_level(strategy)
    one_of("strategy.attention", strategy.attention, ATTENTIONS)
    one_of("strategy.kernels", strategy.kernels, ("torch", "liger"))
    chunk = strategy.loss_chunk_positions
    require(
        chunk is None or chunk > 0,
        f"strategy.loss_chunk_positions={chunk}",
        expected="1 or more, or null for all positions at once",
        remedy="set strategy.loss_chunk_positions",
    )


def check_folder_name(what: str, name: str) -> None:
    """Raises RequestError for a name that cannot be a part of a folder's or file's name."""
    require(
        re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) is not None,
        f"{what}={name!r}",
        expected="letters, digits, '.', '_' and '-'",
        remedy="rename it",
    )
    require(
        len(name) <= MAX_NAME_LETTERS, f"{what}={name!r}", expected=f"at most {MAX_NAME_LETTERS} letters", remedy="choose a shorter name"
    )


def check_seed(seed: int | str) -> int:
    """The seed as a number. Raises RequestError for what the generators do not take."""
    text = str(seed)
    require(
        text.isascii() and text.isdigit() and int(text) <= MAX_SEED,
        f"seed={text}",
        expected=f"a whole number from 0 to {MAX_SEED:,}",
        remedy="choose another seed",
    )
    return int(text)


def _check_names(config: Config) -> None:
    """Level names become parts of folder names."""
    for group in fields(config):
        if group.name != "seed":
            check_folder_name(f"{group.name}.name", getattr(config, group.name).name)
    for key, source in config.mixture.sources.items():
        check_folder_name("source", key)
        check_folder_name(f"mixture.sources.{key}.name", source.name)


def _check_mixture(mixture: MixtureConfig) -> None:
    name = f"mixture={mixture.name}"
    given = [form for form in ("weights", "groups") if getattr(mixture, form)]
    require(
        bool(given),
        f"{name} has no weights",
        expected="at least one source with a weight, or groups of sources",
        remedy="add weights: or groups: to the mixture file",
    )
    require(
        len(given) == 1,
        f"{name} has weights ({', '.join(mixture.weights)}) and groups ({', '.join(mixture.groups)})",
        expected="one of the two forms",
        remedy="drop one; a file that builds on another mixture gets the other's shares too",
    )
    one_of("mixture.attention", mixture.attention, ("packed", "document"))
    if mixture.weights:
        _check_weights(mixture, name)
    else:
        check_groups(mixture)
    _check_sources(mixture)


def _check_weights(mixture: MixtureConfig, name: str) -> None:
    for source in mixture.weights:
        require(
            source in mixture.sources,
            f"{name} gives a weight to '{source}'",
            expected=f"one of its sources ({', '.join(mixture.sources) or 'none'})",
            remedy="add the source to the mixture's defaults list, or drop the weight",
        )
        require(
            mixture.sources[source].kind == "documents",
            f"{name} gives a weight to the pairs '{source}'",
            expected="document sources in weights",
            remedy="name pairs in parallel_source and choose parallel=...",
        )
    for source, weight in mixture.weights.items():
        require(
            math.isfinite(weight) and weight >= 0,
            f"{name}: weight of {source} is {weight}",
            expected="a number >= 0",
            remedy="correct the weight",
        )
    total = math.fsum(mixture.weights.values())
    require(
        abs(total - 1.0) < 1e-9,
        f"{name}: weights sum to {total:.6g}",
        expected="a sum of exactly 1",
        remedy="correct the weights in the mixture file",
    )


def _check_sources(mixture: MixtureConfig) -> None:
    for key, source_config in mixture.sources.items():
        one_of(f"mixture.sources.{key}.kind", source_config.kind, ("documents", "pairs"))
        one_of(f"mixture.sources.{key}.normalization", source_config.normalization, ("none", "nfkc"))
        require(
            bool(source_config.files) or source_config.dataset is not None,
            f"source {key} has no files",
            expected="at least one file or glob, or a dataset of the hub",
            remedy=f"set files: or dataset: in source/{key}.yaml",
        )
        require(
            0.0 <= source_config.heldout_fraction < 1.0,
            f"source {key}: heldout_fraction={source_config.heldout_fraction}",
            expected="a share in [0, 1)",
            remedy="correct it",
        )


def _check_parallel(config: Config) -> None:
    parallel, mixture = config.parallel, config.mixture
    one_of("parallel.format", parallel.format, (None, *PARALLEL_FORMATS))
    if parallel.format is None:
        return
    one_of("parallel.order", parallel.order, PARALLEL_ORDERS)
    require(
        parallel.epochs >= 1, f"parallel.epochs={parallel.epochs}", expected="1 or more", remedy="use parallel=none to leave the pairs out"
    )
    require(
        mixture.parallel_source is not None,
        f"parallel={parallel.name} with mixture={mixture.name}, which names no parallel_source",
        expected="a mixture with a parallel_source",
        remedy="add parallel_source: to the mixture file, or choose parallel=none",
    )
    source = mixture.sources.get(mixture.parallel_source or "")
    require(
        source is not None and source.kind == "pairs",
        f"mixture={mixture.name}: parallel_source={mixture.parallel_source}",
        expected="one of its sources with kind: pairs",
        remedy="add the pairs to the mixture's defaults list",
    )
    if parallel.format == "translation_instruction":
        require(
            bool(parallel.instruction_ja_en and parallel.instruction_en_ja),
            f"parallel={parallel.name} has no instructions",
            expected="instruction_ja_en and instruction_en_ja",
            remedy="set both in the level file",
        )
