"""JSICK: inference between captions, translated from SICK. See README.md in this folder.

Reads   <data_dir>/jsick/{test.tsv, train.tsv, shots.jsonl}
Source  paper appendix F
"""

from __future__ import annotations

from pathlib import Path

from swallow_exp.config.schema import SuiteConfig
from swallow_exp.corpus.readers import read_tsv
from swallow_exp.evaluate.data import DataFile, DataFolder
from swallow_exp.evaluate.task import Item, Task
from swallow_exp.evaluate.tasks.nli import THREE_WAY, Inference, inference_items, inference_tasks

JSICK = Inference(
    name="jsick",
    version="1",
    labels=THREE_WAY,
    constraints={
        "entailment": "前提が真であるとき仮説が必ず真になる場合は{}と出力",
        "contradiction": "前提が真であるとき仮説が必ず偽になる場合は{}と出力",
        "neutral": "そのいずれでもない場合は{}と出力",
    },
    published=(
        "そのギターのケースを寄付のために開いた状態にしている\n仮説：男性はそのギターをギターケースの中に片づけて",
        "小さな木製戸棚の上に座っている白い猫が窓の外を見ている\n仮説：テーブルの上に座っている猫は",
        "前提：猿が武術を練習している\n仮説：ある人を蹴っている猿は",
        "前提：若い女性がギターを弾いている\n仮説：女の子がギターを",
    ),
    paper_tokens=3,
)

_COMMIT = "da426bbdb6dc133754daabfd2aa9396d54c75fea"
_SOURCE = f"https://raw.githubusercontent.com/verypluming/JSICK/{_COMMIT}/jsick/"
TEST = DataFile("jsick", "test.tsv", _SOURCE + "test.tsv", f"commit {_COMMIT[:7]}", "CC BY 4.0")
TRAIN = DataFile("jsick", "train.tsv", _SOURCE + "train.tsv", f"commit {_COMMIT[:7]}", "CC BY 4.0")


def tasks(data: DataFolder, suite: SuiteConfig) -> list[Task]:
    """jsick, jsick_ja, jsick_choice. Raises MissingData without the files, RequestError for malformed ones."""
    return inference_tasks(JSICK, data, test=read_items(data.path(TEST)), train=lambda: read_items(data.path(TRAIN)))


def read_items(path: Path) -> tuple[Item, ...]:
    """Every pair of a file, in its order; pairs about one picture share a cluster."""
    columns = ("pair_ID", "image_ID", "sentence_A_Ja", "sentence_B_Ja", "entailment_label_Ja")
    return inference_items(read_tsv(path), JSICK, columns)
