"""Names of tasks -> Task descriptions. `heldout` stands for one task (two for pairs) per source of the run's mixture.

(1) build    miniature and held-out tasks here, each dataset by its own package (tasks/<dataset>), imported only when named
(2) choose   the suite's profiles, its fraction and its limit
(3) ask      every chosen task for its prompt digest: all items are read now, before any model is loaded

A dataset whose files are missing makes its tasks absent, with the reason; the others go on.

Reads  held-out documents, <data_dir>/<dataset>/*
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config.schema import Config, SuiteConfig
from swallow_exp.evaluate.data import DataFolder, MissingData
from swallow_exp.evaluate.subset import choose_part
from swallow_exp.evaluate.task import BOTH, CHOICE, GENERATE, Task
from swallow_exp.evaluate.tasks.heldout import DIRECTIONS, HeldoutSource, heldout_tasks
from swallow_exp.evaluate.tasks.miniature import (
    INSTRUCTION_EN_JA,
    INSTRUCTION_JA_EN,
    miniature_answer,
    miniature_choice,
    miniature_translation,
)

HELDOUT = "heldout"
PAIR_ENDS = tuple(f"_{direction}" for direction in DIRECTIONS)
Builder = Callable[[int | None, SuiteConfig], Task]

BUILDERS: dict[str, Builder] = {
    "mini_choice": lambda limit, suite: miniature_choice(limit),
    "mini_question": lambda limit, suite: miniature_answer("question", limit),
    "mini_reading": lambda limit, suite: miniature_answer("reading", limit),
    "mini_arithmetic": lambda limit, suite: miniature_answer("arithmetic", limit),
    "mini_en_ja": lambda limit, suite: miniature_translation("en_ja", limit),
    "mini_ja_en": lambda limit, suite: miniature_translation("ja_en", limit),
    # every run of a suite is asked with the same instruction, whatever it was trained on: else no two could be compared
    "mini_en_ja_instructed": lambda limit, suite: miniature_translation(
        "en_ja", limit, instruction=suite.instruction_en_ja or INSTRUCTION_EN_JA
    ),
    "mini_ja_en_instructed": lambda limit, suite: miniature_translation(
        "ja_en", limit, instruction=suite.instruction_ja_en or INSTRUCTION_JA_EN
    ),
}

# Task -> package of tasks/ that has task.tasks(data, suite) -> list[Task]. Paper Tables 2 and 3, appendix F.
DATASETS: dict[str, str] = {
    "jcqa": "jcqa",
    "jemhopqa": "jemhopqa",
    "niilc": "niilc",
    "jsquad": "jsquad",
    "xlsum": "xlsum",
    "mgsm": "mgsm",
    "wmt20_en_ja": "wmt20",
    "wmt20_ja_en": "wmt20",
    "openbookqa": "openbookqa",
    "triviaqa": "triviaqa",
    "hellaswag": "hellaswag",
    "squad2": "squad2",
    "xwino": "xwino",
    "gsm8k": "gsm8k",
    "jamp": "jamp",
    "janli": "janli",
    "jnli": "jnli",
    "jsem": "jsem",
    "jsick": "jsick",
    # the same five with Japanese labels, and as the likeliest of the labels
    **{f"{name}{form}": name for name in ("jamp", "janli", "jnli", "jsem", "jsick") for form in ("_ja", "_choice")},
}


@dataclass(frozen=True)
class Collected:
    """Tasks that can be asked, and why the others cannot: name -> what is missing."""

    tasks: list[Task] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)


def known_tasks() -> tuple[str, ...]:
    """Every name a suite may list."""
    return (*BUILDERS, *DATASETS, HELDOUT)


def _heldout_names(config: Config) -> list[str]:
    sources = config.mixture.sources.items()
    return [f"{HELDOUT}_{name}{end}" for name, source in sources for end in (PAIR_ENDS if source.kind == "pairs" else ("",))]


def task_names(config: Config) -> list[str]:
    """Every task a checkpoint of this config has a result of once it is evaluated."""
    names = [(_heldout_names(config) if name == HELDOUT else [name]) for name in config.suite.tasks]
    return list(dict.fromkeys(name for group in names for name in group))


def check_task_names(config: Config) -> None:
    """Raises RequestError for a task of the suite that no run of this config could be asked: before anything is trained."""
    known = [*known_tasks(), *_heldout_names(config)]
    for name in config.suite.tasks:
        if name not in known:
            raise RequestError(
                f"suite={config.suite.name}: unknown task '{name}'", expected=f"one of {', '.join(known)}", remedy="correct suite.tasks"
            )
    data = DataFolder.of(config.suite)
    if config.suite.tasks and data.root is None and set(config.suite.tasks) <= set(DATASETS):
        raise RequestError(
            f"suite={config.suite.name} without suite.data_dir",
            expected="a folder with the datasets, <dataset>/<file>",
            remedy="set suite.data_dir=FOLDER (and suite.network=true to fetch what is missing)",
        )


def build_tasks(
    names: Sequence[str], *, sources: Sequence[HeldoutSource], limit: int | None = None, suite: SuiteConfig | None = None
) -> list[Task]:
    """Tasks in the order of `names`, each once. A single held-out task may be named too (heldout_<source>).

    Raises RequestError for a name that is none of the known ones, MissingData for a dataset that is not there.
    """
    suite = replace(suite or SuiteConfig(), limit=limit)
    tasks: list[Task] = []
    for name in dict.fromkeys(names):
        tasks += _named(name, sources, suite)
    return list({task.folder: task for task in tasks}.values())


def collect_tasks(names: Sequence[str], *, sources: Sequence[HeldoutSource], suite: SuiteConfig) -> Collected:
    """Tasks in the order of `names`, as `suite` chooses them; a dataset without its files is absent, not an error.

    Raises RequestError for an unknown name, a malformed file, a data folder that is not there, and when nothing at all could be asked.
    """
    DataFolder.of(suite)
    collected = Collected()
    missing: MissingData | None = None
    for name in dict.fromkeys(names):
        try:
            found = build_tasks([name], sources=sources, limit=suite.limit, suite=suite)
        except MissingData as error:
            collected.absent[name] = str(error)
            missing = error
            continue
        for task in found:
            try:
                _ = task.prompt_digest  # reads everything
            except MissingData as error:  # of one profile
                collected.absent[task.folder] = str(error)
                missing = error
            else:
                collected.tasks.extend([task] if task.folder not in {known.folder for known in collected.tasks} else [])
    if missing is not None and not collected.tasks:
        others = f" (and {len(collected.absent) - 1} other tasks)" if len(collected.absent) > 1 else ""
        raise RequestError(f"no task has its data: {missing.given}{others}", expected=missing.expected, remedy=missing.remedy)
    return collected


def _named(name: str, sources: Sequence[HeldoutSource], suite: SuiteConfig) -> list[Task]:
    if name in BUILDERS:
        return [choose_part(BUILDERS[name](suite.limit, suite), suite.fraction)]
    if name in DATASETS:
        built: list[Task] = importlib.import_module(f"swallow_exp.evaluate.tasks.{DATASETS[name]}.task").tasks(DataFolder.of(suite), suite)
        assert name in {task.name for task in built}, name
        chosen = []
        for task in (task for task in built if task.name == name and task.profile in (BOTH, *suite.profiles)):
            metrics = tuple(metric for metric in task.metrics if metric.profile in (BOTH, *suite.profiles))
            gold = suite.gold_likelihood and task.output_type in (GENERATE, CHOICE)
            part = replace(task, metrics=metrics, gold_likelihood=gold)
            chosen.append(choose_part(part, suite.fraction, limit=suite.limit))
        return chosen
    heldout = [task for source in sources for task in heldout_tasks(source, suite.limit)] if name.startswith(HELDOUT) else []
    found = [task for task in heldout if name in (HELDOUT, task.name)]
    if not found and name != HELDOUT:
        known = [*known_tasks(), *(task.name for task in heldout)]
        raise RequestError(f"unknown task '{name}'", expected=f"one of {', '.join(known)}", remedy="correct suite.tasks or --tasks")
    return [choose_part(task, suite.fraction) for task in found]
