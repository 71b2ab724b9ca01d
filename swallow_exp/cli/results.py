"""Verbs that read results and share them. Imports stay inside, so that help is fast."""

from __future__ import annotations

from argparse import Namespace

from swallow_exp.artefact.errors import EXIT_DONE, EXIT_FAILED, RequestError
from swallow_exp.cli.parser import names, out_root


def publish(arguments: Namespace) -> int:
    """Send the outbox of a run, or of every run of a sweep."""
    from swallow_exp.record.store import find_run, read_sweep
    from swallow_exp.sweep.follow import publish_runs

    name, out = names(arguments, "publish", 1, 1, "one run_id or sweep name")[0], out_root(arguments)
    sweep = read_sweep(out, name)
    if sweep:
        run_ids = [cell["run_id"] for cell in sweep["cells"]]
    else:
        run = find_run(out, name)
        run_ids, out = [run.run_id], run.out
    return publish_runs(
        out,
        run_ids,
        mode=arguments.mode,
        sink=arguments.sink or "wandb",
        project=arguments.project,
        group=name if sweep else None,
        rows_only=arguments.rows_only,
    )


def dashboard(arguments: Namespace) -> int:
    """Curves in a browser: from this machine, or as a W&B workspace and report."""
    action, name = names(arguments, "dashboard", 2, 2, "open NAME or push NAME")
    if action not in ("open", "push"):
        raise RequestError(f"swallow dashboard {action}", expected="open or push", remedy="see `swallow --help`")
    push_only = {"--project": arguments.project, "--entity": arguments.entity}
    open_only = {"--port": arguments.port, "--no-open": arguments.no_open}
    foreign = next((flag for flag, given in (push_only if action == "open" else open_only).items() if given), None)
    if foreign:
        raise RequestError(f"swallow dashboard {action} with {foreign}", expected="a flag of this action", remedy="leave it out")
    if action == "push":
        from swallow_exp.track.push import push_dashboard

        pushed = push_dashboard(out_root(arguments), name, project=arguments.project, entity=arguments.entity)
        print(f"workspace  {pushed.workspace_url}\nreport     {pushed.report_url}")
        return EXIT_DONE
    from swallow_exp.track.local import open_dashboard

    open_dashboard(out_root(arguments), name, port=arguments.port, browse=not arguments.no_open)
    return EXIT_DONE


def report(arguments: Namespace) -> int:
    """Tables, figures, claims, one page: of a sweep, or of the paper's own numbers."""
    from analysis.paper.beside import beside_paper, write_beside_paper
    from analysis.problems import reported_problems
    from analysis.report import build_report
    from swallow_exp.artefact.paths import ReportPaths
    from swallow_exp.artefact.processes import usable_cores
    from swallow_exp.artefact.progress import say

    source, beside = arguments.source or "ours", arguments.beside_paper
    if arguments.summary and (beside or source == "paper"):
        other = "--beside-paper" if beside else "--source paper"
        raise RequestError(f"--summary with {other}", expected="one of the two", remedy="swallow report NAME --summary")
    if source not in ("ours", "paper"):
        raise RequestError(f"--source {source}", expected="ours or paper", remedy="write --source paper")
    if source == "paper":
        return _report_paper(arguments, beside=beside)
    name = names(arguments, "report", 1, 1, "one sweep's name")[0]
    if arguments.summary:
        return _report_summary(arguments, name)
    compared = beside_paper(out_root(arguments), name) if beside else None  # first: a request that cannot be met writes nothing
    page = build_report(out_root(arguments), name, processes=usable_cores())
    if compared is not None:
        print(write_beside_paper(out_root(arguments), name, compared))
    problems = reported_problems(ReportPaths.of(out_root(arguments), name))
    for problem in problems:
        say(f"problem: {problem}")
    print(page.resolve().as_uri())
    return EXIT_FAILED if problems else EXIT_DONE


def _report_summary(arguments: Namespace, name: str) -> int:
    """Scores without claims, figures and page."""
    from analysis.load import load_study
    from analysis.scores import study_summary

    study = load_study(out_root(arguments), name)
    print(study_summary(study), end="")
    return EXIT_FAILED if study.problems else EXIT_DONE


def _report_paper(arguments: Namespace, *, beside: bool) -> int:
    """What the paper printed: its tables, its Figure 1, and what its text says of them, computed."""
    from analysis.paper.report import build_paper_report
    from analysis.paper.statement import statement_line, statements_summary
    from analysis.paper.statements import paper_statements

    names(arguments, "report", 0, 0, "no name with --source paper: it needs no sweep")
    if beside:
        raise RequestError("--beside-paper with --source paper", expected="one of the two", remedy="swallow report NAME --beside-paper")
    page, statements = build_paper_report(out_root(arguments)), paper_statements()
    for line in (*map(statement_line, statements), statements_summary(statements)):
        print(line)
    print(page.resolve().as_uri())
    return EXIT_DONE


def export(arguments: Namespace) -> int:
    """A checkpoint as a Hugging Face folder."""
    from swallow_exp.checkpoint.handover import copy_export
    from swallow_exp.record.store import find_run

    run = find_run(out_root(arguments), names(arguments, "export", 1, 1, "one run_id")[0])
    print(copy_export(out_root(arguments), run, to=arguments.to, mark_tokens=arguments.tokens, dtype=arguments.dtype))
    return EXIT_DONE
