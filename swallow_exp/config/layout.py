"""How the processes of a run are laid out: nodes x processes a node = replicas x shards x tensor parts. Light: no torch.

Ranks count tensor parts first, then shards, then replicas: what talks most sits side by side, so a tensor group shares a node.

    replicas   each holds the whole model; they meet once a step, to add up gradients      (strategy.replicas)
    shards     one replica's weights, gradients and optimizer, cut by rows                 (data_parallel / replicas)
    tensor     one shard's matrices, cut by heads and columns; sequences between them      (strategy.tensor_parallel)

Source  paper Appendix D.2 (Table 6; workers that talk more are placed in one node)
"""

from __future__ import annotations

from dataclasses import dataclass

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config.schema import BaseModelConfig, Config, MachineConfig, StrategyConfig


@dataclass(frozen=True)
class Layout:
    """Sizes of the three ways to share a run, and of the machine."""

    replicas: int
    shards: int
    tensor: int
    nodes: int
    processes_per_node: int

    @classmethod
    def of(cls, strategy: StrategyConfig, machine: MachineConfig) -> Layout:
        """Assumes checked numbers (check_layout)."""
        per_node = strategy.data_parallel * strategy.tensor_parallel // machine.nodes
        return cls(strategy.replicas, strategy.data_parallel // strategy.replicas, strategy.tensor_parallel, machine.nodes, per_node)

    @property
    def data(self) -> int:
        """Processes with sequences of their own (a tensor group counts once)."""
        return self.replicas * self.shards

    @property
    def processes(self) -> int:
        """All of them."""
        return self.data * self.tensor

    @property
    def model_parts(self) -> int:
        """Processes that together hold the model once."""
        return self.shards * self.tensor

    def data_rank(self, rank: int) -> int:
        """Which sequences of a step the process `rank` trains on."""
        return rank // self.tensor


def check_layout(config: Config) -> None:
    """Refuse sizes (each 1 or more) that do not fit together, the machine or the model. Raises RequestError."""
    strategy, machine = config.strategy, config.machine
    if strategy.data_parallel % strategy.replicas:
        raise RequestError(
            f"strategy.data_parallel={strategy.data_parallel} in strategy.replicas={strategy.replicas}",
            expected="replicas of equal size",
            remedy="choose replicas that divide data_parallel",
        )
    _check_machine(strategy, machine)
    tensor = strategy.tensor_parallel
    if config.optim.sequence_length % tensor:
        raise RequestError(
            f"optim.sequence_length={config.optim.sequence_length} over strategy.tensor_parallel={tensor}",
            expected="a whole number of positions for each process",
            remedy="choose a tensor_parallel that divides the sequence",
        )
    if config.base_model.num_heads > 0:
        check_split(config.base_model, Layout.of(strategy, machine))


def _check_machine(strategy: StrategyConfig, machine: MachineConfig) -> None:
    processes = strategy.data_parallel * strategy.tensor_parallel
    places = machine.processes_per_node or max(processes // machine.nodes, 1)
    # part of one node is as good as a node; of several, every one has the same share
    if processes % machine.nodes or processes > machine.nodes * places or (machine.nodes > 1 and processes < machine.nodes * places):
        raise RequestError(
            f"strategy={strategy.name} wants {processes} processes (data_parallel {strategy.data_parallel} x tensor_parallel "
            f"{strategy.tensor_parallel}), machine={machine.name} has {machine.nodes} x {places}",
            expected="as many processes as the machine has places",
            remedy=f"set strategy.data_parallel={max(machine.nodes * places // strategy.tensor_parallel, 1)}, or choose another machine",
        )
    per_node = processes // machine.nodes
    if per_node % strategy.tensor_parallel:
        raise RequestError(
            f"strategy.tensor_parallel={strategy.tensor_parallel} on nodes of {per_node} processes",
            expected="tensor groups that share a node: their traffic is too heavy for the network between nodes",
            remedy="choose a tensor_parallel that divides the processes of a node",
        )


def check_split(model: BaseModelConfig, layout: Layout, *, table_rows: int | None = None) -> None:
    """Refuse a model whose matrices cannot be cut evenly over the tensor parts. `table_rows`: rows of the padded vocabulary, if known."""
    tensor, parts = layout.tensor, layout.model_parts
    if tensor == 1:
        return
    for name in ("num_heads", "num_kv_heads", "intermediate_size"):
        size = getattr(model, name)
        if size % tensor:
            raise RequestError(
                f"base_model.{name}={size} over strategy.tensor_parallel={tensor}",
                expected="a whole number for each process",
                remedy="choose a smaller tensor_parallel and a larger data_parallel",
            )
    per_head = model.hidden_size // model.num_heads
    for name, rows in {"query": model.hidden_size, "key": model.num_kv_heads * per_head, "feed-forward": model.intermediate_size}.items():
        if rows % parts:
            raise RequestError(
                f"the {name} matrix of {rows} rows over {parts} processes (tensor_parallel {tensor} x {layout.shards} shards)",
                expected="a whole number of rows for each process",
                remedy="set strategy.replicas higher, so that fewer processes share one copy of the model",
            )
    if table_rows is not None and table_rows % parts:
        raise RequestError(
            f"a vocabulary of {table_rows:,} rows over {parts} processes (tensor_parallel {tensor} x {layout.shards} shards)",
            expected="a whole number of rows for each process",
            remedy=f"set strategy.pad_vocabulary_multiple={parts}",
        )


def describe_layout(config: Config) -> list[str]:
    """Lines for a person: the mesh, what crosses what, and the level's own note."""
    layout = Layout.of(config.strategy, config.machine)
    share = config.optim.global_batch_sequences // layout.data
    lines = [
        f"mesh     {_count(layout.processes, 'process')} = {_count(layout.nodes, 'node')} x {layout.processes_per_node}: "
        f"{_count(layout.replicas, 'replica')} x {_count(layout.shards, 'shard')} x {_count(layout.tensor, 'tensor part')}"
    ]
    if layout.processes > 1:
        lines.append(f"  data   {layout.data} ways, {share} sequences of a step each; the same numbers whatever the mesh, within rounding")
    if layout.tensor > 1:
        lines.append(f"  tensor {layout.tensor} neighbours in one node share every matrix and sequence (tensor and sequence parallel)")
    if layout.model_parts > 1:
        spans = -(-layout.model_parts // layout.processes_per_node)
        where = "inside one node" if spans == 1 else f"over {spans} nodes"
        lines.append(f"  shards the model lies once on {layout.model_parts} processes, {where}: weights are gathered there, layer by layer")
    if layout.replicas > 1:
        lines.append(f"  copies {layout.replicas} of them; between them only gradients travel, once a step")
    lines += [f"  note   {line}" for line in config.strategy.note.splitlines()]
    return lines


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 'es' if noun.endswith('s') else 's'}"
