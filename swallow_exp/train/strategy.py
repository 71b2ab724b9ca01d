"""One strategy for any number of processes, one included: Lightning's ModelParallelStrategy (FSDP2, hybrid sharding, tensor parallel).

Checkpoints written by n processes are read by m, because every run is a distributed one.

Reads  RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT (train/launch.py, torchrun), or Slurm's own variables
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config import MachineConfig
from swallow_exp.config.layout import Layout
from swallow_exp.train.nodes import slurm_master, slurm_task

if TYPE_CHECKING:
    from swallow_exp.model.parallel import Meshes


@dataclass(frozen=True)
class Processes:
    """This process among those of the run."""

    rank: int
    world_size: int
    local_world_size: int

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> Processes:
        """From the environment, which is completed: from Slurm's variables for a task of `srun`, for a single process otherwise."""
        if "RANK" not in environment:
            environment.update(slurm_task(environment))
        environment.setdefault("RANK", "0")
        environment.setdefault("WORLD_SIZE", "1")
        environment.setdefault("LOCAL_RANK", environment["RANK"])
        world_size = int(environment["WORLD_SIZE"])
        if world_size > 1 and "MASTER_ADDR" not in environment:
            environment.update(slurm_master(environment))
        return cls(int(environment["RANK"]), world_size, int(environment.get("LOCAL_WORLD_SIZE", world_size)))


def check_processes(processes: Processes, layout: Layout) -> None:
    """Refuse processes the config does not state, and tensor groups that would not share a node."""
    if processes.world_size != layout.processes:
        raise RequestError(
            f"{processes.world_size} processes were started, strategy.data_parallel={layout.data} x "
            f"strategy.tensor_parallel={layout.tensor}",
            expected=f"{layout.processes} processes",
            remedy="start them with `swallow train`, or set strategy.data_parallel",
        )
    if processes.local_world_size % layout.tensor:
        raise RequestError(
            f"{processes.local_world_size} processes on this node, strategy.tensor_parallel={layout.tensor}",
            expected="tensor groups that share a node",
            remedy="choose a tensor_parallel that divides the processes of a node",
        )


def init_single_process(machine: MachineConfig) -> None:
    """A process group of one, without a port: many single-process runs can start at once on one machine."""
    import torch

    backend = "nccl" if machine.accelerator == "gpu" else "gloo"
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group(backend, store=torch.distributed.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]


def make_strategy(machine: MachineConfig, layout: Layout) -> Any:
    """ModelParallelStrategy over all processes; a collective that waits longer than the machine's timeout fails."""
    from lightning.pytorch.strategies import ModelParallelStrategy
    from torch.distributed.distributed_c10d import _set_pg_timeout

    from swallow_exp.model.parallel import make_meshes
    from swallow_exp.train.resume import read_state
    from swallow_exp.train.saving import Snapshots

    timeout = timedelta(seconds=machine.collective_timeout_seconds)

    class Strategy(Snapshots, ModelParallelStrategy):  # type: ignore[misc]
        """Knows replicas; reads states into plain parameters as well: Lightning's own reading wants at least one sharded one."""

        meshes: Meshes

        def setup_environment(self) -> None:
            super().setup_environment()
            self.meshes = make_meshes(self.device_mesh, layout)
            for mesh in (self.device_mesh, self.meshes.shard, self.meshes.tensor):
                for group in [] if mesh is None else mesh.get_all_groups():
                    _set_pg_timeout(timeout, group)  # the groups of a mesh do not inherit it: theirs would be half an hour

        def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
            return read_state(Path(self.broadcast(checkpoint_path)), self.model, self.optimizers)

    return Strategy(
        data_parallel_size=layout.data,
        tensor_parallel_size=layout.tensor,
        process_group_backend="nccl" if machine.accelerator == "gpu" else "gloo",
        timeout=timeout,
    )


def check_accelerator(machine: MachineConfig) -> None:
    """Refuse machine.accelerator=gpu where there is none."""
    import torch

    if machine.accelerator == "gpu" and not torch.cuda.is_available():
        raise RequestError(
            f"machine={machine.name} wants a GPU and torch sees none",
            expected="a CUDA device and a torch built for it",
            remedy="choose machine=cpu, or check `python -m torch.utils.collect_env`",
        )
