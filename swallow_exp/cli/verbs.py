"""What each verb does. Imports stay inside: `swallow --help` costs nothing."""

from __future__ import annotations

from collections.abc import Callable

from swallow_exp.artefact.errors import EXIT_DONE, EXIT_FAILED, RequestError
from swallow_exp.artefact.paths import user_path
from swallow_exp.cli.arguments import Arguments, names, no_names


def demo(arguments: Arguments) -> int:
    """The whole pipeline in miniature."""
    from swallow_exp.config.overrides import set_value
    from swallow_exp.sweep.demo import run_demo

    no_names(arguments, "demo")
    overrides = [*arguments.overrides, *([set_value("paths.out", arguments.values["--out"])] if "--out" in arguments.values else [])]
    return run_demo(overrides, jobs=arguments.whole_number("--jobs"), config_dirs=arguments.config_dirs)


def show(arguments: Arguments) -> int:
    """What a run is."""
    from swallow_exp.config import compose_config
    from swallow_exp.inspect.show import show_run

    no_names(arguments, "show")
    print(show_run(compose_config(arguments.overrides, arguments.config_dirs)))
    return EXIT_DONE


def stage(name: str) -> Callable[[Arguments], int]:
    """The verb that builds one artefact."""

    def build(arguments: Arguments) -> int:
        """Build one artefact and what it needs."""
        from swallow_exp.config import compose_config
        from swallow_exp.inspect.show import stage_summary
        from swallow_exp.sweep.prepare import build_stages

        no_names(arguments, name)
        config = compose_config(arguments.overrides, arguments.config_dirs).config
        built = build_stages(config, upto=name)
        print(stage_summary(name, config, built))
        if name == "vocabulary" and built.vocabulary is not None:
            from analysis.efficiency.tokens import interval_lines
            from swallow_exp.record.token_counts import read_counts
            from swallow_exp.sweep.prepare import output_root, reference_of

            out = output_root(config)
            corpora = {source: reference_of(corpus, out) for source, corpus in built.corpora.items()}
            for line in interval_lines(read_counts(out, reference_of(built.vocabulary, out), corpora)):
                print(line)
        return EXIT_DONE

    return build


def train(arguments: Arguments) -> int:
    """One run, or with -m a grid."""
    from swallow_exp.config import compose_config

    no_names(arguments, "train")
    if "-m" not in arguments.flags:
        from swallow_exp.sweep.runs import carry_out

        if any(word.startswith("+sweep=") for word in arguments.overrides):
            raise RequestError("+sweep= without -m", expected="swallow train -m +sweep=NAME", remedy="add -m")
        grid_words = sorted(({"--plan-only"} & arguments.flags) | ({"--launcher", "--jobs"} & arguments.values.keys()))
        if grid_words:
            raise RequestError(f"{grid_words[0]} without -m", expected="a grid", remedy="add -m")
        return carry_out(compose_config(arguments.overrides, arguments.config_dirs), train_only="--train-only" in arguments.flags)
    if "--train-only" in arguments.flags:
        raise RequestError("--train-only with -m", expected="one run", remedy="add suite=none for a grid that is not evaluated")
    return _train_grid(arguments)


def _train_grid(arguments: Arguments) -> int:
    from swallow_exp.artefact.progress import say
    from swallow_exp.sweep.grid import expand_sweep, write_sweep
    from swallow_exp.sweep.multirun import HERE, choose_launcher, launch_grid, list_actions
    from swallow_exp.sweep.preflight import check_sweep
    from swallow_exp.sweep.prepare import output_root
    from swallow_exp.sweep.runs import default_jobs, list_failures, run_cells, sweep_exit_code

    launcher, hydra_words, run_words = choose_launcher(arguments.values.get("--launcher"), arguments.overrides)
    sweep = expand_sweep(run_words, arguments.config_dirs)
    question, cells = sweep.question, sweep.cells
    for remark in sweep.remarks:
        say(remark)
    check_sweep(question, cells)
    out = output_root(cells[0].composed.config)
    if "--plan-only" in arguments.flags:
        print(list_actions(cells))
        return EXIT_DONE
    write_sweep(out, question, cells, sweep.others)
    jobs = arguments.whole_number("--jobs")
    if launcher == HERE:
        results = run_cells(cells, out=out, jobs=jobs or default_jobs(cells[0].composed.config))
    else:
        if jobs:
            raise RequestError(f"--jobs with the launcher {launcher}", expected="one or the other", remedy="see hydra.launcher.*")
        results = launch_grid(launcher, hydra_words, cells, question.name, run_words, arguments.config_dirs)
    print(list_failures(question.name, results))
    return sweep_exit_code(results)


def scripts(arguments: Arguments) -> int:
    """A sweep as job scripts of a cluster."""
    from swallow_exp.sweep.grid import expand_sweep
    from swallow_exp.sweep.scripts import SYSTEMS, write_scripts

    no_names(arguments, "scripts")
    given = arguments.values
    missing = [flag for flag in ("--system", "--to") if flag not in given]
    if missing:
        known = ", ".join(SYSTEMS)
        raise RequestError(f"swallow scripts without {missing[0]}", expected=f"--system ({known}) and --to FOLDER", remedy="add it")
    sweep = expand_sweep(arguments.overrides, arguments.config_dirs)
    template = user_path(given["--template"]) if "--template" in given else None
    written = write_scripts(
        sweep,
        system=given["--system"],
        to=user_path(given["--to"]),
        config_dirs=arguments.config_dirs,
        array="--array" in arguments.flags,
        template=template,
    )
    print(f"{len(written)} scripts; submit them: bash {written[-1]}" if written else f"{sweep.question.name}: every cell is finished")
    return EXIT_DONE


def plan(arguments: Arguments) -> int:
    """What a grid, or one run, will take before it runs."""
    import json

    from swallow_exp.inspect.plan import plan_cells, plan_page, plan_plain
    from swallow_exp.inspect.speed import StatedSpeed
    from swallow_exp.sweep.grid import expand_sweep

    stated = StatedSpeed(*(arguments.positive_number(flag) for flag in ("--mfu", "--tokens-per-second", "--price")))
    if stated.mfu is not None and (stated.tokens_per_second is not None or stated.mfu > 1):
        given = f"--mfu {stated.mfu:g}" + (" with --tokens-per-second" if stated.tokens_per_second is not None else "")
        raise RequestError(given, expected="one of the two; an MFU is a share, 0.4", remedy="give one of them")
    named = [f"+sweep={name}" for name in arguments.names]
    sweep = expand_sweep([*named, *arguments.overrides], arguments.config_dirs, or_one_run=True)
    planned = plan_cells(sweep.cells, stated)
    if "--json" in arguments.flags:
        print(json.dumps(plan_plain(sweep.question, planned, sweep.remarks), indent=1))
    else:
        print(plan_page(sweep.question, planned, sweep.remarks))
    return EXIT_DONE


def status(arguments: Arguments) -> int:
    """How every run is."""
    from swallow_exp.inspect.status import status_rows, status_table

    named = names(arguments, "status", 0, 1, "at most one sweep's name")
    rows = status_rows(arguments.out, named[0] if named else None)
    print(status_table(rows, as_json="--json" in arguments.flags))
    return EXIT_DONE


def evaluate(arguments: Arguments) -> int:
    """Evaluate checkpoints without results, or a model that no run made."""
    from swallow_exp.config.overrides import set_value
    from swallow_exp.sweep.follow import evaluate_named

    fraction = [set_value("suite.fraction", arguments.values["--fraction"])] if "--fraction" in arguments.values else []
    overrides, arguments.overrides = [*arguments.overrides, *fraction], []
    (given,) = names(arguments, "evaluate", 1, 1, "one run_id, Hugging Face folder or hub name")
    processes = arguments.whole_number("--processes") or 1
    return evaluate_named(arguments.out, given, overrides, arguments.config_dirs, follow="--follow" in arguments.flags, processes=processes)


def publish(arguments: Arguments) -> int:
    """Send the outbox of a run, or of every run of a sweep."""
    from swallow_exp.record.store import find_run, read_sweep
    from swallow_exp.sweep.follow import publish_runs

    name, out = names(arguments, "publish", 1, 1, "one run_id or sweep name")[0], arguments.out
    sweep = read_sweep(out, name)
    if sweep:
        run_ids = [cell["run_id"] for cell in sweep["cells"]]
    else:
        run = find_run(out, name)
        run_ids, out = [run.run_id], run.out
    return publish_runs(
        out,
        run_ids,
        mode=arguments.values.get("--mode"),
        sink=arguments.values.get("--sink", "wandb"),
        project=arguments.values.get("--project"),
        group=name if sweep else None,
        rows_only="--rows-only" in arguments.flags,
    )


def dashboard(arguments: Arguments) -> int:
    """Curves in a browser: from this machine, or as a W&B workspace and report."""
    action, name = names(arguments, "dashboard", 2, 2, "open NAME or push NAME")
    if action not in ("open", "push"):
        raise RequestError(f"swallow dashboard {action}", expected="open or push", remedy="see `swallow --help`")
    foreign = sorted({"open": {"--project", "--entity"}, "push": {"--port", "--no-open"}}[action] & {*arguments.values, *arguments.flags})
    if foreign:
        raise RequestError(f"swallow dashboard {action} with {foreign[0]}", expected="a flag of this action", remedy="leave it out")
    if action == "push":
        from swallow_exp.track.push import push_dashboard

        given = arguments.values
        pushed = push_dashboard(arguments.out, name, project=given.get("--project"), entity=given.get("--entity"))
        print(f"workspace  {pushed.workspace_url}\nreport     {pushed.report_url}")
        return EXIT_DONE
    from swallow_exp.track.local import open_dashboard

    open_dashboard(arguments.out, name, port=arguments.whole_number("--port"), browse="--no-open" not in arguments.flags)
    return EXIT_DONE


def report(arguments: Arguments) -> int:
    """Tables, figures, claims, one page: of a sweep, or of the paper's own numbers."""
    from analysis.paper.beside import beside_paper, write_beside_paper
    from analysis.problems import reported_problems
    from analysis.report import build_report
    from swallow_exp.artefact.paths import ReportPaths
    from swallow_exp.artefact.processes import usable_cores
    from swallow_exp.artefact.progress import say

    source, beside = arguments.values.get("--source", "ours"), "--beside-paper" in arguments.flags
    if "--summary" in arguments.flags and (beside or source == "paper"):
        other = "--beside-paper" if beside else "--source paper"
        raise RequestError(f"--summary with {other}", expected="one of the two", remedy="swallow report NAME --summary")
    if source not in ("ours", "paper"):
        raise RequestError(f"--source {source}", expected="ours or paper", remedy="write --source paper")
    if source == "paper":
        return _report_paper(arguments, beside=beside)
    name = names(arguments, "report", 1, 1, "one sweep's name")[0]
    if "--summary" in arguments.flags:
        return _report_summary(arguments, name)
    compared = beside_paper(arguments.out, name) if beside else None  # first: a request that cannot be met writes nothing
    page = build_report(arguments.out, name, processes=usable_cores())
    if compared is not None:
        print(write_beside_paper(arguments.out, name, compared))
    problems = reported_problems(ReportPaths.of(arguments.out, name))
    for problem in problems:
        say(f"problem: {problem}")
    print(page.resolve().as_uri())
    return EXIT_FAILED if problems else EXIT_DONE


def _report_summary(arguments: Arguments, name: str) -> int:
    """Scores without claims, figures and page."""
    from analysis.load import load_study
    from analysis.summary import study_summary

    study = load_study(arguments.out, name)
    print(study_summary(study), end="")
    return EXIT_FAILED if study.problems else EXIT_DONE


def _report_paper(arguments: Arguments, *, beside: bool) -> int:
    """What the paper printed: its tables, its Figure 1, and what its text says of them, computed."""
    from analysis.paper.report import build_paper_report
    from analysis.paper.statement import statement_line, statements_summary
    from analysis.paper.statements import paper_statements

    names(arguments, "report", 0, 0, "no name with --source paper: it needs no sweep")
    if beside:
        raise RequestError("--beside-paper with --source paper", expected="one of the two", remedy="swallow report NAME --beside-paper")
    page, statements = build_paper_report(arguments.out), paper_statements()
    for line in (*map(statement_line, statements), statements_summary(statements)):
        print(line)
    print(page.resolve().as_uri())
    return EXIT_DONE


def export(arguments: Arguments) -> int:
    """A checkpoint as a Hugging Face folder."""
    from swallow_exp.checkpoint.handover import copy_export
    from swallow_exp.record.store import find_run

    run = find_run(arguments.out, names(arguments, "export", 1, 1, "one run_id")[0])
    to = user_path(arguments.values["--to"]) if "--to" in arguments.values else None
    tokens, dtype = arguments.mark_tokens(), arguments.values.get("--dtype")
    print(copy_export(arguments.out, run, to=to, mark_tokens=tokens, dtype=dtype))
    return EXIT_DONE


def gc(arguments: Arguments) -> int:
    """Apply retention."""
    from swallow_exp.inspect.gc import find_garbage, garbage_table, remove_garbage

    names(arguments, "gc", 0, 0, "no names")
    if {"--yes", "--dry-run"} <= arguments.flags:
        raise RequestError("--yes with --dry-run", expected="one of the two", remedy="--dry-run is what happens without --yes")
    found, removed = find_garbage(arguments.out), "--yes" in arguments.flags
    if removed:
        found = remove_garbage(found)
    print(garbage_table(found, removed=removed, as_json="--json" in arguments.flags))
    return EXIT_DONE


def why(arguments: Arguments) -> int:
    """Which choices make two runs differ."""
    from swallow_exp.record.store import find_run
    from swallow_exp.sweep.why import explain_difference

    first, second = (find_run(arguments.out, name) for name in names(arguments, "why", 2, 2, "two run_ids"))
    print(explain_difference(first, second))
    return EXIT_DONE


def convert_tokens(arguments: Arguments) -> int:
    """A token shard from, or for, another trainer."""
    from swallow_exp.tokens.exchange import convert

    direction, name = names(arguments, "convert-tokens", 2, 2, "import NAME or export SHARD")
    seed = arguments.whole_number("--shuffle-seed")
    print(convert(direction, name, arguments.values, out=arguments.out, shuffle_seed=seed))
    return EXIT_DONE


def verify(arguments: Arguments) -> int:
    """Re-hash and cross-check everything."""
    from swallow_exp.inspect.verify import verify_and_print

    names(arguments, "verify", 0, 0, "no names: it checks the whole output root")
    return verify_and_print(arguments.out, as_json="--json" in arguments.flags)
