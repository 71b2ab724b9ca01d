"""Checks of numbers: in range, finite, and not two ways of saying one thing. Raises RequestError.

Reads/Writes  nothing.
"""

from __future__ import annotations

import math

from swallow_exp.config.requirements import one_of, require
from swallow_exp.config.schema import Config, NumericsConfig, OptimConfig, SuiteConfig


def _check_saving(config: Config) -> None:
    machine = config.machine
    for name, value in {"seconds": machine.rolling_checkpoint_seconds, "tokens": machine.rolling_checkpoint_tokens}.items():
        require(
            value is None or (value >= 0 and math.isfinite(value)),
            f"machine.rolling_checkpoint_{name}={value}",
            expected="0 or more, or null for none",
            remedy=f"set machine.rolling_checkpoint_{name}",
        )
    for name, size in {"memory_gib": machine.memory_gib, "price_per_gpu_hour": machine.price_per_gpu_hour}.items():
        require(
            size is None or (size >= 0 and math.isfinite(size)),
            f"machine.{name}={size}",
            expected="0 or more, or null for unknown",
            remedy=f"set machine.{name}",
        )
    require(machine.keep_states >= 1, f"machine.keep_states={machine.keep_states}", expected="1 or more", remedy="set machine.keep_states")


def _check_final_rate(optim: OptimConfig) -> None:
    """Exactly one of the two ways to say where the learning rate ends."""
    ratio, final = optim.lr_final_ratio, optim.lr_final
    both = f"optim.lr_final_ratio={'null' if ratio is None else ratio}, optim.lr_final={'null' if final is None else final}"
    require(
        (ratio is None) != (final is None),
        both,
        expected="exactly one of them",
        remedy="set the other to null",
    )
    require(
        ratio is None or 0.0 <= ratio <= 1.0,
        f"optim.lr_final_ratio={ratio}",
        expected="a ratio in [0, 1]",
        remedy="set optim.lr_final_ratio",
    )
    require(
        final is None or 0.0 <= final <= optim.lr_peak,
        f"optim.lr_final={final}",
        expected=f"a rate from 0 to optim.lr_peak={optim.lr_peak}",
        remedy="set optim.lr_final",
    )


def _check_guards(numerics: NumericsConfig) -> None:
    limits = {
        "numerics.max_skipped_updates": numerics.max_skipped_updates,
        "numerics.max_skipped_in_a_row": numerics.max_skipped_in_a_row,
    }
    for name, value in limits.items():
        require(value >= 0, f"{name}={value}", expected="0 (stop at the first) or more", remedy=f"set {name}")
    require(
        not (numerics.stop_at_loss_spike and numerics.skip_loss_spikes),
        "numerics.stop_at_loss_spike=true with numerics.skip_loss_spikes=true",
        expected="at most one of them",
        remedy="set one of them to false",
    )


def check_suite(suite: SuiteConfig) -> None:
    """Checks of a suite alone, which may be asked of a model without a run. Raises RequestError."""
    require(suite.batch_size > 0, f"suite.batch_size={suite.batch_size}", expected="a number above 0", remedy="set suite.batch_size")
    require(
        suite.limit is None or suite.limit > 0,
        f"suite.limit={suite.limit}",
        expected="a positive number of items, or null for all",
        remedy="set suite.limit",
    )
    one_of("suite.backend", suite.backend, ("hf", "vllm"))
    require(bool(suite.profiles), "suite.profiles=[]", expected="at least one of paper, fair", remedy="set suite.profiles=[paper,fair]")
    for profile in suite.profiles:
        one_of("suite.profiles", profile, ("paper", "fair"))
    require(
        suite.fraction is None or 0.0 < suite.fraction <= 1.0,
        f"suite.fraction={suite.fraction}",
        expected="a share above 0 and at most 1, or null for all items",
        remedy="set suite.fraction",
    )


def _check_final_marks(config: Config) -> None:
    budget, step = config.budget, config.optim.sequence_length * config.optim.global_batch_sequences
    number, every = budget.final_checkpoints, budget.final_checkpoint_every_tokens
    require(number >= 0, f"budget.final_checkpoints={number}", expected="0 (none) or more", remedy="set budget.final_checkpoints")
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


def check_numbers(config: Config) -> None:
    """Every number of a config. Raises RequestError for the first that cannot be."""
    _check_final_rate(config.optim)
    _check_guards(config.numerics)
    optim, budget = config.optim, config.budget
    positive = {
        "budget.tokens": budget.tokens,
        "budget.checkpoint_every_tokens": budget.checkpoint_every_tokens,
        "optim.lr_peak": optim.lr_peak,
        "optim.sequence_length": optim.sequence_length,
        "optim.global_batch_sequences": optim.global_batch_sequences,
        "optim.clip_norm": optim.clip_norm,
        "strategy.pad_vocabulary_multiple": config.strategy.pad_vocabulary_multiple,
        "machine.micro_batch_sequences": config.machine.micro_batch_sequences,
        "machine.processes": config.machine.processes,
        "tracking.log_every_steps": config.tracking.log_every_steps,
        "tracking.log_line_seconds": config.tracking.log_line_seconds,
        "vocabulary.multiple_of": config.vocabulary.multiple_of,
    }
    for name, value in positive.items():
        require(value > 0 and math.isfinite(value), f"{name}={value}", expected="a number above 0", remedy=f"set {name}")
    for name, value in {"optim.warmup_steps": optim.warmup_steps, "optim.weight_decay": optim.weight_decay, "optim.eps": optim.eps}.items():
        require(value >= 0 and math.isfinite(value), f"{name}={value}", expected="0 or more", remedy=f"set {name}")
    for name, value in {"optim.beta1": optim.beta1, "optim.beta2": optim.beta2}.items():
        require(0.0 <= value < 1.0, f"{name}={value}", expected="a number in [0, 1)", remedy=f"set {name}")
    require(
        config.machine.threads is None or config.machine.threads > 0,
        f"machine.threads={config.machine.threads}",
        expected="1 or more, or null to let torch decide",
        remedy="set machine.threads",
    )
    _check_saving(config)
    _check_final_marks(config)
    check_suite(config.suite)
    require(
        optim.global_batch_sequences % config.strategy.data_parallel == 0,
        f"global_batch_sequences={optim.global_batch_sequences} over {config.strategy.data_parallel} processes",
        expected="a whole number of sequences for each process",
        remedy="change strategy.data_parallel (it never changes the numbers)",
    )
    if config.base_model.path is None:
        for name in ("hidden_size", "intermediate_size", "num_layers", "num_heads", "num_kv_heads"):
            value = getattr(config.base_model, name)
            require(
                value > 0,
                f"base_model.{name}={value}",
                expected="a number above 0 for a randomly initialised model",
                remedy=f"set base_model.{name}, or base_model.path",
            )
    require(
        optim.sequence_length <= config.base_model.max_position_embeddings,
        f"optim.sequence_length={optim.sequence_length}",
        expected=f"at most base_model.max_position_embeddings={config.base_model.max_position_embeddings}",
        remedy="shorten the sequences or choose a model with more positions",
    )
