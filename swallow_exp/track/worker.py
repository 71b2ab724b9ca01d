"""Publish one run in a process of its own: `python -m swallow_exp.track.worker`, started by launch.py.

Its last line on stdout is JSON: {"rows": n} or {"given", "expected", "remedy"}. A watchdog ends the whole process group at the
time limit, so a hanging network call outlives neither its caller's patience nor its caller.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

from swallow_exp.artefact.errors import EXIT_DONE, EXIT_WRONG_REQUEST, RequestError
from swallow_exp.artefact.processes import die_with_parent
from swallow_exp.track.publish import publish_run


def _kill_group() -> None:
    if os.getpgrp() == os.getpid():  # a leader takes wandb's background process along
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def main(argv: list[str] | None = None) -> int:
    """Publish as the arguments say; returns the exit code."""
    die_with_parent()
    parser = argparse.ArgumentParser(prog="python -m swallow_exp.track.worker", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("run_id")
    parser.add_argument("--mode", required=True)
    parser.add_argument("--project", required=True)
    parser.add_argument("--entity")
    parser.add_argument("--group")
    parser.add_argument("--timeout-seconds", type=float, required=True)
    arguments = parser.parse_args(argv)
    watchdog = threading.Timer(arguments.timeout_seconds, _kill_group)
    watchdog.daemon = True
    watchdog.start()
    try:
        rows = publish_run(
            arguments.out,
            arguments.run_id,
            mode=arguments.mode,
            project=arguments.project,
            entity=arguments.entity,
            group=arguments.group,
        )
    except RequestError as error:
        print(json.dumps({"given": error.given, "expected": error.expected, "remedy": error.remedy}))
        return EXIT_WRONG_REQUEST
    print(json.dumps({"rows": rows}))
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
