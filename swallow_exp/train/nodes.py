"""Which node of several this is, and where the first one listens: torchrun's, the user's or Slurm's variables. Light: no torch.

Reads  NODE_RANK | GROUP_RANK | SLURM_NODEID; MASTER_ADDR, MASTER_PORT | SLURM_JOB_NODELIST, SLURM_JOB_ID; SLURM_PROCID, SLURM_LOCALID, ...
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from swallow_exp.artefact.errors import RequestError

FIRST_PORT, NUM_PORTS = 20_000, 10_000  # assumed: free on a compute node, below the range the system hands out by itself
NODE_RANK_NAMES = ("NODE_RANK", "GROUP_RANK", "SLURM_NODEID")


@dataclass(frozen=True)
class NodeRank:
    """This node among those of a run."""

    rank: int
    master: Mapping[str, str]  # MASTER_ADDR, MASTER_PORT

    @classmethod
    def of(cls, environment: Mapping[str, str], *, nodes: int) -> NodeRank:
        """One of `nodes` > 1. Raises RequestError when the environment does not say which, or where the first one is."""
        given = next((environment[name] for name in NODE_RANK_NAMES if environment.get(name)), None)
        if given is None or not given.isdigit() or int(given) >= nodes:
            raise RequestError(
                f"machine.nodes={nodes}, and " + ("no variable says which node this is" if given is None else f"this is node {given}"),
                expected=f"NODE_RANK from 0 to {nodes - 1} (srun sets SLURM_NODEID)",
                remedy="start `swallow train` once on each node: `srun --ntasks-per-node=1 swallow train ...`, or set NODE_RANK yourself",
            )
        return cls(int(given), master_of(environment))


def master_of(environment: Mapping[str, str]) -> dict[str, str]:
    """MASTER_ADDR and MASTER_PORT, as given or from Slurm. Raises RequestError."""
    if environment.get("MASTER_ADDR") and environment.get("MASTER_PORT"):
        return {name: environment[name] for name in ("MASTER_ADDR", "MASTER_PORT")}
    found = slurm_master(environment)
    if not found:
        raise RequestError(
            "several nodes, and MASTER_ADDR and MASTER_PORT are not set",
            expected="the address of the first node and a free port there",
            remedy="set both to the same values on every node (under Slurm they are derived)",
        )
    return {**found, **{name: environment[name] for name in found if environment.get(name)}}


def slurm_master(environment: Mapping[str, str]) -> dict[str, str]:
    """The first host of the job and a port that follows from the job's number; empty outside Slurm."""
    hosts, job = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST"), environment.get("SLURM_JOB_ID", "")
    if not hosts or not job.isdigit():
        return {}
    return {"MASTER_ADDR": first_host(hosts), "MASTER_PORT": str(FIRST_PORT + int(job) % NUM_PORTS)}


def first_host(hosts: str) -> str:
    """gpu[003-007,012],login1 -> gpu003."""
    match = re.match(r"([^,\[]+)(?:\[([^\],-]+)[^\]]*\]([^,]*))?", hosts)
    assert match is not None, hosts
    prefix, first, suffix = match.groups()
    return f"{prefix}{first or ''}{suffix or ''}"


def slurm_task(environment: Mapping[str, str]) -> dict[str, str]:
    """RANK and its companions for a task of `srun` with more than one task; empty elsewhere."""
    tasks = environment.get("SLURM_STEP_NUM_TASKS", "1")  # set by srun alone, not by a job that merely was given many tasks
    if int(tasks) == 1 or "SLURM_PROCID" not in environment:
        return {}
    local = re.match(r"\d+", environment.get("SLURM_STEP_TASKS_PER_NODE", tasks))  # "8(x4)"
    assert local is not None
    return {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": tasks,
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "LOCAL_WORLD_SIZE": local.group(),
    }
