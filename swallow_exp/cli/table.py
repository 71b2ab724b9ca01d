"""Every verb: one line on what it does, what it takes, two examples.

Reads/Writes  nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from swallow_exp.cli import results, verbs
from swallow_exp.cli.parser import Verb

CHOICES = "[GROUP=LEVEL ...] [GROUP.FIELD=VALUE ...]"
GRIDS = ("+sweep=NAME [GROUP=LEVEL ...] [GROUP.FIELD=VALUE ...]", "GROUP=LEVEL,LEVEL ... [GROUP.FIELD=VALUE ...]")
OVERRIDES = """\
GROUP=LEVEL chooses a level, a file of conf/GROUP/ or of your own --config-dir.
GROUP.FIELD=VALUE changes one field of it. `swallow show GROUP=?` lists the levels."""


def _artefact(name: str, summary: str, *examples: str) -> Verb:
    """The verb that builds one artefact."""
    first, second = examples
    more = f"{OVERRIDES}\nWhat it needs is built first, and what is there is kept. `swallow train` builds all of it by itself."
    return Verb(verbs.stage(name), summary, (CHOICES,), ("--config-dir",), (first, second), more)


# heading -> its verbs, in the order of `swallow --help`
SECTIONS: Mapping[str, Mapping[str, Verb]] = {
    "start": {
        "demo": Verb(
            verbs.demo,
            "run the whole pipeline in miniature, on the CPU, and end with a page",
            (CHOICES,),
            ("--jobs", "--out", "--config-dir"),
            ("demo", "demo --jobs 2 --out demo_outputs"),
        ),
        "init": Verb(
            verbs.init,
            "write levels and a question for your own text and model into a new folder",
            ("FOLDER",),
            ("--data",),
            ("init my", "init my --data /data/text"),
            "It asks nothing. The files are the README's, with comments that say what to change.",
        ),
    },
    "look": {
        "show": Verb(
            verbs.show,
            "describe one run: choices, token plan, steps, FLOPs, run_id, what exists",
            (CHOICES, "GROUP=? | GROUP"),
            ("--config-dir",),
            ("show vocabulary=ja_16k parallel=ntp_mixed", "show vocabulary=? --config-dir my"),
            OVERRIDES,
        ),
        "plan": Verb(
            verbs.plan,
            "count what a grid, or one run, will take: tokens, FLOPs, GPU-hours, GiB, disk, days, price",
            ("NAME [GROUP=LEVEL ...]", *GRIDS, CHOICES),
            ("--mfu", "--tokens-per-second", "--price", "--detect", "--noise", "--json", "--config-dir"),
            ("plan main --price 2.50", "plan question --config-dir my --detect 2.0"),
            "NAME is a question: a file of sweeps/, or of sweeps/ in your --config-dir. It starts nothing.",
        ),
        "status": Verb(
            verbs.status,
            "list runs, checkpoints and results from their files, with the time left and what went wrong",
            ("[NAME]",),
            ("--out", "--json"),
            ("status", "status miniature --json"),
            "NAME is a sweep. Without it every run under the output root is listed.",
        ),
        "why": Verb(
            verbs.why,
            "say which choices make two runs differ",
            ("RUN RUN",),
            ("--out",),
            ("why miniature-base-miniature-none miniature-base-miniature-ntp_mixed", "why 47653a6 1f00c2d --out /scratch/out"),
            "A run may be named by the beginning of its run_id, or by its last seven letters.",
        ),
    },
    "build": {
        "corpus": _artefact(
            "corpus",
            "read the text of every source, and hold a part of it out",
            "corpus mixture=miniature",
            "corpus mixture=mine --config-dir my",
        ),
        "vocabulary": _artefact(
            "vocabulary",
            "build the tokenizer, and count what it does to held-out text",
            "vocabulary vocabulary=miniature_ja",
            "vocabulary vocabulary=ja_16k mixture=mine --config-dir my",
        ),
        "tokens": _artefact(
            "tokens",
            "tokenise every source into a shard",
            "tokens parallel=ntp_mixed",
            "tokens mixture=mine machine.processes=8 --config-dir my",
        ),
        "mixture": _artefact(
            "mixture",
            "plan in integers how the sources are mixed",
            "mixture parallel=ntp_mixed",
            "mixture mixture=mine budget.tokens=2_000_000 --config-dir my",
        ),
        "weights": _artefact(
            "weights",
            "build the start weights, and describe their added rows",
            "weights vocabulary=miniature_ja",
            "weights vocabulary=miniature_ja vocabulary.init=global_mean",
        ),
    },
    "run": {
        "train": Verb(
            verbs.train,
            "build, train and evaluate one run, or with -m every cell of a grid",
            (CHOICES, *(f"-m {grid}" for grid in GRIDS)),
            ("-m", "--jobs", "--launcher", "--plan-only", "--train-only", "--config-dir"),
            ("train parallel=ntp_mixed seed=1", "train -m +sweep=question --config-dir my budget=smoke"),
            f"{OVERRIDES}\nWith +sweep=NAME, GROUP=LEVEL,LEVEL of a varied group runs that part of the grid.\n"
            "The same command again continues what was stopped, and skips what is finished.",
        ),
        "scripts": Verb(
            verbs.scripts,
            "write a grid as job scripts of a cluster",
            GRIDS,
            ("--system", "--to", "--array", "--template", "--config-dir"),
            ("scripts +sweep=main --system slurm --to jobs", "scripts +sweep=question --config-dir my --system pbs --to jobs --array"),
        ),
        "evaluate": Verb(
            verbs.evaluate,
            "evaluate checkpoints without results, or any Hugging Face model",
            tuple(f"{asked} [suite=NAME] [suite.FIELD=VALUE ...]" for asked in ("RUN", "FOLDER", "OWNER/MODEL")),
            ("--follow", "--fraction", "--processes", "--out", "--config-dir"),
            ("evaluate miniature-base --follow", "evaluate models/my_llama suite=paper_ja --fraction 0.1"),
        ),
    },
    "read and share": {
        "report": Verb(
            results.report,
            "write tables, figures, claims and one page",
            ("NAME", "--source paper"),
            ("--source", "--beside-paper", "--summary", "--out"),
            ("report miniature", "report --source paper"),
        ),
        "publish": Verb(
            results.publish,
            "send the rows of a run, or of a sweep, to W&B or trackio; safe to repeat",
            ("RUN", "NAME"),
            ("--sink", "--mode", "--project", "--rows-only", "--out"),
            ("publish miniature", "publish question --mode online --project my_project"),
        ),
        "dashboard": Verb(
            results.dashboard,
            "open curves in the browser without an account, or push a W&B workspace and report",
            ("open RUN", "open NAME", "push NAME"),
            ("--port", "--no-open", "--project", "--entity", "--out"),
            ("dashboard open miniature --port 7860", "dashboard push question --project my_project --entity my_team"),
            "open takes --port and --no-open; push takes --project and --entity.",
        ),
        "export": Verb(
            results.export,
            "copy a checkpoint as a Hugging Face folder",
            ("RUN",),
            ("--tokens", "--to", "--dtype", "--out"),
            ("export miniature-base --to my_export", "export miniature-base --tokens 768000 --dtype bfloat16"),
        ),
    },
    "look after": {
        "verify": Verb(
            verbs.verify,
            "re-hash and cross-check everything under the output root",
            ("",),
            ("--out", "--json"),
            ("verify", "verify --out /scratch/out --json"),
        ),
        "gc": Verb(
            verbs.gc,
            "list what may go, and with --yes remove it",
            ("",),
            ("--yes", "--dry-run", "--json", "--out"),
            ("gc", "gc --yes"),
        ),
        "convert-tokens": Verb(
            verbs.convert_tokens,
            "turn another trainer's token files into a shard, or a shard into such files",
            ("import NAME", "export SHARD"),
            ("--format", "--tokenizer", "--to", "--name", "--shuffle-seed", "--out"),
            (
                "convert-tokens import data/web_text_document --format megatron --tokenizer tokenizer.model",
                "convert-tokens export miniature_japanese --format datatrove --to exported/web",
            ),
        ),
    },
}
VERBS: Mapping[str, Verb] = {name: verb for section in SECTIONS.values() for name, verb in section.items()}


def overview() -> str:
    """The page of `swallow --help`: every verb in one line."""
    lines = ["swallow: what does this choice do to a continually pre-trained language model?", "", "usage: swallow VERB ...", ""]
    for heading, section in SECTIONS.items():
        lines += [heading, *(f"  {name:<15} {verb.summary}" for name, verb in section.items()), ""]
    return "\n".join(
        [
            *lines,
            "`swallow VERB --help` describes a verb, its flags and two examples.",
            "`swallow show GROUP=?` lists the levels of a group: base_model, vocabulary, mixture, parallel, budget, optim, ...",
            "Exit codes: 0 done, 75 stopped and saved (the same command continues), 1 something failed, 2 the request is wrong.",
        ]
    )
