"""What one cell will take: steps, tokens, text, FLOPs, device-hours, memory, disk, evaluation, days, price. Arithmetic only.

    FLOPs        flops_per_token (model/flops.py: llm-recipes' formula) x positions; recomputed activations are no model FLOPs
    hours        FLOPs / (FLOP/s of a GPU, or of a process on CPUs), from inspect/speed.py
    memory       model/memory.py, and 2 GiB for what it leaves out
    disk         states kept at a time (machine.keep_states, or every mark's) and the exports of all marks but token 0, which is shared
    evaluation   measured seconds a task, or items x forward passes at a third of the device's peak, on one GPU
    days         training on all GPUs of the machine, then evaluation on one

Bytes of text come from the plan where shards exist; otherwise from the first text of each source by the tokenizer at hand, or
from assumed bytes per token, and are marked as estimated.
What is not known is None, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.units import steps_to_reach
from swallow_exp.config import Config
from swallow_exp.config.checks import warmup_remark
from swallow_exp.config.layout import Layout, check_split
from swallow_exp.config.schema import BaseModelConfig, VocabularyConfig
from swallow_exp.evaluate.suite import task_names
from swallow_exp.inspect.speed import CPU, Measured, Speed, StatedSpeed, speed_of
from swallow_exp.model.describe import GIB, known_model, memory_of
from swallow_exp.model.devices import peak_flops
from swallow_exp.model.flops import PAPER_FLOPS, PAPER_STEPS, flops_per_token, num_parameters, padded_size, recomputed_flops_per_token
from swallow_exp.model.memory import MemoryEstimate, export_bytes, state_bytes

SLACK_GIB = 2.0  # CUDA context, communication buffers, the allocator's slack
PAPER_ADDED, PAPER_TRAINED_PIECES = 11_176, 16_000  # paper 3.3
# assumed bytes of text a token, until shards are counted: 1.21 and 0.75 tokens a character of Japanese Wikipedia (measured with the Llama 2
# tokenizer, and with 11,176 pieces more), English web text and papers
BYTES_PER_TOKEN = {("ja", "base"): 2.3, ("ja", "expand"): 3.7, ("en", "base"): 3.9, ("en", "expand"): 3.9}
# items of the paper's tasks (Tables 2 and 3); forward passes of a task of choices
ITEMS = {
    "jcqa": 1_119, "jemhopqa": 120, "niilc": 198, "jsquad": 4_442, "xlsum": 766, "mgsm": 250, "wmt20_en_ja": 1_000, "wmt20_ja_en": 993,
    "openbookqa": 500, "triviaqa": 17_944, "hellaswag": 10_042, "squad2": 11_873, "xwino": 2_325, "gsm8k": 1_319,
}  # fmt: skip
CHOICES = {"openbookqa": 4, "hellaswag": 4, "xwino": 2}
ASSUMED_ITEMS, PROMPT_TOKENS, ANSWER_TOKENS, DECODING_FACTOR, EVALUATION_MFU = 1_500, 1_000, 60, 20, 1 / 3
EVALUATION_ASSUMPTION = (
    f"assumed: prompts of {PROMPT_TOKENS:,} tokens, answers of {ANSWER_TOKENS} whose tokens cost {DECODING_FACTOR} times as much, a third "
    f"of peak on one GPU, {ASSUMED_ITEMS:,} items where the paper gives no number"
)


@dataclass(frozen=True)
class Estimate:
    """What one cell will take; None: unknown."""

    steps: int
    positions: int
    trained_tokens: int
    text_bytes: float | None
    text_is_counted: bool
    parameters: int | None = None
    flops: float | None = None
    paper_flops: float | None = None  # Appendix D.4, for its three shapes and 25,000 steps
    hardware_flops_share: float = 0.0  # recomputed on top
    gpus: int = 1  # or processes on CPUs
    on_cpu: bool = False
    device_hours: float | None = None
    speed_basis: str = ""
    memory: MemoryEstimate | None = None
    state_bytes: int | None = None
    export_bytes: int | None = None
    num_marks: int = 0
    num_tasks: int = 0
    evaluation_hours: float | None = None
    evaluation_is_measured: bool = False
    price: float | None = None
    flags: tuple[str, ...] = field(default_factory=tuple)

    @property
    def gpu_hours(self) -> float | None:
        """Hours of one GPU; None on CPUs."""
        return None if self.on_cpu else self.device_hours

    @property
    def cpu_hours(self) -> float | None:
        """Hours of one process on CPUs; None on GPUs."""
        return self.device_hours if self.on_cpu else None

    @property
    def days(self) -> float | None:
        """Calendar days of this cell alone."""
        if self.device_hours is None:
            return None
        return (self.device_hours / self.gpus + (self.evaluation_hours or 0.0)) / 24

    @property
    def disk_bytes(self) -> int | None:
        """States and exports at the end of training."""
        return None if self.state_bytes is None or self.export_bytes is None else self.state_bytes + self.export_bytes

    @property
    def gib(self) -> float | None:
        """GiB of one GPU at the peak, without slack."""
        return None if self.memory is None else self.memory.total_bytes / GIB


def _vocabulary_size(vocabulary: VocabularyConfig, base: int) -> tuple[int | None, bool]:
    """(pieces, whether that is an estimate) before the vocabulary is built: the share of trained pieces the paper could add."""
    if vocabulary.method == "base":
        return base or None, False
    if vocabulary.method == "scratch":
        return vocabulary.vocab_size, False
    if not base or vocabulary.vocab_size is None:
        return None, True
    multiple = max(vocabulary.multiple_of, 1)
    return base + round(vocabulary.vocab_size * PAPER_ADDED / PAPER_TRAINED_PIECES / multiple) * multiple, True


def estimate_cell(
    config: Config,
    *,
    plan: Mapping[str, Any] | None,
    vocabulary_size: int | None,
    stated: StatedSpeed,
    measured: Mapping[tuple[str, str], Measured],
    bytes_per_token: Mapping[str, float] | None = None,
) -> Estimate:
    """Everything that can be said of a cell.

    Args:
        plan, vocabulary_size: Its plan.json and built vocabulary, when they exist.
        stated, measured: See speed.py.
        bytes_per_token: Of the sources whose text was tried with the base tokenizer.
    """
    per_step = config.optim.sequence_length * config.optim.global_batch_sequences
    steps = int(plan["steps"]) if plan else steps_to_reach(config.budget.tokens, per_step)
    positions = int(plan["positions"]) if plan else steps * per_step
    marks = len(config.budget.marks())
    layout = Layout.of(config.strategy, config.machine)
    facts: dict[str, Any] = {
        "steps": steps,
        "positions": positions,
        "trained_tokens": int(plan["trained_tokens"]) if plan else positions,
        "text_bytes": float(plan["text_bytes"]) if plan else _estimated_text(config, positions, bytes_per_token or {}),
        "text_is_counted": plan is not None,
        "gpus": layout.processes,
        "on_cpu": config.machine.accelerator == "cpu",
        "num_marks": marks,
        "num_tasks": len(task_names(config)),
    }
    model = known_model(config.base_model)
    flags = _contradictions(config, model, steps)
    rows, guessed = (vocabulary_size, False) if vocabulary_size is not None else _vocabulary_size(config.vocabulary, model.num_pieces)
    if rows is None or min(model.hidden_size, model.num_layers, model.num_heads) <= 0:
        known = model.hidden_size > 0
        why = "its vocabulary is not built yet" if known else f"no readable config.json of a Llama in {model.path}"
        return Estimate(**facts, flags=(*flags, f"FLOPs, hours and memory unknown: {why}"))
    if guessed:
        flags.append(f"{rows:,} pieces assumed (the paper could add {PAPER_ADDED:,} of {PAPER_TRAINED_PIECES:,} trained ones)")
    facts |= _training(config, model, rows, positions, steps, stated, measured)
    facts |= _evaluation(config, facts["parameters"], marks, measured)
    padded = padded_size(rows, config.strategy.pad_vocabulary_multiple)
    memory = memory_of(config, model, rows=padded)
    states = marks if config.machine.keep_mark_states else config.machine.keep_states
    facts |= {
        "memory": memory,
        "state_bytes": states * state_bytes(model, vocabulary_size=padded),
        "export_bytes": (marks - 1) * export_bytes(model, vocabulary_size=rows, precision=config.numerics.precision),
    }
    flags += _misfits(config, model, layout, padded, memory, facts["parameters"])
    rate = config.machine.price_per_gpu_hour if stated.price_per_gpu_hour is None else stated.price_per_gpu_hour
    if rate is not None and facts["device_hours"] is not None and not facts["on_cpu"]:
        facts["price"] = rate * (facts["device_hours"] + (facts["evaluation_hours"] or 0.0))
    return Estimate(**facts, flags=tuple(flags))


def _training(
    config: Config,
    model: BaseModelConfig,
    rows: int,
    positions: int,
    steps: int,
    stated: StatedSpeed,
    measured: Mapping[tuple[str, str], Measured],
) -> dict[str, Any]:
    parameters, length = num_parameters(model, vocabulary_size=rows), config.optim.sequence_length
    per_token = flops_per_token(model, vocabulary_size=rows, sequence_length=length)
    recomputed = recomputed_flops_per_token(model, sequence_length=length, level=config.strategy.activation_checkpointing)
    speed: Speed = speed_of(
        config.machine, base_model=model.name, parameters=parameters, flops_per_token=per_token, stated=stated, measured=measured
    )
    flops = per_token * positions
    return {
        "parameters": parameters,
        "flops": flops,
        "paper_flops": PAPER_FLOPS.get((model.hidden_size, model.num_layers)) if steps == PAPER_STEPS else None,
        "hardware_flops_share": recomputed / per_token,
        "device_hours": flops / speed.flops_per_second / 3600 if speed.flops_per_second else None,
        "speed_basis": speed.basis,
    }


def _evaluation(config: Config, parameters: int, marks: int, measured: Mapping[tuple[str, str], Measured]) -> dict[str, Any]:
    """Hours of one GPU for every task at every mark."""
    tasks, suite, machine = task_names(config), config.suite, config.machine
    mine = measured.get((config.base_model.name, CPU if machine.accelerator == "cpu" else machine.device or ""))
    if mine is not None and tasks and all(task in mine.evaluation_seconds for task in tasks):
        seconds = sum(median(mine.evaluation_seconds[task]) for task in tasks)
        return {"evaluation_hours": marks * seconds / 3600, "evaluation_is_measured": True}
    peak = peak_flops(machine.device) if machine.device else None
    if peak is None:
        return {"evaluation_hours": 0.0 if not tasks else None}
    passes = 0.0
    for task in tasks:
        items = ITEMS.get(task, ASSUMED_ITEMS) * (suite.fraction or 1.0)
        items = min(items, suite.limit) if suite.limit is not None else items
        answering = 0 if task in CHOICES or task.startswith("heldout") else DECODING_FACTOR * ANSWER_TOKENS
        passes += items * (PROMPT_TOKENS * CHOICES.get(task, 1) + answering)
    return {"evaluation_hours": marks * 2.0 * parameters * passes / (peak * EVALUATION_MFU) / 3600}


def _estimated_text(config: Config, positions: int, measured: Mapping[str, float]) -> float | None:
    """Bytes of text by the sources of the mixture; None where nothing is known of one. Pairs are counted as the mixture is."""
    mixture, method = config.mixture, config.vocabulary.method
    shares = dict(mixture.weights)
    stated = sum(group.share or 0.0 for group in mixture.groups.values())
    for group in mixture.groups.values():
        languages = {mixture.sources[name].language for name in group.sources}
        if len(languages) != 1 or group.tokens is not None:
            return None
        shares[next(iter(group.sources))] = group.share if group.share is not None else 1.0 - stated

    def rate(name: str) -> float | None:
        language, base = mixture.sources[name].language, measured.get(name)
        assumed = BYTES_PER_TOKEN.get((language, method))
        if base is None or method == "base":
            return assumed if base is None else base
        return base * assumed / BYTES_PER_TOKEN[(language, "base")] if assumed is not None else None  # as much gained as is assumed

    rates = [(share, rate(name)) for name, share in shares.items() if share]
    known = [(share, one) for share, one in rates if one is not None]
    return positions * sum(share * one for share, one in known) if len(known) == len(rates) and rates else None


def _contradictions(config: Config, model: BaseModelConfig, steps: int) -> list[str]:
    """What a run would do and its author hardly meant."""
    optim, budget = config.optim, config.budget
    flags = []
    if remark := warmup_remark(optim, steps):
        flags.append(remark)
    if budget.checkpoint_every_tokens > budget.tokens:
        flags.append(
            f"budget.checkpoint_every_tokens={budget.checkpoint_every_tokens:,} past its {budget.tokens:,} tokens: only the end is kept"
        )
    if optim.sequence_length > model.max_position_embeddings:
        flags.append(
            f"optim.sequence_length={optim.sequence_length:,} past the {model.max_position_embeddings:,} positions of {model.name}"
        )
    if config.parallel.format == "translation_instruction" and budget.counts == "trained_tokens":
        flags.append("instructions and source sentences bear no loss: their positions come on top, counted once shards exist")
    if config.machine.accelerator == "cpu" and model.hidden_size >= 2_048:
        flags.append(f"{model.name} on a CPU (machine={config.machine.name}): choose a machine with GPUs")
    return flags


def _misfits(config: Config, model: BaseModelConfig, layout: Layout, padded: int, memory: MemoryEstimate, parameters: int) -> list[str]:
    """What cannot be held or cut on the machine."""
    machine, flags = config.machine, []
    if machine.memory_gib is not None:
        need = memory.total_bytes / GIB + SLACK_GIB
        if need > machine.memory_gib:
            flags.append(
                f"CANNOT FIT: {need:.1f} GiB a GPU ({SLACK_GIB:g} of them slack) of {machine.memory_gib:g}: more shards, tensor_parallel, "
                "activation_checkpointing=full or strategy.loss_chunk_positions"
            )
        if config.suite.tasks and 2 * parameters / GIB + SLACK_GIB > machine.memory_gib:
            flags.append(f"CANNOT FIT: evaluation of {2 * parameters / GIB:.0f} GiB of bf16 weights on one GPU of {machine.memory_gib:g}")
    try:
        check_split(model, layout, table_rows=padded)
    except RequestError as error:
        flags.append(f"CANNOT RUN: {' '.join(str(error).split())}")
    return flags
