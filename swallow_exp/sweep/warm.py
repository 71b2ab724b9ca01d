"""A cell's stages as copies of its process, which imports their libraries once.

Importing torch, Lightning and transformers takes a small cell longer than its work: three stages in
processes of their own import them three times. Here the cell's process imports them, computes nothing
itself, and every stage is a copy of it (fork): still a process with signals and an end of its own.

Only on a processor: a copy of a process that has seen a GPU cannot use it.

Reads/Writes  nothing itself.
"""

from __future__ import annotations

import os
import sys

from swallow_exp.artefact.errors import EXIT_DONE, EXIT_FAILED, EXIT_PREEMPTED, SwallowError
from swallow_exp.artefact.processes import Children
from swallow_exp.artefact.progress import say
from swallow_exp.config import Composed, Config
from swallow_exp.config.layout import Layout
from swallow_exp.evaluate.worker import ENVIRONMENT
from swallow_exp.sweep.prepare import prepare_run

OFFLINE = {"HF_HUB_OFFLINE": "1"}
STOPPED = "swallow: stopped; what is finished is kept, the same command continues"


def may_fork(config: Config) -> bool:
    """Whether the stages of this run can be copies: one process, on a processor, that neither loads nor publishes over the network."""
    alone = Layout.of(config.strategy, config.machine).processes == 1 and config.machine.accelerator == "cpu"
    online = config.paths.network or config.suite.network or config.tracking.wandb_mode is not None
    return alone and not online and sys.platform.startswith("linux")


def import_once() -> None:
    """Import what the stages need. No thread begins that a copy could not do without."""
    for name, value in {**ENVIRONMENT, **OFFLINE}.items():  # read while they are imported
        os.environ.setdefault(name, value)
    import lightning.pytorch  # noqa: F401
    import torch  # noqa: F401
    from transformers import LlamaForCausalLM  # noqa: F401

    import swallow_exp.evaluate.run
    import swallow_exp.train.module
    import swallow_exp.train.reporting
    import swallow_exp.train.saving
    import swallow_exp.train.strategy  # noqa: F401


def prepare_apart(composed: Composed) -> int:
    """As `prepare_run`, in a copy of this process: computing start weights begins threads, which no copy may inherit.

    Returns the exit code; the reason has been said.
    """
    with Children() as children:
        copy = children.fork(lambda: _prepare(composed))
        children.wait()
    if children.stop.count and copy.returncode != EXIT_DONE:
        say(STOPPED)
        return EXIT_PREEMPTED
    return copy.returncode if copy.returncode is not None and copy.returncode >= 0 else EXIT_FAILED


def _prepare(composed: Composed) -> int:
    try:
        prepare_run(composed)
    except SwallowError as error:
        say(f"swallow: {' '.join(str(error).split())}")
        return error.exit_code
    return EXIT_DONE
