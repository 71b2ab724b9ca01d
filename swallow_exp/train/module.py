"""The training step: loss over flagged targets, gradients, clipping, the guards' judgement, update.

Loss of a step = sum of cross-entropies over the loss-bearing targets of all processes and micro-batches / their number,
so neither the number of processes nor the micro-batch changes it.

The sum itself is computed inside the model's forward pass (model/llama.py, model/loss.py).

Legend: R rows of this process in the step, T sequence_length.
Source  paper 3.1; targets without loss: paper 5.2.1 (translation instructions)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch

from swallow_exp.config import Config
from swallow_exp.mixture.stream import SequenceStream
from swallow_exp.model.load_model import load_model
from swallow_exp.train.data import StepBatch
from swallow_exp.train.guards import SKIP, STOP, AgreedStop, Guards, Judgement, Suspects, find_suspects
from swallow_exp.train.masters import collect_gradients, gradient_holders
from swallow_exp.train.optimizer import make_optimizer

# assumed: deferring the reduction keeps whole float32 gradients on each GPU; worth it while they take at most this share of its memory
DEFERRED_GRADIENT_SHARE = 0.15


@dataclass(frozen=True)
class StepFigures:
    """What is known of a step on every process. `suspects` only when the judgement has a cause."""

    loss: float
    grad_norm: float  # before clipping
    learning_rate: float
    trains: bool  # False: no target of the step bears loss
    judgement: Judgement
    suspects: Suspects | None


class PretrainingModule(lightning.LightningModule):  # type: ignore[misc]
    """Continual pre-training of a causal language model; one batch is one optimizer step."""

    def __init__(self, config: Config, *, weights: Path, attention: str, stream: SequenceStream) -> None:
        """`weights` is the Hugging Face folder training starts from, `stream` what the batches come from."""
        super().__init__()
        self.automatic_optimization = False  # micro-batches are cut inside the step, so that a batch is a step
        self.model: Any = None
        self.figures: StepFigures | None = None  # of the last step
        self.guards = Guards(config.numerics)
        self._config, self._weights = config, weights
        self._attention, self._stream = attention, stream
        self._defer_reduction = True

    def configure_model(self) -> None:
        """Load the model sharded over the data-parallel mesh. Lightning calls this more than once."""
        if self.model is not None:
            return
        meshes = self.trainer.strategy.meshes
        self.model = load_model(
            self._weights,
            mesh=meshes.shard,
            tensor_mesh=meshes.tensor,
            device=self.trainer.strategy.root_device,
            attention=self._attention,
            precision=self._config.numerics.precision,
            recompute=self._config.strategy.activation_checkpointing,
            compile_layers=self._config.strategy.compile,
            kernels=self._config.strategy.kernels,
            loss_chunk_positions=self._config.strategy.loss_chunk_positions,
            pad_vocabulary_multiple=self._config.strategy.pad_vocabulary_multiple,
        )
        self._num_processes = meshes.data.size()
        self._defer_reduction = self._gradients_fit(self.trainer.strategy.root_device)

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW and its schedule."""
        optimizer, schedule = make_optimizer(self.model, self._config.optim, num_steps=self._stream.num_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: StepBatch, batch_idx: int) -> None:
        """One optimizer step."""
        micro = self._config.machine.micro_batch_sequences
        rows = len(batch.inputs_RT)
        losses: list[torch.Tensor] = []  # of each micro-batch
        for start in range(0, rows, micro):
            last = start + micro >= rows
            if rows > micro and self._num_processes > 1:
                if self._defer_reduction:
                    self.model.set_requires_gradient_sync(last)
                else:
                    self.model.set_requires_all_reduce(last)  # between replicas, if there are any
            loss = self._loss(batch, slice(start, start + micro))
            # FSDP averages gradients over processes; the loss is a sum over them
            self.manual_backward(loss * self._num_processes)
            collect_gradients(self.optimizers().optimizer)
            losses.append(loss.detach())
        self._update(batch, losses)

    def _loss(self, batch: StepBatch, rows: slice) -> torch.Tensor:
        positions = None if batch.positions_RT is None else batch.positions_RT[rows]
        total = self.model(input_ids=batch.inputs_RT[rows], targets=batch.targets_RT[rows], document_positions=positions, use_cache=False)
        loss: torch.Tensor = total / max(batch.num_trained, 1)
        return loss

    def _update(self, batch: StepBatch, losses: list[torch.Tensor]) -> None:
        """Clip by the global norm (over all shards), update unless the guards object, next learning rate."""
        optimizer, schedule = self.optimizers(), self.lr_schedulers()
        # what Lightning's clip_gradients calls, which drops the norm
        norm = torch.nn.utils.clip_grad_norm_(gradient_holders(optimizer.optimizer), self._config.optim.clip_norm)
        loss, grad_norm = self._agree_on_figures(sum(losses[1:], losses[0]), norm)
        judgement = self.guards.judge(loss, grad_norm, trains=batch.num_trained > 0)
        suspects = self._find_suspects(batch, losses) if judgement.cause else None
        rate = float(optimizer.param_groups[0]["lr"])
        self.figures = StepFigures(loss, grad_norm, rate, batch.num_trained > 0, judgement, suspects)
        if judgement.action == STOP:
            number = self.trainer.global_step + 1
            raise AgreedStop(
                f"step {number:,}: {judgement.cause}\n  {suspects}\n  {judgement.remedy}; the same command continues from the last state"
            )
        if judgement.action == SKIP:
            optimizer.zero_grad(set_to_none=True)  # without gradients the next line moves no weight and no moment, but counts the step
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()

    def _agree_on_figures(self, loss: torch.Tensor, norm: torch.Tensor) -> tuple[float, float]:
        """Loss of the step over all processes and gradient norm, the same bits on each; the one time a step waits for the device."""
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        processes = torch.distributed.get_world_size()
        # one sum for both, so that what is not finite anywhere is not finite everywhere: every process knows the whole norm, and
        # processes / num_processes of them the loss of the same part of the batch
        figures = torch.stack((loss.float() * (self._num_processes / processes), norm.float() / processes))
        if processes > 1:
            torch.distributed.all_reduce(figures)
        agreed_loss, agreed_norm = figures.tolist()
        return agreed_loss, agreed_norm

    def _find_suspects(self, batch: StepBatch, losses: list[torch.Tensor]) -> Suspects:
        """Sequences of micro-batches whose loss is not finite, on any process; without one, the whole step. Every process calls it."""
        micro, rows = self._config.machine.micro_batch_sequences, len(batch.inputs_RT)
        bad = set()
        for start, loss in zip(range(0, rows, micro), losses, strict=True):
            if not bool(torch.isfinite(loss)):
                bad.add((batch.first_position + start, batch.first_position + min(start + micro, rows) - 1))
        if (processes := torch.distributed.get_world_size()) > 1:
            gathered: list[Any] = [None] * processes
            torch.distributed.all_gather_object(gathered, bad)
            bad = set().union(*gathered)
        return find_suspects(self._stream, self.trainer.global_step, batch=self._config.optim.global_batch_sequences, bad=sorted(bad))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What the guards remember is part of a state."""
        checkpoint["guards"] = self.guards.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember it again."""
        self.guards.restore(checkpoint["guards"])

    def _gradients_fit(self, device: torch.device) -> bool:
        if device.type == "cpu" or self._num_processes == 1:
            return True
        # a gradient waits for its reduction as this process's tensor part of it, in float32
        whole = sum(parameter.numel() for parameter in self.model.parameters()) * 4 // self._config.strategy.tensor_parallel
        return bool(whole <= DEFERRED_GRADIENT_SHARE * torch.cuda.get_device_properties(device).total_memory)
