"""SQuAD 2.0 as lm-eval v0.3.0 asks it, and the same question asked fairly. See README.md in this folder.

Reads   <data_dir>/squad2/{dev-v2.0.json, train-v2.0.json}
Source  paper Table 3, appendix G
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from swallow_exp.config.schema import SuiteConfig
from swallow_exp.corpus.readers import list_of, malformed, read_json, text_of, value_of
from swallow_exp.evaluate.data import DataFile, DataFolder
from swallow_exp.evaluate.metrics.squad import (
    NO_ANSWER,
    SQUAD_FAIR,
    SQUAD_PAPER,
    UNANSWERABLE,
    squad_answers,
    squad_normalise,
    squad_prediction,
)
from swallow_exp.evaluate.shots import Shots, chosen_shots, fixed_shots
from swallow_exp.evaluate.subset import choose_part
from swallow_exp.evaluate.task import GENERATE, Item, Metric, Task
from swallow_exp.evaluate.tasks.lm_eval_v03 import NUM_SHOTS, both_profiles, enough

VERSION = "1"
FAIR_CHARACTERS = 100
FAIR_SHOT_CHARACTERS = 1_000  # of an example, so that eight of them and a question fit into 4,096 tokens and mostly into 2,048

_SOURCE = "https://rajpurkar.github.io/SQuAD-explorer/dataset/"
_SUMS = {
    "dev-v2.0.json": "80a5225e94905956a6446d296ca1093975c4d3b3260f1d6c8f68bc2ab77182d8",
    "train-v2.0.json": "68dcfbb971bd3e96d5b46c7177b16c1a4e7d4bdef19fb204502738552dede002",
}
DEV, TRAIN = (DataFile("squad2", name, f"{_SOURCE}{name}", "v2.0", "CC BY-SA 4.0", fetched_sha256=digest) for name, digest in _SUMS.items())


def tasks(data: DataFolder, suite: SuiteConfig) -> list[Task]:
    """Both profiles. Raises MissingData without the files, RequestError for malformed ones."""
    dev, train = data.path(DEV), data.path(TRAIN)
    pool = enough(list(read_items(train)), train)
    found = both_profiles(
        "squad2",
        version=VERSION,
        family="reading",
        output_type=GENERATE,
        items=list(read_items(dev)),
        pool=pool,
        fair_shots=balanced_shots(pool, train),
        paper_metrics=SQUAD_PAPER[0],
        fair_metrics=SQUAD_FAIR[0],
        normalise=squad_normalise,
        fair={"max_new_characters": FAIR_CHARACTERS, "normalise": lambda text: squad_normalise(squad_prediction(text))},
    )
    return [_with_parts(task, metrics, suite) for task, metrics in zip(found, (SQUAD_PAPER, SQUAD_FAIR), strict=True)]


def balanced_shots(pool: Sequence[Item], path: Path) -> Shots:
    """The fair examples: half of them without an answer, all of other paragraphs, in an order by hash. Raises RequestError for too few."""
    short = [item for item in pool if len(item.prompt) <= FAIR_SHOT_CHARACTERS]
    half = NUM_SHOTS // 2
    without = chosen_shots([item for item in short if not squad_answers(item)], half, salt="squad2")
    taken = {item.cluster for item in without}
    answered = chosen_shots([item for item in short if squad_answers(item) and item.cluster not in taken], half, salt="squad2")
    if min(len(without), len(answered)) < half:
        raise malformed(
            str(path),
            f"{len(without)} paragraphs to draw questions without an answer from, {len(answered)} others",
            expected=f"{half} of either, with question at most {FAIR_SHOT_CHARACTERS} characters long",
        )
    return fixed_shots(chosen_shots([*without, *answered], NUM_SHOTS, salt="squad2 order"), NUM_SHOTS)


def _with_parts(task: Task, metrics: tuple[tuple[Metric, ...], ...], suite: SuiteConfig) -> Task:
    """The task with the scores of the questions with, and of those without an answer: of the parts that are asked at all."""
    asked = {bool(squad_answers(item)) for item in choose_part(task, suite.fraction, limit=suite.limit).all_items}
    everything, answered, without = metrics
    return replace(task, metrics=(*everything, *(answered if True in asked else ()), *(without if False in asked else ())))


def read_items(path: Path) -> Iterator[Item]:
    """Every question of a file, in its order; questions of one paragraph share a cluster."""
    for number, article in enumerate(list_of(read_json(path), "data", place=str(path))):
        where = f"{path}, data[{number}]"
        title = text_of(article, "title", place=where)
        for place, paragraph in enumerate(list_of(article, "paragraphs", place=where)):
            within = f"{where}.paragraphs[{place}]"
            context = text_of(paragraph, "context", place=within)
            for index, question in enumerate(list_of(paragraph, "qas", place=within)):
                yield _item(question, title, context, f"{number}-{place}", f"{within}.qas[{index}]")


def _item(question: object, title: str, context: str, cluster: str, place: str) -> Item:
    answers = tuple(text_of(answer, "text", place=place) for answer in list_of(question, "answers", place=place))
    impossible = value_of(question, "is_impossible", place=place)
    if impossible is not (not answers) or not all(answers):
        raise malformed(
            place, f"is_impossible {impossible} with {len(answers)} answers", expected="answers, or none and is_impossible true"
        )
    asked = text_of(question, "question", place=place)
    return Item(
        text_of(question, "id", place=place),
        cluster,
        f"Title: {title}\n\nBackground: {context}\n\nQuestion: {asked}\n\nAnswer:",
        answers[0] if answers else NO_ANSWER,
        answers=tuple(dict.fromkeys(answers)),
        extra=() if answers else (UNANSWERABLE,),
    )
