"""MGSM in Japanese as the fork asks it, and the same question asked fairly. See README.md in this folder.

Reads   <data_dir>/mgsm/{mgsm_ja.tsv, exemplars.py}
Source  paper Table 2, appendix G; Shi et al. (2023)
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swallow_exp.config.schema import SuiteConfig
from swallow_exp.corpus.readers import malformed, read_text, read_tsv, text_of
from swallow_exp.evaluate.data import DataFile, DataFolder
from swallow_exp.evaluate.metrics.numbers import NUMBER_FAIR, NUMBER_PAPER, as_text, last_number, last_number_paper
from swallow_exp.evaluate.shots import DROP_FIRST_SHOTS, running_shots
from swallow_exp.evaluate.task import Item, Task
from swallow_exp.evaluate.tasks.jp_harness import generated_tasks

VERSION = "1"
NUM_SHOTS = 4
FAIR_CHARACTERS = 300
QUESTION = "問題："
ANSWER = "ステップごとの答え："
EXEMPLARS = "MGSM_EXEMPLARS"

_COMMIT = "2d5736bde2ca9eeccb0f937fddef518591ac3aa7"
_SOURCE = f"https://raw.githubusercontent.com/google-research/url-nlp/{_COMMIT}/mgsm/"
TEST = DataFile("mgsm", "mgsm_ja.tsv", _SOURCE + "mgsm_ja.tsv", f"google-research/url-nlp {_COMMIT[:7]}", "CC BY-SA 4.0")
TRAIN = DataFile("mgsm", "exemplars.py", _SOURCE + "exemplars.py", f"google-research/url-nlp {_COMMIT[:7]}", "CC BY-SA 4.0")


def tasks(data: DataFolder, suite: SuiteConfig) -> list[Task]:
    """Both profiles. Raises MissingData without the files, RequestError for malformed ones."""
    items, pool = tuple(_items(data.path(TEST))), _exemplars(data.path(TRAIN))
    return generated_tasks(
        "mgsm",
        version=VERSION,
        family="arithmetic",
        num_fewshot=NUM_SHOTS,
        items=lambda: items,
        shots=running_shots(items, pool, NUM_SHOTS),
        paper_metric=NUMBER_PAPER,
        fair_metric=NUMBER_FAIR,
        fair_characters=FAIR_CHARACTERS,
        fair_changes={"normalise": as_text(last_number)},
        separator="",
        # differs from the fork: it draws anew with one shot fewer, and so changes the draws of all later questions. At 4,096 tokens
        # neither ever happens.
        fit=DROP_FIRST_SHOTS,
        normalise=as_text(last_number_paper),
    )


def _prompt(question: str) -> str:
    return f"{QUESTION}{question.replace(QUESTION, '')}\n{ANSWER}"


def _items(path: Path) -> Iterator[Item]:
    for number, (place, row) in enumerate(read_tsv(path, columns=("question", "answer"))):
        try:
            answer = int(row["answer"].replace(",", ""))
        except ValueError as error:
            raise malformed(place, f"the answer '{row['answer']}'", expected="a whole number after the tab") from error
        yield Item(f"test-{number}", f"test-{number}", _prompt(row["question"]), str(answer))


def _exemplars(path: Path) -> tuple[Item, ...]:
    """The Japanese exemplars in the order of their numbers. The file is read as data, never run."""
    exemplars = _literal(path).get("ja")
    if not isinstance(exemplars, dict) or len(exemplars) < NUM_SHOTS:
        raise malformed(str(path), f"no {EXEMPLARS}['ja'] with {NUM_SHOTS} exemplars or more", expected="the file of the repository")
    items = []
    for number, exemplar in exemplars.items():
        place = f"{path}, {EXEMPLARS}['ja']['{number}']"
        answer = text_of(exemplar, "a", place=place).replace(ANSWER, "")
        items.append(Item(f"train-{number}", f"train-{number}", _prompt(text_of(exemplar, "q", place=place)), answer))
    return tuple(items)


def _literal(path: Path) -> dict[str, Any]:
    try:
        body = ast.parse(read_text(path)).body
    except (SyntaxError, ValueError) as error:
        raise malformed(f"{path}, line {getattr(error, 'lineno', 1)}", "not Python", expected="the file of the repository") from error
    for statement in body:
        if isinstance(statement, ast.Assign) and any(isinstance(t, ast.Name) and t.id == EXEMPLARS for t in statement.targets):
            try:
                value = ast.literal_eval(statement.value)
            except ValueError as error:
                raise malformed(f"{path}, line {statement.lineno}", f"{EXEMPLARS} is no plain data", expected="texts in dicts") from error
            if isinstance(value, dict):
                return value
    raise malformed(str(path), f"no {EXEMPLARS}", expected="the file of the repository")
