"""JEMHopQA as llm-jp-eval v1.0 asks it, and the same question asked fairly. See README.md in this folder.

Reads   <data_dir>/jemhopqa/{dev.json, train.json, shots.jsonl}
Source  paper Table 2, appendix G
"""

from __future__ import annotations

from pathlib import Path

from swallow_exp.config.schema import SuiteConfig
from swallow_exp.corpus.readers import malformed, read_json, text_of
from swallow_exp.evaluate.data import DataFile, DataFolder
from swallow_exp.evaluate.metrics.strings import CHAR_F1_FAIR, CHAR_F1_PAPER, EXACT_MATCH_FAIR
from swallow_exp.evaluate.task import Item, Task
from swallow_exp.evaluate.tasks.llm_jp import dataset_tasks, llm_jp_prompt

VERSION = "1"
INSTRUCTION = "質問を入力とし、回答を出力してください。回答の他には何も含めないことを厳守してください。"
PAPER_TOKENS = 15
FAIR_CHARACTERS = 60
# The questions of the four published examples.
PUBLISHED = (
    "質問：『仮面ライダー電王』と『あまちゃん』、放送回数が多いのはどちらでしょう？\n",
    "質問：清原果耶と森田成一で活動開始が早かったのはどちらですか？\n",
    "質問：孝明天皇が生涯過ごした都に以前の都から遷都があった年は？\n",
    "質問：『ぼくらが旅に出る理由』と『ボーン・トゥ・ラヴ・ユー』はどちらも小沢健二のシングルですか？\n",
)
DOUBT = " (assumed: the third and the fourth)"  # see README.md

_COMMIT = "c7be2b01e525779affcb8cde4c5b68f4bc1f13e0"
_SOURCE = f"https://raw.githubusercontent.com/aiishii/JEMHopQA/{_COMMIT}/corpus/"
DEV = DataFile("jemhopqa", "dev.json", _SOURCE + "dev.json", f"version 1.0, commit {_COMMIT[:7]}", "CC BY-SA 4.0")
TRAIN = DataFile("jemhopqa", "train.json", _SOURCE + "train.json", f"version 1.0, commit {_COMMIT[:7]}", "CC BY-SA 4.0")


def tasks(data: DataFolder, suite: SuiteConfig) -> list[Task]:
    """Both profiles. Raises MissingData without the files, RequestError for malformed ones."""
    return dataset_tasks(
        "jemhopqa",
        data,
        read=read_items,
        test=DEV,
        train=TRAIN,
        published=PUBLISHED,
        doubt=DOUBT,
        version=VERSION,
        family="question",
        instruction=INSTRUCTION,
        paper_metrics=(CHAR_F1_PAPER,),
        fair_metrics=(CHAR_F1_FAIR, EXACT_MATCH_FAIR),
        paper_tokens=PAPER_TOKENS,
        fair_characters=FAIR_CHARACTERS,
    )


def read_items(path: Path) -> tuple[Item, ...]:
    """Every question of a file, a JSON list, in its order."""
    rows = read_json(path)
    if not isinstance(rows, list):
        raise malformed(str(path), f"a JSON {type(rows).__name__}", expected="a JSON list of questions")
    items = []
    for number, row in enumerate(rows, start=1):
        place = f"{path}, question {number}"
        answer, item_id = text_of(row, "answer", place=place), text_of(row, "qid", place=place)
        if not answer:
            raise malformed(place, "an empty answer", expected="a text")
        items.append(Item(item_id, item_id, llm_jp_prompt(f"質問：{text_of(row, 'question', place=place)}"), answer))
    return tuple(items)
