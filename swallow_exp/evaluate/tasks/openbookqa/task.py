"""OpenBookQA as lm-eval v0.3.0 asks it, and the same question asked fairly. See README.md in this folder.

Reads   <data_dir>/openbookqa/{test.jsonl, train.jsonl}
Source  paper Table 3, appendix G
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from swallow_exp.config.schema import SuiteConfig
from swallow_exp.corpus.readers import list_of, malformed, read_jsonl, text_of
from swallow_exp.evaluate.data import DataFile, DataFolder
from swallow_exp.evaluate.metrics.likelihood import ACCURACY, ACCURACY_NORM
from swallow_exp.evaluate.task import CHOICE, Item, Task
from swallow_exp.evaluate.tasks.lm_eval_v03 import dataset_tasks

VERSION = "1"

_SOURCE = "https://ai2-public-datasets.s3.amazonaws.com/open-book-qa/OpenBookQA-V1-Sep2018.zip"
_LICENCE = "Apache-2.0 (the repository allenai/OpenBookQA; the archive names none)"


def _file(name: str) -> DataFile:
    return DataFile("openbookqa", name, _SOURCE, "V1, Sep 2018", _LICENCE, member=f"OpenBookQA-V1-Sep2018/Data/Main/{name}")


TEST, TRAIN = _file("test.jsonl"), _file("train.jsonl")


def tasks(data: DataFolder, suite: SuiteConfig) -> list[Task]:
    """Both profiles. Raises MissingData without the files, RequestError for malformed ones."""
    return dataset_tasks(
        "openbookqa",
        data,
        read=read_items,
        test=TEST,
        train=TRAIN,
        version=VERSION,
        family="question",
        output_type=CHOICE,
        paper_metrics=(ACCURACY,),
        fair_metrics=(ACCURACY, ACCURACY_NORM),
    )


def read_items(path: Path) -> Sequence[Item]:
    """Every question of a file, in its order."""
    return tuple(_item(row, place) for place, row in read_jsonl(path))


def _item(row: dict[str, Any], place: str) -> Item:
    choices = {
        text_of(choice, "label", place=place): text_of(choice, "text", place=place)
        for choice in list_of(row, "question", "choices", place=place)
    }
    key = text_of(row, "answerKey", place=place).strip()
    if key not in choices:
        raise malformed(place, f"the answer '{key}'", expected=f"one of {', '.join(choices)}")
    name = text_of(row, "id", place=place)
    return Item(name, name, text_of(row, "question", "stem", place=place), choices[key], tuple(choices.values()))
