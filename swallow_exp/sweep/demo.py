"""`swallow demo`: a whole ablation in miniature, on a CPU, from generated text to a page.

(1) base      train a tiny Llama on the English side of the miniature world      -> a run
(2) hand over its last checkpoint                                                -> <out>/models/miniature
(3) cells     sweeps/miniature.yaml: train and evaluate every cell               -> runs
(4) report                                                                       -> <out>/reports/miniature/index.html

Every step is the ordinary command; nothing here knows a result.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from swallow_exp.artefact.errors import EXIT_DONE, RunFailed
from swallow_exp.artefact.processes import usable_cores
from swallow_exp.artefact.progress import say
from swallow_exp.checkpoint.handover import copy_export
from swallow_exp.config import compose_config
from swallow_exp.config.overrides import set_value
from swallow_exp.sweep.expand import expand_question
from swallow_exp.sweep.grid import write_sweep
from swallow_exp.sweep.preflight import check_sweep
from swallow_exp.sweep.prepare import output_root, run_paths
from swallow_exp.sweep.question import read_question
from swallow_exp.sweep.runs import carry_out, default_jobs, run_cells, sweep_exit_code

QUESTION = "miniature"


def run_demo(overrides: Sequence[str] = (), *, jobs: int | None = None, config_dirs: Sequence[Path] = ()) -> int:
    """Run the miniature ablation; returns an exit code. Safe to repeat: what is done is not done again."""
    from analysis.report import build_report

    started = time.monotonic()
    base = compose_config(["experiment=miniature_base", *overrides], config_dirs)
    out = output_root(base.config)
    say("1/4 base model: a tiny Llama learns the English side of a made-up world")
    code = carry_out(base)
    if code != EXIT_DONE:
        return code
    say("2/4 its last checkpoint becomes the base model of every cell")
    copy_export(out, run_paths(base), to=out / "models" / QUESTION, replace=True)
    question = read_question(QUESTION, config_dirs)
    cells = expand_question(question, [*overrides, set_value("paths.out", out)], config_dirs)
    check_sweep(question, cells)
    write_sweep(out, question, cells)
    jobs = jobs or default_jobs(cells[0].composed.config)
    say(f"3/4 {len(cells)} cells, {jobs} at a time: train, and evaluate every checkpoint")
    results = run_cells(cells, out=out, jobs=jobs)
    code = sweep_exit_code(results)
    if code != EXIT_DONE:
        return code
    say("4/4 tables, figures, page")
    page = build_report(out, QUESTION, processes=usable_cores())
    if not page.exists():
        raise RunFailed(f"the report did not write {page}")
    say(f"done in {(time.monotonic() - started) / 60:.1f} minutes; the page is {page.resolve().as_uri()}")
    return EXIT_DONE
