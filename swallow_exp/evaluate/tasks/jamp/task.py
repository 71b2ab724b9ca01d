"""Jamp: inference about time, from templates. See README.md in this folder.

Reads   <data_dir>/jamp/{test_2.tsv, train_all.tsv, shots.jsonl}
Source  paper appendix F
"""

from __future__ import annotations

from pathlib import Path

from swallow_exp.config.schema import SuiteConfig
from swallow_exp.corpus.readers import read_tsv
from swallow_exp.evaluate.data import DataFile, DataFolder
from swallow_exp.evaluate.task import Item, Task
from swallow_exp.evaluate.tasks.nli import THREE_WAY, Inference, inference_items, inference_tasks

JAMP = Inference(
    name="jamp",
    version="1",
    labels=THREE_WAY,
    constraints={
        "entailment": "前提から仮説が、時間関係上導出可能である場合は{}と出力",
        "contradiction": "前提と仮説が両立しえない場合は{}と出力",
        "neutral": "そのいずれでもない場合は{}と出力",
    },
    published=(
        "仮説：ボブは現在ホームに交流戦を迎えている。\n",
        "国会を解散している。現在、2001年である。\n仮説：ビクターは2002年に",
        "仮説：トレントは現在問いに喉を開いている。\n",
        "思いを伝えている。現在、2006年である。\n仮説：オスカーは2014年に",
    ),
    paper_tokens=3,
)

_COMMIT = "87d4fa6a4efdf2cd4e4b9dfe09169e2e6e9893ba"
_SOURCE = f"https://raw.githubusercontent.com/tomo-ut/temporalNLI_dataset/{_COMMIT}/dataset/"
_LICENCE = "no licence is named"
TEST = DataFile("jamp", "test_2.tsv", _SOURCE + "test_2.tsv", f"commit {_COMMIT[:7]}", _LICENCE)
TRAIN = DataFile("jamp", "train_all.tsv", _SOURCE + "train_all.tsv", f"commit {_COMMIT[:7]}", _LICENCE)


def tasks(data: DataFolder, suite: SuiteConfig) -> list[Task]:
    """jamp, jamp_ja, jamp_choice. Raises MissingData without the files, RequestError for malformed ones."""
    return inference_tasks(JAMP, data, test=read_items(data.path(TEST)), train=lambda: read_items(data.path(TRAIN)))


def read_items(path: Path) -> tuple[Item, ...]:
    """Every pair of a file, in its order; pairs of one template share a cluster."""
    columns = ("num", "template_num", "premise", "hypothesis", "gold_label")
    return inference_items(read_tsv(path), JAMP, columns)
