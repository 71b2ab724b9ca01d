"""JCommonsenseQA as llm-jp-eval v1.0 asks it, and the same question asked fairly. See README.md in this folder.

Reads   <data_dir>/jcqa/{valid-v1.1.json, train-v1.1.json, shots.jsonl}
Source  paper Table 2, appendix G
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swallow_exp.config.schema import SuiteConfig
from swallow_exp.corpus.readers import malformed, read_jsonl, text_of, value_of
from swallow_exp.evaluate.data import DataFile, DataFolder
from swallow_exp.evaluate.metrics.strings import EXACT_MATCH_FAIR, EXACT_MATCH_PAPER
from swallow_exp.evaluate.task import Item, Task
from swallow_exp.evaluate.tasks.llm_jp import dataset_tasks, llm_jp_prompt

VERSION = "1"
INSTRUCTION = (
    "質問と回答の選択肢を入力として受け取り、選択肢から回答を選択してください。なお、回答は選択肢の番号（例：0）でするものとします。"
    " 回答となる数値をint型で返し、他には何も含めないことを厳守してください。"
)
NUM_CHOICES = 5
LABELS = tuple(str(number) for number in range(NUM_CHOICES))
PAPER_TOKENS = 1
FAIR_CHARACTERS = 8
# The questions of the four published examples; each is asked once in the train split.
PUBLISHED = (
    "質問：主に子ども向けのもので、イラストのついた物語が書かれているものはどれ？\n",
    "質問：未成年者を監護・教育し，彼らを監督し，彼らの財産上の利益を守る法律上の義務をもつ人は？\n",
    "質問：数字の１を表すときに使う体は？\n",
    "質問：火を起こすとあらわれるもくもくするものは？\n",
)

_SOURCE = "https://raw.githubusercontent.com/yahoojapan/JGLUE/v1.1.0/datasets/jcommonsenseqa-v1.1/"
VALID = DataFile("jcqa", "valid-v1.1.json", _SOURCE + "valid-v1.1.json", "JGLUE v1.1.0", "CC BY-SA 4.0")
TRAIN = DataFile("jcqa", "train-v1.1.json", _SOURCE + "train-v1.1.json", "JGLUE v1.1.0", "CC BY-SA 4.0")


def tasks(data: DataFolder, suite: SuiteConfig) -> list[Task]:
    """Both profiles. Raises MissingData without the files, RequestError for malformed ones."""
    return dataset_tasks(
        "jcqa",
        data,
        read=read_items,
        test=VALID,
        train=TRAIN,
        published=PUBLISHED,
        version=VERSION,
        family="choice",
        instruction=INSTRUCTION,
        paper_metrics=(EXACT_MATCH_PAPER,),
        fair_metrics=(EXACT_MATCH_FAIR,),
        paper_tokens=PAPER_TOKENS,
        fair_characters=FAIR_CHARACTERS,
        labels=LABELS,
    )


def read_items(path: Path) -> tuple[Item, ...]:
    """Every question of a file, one JSON object a line, in its order."""
    return tuple(_item(row, place, number) for number, (place, row) in enumerate(read_jsonl(path)))


def _item(row: Mapping[str, Any], place: str, number: int) -> Item:
    label = str(value_of(row, "label", place=place))
    if label not in LABELS:
        raise malformed(place, f"label {label!r}", expected=f"one of {', '.join(LABELS)}")
    choices = ",".join(f"{choice}.{text_of(row, f'choice{choice}', place=place)}" for choice in LABELS)
    item_id = f"{value_of(row, 'q_id', place=place)}-{number}"
    return Item(item_id, item_id, llm_jp_prompt(f"質問：{text_of(row, 'question', place=place)}\n選択肢：{choices}"), label)
