"""GSM8K as lm-eval v0.3.0 asks it, and the same question asked fairly. See README.md in this folder.

Reads   <data_dir>/gsm8k/{test.jsonl, train.jsonl}
Source  paper Table 3, appendix G
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from swallow_exp.config.schema import SuiteConfig
from swallow_exp.corpus.readers import malformed, read_jsonl, text_of
from swallow_exp.evaluate.data import DataFile, DataFolder
from swallow_exp.evaluate.metrics.gsm8k import GSM8K_FAIR, GSM8K_PAPER, final_number, marked_number
from swallow_exp.evaluate.task import GENERATE, Item, Task
from swallow_exp.evaluate.tasks.lm_eval_v03 import dataset_tasks

VERSION = "1"
FAIR_CHARACTERS = 800

COMMIT = "3101c7d5072418e28b9008a6636bde82a006892c"
_SOURCE = f"https://raw.githubusercontent.com/openai/grade-school-math/{COMMIT}/grade_school_math/data/"
_SUMS = {
    "test.jsonl": "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
    "train.jsonl": "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
}
TEST, TRAIN = (DataFile("gsm8k", name, f"{_SOURCE}{name}", COMMIT, "MIT", fetched_sha256=digest) for name, digest in _SUMS.items())


def tasks(data: DataFolder, suite: SuiteConfig) -> list[Task]:
    """Both profiles. Raises MissingData without the files, RequestError for malformed ones."""
    return dataset_tasks(
        "gsm8k",
        data,
        read=read_items,
        test=TEST,
        train=TRAIN,
        version=VERSION,
        family="arithmetic",
        output_type=GENERATE,
        paper_metrics=(GSM8K_PAPER,),
        fair_metrics=(GSM8K_FAIR,),
        until=(":", "Question:", "Question"),
        normalise=lambda text: marked_number(text) or "",
        fair={"until": ("\nQuestion:",), "max_new_characters": FAIR_CHARACTERS, "normalise": shown_number},
    )


def shown_number(text: str) -> str:
    """The number the fair profile reads, written in one way; nothing when there is none."""
    found = final_number(text)
    return "" if found is None else f"{found.normalize():f}"


def read_items(path: Path) -> Sequence[Item]:
    """Every question of a file, in its order."""
    items = []
    for number, (place, row) in enumerate(read_jsonl(path)):
        solution = text_of(row, "answer", place=place)
        if not marked_number(solution):
            raise malformed(place, "a solution without its number", expected="'#### ' and a number at the end of 'answer'")
        items.append(Item(str(number), str(number), f"Question: {text_of(row, 'question', place=place)}\nAnswer:", solution))
    return items
