"""Verbs that compose, build, run and look after. Imports stay inside, so that help is fast."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

from swallow_exp.artefact.errors import EXIT_DONE, RequestError
from swallow_exp.artefact.paths import user_path
from swallow_exp.cli.parser import names, no_names, out_root


def demo(arguments: Namespace) -> int:
    """The whole pipeline in miniature."""
    from swallow_exp.config.overrides import set_value
    from swallow_exp.sweep.demo import run_demo

    no_names(arguments, "demo")
    overrides = [*arguments.overrides, *([set_value("paths.out", arguments.out)] if arguments.out else [])]
    return run_demo(overrides, jobs=arguments.jobs, config_dirs=arguments.config_dir)


def init(arguments: Namespace) -> int:
    """Levels and a question for the user's own text."""
    import shlex

    from swallow_exp.config import compose_config
    from swallow_exp.config.overrides import set_value
    from swallow_exp.config.starter import CHOICES, QUESTION, write_starter
    from swallow_exp.inspect.show import show_run

    folder = user_path(names(arguments, "init", 1, 1, "one folder")[0])
    text, here = write_starter(folder, arguments.data), shlex.quote(str(folder))
    print(show_run(compose_config([*CHOICES, set_value("paths.data", text)], [folder])))
    train = f"swallow train -m +sweep={QUESTION} --config-dir {here}"
    print(f"\nYour levels are in {folder}; their comments say what to change. Next:")
    print(f"  put your text under {text}; {here}/source/*.yaml name the files")
    print(f"  put your model's SentencePiece tokenizer at {text}/tokenizer.model")
    print(f"  swallow plan {QUESTION} --config-dir {here}")
    print(f"  {train} budget=smoke mixture.sources.my_pairs.max_documents=100    a rehearsal: forty steps per run")
    print(f"  {train}\n  swallow report {QUESTION}")
    return EXIT_DONE


def show(arguments: Namespace) -> int:
    """What a run is, or with GROUP=? what a group offers."""
    from swallow_exp.config import compose_config
    from swallow_exp.config.levels import levels_page, list_groups

    asked = [word.removesuffix("=?") for word in arguments.overrides if word.endswith("=?")]
    asked += [word for word in arguments.names if word in list_groups()]  # some shells would look for files that fit GROUP=?
    if asked:
        print("\n\n".join(levels_page(group, arguments.config_dir) for group in asked))
        return EXIT_DONE
    no_names(arguments, "show")
    from swallow_exp.inspect.show import show_run

    composed = compose_config(arguments.overrides, arguments.config_dir)
    print(show_run(composed))
    for remark in composed.remarks:
        print(f"warning  {remark}")
    return EXIT_DONE


def stage(name: str) -> Callable[[Namespace], int]:
    """The verb that builds one artefact."""

    def build(arguments: Namespace) -> int:
        """Build one artefact and what it needs."""
        from swallow_exp.config import compose_config
        from swallow_exp.inspect.show import stage_summary
        from swallow_exp.sweep.prepare import build_stages

        no_names(arguments, name)
        config = compose_config(arguments.overrides, arguments.config_dir).config
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


def train(arguments: Namespace) -> int:
    """One run, or with -m a grid."""
    from swallow_exp.artefact.progress import say
    from swallow_exp.config import compose_config

    no_names(arguments, "train")
    if not arguments.multirun:
        from swallow_exp.sweep.runs import carry_out

        if any(word.startswith("+sweep=") for word in arguments.overrides):
            raise RequestError("+sweep= without -m", expected="swallow train -m +sweep=NAME", remedy="add -m")
        given = {"--jobs": arguments.jobs, "--launcher": arguments.launcher, "--plan-only": arguments.plan_only}
        if any(given.values()):
            flag = next(flag for flag, value in given.items() if value)
            raise RequestError(f"{flag} without -m", expected="a grid", remedy="add -m")
        composed = compose_config(arguments.overrides, arguments.config_dir)
        for remark in composed.remarks:
            say(f"warning: {remark}")
        return carry_out(composed, train_only=arguments.train_only)
    if arguments.train_only:
        raise RequestError("--train-only with -m", expected="one run", remedy="add suite=none for a grid that is not evaluated")
    return _train_grid(arguments)


def _train_grid(arguments: Namespace) -> int:
    from swallow_exp.artefact.progress import say
    from swallow_exp.sweep.grid import expand_sweep, write_sweep
    from swallow_exp.sweep.multirun import HERE, choose_launcher, launch_grid, list_actions
    from swallow_exp.sweep.preflight import check_sweep
    from swallow_exp.sweep.prepare import output_root
    from swallow_exp.sweep.runs import default_jobs, list_failures, run_cells, sweep_exit_code

    launcher, hydra_words, run_words = choose_launcher(arguments.launcher, arguments.overrides)
    sweep = expand_sweep(run_words, arguments.config_dir)
    question, cells = sweep.question, sweep.cells
    warnings = dict.fromkeys(f"warning: {remark}" for cell in cells for remark in cell.composed.remarks)
    for remark in (*sweep.remarks, *warnings):
        say(remark)
    check_sweep(question, cells)
    out = output_root(cells[0].composed.config)
    if arguments.plan_only:
        print(list_actions(cells))
        return EXIT_DONE
    write_sweep(out, question, cells, sweep.others)
    jobs = arguments.jobs
    if launcher == HERE:
        results = run_cells(cells, out=out, jobs=jobs or default_jobs(cells[0].composed.config))
    else:
        if jobs:
            raise RequestError(f"--jobs with the launcher {launcher}", expected="one or the other", remedy="see hydra.launcher.*")
        results = launch_grid(launcher, hydra_words, cells, question.name, run_words, arguments.config_dir)
    print(list_failures(question.name, results))
    return sweep_exit_code(results)


def scripts(arguments: Namespace) -> int:
    """A sweep as job scripts of a cluster."""
    from swallow_exp.sweep.grid import expand_sweep
    from swallow_exp.sweep.scripts import SYSTEMS, write_scripts

    no_names(arguments, "scripts")
    missing = [flag for flag, given in {"--system": arguments.system, "--to": arguments.to}.items() if given is None]
    if missing:
        known = ", ".join(SYSTEMS)
        raise RequestError(f"swallow scripts without {missing[0]}", expected=f"--system ({known}) and --to FOLDER", remedy="add it")
    sweep = expand_sweep(arguments.overrides, arguments.config_dir)
    written = write_scripts(
        sweep,
        system=arguments.system,
        to=arguments.to,
        config_dirs=arguments.config_dir,
        array=arguments.array,
        template=arguments.template,
    )
    print(f"{len(written)} scripts; submit them: bash {written[-1]}" if written else f"{sweep.question.name}: every cell is finished")
    return EXIT_DONE


def plan(arguments: Namespace) -> int:
    """What a grid, or one run, will take before it runs."""
    import json

    from swallow_exp.cli.power import plan_power
    from swallow_exp.inspect.plan import plan_cells, plan_page, plan_plain
    from swallow_exp.inspect.speed import StatedSpeed
    from swallow_exp.sweep.grid import expand_sweep

    stated = StatedSpeed(arguments.mfu, arguments.tokens_per_second, arguments.price)
    if stated.mfu is not None and (stated.tokens_per_second is not None or stated.mfu > 1):
        given = f"--mfu {stated.mfu:g}" + (" with --tokens-per-second" if stated.tokens_per_second is not None else "")
        raise RequestError(given, expected="one of the two; an MFU is a share, 0.4", remedy="give one of them")
    named = [f"+sweep={name}" for name in arguments.names]
    sweep = expand_sweep([*named, *arguments.overrides], arguments.config_dir, or_one_run=True)
    planned = plan_cells(sweep.cells, stated)
    power = plan_power(sweep, planned, detect=arguments.detect, noise=arguments.noise)
    if arguments.json:
        print(json.dumps({**plan_plain(sweep.question, planned, sweep.remarks), "power": power.plain()}, indent=1))
    else:
        print(plan_page(sweep.question, planned, sweep.remarks))
        print(power.page())
    return EXIT_DONE


def status(arguments: Namespace) -> int:
    """How every run is."""
    from swallow_exp.inspect.status import status_rows, status_table

    named = names(arguments, "status", 0, 1, "at most one sweep's name")
    rows = status_rows(out_root(arguments), named[0] if named else None)
    print(status_table(rows, as_json=arguments.json))
    return EXIT_DONE


def evaluate(arguments: Namespace) -> int:
    """Evaluate checkpoints without results, or a model that no run made."""
    from swallow_exp.config.overrides import set_value
    from swallow_exp.sweep.follow import evaluate_named

    fraction = [set_value("suite.fraction", arguments.fraction)] if arguments.fraction else []
    overrides, arguments.overrides = [*arguments.overrides, *fraction], []
    (given,) = names(arguments, "evaluate", 1, 1, "one run_id, Hugging Face folder or hub name")
    follow, processes = arguments.follow, arguments.processes or 1
    return evaluate_named(out_root(arguments), given, overrides, arguments.config_dir, follow=follow, processes=processes)


def gc(arguments: Namespace) -> int:
    """Apply retention."""
    from swallow_exp.inspect.gc import find_garbage, garbage_table, remove_garbage

    names(arguments, "gc", 0, 0, "no names")
    if arguments.yes and arguments.dry_run:
        raise RequestError("--yes with --dry-run", expected="one of the two", remedy="--dry-run is what happens without --yes")
    found, removed = find_garbage(out_root(arguments)), arguments.yes
    if removed:
        found = remove_garbage(found)
    print(garbage_table(found, removed=removed, as_json=arguments.json))
    return EXIT_DONE


def why(arguments: Namespace) -> int:
    """Which choices make two runs differ."""
    from swallow_exp.record.store import find_run
    from swallow_exp.sweep.why import explain_difference

    first, second = (find_run(out_root(arguments), name) for name in names(arguments, "why", 2, 2, "two run_ids"))
    print(explain_difference(first, second))
    return EXIT_DONE


def convert_tokens(arguments: Namespace) -> int:
    """A token shard from, or for, another trainer."""
    from swallow_exp.tokens.exchange import convert

    direction, name = names(arguments, "convert-tokens", 2, 2, "import NAME or export SHARD")
    given = {
        "--format": arguments.format,
        "--tokenizer": arguments.tokenizer,
        "--to": arguments.to,
        "--name": arguments.name,
    }
    flags = {flag: str(value) for flag, value in given.items() if value is not None}
    print(convert(direction, name, flags, out=out_root(arguments), shuffle_seed=arguments.shuffle_seed))
    return EXIT_DONE


def verify(arguments: Namespace) -> int:
    """Re-hash and cross-check everything."""
    from swallow_exp.inspect.verify import verify_and_print

    names(arguments, "verify", 0, 0, "no names: it checks the whole output root")
    return verify_and_print(out_root(arguments), as_json=arguments.json)
