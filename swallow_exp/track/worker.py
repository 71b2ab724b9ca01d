"""Publish one run in a process of its own: `python -m swallow_exp.track.worker`, started by launch.py.

Its last line on stdout is JSON: {"rows": n}, {"failed"} or {"given", "expected", "remedy"}. A watchdog ends the whole process group at the
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

from swallow_exp.artefact.errors import EXIT_DONE, EXIT_FAILED, EXIT_WRONG_REQUEST, RequestError, RunFailed
from swallow_exp.artefact.processes import die_with_parent
from swallow_exp.track.publish import PublishRequest, publish_run
from swallow_exp.track.sinks import Destination


def _kill_group() -> None:
    if os.getpgrp() == os.getpid():  # a leader takes wandb's background process along
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def watch(timeout_seconds: float) -> None:
    """End this process, and what it started, after that time."""
    watchdog = threading.Timer(timeout_seconds, _kill_group)
    watchdog.daemon = True
    watchdog.start()


def main(argv: list[str] | None = None) -> int:
    """Publish as the arguments say; returns the exit code."""
    die_with_parent()
    parser = argparse.ArgumentParser(prog="python -m swallow_exp.track.worker", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("run_id")
    parser.add_argument("--sink", required=True)
    parser.add_argument("--mode", required=True)
    parser.add_argument("--project", required=True)
    parser.add_argument("--entity")
    parser.add_argument("--group")
    parser.add_argument("--artifacts", action="store_true")
    parser.add_argument("--items-table", action="store_true")
    parser.add_argument("--timeout-seconds", type=float, required=True)
    arguments = parser.parse_args(argv)
    watch(arguments.timeout_seconds)
    try:
        destination = Destination(arguments.sink, arguments.mode, arguments.project, arguments.entity)
        request = PublishRequest(arguments.artifacts, arguments.items_table)
        rows = publish_run(arguments.out, arguments.run_id, destination, group=arguments.group, request=request)
    except RequestError as error:
        print(json.dumps({"given": error.given, "expected": error.expected, "remedy": error.remedy}))
        return EXIT_WRONG_REQUEST
    except RunFailed as error:
        print(json.dumps({"failed": str(error)}))
        return EXIT_FAILED
    print(json.dumps({"rows": rows}))
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
