"""Checks of a whole config: single fields, then what spans fields and groups. They never edit.

Reads/Writes  nothing.
"""

from __future__ import annotations

import math
import re
from dataclasses import fields

from swallow_exp.artefact.errors import one_of, require
from swallow_exp.config.fields import KINDS, NORMALIZATIONS, VOCABULARY_INITS, check_fields
from swallow_exp.config.groups import check_groups
from swallow_exp.config.layout import check_layout
from swallow_exp.config.schema import Config, MixtureConfig, OptimConfig, SourceConfig

MAX_NAME_LETTERS = 40  # five of them make a run_id, which is a folder's name (255 bytes at most)
MAX_SEED = 2**32 - 1


def check_init(init: str) -> None:
    """Refuse an initialisation that is not offered."""
    one_of("vocabulary.init", init, VOCABULARY_INITS)


def check_config(config: Config) -> None:
    """Everything that can be wrong with a composed config. Raises RequestError."""
    _check_names(config)
    check_seed(config.seed)
    check_fields(config)
    _check_mixture(config.mixture)
    _check_parallel(config)
    check_layout(config)
    _check_recipe(config)
    _check_final_marks(config)
    _check_model(config)


def warmup_remark(optim: OptimConfig, num_steps: int) -> str | None:
    """What to say of a warmup that is as long as the run."""
    if optim.warmup_steps < num_steps:
        return None
    return f"optim.warmup_steps={optim.warmup_steps:,} of {num_steps:,} steps: the learning rate never reaches its peak"


def check_folder_name(what: str, name: str) -> None:
    """Raises RequestError for a name that cannot be a part of a folder's or file's name."""
    given = f"{what}={name!r}"
    fits = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) is not None
    require(fits, given, expected="letters, digits, '.', '_' and '-'", remedy="rename it")
    require(len(name) <= MAX_NAME_LETTERS, given, expected=f"at most {MAX_NAME_LETTERS} letters", remedy="choose a shorter name")


def check_seed(seed: int | str) -> int:
    """The seed as a number. Raises RequestError for what the generators do not take."""
    text = str(seed)
    ok = text.isascii() and text.isdigit() and int(text) <= MAX_SEED
    require(ok, f"seed={text}", expected=f"a whole number from 0 to {MAX_SEED:,}", remedy="choose another seed")
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
    if mixture.weights:
        _check_weights(mixture, name)
    else:
        check_groups(mixture)
    for key, source in mixture.sources.items():
        require(
            bool(source.files) or source.dataset is not None,
            f"source {key} has no files",
            expected="at least one file or glob, or a dataset of the hub",
            remedy=f"set files: or dataset: in source/{key}.yaml",
        )
        check_source(source)


def check_source(source: SourceConfig) -> None:
    """Checks of one source, which may be read without a mixture. Raises RequestError."""
    name, share, most = f"source {source.name}", source.heldout_fraction, source.max_documents
    one_of(f"{name}: kind", source.kind, KINDS)
    one_of(f"{name}: normalization", source.normalization, NORMALIZATIONS)
    pairs = source.kind == "pairs" and source.language != "en-ja"
    require(not pairs, f"{name}: pairs with language={source.language}", expected="en-ja", remedy="correct the source file")
    require(0 <= share < 1, f"{name}: heldout_fraction={share}", expected="a share in [0, 1)", remedy="correct it")
    ok = most is None or most >= 1
    require(ok, f"{name}: max_documents={most}", expected="1 or more, or null for all", remedy="correct it")


def _check_weights(mixture: MixtureConfig, name: str) -> None:
    for source, weight in mixture.weights.items():
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
        ok = math.isfinite(weight) and weight >= 0
        require(ok, f"{name}: weight of {source} is {weight}", expected="a number >= 0", remedy="correct the weight")
    total = math.fsum(mixture.weights.values())
    require(
        abs(total - 1.0) < 1e-9,
        f"{name}: weights sum to {total:.6g}",
        expected="a sum of exactly 1",
        remedy="correct the weights in the mixture file",
    )


def _check_parallel(config: Config) -> None:
    parallel, mixture = config.parallel, config.mixture
    if parallel.format is None:
        return
    one_of("parallel.order", parallel.order, ("mixed", "two_staged"))
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


def _check_recipe(config: Config) -> None:
    optim, numerics = config.optim, config.numerics
    ratio, final = optim.lr_final_ratio, optim.lr_final
    require(
        (ratio is None) != (final is None),
        f"optim.lr_final_ratio={'null' if ratio is None else ratio}, optim.lr_final={'null' if final is None else final}",
        expected="exactly one of them",
        remedy="set the other to null",
    )
    require(
        final is None or 0.0 <= final <= optim.lr_peak,
        f"optim.lr_final={final}",
        expected=f"a rate from 0 to optim.lr_peak={optim.lr_peak}",
        remedy="set optim.lr_final",
    )
    require(
        not (numerics.stop_at_loss_spike and numerics.skip_loss_spikes),
        "numerics.stop_at_loss_spike=true with numerics.skip_loss_spikes=true",
        expected="at most one of them",
        remedy="set one of them to false",
    )
    require(
        optim.global_batch_sequences % config.strategy.data_parallel == 0,
        f"global_batch_sequences={optim.global_batch_sequences} over {config.strategy.data_parallel} processes",
        expected="a whole number of sequences for each process",
        remedy="change strategy.data_parallel (it never changes the numbers)",
    )


def _check_final_marks(config: Config) -> None:
    budget, step = config.budget, config.optim.sequence_length * config.optim.global_batch_sequences
    number, every = budget.final_checkpoints, budget.final_checkpoint_every_tokens
    require(
        (number == 0) == (every is None),
        f"budget.final_checkpoints={number} with budget.final_checkpoint_every_tokens={every}",
        expected="both, or neither",
        remedy="set the other one",
    )
    if every is not None:
        require(
            every >= step and number * every < budget.tokens,
            f"budget.final_checkpoints={number} every {every:,} tokens",
            expected=f"a step ({step:,} tokens) or more apart, and all of them within the budget of {budget.tokens:,}",
            remedy="set budget.final_checkpoint_every_tokens",
        )


def _check_model(config: Config) -> None:
    model, length = config.base_model, config.optim.sequence_length
    if model.path is None:
        for name in ("hidden_size", "intermediate_size", "num_layers", "num_heads", "num_kv_heads"):
            require(
                getattr(model, name) > 0,
                f"base_model.{name}={getattr(model, name)}",
                expected="a number above 0 for a randomly initialised model",
                remedy=f"set base_model.{name}, or base_model.path",
            )
    require(
        length <= model.max_position_embeddings,
        f"optim.sequence_length={length}",
        expected=f"at most base_model.max_position_embeddings={model.max_position_embeddings}",
        remedy="shorten the sequences or choose a model with more positions",
    )
    require(
        config.vocabulary.method != "scratch" or model.path is None,
        f"vocabulary={config.vocabulary.name} with pretrained base_model={model.name}",
        expected="a vocabulary made from scratch only with a randomly initialised model",
        remedy="choose vocabulary=base or an expanded vocabulary",
    )
