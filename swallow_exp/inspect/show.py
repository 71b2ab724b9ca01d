"""What a run is, before and after it exists: choices, token plan as a tree, steps, FLOPs, memory, run_id, what exists.

Reads  the config; the run folder and its plan when they exist. Builds nothing.
"""

from __future__ import annotations

from swallow_exp.artefact.manifest import Artefact, find_artefact
from swallow_exp.checkpoint.index import read_checkpoints
from swallow_exp.config import Composed, Config
from swallow_exp.config.layout import describe_layout
from swallow_exp.evaluate.suite import check_task_names
from swallow_exp.mixture.tree import plan_tree
from swallow_exp.model.describe import describe_model
from swallow_exp.record.identity import IDENTITY_GROUPS
from swallow_exp.record.status import read_status
from swallow_exp.sweep.build import output_root, read_inputs, run_paths
from swallow_exp.train.optimizer import describe_recipe


def show_run(composed: Composed) -> str:
    """The page `swallow show` prints."""
    config = composed.config
    check_task_names(config)
    run = run_paths(composed)
    status = read_status(run.status)
    inputs = read_inputs(run)
    plan = find_artefact(output_root(config) / inputs["mixture"]["folder"]) if inputs else None
    vocabulary = find_artefact(output_root(config) / inputs["vocabulary"]["folder"]) if inputs else None
    lines = [f"run      {run.run_id}", f"folder   {run.folder}", f"state    {status['state']}", "", "choices"]
    lines += [f"  {group:<12} {composed.plain[group]['name']}" for group in IDENTITY_GROUPS]
    lines += [f"  {'seed':<12} {config.seed}", ""]
    lines += plan_tree(config, plan)
    lines += ["", describe_recipe(config.optim), *_model(config, vocabulary), *describe_layout(config)]
    checkpoints = read_checkpoints(run)
    lines += ["", f"checkpoints  {len(checkpoints)} of {len(config.budget.marks())} exported"]
    lines += [f"  {record.trained_tokens:>16,} tokens  step {record.step:,}" for record in checkpoints]
    return "\n".join(lines)


def _model(config: Config, vocabulary: Artefact | None) -> list[str]:
    """Parameters, FLOPs and memory, where the shape is known."""
    size = int(vocabulary.counts["size"]) if vocabulary is not None else None
    return describe_model(config, vocabulary_size=size)
