"""`python -m analysis --out OUT NAME`: build the report of one sweep and print where it is."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.problems import reported_problems
from analysis.report import build_report
from swallow_exp.artefact.errors import EXIT_DONE, EXIT_FAILED, SwallowError
from swallow_exp.artefact.paths import ReportPaths
from swallow_exp.artefact.processes import usable_cores


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes as everywhere: 0 done, 1 built, with results that could not be used, 2 the request is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis", description="Tables, figures, claims and one page from the records of a sweep."
    )
    parser.add_argument("name", help="the sweep, as in <out>/sweeps/NAME.json")
    default = Path(os.environ.get("SWALLOW_OUT", "outputs"))
    parser.add_argument("--out", type=Path, default=default, help="output root (default: SWALLOW_OUT or ./outputs)")
    given = parser.parse_args(arguments)
    try:
        print(build_report(given.out, given.name, processes=usable_cores()))
        problems = reported_problems(ReportPaths.of(given.out, given.name))
    except SwallowError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    for problem in problems:
        print(f"problem: {problem}", file=sys.stderr)
    return EXIT_FAILED if problems else EXIT_DONE


if __name__ == "__main__":
    raise SystemExit(main())
