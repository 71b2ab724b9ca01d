"""One verb per stage; the only package that reads the command line.

arguments   what stands behind a verb
verbs       what each does

Stage verbs take Hydra overrides (group=level, group.field=value) and --config-dir; the others take plain flags.
Exit codes: 0 done; 75 preempted, saved, run me again; 1 something failed; 2 the request is wrong (one line says what).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType

from swallow_exp.artefact.errors import EXIT_DONE, EXIT_FAILED, EXIT_PREEMPTED, RequestError, SwallowError
from swallow_exp.artefact.processes import die_with_parent
from swallow_exp.cli import verbs
from swallow_exp.cli.arguments import Arguments, parse_arguments

USAGE = """\
swallow: what does this choice do to a continually pre-trained language model?

    swallow demo                          the whole pipeline in miniature, CPU only, ends in a page
    swallow show [overrides]              what this run is: choices, token plan, steps, FLOPs, run_id, what exists
    swallow corpus|vocabulary|tokens|mixture [overrides]    build one artefact (train builds what is missing)
    swallow weights [overrides]           start weights: parameters, rows, vocabulary.init, norms of base and added rows
    swallow train [overrides]             one run: build, train, evaluate every checkpoint
    swallow train -m [overrides]          a grid: vocabulary=base,ja_16k seed=0,1, or +sweep=NAME (a file of sweeps/; GROUP=a,b: its part)
                                           --launcher joblib|submitit_local|submitit_slurm: elsewhere; --plan-only: say what would be done
    swallow scripts +sweep=NAME --system slurm|pbs|uge --to DIR    the same as job scripts (--array; --template FILE: your site's own)
    swallow plan [+sweep=NAME]            what a grid (or one run) will take: tokens, FLOPs, GPU-hours, GiB, disk, days, price
    swallow status [NAME]                 runs x checkpoints x tasks, how long still, what went wrong, from files
    swallow evaluate RUN|MODEL [suite=NAME]   checkpoints without results (--follow: as they appear), or any Hugging Face model
    swallow publish RUN|NAME [--mode online]   send the outbox to W&B (offline by default); safe to repeat (--sink trackio, --rows-only)
    swallow dashboard open NAME|RUN       its curves in the browser, from files on this machine: no account (--port N, --no-open)
    swallow dashboard push NAME           the W&B workspace and report of a sweep (--project P --entity E); again: the same ones change
    swallow report NAME                   tables, figures, claims, one page (--beside-paper: with the paper's; --summary: scores only)
    swallow report --source paper         the paper's own tables, its Figure 1, and what its text says of them, computed
    swallow export RUN [--tokens N] [--to FOLDER] [--dtype bfloat16]    a checkpoint as a Hugging Face folder
    swallow gc [--yes]                    what may go (leftovers, states of finished runs) and how much; --yes removes it
    swallow why A B                       which choices make two runs differ
    swallow convert-tokens import NAME --format megatron|datatrove --tokenizer FILE    a shard from another trainer's files
    swallow convert-tokens export SHARD --format megatron|datatrove --to NAME          and for another trainer
    swallow verify                        re-hash and cross-check everything under the output root

demo, show, corpus ... train, scripts and plan take Hydra overrides and --config-dir DIR (your own levels); demo and train -m also
--jobs N (cells at a time). The others take --out DIR (default: SWALLOW_OUT, or ./outputs); --json (plan, status, verify) is for programs.
plan counts with --mfu SHARE or --tokens-per-second N (of a GPU), else with runs measured here, else with the paper's; --price P a GPU-hour.
evaluate --processes N shares each question among N processes (one a GPU), with the scores of one; --fraction F asks a fixed part.
A group's levels are the files of conf/<group>/; `swallow show GROUP=?` names them; a run shows its own with `swallow show`.
"""

Verb = tuple[Callable[[Arguments], int], frozenset[str], frozenset[str]]
_HYDRA = frozenset({"--config-dir"})
_GRID = frozenset({"--config-dir", "--jobs"})
_OUT = frozenset({"--out"})
VERBS: dict[str, Verb] = {
    "demo": (verbs.demo, frozenset(), _GRID | _OUT),
    "show": (verbs.show, frozenset(), _HYDRA),
    **{name: (verbs.stage(name), frozenset(), _HYDRA) for name in ("corpus", "vocabulary", "tokens", "mixture", "weights")},
    "train": (verbs.train, frozenset({"-m", "--multirun", "--plan-only", "--train-only"}), _GRID | {"--launcher"}),
    "scripts": (verbs.scripts, frozenset({"--array"}), _HYDRA | {"--system", "--to", "--template"}),
    "plan": (verbs.plan, frozenset({"--json"}), _HYDRA | {"--mfu", "--tokens-per-second", "--price"}),
    "status": (verbs.status, frozenset({"--json"}), _OUT),
    "evaluate": (verbs.evaluate, frozenset({"--follow"}), _OUT | {"--fraction", "--processes", "--config-dir"}),
    "publish": (verbs.publish, frozenset({"--rows-only"}), _OUT | {"--sink", "--mode", "--project"}),
    "dashboard": (verbs.dashboard, frozenset({"--no-open"}), _OUT | {"--port", "--project", "--entity"}),
    "report": (verbs.report, frozenset({"--beside-paper", "--summary"}), _OUT | {"--source"}),
    "export": (verbs.export, frozenset(), _OUT | {"--to", "--tokens", "--dtype"}),
    "gc": (verbs.gc, frozenset({"--dry-run", "--yes", "--json"}), _OUT),
    "why": (verbs.why, frozenset(), _OUT),
    "convert-tokens": (verbs.convert_tokens, frozenset(), _OUT | {"--format", "--tokenizer", "--to", "--name", "--shuffle-seed"}),
    "verify": (verbs.verify, frozenset({"--json"}), _OUT),
}


def _terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM, and a scheduler's SIGUSR1, as Ctrl-C: nothing half-written stays."""
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of `swallow` and `python -m swallow_exp`: run a verb, exit with its code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help") or {"-h", "--help"} & set(words):
        print(USAGE, end="")
        raise SystemExit(EXIT_DONE)
    if words[0] in ("--version", "version"):
        from swallow_exp import __version__

        print(f"swallow_exp {__version__}")
        raise SystemExit(EXIT_DONE)
    die_with_parent()
    if argv is None:  # a process of its own
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, _terminate)  # verbs that start processes set handlers of their own meanwhile
    try:
        if words[0] not in VERBS:
            raise RequestError(f"swallow {words[0]}", expected=f"one of {', '.join(VERBS)}", remedy="see `swallow --help`")
        verb, flags, values = VERBS[words[0]]
        code = verb(parse_arguments(words[1:], known_flags=flags, known_values=values))
    except SwallowError as error:
        print(f"swallow: {' '.join(str(error).split())}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print("swallow: stopped; what is finished is kept, the same command continues", file=sys.stderr)
        code = EXIT_PREEMPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader of our pipe left
        code = EXIT_FAILED
    raise SystemExit(code)
