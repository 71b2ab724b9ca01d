"""One run from where it stands to its last token mark.

(1) check      processes, accelerator, layers, the model's split; the newest state was made from the same inputs -> start step
(2) build      the plan's sequences, reporter, saver, module, batches
(3) machine    threads, determinism
(4) train      Lightning's Trainer over FSDP2; one batch is one optimizer step
(5) finish     the last export is there                          -> "trained", or "preempted" after a stop signal

Reads   runs/<run_id>/{config.yaml, inputs.json}, artefacts/*      Writes  runs/<run_id>/*
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swallow_exp.artefact.check import require_sound
from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.manifest import Artefact, find_artefact
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.checkpoint.index import read_checkpoints, resolve_export
from swallow_exp.checkpoint.state import SavedState, newest_state, sound_state
from swallow_exp.config import Config
from swallow_exp.config.layout import Layout, check_split
from swallow_exp.mixture.changes import digests_of, find_digests, inputs_digest, name_changes
from swallow_exp.mixture.stream import open_stream
from swallow_exp.model.flops import flops_per_token, padded_size, recomputed_flops_per_token, shape_of
from swallow_exp.model.folder import CONFIG_NAME
from swallow_exp.record.status import read_status
from swallow_exp.train.stopping import StopRequest
from swallow_exp.train.strategy import Processes


@dataclass(frozen=True)
class TrainingResult:
    """How far training came."""

    state: str  # trained | preempted
    step: int
    trained_tokens: int


def is_trained(run: RunPaths) -> bool:
    """True when the run says so and its last export is there. Light: no torch."""
    status = read_status(run.status)
    if status["state"] != "trained":
        return False
    records = read_checkpoints(run)
    return bool(records) and records[-1].trained_tokens == status["trained_tokens"] and resolve_export(run, records[-1]).is_dir()


def state_to_resume(run: RunPaths, inputs: Mapping[str, Any]) -> SavedState | None:
    """The newest state that is what was written. The others are named once training begins (Saver.prepare).

    Raises RequestError, naming what differs, when the newest was made from other inputs; RunFailed when no state is undamaged.
    """
    state = newest_state(run)
    if state is not None and state.inputs_digest != inputs_digest(inputs):
        now = digests_of(inputs)
        earlier = find_digests(run.out, state.inputs_digest, now)
        changes = "they are no longer there to compare" if earlier is None else name_changes(run.out, earlier, now)
        raise RequestError(
            f"the saved state {state.folder} was made from other text, tokenizer or start weights: {changes}",
            expected="the inputs the run began with",
            remedy="restore them, or remove the run folder and train again",
        )
    return sound_state(run)


def start_weights(run: RunPaths, inputs: Mapping[str, Any]) -> Artefact:
    """The finished start weights of a run. Raises RequestError when they are gone, or are not what they were when the run began."""
    folder = run.out / inputs["weights"]["folder"]
    artefact = find_artefact(folder)
    if artefact is None:
        raise RequestError(
            f"start weights {folder} are not there", expected="a finished artefact", remedy="run `swallow train` to build them"
        )
    if artefact.digest != inputs["weights"]["digest"]:
        raise RequestError(
            f"start weights {folder} are other ones now (digest {artefact.digest[:12]})",
            expected=f"those the run began with ({str(inputs['weights']['digest'])[:12]})",
            remedy="restore them, or remove the run folder and train again",
        )
    require_sound(artefact)
    return artefact


def prepare_machine(config: Config) -> None:
    """Threads and determinism of this process."""
    import torch

    if config.machine.threads is not None:
        torch.set_num_threads(config.machine.threads)
    if config.numerics.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with a fixed workspace
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # the gather buffers are always overwritten
    torch.use_deterministic_algorithms(config.numerics.deterministic)


def fit_run(run: RunPaths, config: Config, inputs: Mapping[str, Any], *, processes: Processes, stop: StopRequest) -> TrainingResult:
    """Train `run` to its end or until it is asked to stop. Every process calls it. Raises RequestError on inputs that do not fit."""
    quiet_libraries()
    prepare_machine(config)
    from swallow_exp.model.attention import choose_attention
    from swallow_exp.model.layers import check_layers
    from swallow_exp.train.data import StepBatches
    from swallow_exp.train.module import PretrainingModule
    from swallow_exp.train.reporting import Reporter, RunFacts
    from swallow_exp.train.saving import Saver
    from swallow_exp.train.strategy import check_accelerator, check_processes, init_single_process

    layout, strategy, accelerator = Layout.of(config.strategy, config.machine), config.strategy, config.machine.accelerator
    check_processes(processes, layout)
    check_accelerator(config.machine)
    check_layers(kernels=strategy.kernels, compile_layers=strategy.compile, accelerator=accelerator)
    attention = choose_attention(strategy.attention, accelerator=accelerator, precision=config.numerics.precision)
    start = start_weights(run, inputs)
    plain = read_json(start.folder / CONFIG_NAME)
    shape, num_pieces = shape_of(plain, config.base_model), int(plain["vocab_size"])
    check_split(shape, layout, table_rows=padded_size(num_pieces, strategy.pad_vocabulary_multiple))
    state = state_to_resume(run, inputs)

    stream = open_stream(run.out, inputs, attention=config.mixture.attention)
    start_step, length = 0 if state is None else state.step, config.optim.sequence_length
    flops = flops_per_token(shape, vocabulary_size=num_pieces, sequence_length=length)
    recomputed = recomputed_flops_per_token(shape, sequence_length=length, level=strategy.activation_checkpointing)
    facts = RunFacts(run, config, stream, start_step, inputs_digest(inputs), flops, recomputed)
    reporter = Reporter(facts)
    saver = Saver(facts, start=start, reporter=reporter, stop=stop)
    module = PretrainingModule(config, weights=start.folder, attention=attention, stream=stream)
    batches = StepBatches(
        stream,
        global_batch_sequences=config.optim.global_batch_sequences,
        start_step=start_step,
        rank=layout.data_rank(processes.rank),
        num_processes=layout.data,
    )
    if processes.world_size == 1:
        init_single_process(config.machine)
    trainer = make_trainer(config, layout, processes=processes, num_steps=stream.num_steps, callbacks=[reporter, saver])
    trainer.fit(module, batches, ckpt_path=None if state is None else str(state.folder), weights_only=True)
    step = int(trainer.global_step)
    if not saver.preempted:
        assert step == stream.num_steps, f"training ended at step {step} of {stream.num_steps}"
        if start_step == step:  # killed after the last state, before its export
            saver.prepare(trainer, module)
    return TrainingResult("preempted" if saver.preempted else "trained", step, int(stream.progress(step).trained_tokens))


def make_trainer(config: Config, layout: Layout, *, processes: Processes, num_steps: int, callbacks: list[Any]) -> Any:
    """Lightning's Trainer with everything off that this project does itself."""
    import lightning.pytorch as lightning
    from lightning.pytorch.plugins.environments import TorchElasticEnvironment

    from swallow_exp.train.strategy import make_strategy

    trainer = lightning.Trainer(
        accelerator=config.machine.accelerator,
        devices=processes.local_world_size,
        num_nodes=processes.world_size // processes.local_world_size,
        strategy=make_strategy(config.machine, layout),
        plugins=[TorchElasticEnvironment()],  # reads RANK, WORLD_SIZE, ... whoever set them
        precision="32-true",  # mixed precision is FSDP2's own policy, set where the model is sharded
        max_steps=num_steps,
        max_epochs=-1,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=str(Path(config.paths.out)),
    )
    # Lightning broadcasts a SIGTERM flag before every batch and reads it back; our own agreement replaces it
    loop = trainer.fit_loop.epoch_loop
    assert hasattr(loop, "_broadcast_sigterm_tensor"), "this Lightning has no per-batch SIGTERM broadcast: drop these lines"
    loop._broadcast_sigterm_tensor = lambda: None
    return trainer


def quiet_libraries() -> None:
    """Silence what libraries say about themselves; their errors still come through."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import lightning.pytorch  # noqa: F401  sets its loggers to INFO when it is imported
    import transformers  # noqa: F401

    # torch warns that norms and gathers over two mesh dimensions take two collectives: that is how this mesh is meant
    for name in ("lightning.pytorch", "lightning.fabric", "transformers", "torch.distributed.tensor._redistribute"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Lightning 2.6.6 uses a torch function that torch 2.13 renames; nothing for this project to change
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")
    # logits gathered over tensor parts are a view; nothing here writes into them
    warnings.filterwarnings("ignore", message=r"FSDP2-wrapped module .* returned a view tensor")
