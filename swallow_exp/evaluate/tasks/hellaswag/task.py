"""HellaSwag as lm-eval v0.3.0 asks it, and the same question asked fairly. See README.md in this folder.

Reads   <data_dir>/hellaswag/{hellaswag_val.jsonl, hellaswag_train.jsonl}
Source  paper Table 3, appendix G
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from swallow_exp.config.schema import SuiteConfig
from swallow_exp.corpus.readers import list_of, malformed, read_jsonl, text_of, value_of
from swallow_exp.evaluate.data import DataFile, DataFolder
from swallow_exp.evaluate.metrics.likelihood import ACCURACY, ACCURACY_NORM
from swallow_exp.evaluate.task import CHOICE, Item, Task
from swallow_exp.evaluate.tasks.lm_eval_v03 import dataset_tasks

VERSION = "1"

COMMIT = "a29ff8e9a04bba4bd6588223785ce105328adc57"
_SOURCE = f"https://raw.githubusercontent.com/rowanz/hellaswag/{COMMIT}/data/"
VALIDATION = DataFile(
    "hellaswag",
    "hellaswag_val.jsonl",
    f"{_SOURCE}hellaswag_val.jsonl",
    COMMIT,
    "MIT",
    fetched_sha256="0aa3b88843990f3f10a97b9575c94d7b71fb2205240ba04ae4884d9e9c992588",
)
TRAIN = DataFile("hellaswag", "hellaswag_train.jsonl", f"{_SOURCE}hellaswag_train.jsonl", COMMIT, "MIT")

_BRACKETS = re.compile(r"\[.*?\]")


def tasks(data: DataFolder, suite: SuiteConfig) -> list[Task]:
    """Both profiles. Raises MissingData without the files, RequestError for malformed ones."""
    return dataset_tasks(
        "hellaswag",
        data,
        read=read_items,
        test=VALIDATION,
        train=TRAIN,
        version=VERSION,
        family="choice",
        output_type=CHOICE,
        paper_metrics=(ACCURACY,),
        fair_metrics=(ACCURACY, ACCURACY_NORM),
    )


def clean(text: str) -> str:
    """The text without the marks its web page left in it: "[title]" ends a sentence, other brackets go with what they hold."""
    return _BRACKETS.sub("", text.strip().replace(" [title]", ". ")).replace("  ", " ")


def read_items(path: Path) -> Sequence[Item]:
    """Every question of a file, in its order; those of one video or page share a cluster."""
    return tuple(_item(number, row, place) for number, (place, row) in enumerate(read_jsonl(path)))


def _item(number: int, row: dict[str, Any], place: str) -> Item:
    # the second half is capitalised as Python does it: what follows its first letter becomes lower case
    second = text_of({"ctx_b": "", **row}, "ctx_b", place=place)  # descriptions of one part leave it out
    context = f"{text_of(row, 'ctx_a', place=place)} {second.capitalize()}"
    endings = list_of(row, "endings", place=place)
    if not endings or not all(isinstance(ending, str) and ending.strip() for ending in endings):
        raise malformed(place, "an ending that is no text", expected="a list of texts under 'endings'")
    # assumed: an ending of nothing but brackets keeps them; an empty text has no likelihood
    choices = tuple(cleaned if (cleaned := clean(ending)).strip() else ending for ending in endings)
    label = str(value_of(row, "label", place=place))
    if not label.isdecimal() or int(label) >= len(choices):
        raise malformed(place, f"the label '{label}'", expected=f"a number from 0 to {len(choices) - 1} (the test split has none)")
    prompt = clean(f"{text_of(row, 'activity_label', place=place)}: {context}")
    return Item(str(number), text_of(row, "source_id", place=place), prompt, choices[int(label)], choices)
