"""Rules of single fields: what a value must be, and the remedy. Rules that span fields: checks.

Reads/Writes  nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from swallow_exp.artefact.errors import one_of, require
from swallow_exp.config.schema import Config, SuiteConfig

PARALLEL_FORMATS = ("next_token_prediction", "translation_instruction")
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
NORMALIZATIONS = ("none", "nfkc")
KINDS = ("documents", "pairs")

# field -> the words it may be
CHOICES: dict[str, tuple[Any, ...]] = {
    "vocabulary.method": ("base", "expand", "scratch"),
    "vocabulary.segmenter": ("mecab", "whitespace", "none"),
    "vocabulary.normalization": NORMALIZATIONS,
    "vocabulary.init": VOCABULARY_INITS,
    "mixture.attention": ("packed", "document"),
    "parallel.format": (None, *PARALLEL_FORMATS),
    "parallel.order": (None, "mixed", "two_staged"),
    "budget.counts": ("trained_tokens", "positions"),
    "numerics.precision": ("32-true", *BF16_PRECISIONS),
    "strategy.activation_checkpointing": ("none", "selective", "full"),
    "strategy.attention": ("auto", "sdpa", "eager", "flex", "flash_attention_2"),
    "strategy.kernels": ("torch", "liger"),
    "machine.accelerator": ("cpu", "gpu"),
    "machine.encoder": ("sentencepiece", "kitoken"),
    "suite.backend": ("hf", "vllm"),
    "tracking.wandb_mode": (None, "offline", "online"),
}


@dataclass(frozen=True)
class Rule:
    """What numbers of these fields must be. A field that may be null passes with null."""

    expected: str
    holds: Callable[[Any], bool]
    fields: tuple[str, ...]
    remedy: str = "set {field}"


RULES = (
    Rule(
        "a number above 0",
        lambda value: value > 0,
        (
            "budget.tokens",
            "budget.checkpoint_every_tokens",
            "optim.lr_peak",
            "optim.sequence_length",
            "optim.global_batch_sequences",
            "optim.clip_norm",
            "strategy.pad_vocabulary_multiple",
            "machine.micro_batch_sequences",
            "machine.processes",
            "tracking.log_every_steps",
            "vocabulary.multiple_of",
            "suite.batch_size",
        ),
    ),
    Rule("0 or more", lambda value: value >= 0, ("optim.warmup_steps", "optim.weight_decay", "optim.eps")),
    Rule("0 (none) or more", lambda value: value >= 0, ("budget.final_checkpoints",)),
    Rule("a number in [0, 1)", lambda value: 0 <= value < 1, ("optim.beta1", "optim.beta2")),
    Rule("a ratio in [0, 1]", lambda value: 0 <= value <= 1, ("optim.lr_final_ratio",)),
    Rule(
        "0 (stop at the first) or more",
        lambda value: value >= 0,
        ("numerics.max_skipped_updates", "numerics.max_skipped_in_a_row"),
    ),
    Rule(
        "1 or more",
        lambda value: value >= 1,
        (
            "strategy.data_parallel",
            "strategy.replicas",
            "strategy.tensor_parallel",
            "machine.nodes",
            "machine.processes_per_node",
            "machine.keep_states",
        ),
    ),
    Rule("1 or more", lambda value: value >= 1, ("parallel.epochs",), "use parallel=none to leave the pairs out"),
    Rule("1 or more, or null for all positions at once", lambda value: value >= 1, ("strategy.loss_chunk_positions",)),
    Rule("1 or more, or null to let torch decide", lambda value: value >= 1, ("machine.threads",)),
    Rule(
        "0 or more, or null for none",
        lambda value: value >= 0,
        ("machine.rolling_checkpoint_seconds", "machine.rolling_checkpoint_tokens"),
    ),
    Rule("0 or more, or null for unknown", lambda value: value >= 0, ("machine.memory_gib", "machine.price_per_gpu_hour")),
    Rule("seconds above 0, or null", lambda value: value > 0, ("tracking.publish_every_seconds",), "{field}=300"),
    Rule("a positive number of items, or null for all", lambda value: value > 0, ("suite.limit",)),
    Rule("a share above 0 and at most 1, or null for all items", lambda value: 0 < value <= 1, ("suite.fraction",)),
)


def check_fields(config: Config) -> None:
    """Every rule of a single field. Raises RequestError for the first that does not hold."""
    for group in vars(config):
        if group != "seed":
            _check_group(group, getattr(config, group))
    check_suite(config.suite)


def check_suite(suite: SuiteConfig) -> None:
    """The rules of a suite, which may be asked of a model without a run. Raises RequestError."""
    _check_group("suite", suite)
    require(bool(suite.profiles), "suite.profiles=[]", expected="at least one of paper, fair", remedy="set suite.profiles=[paper,fair]")
    for profile in suite.profiles:
        one_of("suite.profiles", profile, ("paper", "fair"))


def _check_group(group: str, node: Any) -> None:
    for field, allowed in CHOICES.items():
        if field.startswith(f"{group}."):
            one_of(field, getattr(node, field.partition(".")[2]), allowed)
    for rule in RULES:
        for field in rule.fields:
            if field.startswith(f"{group}.") and (value := getattr(node, field.partition(".")[2])) is not None:
                ok = (isinstance(value, int) or math.isfinite(value)) and rule.holds(value)
                require(ok, f"{field}={value}", expected=rule.expected, remedy=rule.remedy.format(field=field))
