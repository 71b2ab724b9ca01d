"""Job scripts for a site's scheduler, written from a template and submitted by hand: `bash DIR/submit.sh`.

(1) prepare   one job on CPUs builds what the cells share: corpora, vocabularies, tokens, mixtures, start weights
(2) train     a job a cell (or one array), after it; stopped with 75 it is queued again
(3) evaluate  a job a cell, after its training; it publishes too where tracking says so

Only cells that are not finished are written. A site whose scheduler wants more gives its own template (Jinja; these are examples).

Reads   sweep/templates/<system>.sh or --template        Writes  <to>/{prepare,train*,evaluate*,submit}.sh, <out>/sweeps/NAME.json
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import make_folder, write_text_atomic
from swallow_exp.artefact.paths import logs_folder
from swallow_exp.config.overrides import set_value
from swallow_exp.config.schema import Config
from swallow_exp.sweep.cells import CellJob, settled_exit_code
from swallow_exp.sweep.expand import Cell
from swallow_exp.sweep.grid import Sweep, write_sweep
from swallow_exp.sweep.lease import read_lease
from swallow_exp.sweep.prepare import output_root

TEMPLATES = Path(__file__).with_name("templates")
SWALLOW = (sys.executable, "-m", "swallow_exp")


@dataclass(frozen=True)
class System:
    """How a scheduler is spoken to: submit and print the job's number, and wait for another job that ended well."""

    submit: str
    after: str  # {} is the number
    after_task: str | None  # the same for each task of an array; None: its arrays cannot be chained so


SYSTEMS: Mapping[str, System] = {
    "slurm": System("sbatch --parsable", "--dependency=afterok:{}", "--dependency=aftercorr:{}"),
    "pbs": System("qsub", "-W depend=afterok:{}", None),
    # a hold ends however the job ended: an evaluation of what never began refuses by itself
    "uge": System("qsub -terse", "-hold_jid {}", "-hold_jid_ad {}"),
}


def write_scripts(
    sweep: Sweep,
    *,
    system: str,
    to: Path,
    config_dirs: Sequence[Path] = (),
    array: bool = False,
    template: Path | None = None,
) -> list[Path]:
    """The scripts, submit.sh last; none when every cell is finished. Raises RequestError for what the system cannot do."""
    if system not in SYSTEMS:
        raise RequestError(f"--system {system}", expected=f"one of {', '.join(SYSTEMS)}", remedy="choose the nearest and give --template")
    cells, known = sweep.cells, SYSTEMS[system]
    config = cells[0].composed.config
    out = output_root(config).absolute()
    if array and known.after_task is None:
        raise RequestError(f"--array with {system}", expected="slurm or uge", remedy="leave it out: one script a cell")
    if config.machine.nodes > 1 and system != "slurm" and template is None:
        raise RequestError(
            f"machine.nodes={config.machine.nodes} with {system}",
            expected="a template that starts the command once on each node, with NODE_RANK, MASTER_ADDR and MASTER_PORT",
            remedy="copy the one of this system and give it with --template",
        )
    jobs = {cell.run_id: CellJob.of(cell, out) for cell in cells}
    left = [cell for cell in cells if settled_exit_code(jobs[cell.run_id], read_lease(jobs[cell.run_id].lease)) is None]
    write_sweep(out, sweep.question, cells, sweep.others)
    if not left:
        return []
    make_folder(logs_folder(out))
    pages = _Pages(template or TEMPLATES / f"{system}.sh", make_folder(to).absolute(), out, config)
    words = {cell.run_id: [*cell.overrides, set_value("paths.out", out)] for cell in left}
    for folder in config_dirs:
        for run_words in words.values():
            run_words += ["--config-dir", str(folder.absolute())]
    evaluated = [cell for cell in left if cell.composed.config.suite.tasks]
    pages.write("prepare", " &&\n".join(f"  {_swallow('weights', words[cell.run_id])}" for cell in left), gpu=False)
    lines = [f"prepare=$({known.submit} {_quoted(pages.path('prepare'))})"]
    if array:
        lines += _write_array(pages, known, left, evaluated, words)
    else:
        for number, cell in enumerate(left):
            lines += _write_cell(pages, known, number, cell, words[cell.run_id])
    submit = pages.folder / "submit.sh"
    write_text_atomic(submit, "\n".join(["#!/bin/bash", "set -eu", "# what is submitted waits for what it needs", *lines, ""]))
    return [*pages.written, submit]


def _write_cell(pages: _Pages, system: System, number: int, cell: Cell, words: Sequence[str]) -> list[str]:
    """A cell's scripts, and the lines that submit them."""
    train, evaluate = f"train_{cell.run_id}", f"evaluate_{cell.run_id}"
    wanted = bool(cell.composed.config.suite.tasks)
    pages.write(train, f"  {_train(words)}", gpu=True, follower=evaluate if wanted else None)
    lines = [f"train_{number}=$({system.submit} {system.after.format('$prepare')} {_quoted(pages.path(train))})"]
    if wanted:
        pages.write(evaluate, f"  {_evaluate(cell, pages.out)}", gpu=True)
        lines.append(f"{system.submit} {system.after.format(f'$train_{number}')} {_quoted(pages.path(evaluate))} > /dev/null")
    return lines


def _write_array(
    pages: _Pages, system: System, left: Sequence[Cell], evaluated: Sequence[Cell], words: Mapping[str, Sequence[str]]
) -> list[str]:
    """Two arrays, task for task; in the second a cell without tasks has nothing to do."""
    assert system.after_task is not None
    pages.write("train", _choice([_train(words[cell.run_id]) for cell in left]), gpu=True, array=len(left))
    lines = [f"train=$({system.submit} {system.after.format('$prepare')} {_quoted(pages.path('train'))})", 'train="${train%%.*}"']
    if evaluated:
        commands = [_evaluate(cell, pages.out) if cell in evaluated else "true" for cell in left]
        pages.write("evaluate", _choice(commands), gpu=True, array=len(left))
        lines.append(f"{system.submit} {system.after_task.format('$train')} {_quoted(pages.path('evaluate'))} > /dev/null")
    return lines


def _choice(commands: Sequence[str]) -> str:
    cases = "\n".join(f"  {number}) {command} ;;" for number, command in enumerate(commands, start=1))
    return f'  case "$task" in\n{cases}\n  esac'


def _swallow(verb: str, words: Sequence[str]) -> str:
    return f"run {shlex.join([*SWALLOW, verb, *words])}"


def _train(words: Sequence[str]) -> str:
    return _swallow("train", [*words, "--train-only"])


def _evaluate(cell: Cell, out: Path) -> str:
    command = _swallow("evaluate", [cell.run_id, "--out", str(out)])
    mode = cell.composed.config.tracking.wandb_mode
    if not mode:
        return command
    # a view: the job has done its work whether or not it could be sent
    publish = _swallow("publish", [cell.run_id, "--out", str(out), "--mode", mode])
    return f"{command} && {{ {publish} || echo 'not published: swallow publish {cell.run_id} sends it later' >&2; }}"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


class _Pages:
    """Scripts from one template."""

    def __init__(self, template: Path, folder: Path, out: Path, config: Config) -> None:
        from jinja2 import Environment, StrictUndefined, TemplateError

        self.folder, self.out, self._config = folder, out, config
        self.written: list[Path] = []
        try:
            text = template.read_text(encoding="utf-8")
            environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
            self._template = environment.from_string(text)
        except (OSError, UnicodeDecodeError, TemplateError) as error:
            raise RequestError(f"template {template}: {error}", expected="a Jinja template of a job script", remedy="correct it") from error

    def path(self, name: str) -> Path:
        """Where the script of that name lies."""
        return self.folder / f"{name}.sh"

    def write(self, name: str, commands: str, *, gpu: bool, array: int = 0, follower: str | None = None) -> None:
        """Fill in and write one."""
        from jinja2 import TemplateError

        facts = self._facts(gpu=gpu)
        facts |= {"name": name, "commands": commands, "array": array, "log": str(logs_folder(self.out) / f"job_{name}.log")}
        facts |= {"script": _quoted(self.path(name)), "follower": _quoted(self.path(follower)) if follower else ""}
        try:
            text = self._template.render(facts)
        except TemplateError as error:
            raise RequestError(f"the template: {error}", expected=f"the names {', '.join(facts)}", remedy="correct it") from error
        write_text_atomic(self.path(name), text)
        self.written.append(self.path(name))

    def _facts(self, *, gpu: bool) -> dict[str, Any]:
        """What a template may name: a job without a GPU is one on one node."""
        from swallow_exp.sweep.multirun import gpus_per_node

        machine, scheduler = self._config.machine, self._config.machine.scheduler
        seconds = round(scheduler.hours * 3600)
        return {
            "folder": _quoted(Path.cwd()),
            "minutes": -(-seconds // 60),
            "seconds": seconds,
            "hms": f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}",
            "notice_seconds": scheduler.notice_seconds,
            "working_seconds": max(seconds - scheduler.notice_seconds, 1),
            "nodes": machine.nodes if gpu else 1,
            "gpus": gpus_per_node(machine) if gpu and machine.accelerator == "gpu" else 0,
            "cpus": scheduler.cpus,
            "memory_gb": scheduler.memory_gb,
            "queue": scheduler.queue,
            "account": scheduler.account,
            "options": scheduler.options,
            "setup": scheduler.setup,
        }
