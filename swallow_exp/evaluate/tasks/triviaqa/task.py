"""TriviaQA (rc.nocontext) as lm-eval v0.3.0 asks it, and the same question asked fairly. See README.md in this folder.

Reads   <data_dir>/triviaqa/{validation.parquet, train.parquet}
Source  paper Table 3, appendix G
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swallow_exp.config.schema import SuiteConfig
from swallow_exp.corpus.readers import list_of, malformed, read_parquet, text_of
from swallow_exp.evaluate.data import DataFile, DataFolder
from swallow_exp.evaluate.metrics.triviaqa import TRIVIA_EXACT_FAIR, TRIVIA_EXACT_PAPER, TRIVIA_F1, trivia_normalise, trivia_paper
from swallow_exp.evaluate.task import GENERATE, Item, Task
from swallow_exp.evaluate.tasks.lm_eval_v03 import both_profiles, enough

VERSION = "1"
FAIR_CHARACTERS = 100

REVISION = "0f7faf33a3908546c6fd5b73a660e0f8ff173c2f"
_SOURCE = f"https://huggingface.co/datasets/mandarjoshi/trivia_qa/resolve/{REVISION}/rc.nocontext/"
_LICENCE = "none named for the questions (code: Apache-2.0)"


def _file(split: str) -> DataFile:
    url, name = f"{_SOURCE}{split}-00000-of-00001.parquet", f"{split}.parquet"
    return DataFile("triviaqa", name, url, REVISION, _LICENCE, remedy=f"get it from {url} and name it {name}")


VALIDATION, TRAIN = _file("validation"), _file("train")


def tasks(data: DataFolder, suite: SuiteConfig) -> list[Task]:
    """Both profiles. Raises MissingData without the files, RequestError for malformed ones."""
    validation, train = data.path(VALIDATION), data.path(TRAIN)
    pool = enough(list(read_items(train, aliases=False)), train)
    return both_profiles(
        "triviaqa",
        version=VERSION,
        family="question",
        output_type=GENERATE,
        items=list(read_items(validation)),
        pool=pool,
        paper_metrics=(TRIVIA_EXACT_PAPER,),
        fair_metrics=(TRIVIA_EXACT_FAIR, TRIVIA_F1),
        until=("\n", ".", ","),
        normalise=trivia_paper,
        fair={"until": ("\n",), "max_new_characters": FAIR_CHARACTERS, "normalise": trivia_normalise},
    )


def read_items(path: Path, *, aliases: bool = True) -> Iterator[Item]:
    """Every question of a file, in its order; a question that comes twice shares its cluster. Without `aliases`: for examples alone."""
    columns = ["question_id", "question", "answer.value", *(["answer.aliases"] if aliases else [])]
    seen: Counter[str] = Counter()
    for place, row in read_parquet(path, columns):
        name = text_of(row, "question_id", place=place)
        seen[name] += 1
        number = f"-{seen[name]}" if seen[name] > 1 else ""
        yield Item(
            f"{name}{number}",
            name,
            f"Question: {text_of(row, 'question', place=place)}\nAnswer:",
            text_of(row, "answer", "value", place=place),
            answers=_aliases(row, place) if aliases else (),
        )


def _aliases(row: dict[str, Any], place: str) -> tuple[str, ...]:
    found = list_of(row, "answer", "aliases", place=place)
    if not all(isinstance(alias, str) for alias in found):
        raise malformed(place, "an alias that is no text", expected="a list of texts under 'answer.aliases'")
    return tuple(dict.fromkeys(found))
