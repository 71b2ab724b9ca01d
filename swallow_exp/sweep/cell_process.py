"""One cell of a sweep in a process of its own: python -m swallow_exp.sweep.cell_process RUN_FOLDER

The sweep has composed the cell and written its config.yaml. This builds what is missing, trains,
evaluates and publishes, as `swallow train` does.

Reads/Writes  as carry_out
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from swallow_exp.artefact.errors import EXIT_PREEMPTED, SwallowError
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.artefact.processes import die_with_parent
from swallow_exp.artefact.progress import say
from swallow_exp.config import Composed, Config
from swallow_exp.record.store import read_config
from swallow_exp.sweep.warm import STOPPED, import_once, may_fork
from swallow_exp.train.fit import is_trained


def main(arguments: Sequence[str]) -> int:
    """Carry out the run whose folder is given; returns the exit code."""
    die_with_parent()
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, _interrupt)  # whatever starts processes sets handlers of its own meanwhile
    try:
        from swallow_exp.sweep.runs import carry_out

        (folder,) = arguments
        config = Config.of(read_config(RunPaths(Path(folder))))
        fork = may_fork(config) and not is_trained(RunPaths(Path(folder)))  # evaluation alone imports once anyway
        if fork:
            import_once()
        return carry_out(Composed(config, asdict(config)), fork=fork)
    except SwallowError as error:
        say(f"swallow: {' '.join(str(error).split())}")
        return error.exit_code
    except KeyboardInterrupt:
        say(STOPPED)
        return EXIT_PREEMPTED


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
