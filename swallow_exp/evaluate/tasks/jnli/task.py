"""JNLI: inference between captions of one picture. See README.md in this folder.

Reads   <data_dir>/jnli/{valid-v1.1.json, train-v1.1.json, shots.jsonl}
Source  paper appendix F
"""

from __future__ import annotations

from pathlib import Path

from swallow_exp.config.schema import SuiteConfig
from swallow_exp.corpus.readers import read_jsonl
from swallow_exp.evaluate.data import DataFile, DataFolder
from swallow_exp.evaluate.task import Item, Task
from swallow_exp.evaluate.tasks.nli import THREE_WAY, Inference, inference_items, inference_tasks

JNLI = Inference(
    name="jnli",
    version="1",
    labels=THREE_WAY,
    constraints={
        "entailment": "前提から仮説が、論理的知識や常識的知識を用いて導出可能である場合は{}と出力",
        "contradiction": "前提と仮説が両立しえない場合は{}と出力",
        "neutral": "そのいずれでもない場合は{}と出力",
    },
    published=(
        "女子シングルスが行われています。\n仮説：柵で囲まれたテニスコートでは、女子ダブルスが",
        "ジャンボジェット機を見ています。\n仮説：2人の男性が、白い飛行機を眺め",
        "前提：坊主頭の男性が子供を抱いて立っています。\n仮説：男性が子供を抱き上げて",
        "クマのぬいぐるみが引っかかっている。\n仮説：柵の間にはクマの",
    ),
    paper_tokens=3,
    doubt=" (assumed: their sentences; known: their labels)",  # see README.md
)

# v1.1.0: later releases corrected labels of the validation split
_SOURCE = "https://raw.githubusercontent.com/yahoojapan/JGLUE/v1.1.0/datasets/jnli-v1.1/"
VALID = DataFile("jnli", "valid-v1.1.json", _SOURCE + "valid-v1.1.json", "JGLUE v1.1.0", "CC BY-SA 4.0")
TRAIN = DataFile("jnli", "train-v1.1.json", _SOURCE + "train-v1.1.json", "JGLUE v1.1.0", "CC BY-SA 4.0")


def tasks(data: DataFolder, suite: SuiteConfig) -> list[Task]:
    """jnli, jnli_ja, jnli_choice. Raises MissingData without the files, RequestError for malformed ones."""
    return inference_tasks(JNLI, data, test=read_items(data.path(VALID)), train=lambda: read_items(data.path(TRAIN)))


def read_items(path: Path) -> tuple[Item, ...]:
    """Every pair of a file, one JSON object per line, in its order; captions of one picture share a cluster."""
    columns = ("sentence_pair_id", "yjcaptions_id", "sentence1", "sentence2", "label")
    return inference_items(read_jsonl(path), JNLI, columns, cluster_until="-")
