"""JaNLI: inference where words that premise and hypothesis share mislead. See README.md in this folder.

Reads   <data_dir>/janli/{janli.tsv, shots.jsonl}
Source  paper appendix F
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from swallow_exp.config.schema import SuiteConfig
from swallow_exp.corpus.readers import malformed, read_tsv, text_of
from swallow_exp.evaluate.data import DataFile, DataFolder
from swallow_exp.evaluate.task import Item, Task
from swallow_exp.evaluate.tasks.nli import Inference, inference_item, inference_tasks

REPEATED = "ホッケー選手が男の子を助けた"  # premise and hypothesis of the first published example
JANLI = Inference(
    name="janli",
    version="1",
    labels=("entailment", "non-entailment"),
    constraints={
        "entailment": "前提に対して仮説が同じ意味を含む場合は、{}と出力",
        "non-entailment": "前提に対して仮説が異なる意味を含む場合は、{}と出力",
    },
    published=(
        f"前提：{REPEATED}\n仮説：{REPEATED}\n",
        "前提：大人がテニス選手を見ている\n仮説：テニス選手は大人が",
        "前提：フットボール選手が会社員を見つめている\n仮説：フットボール選手を会社員が",
        "前提：男性がライダーをいじめている\n仮説：ライダーは男性が",
    ),
    paper_tokens=7,
)
SPLITS = ("train", "test")

_COMMIT = "54099bbf18c28b4d74f41ff97f873d57efaac209"
_SOURCE = f"https://raw.githubusercontent.com/verypluming/JaNLI/{_COMMIT}/janli.tsv"
ALL = DataFile("janli", "janli.tsv", _SOURCE, f"commit {_COMMIT[:7]}", "CC BY-SA 4.0")


def tasks(data: DataFolder, suite: SuiteConfig) -> list[Task]:
    """janli, janli_ja, janli_choice. Raises MissingData without the file, RequestError for a malformed one."""
    train, test = read_items(data.path(ALL))
    return inference_tasks(JANLI, data, test=test, train=lambda: train, made=_repeated([*train, *test]))


def read_items(path: Path) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """The pairs of the train and of the test split, in the file's order; pairs of one construction share a cluster."""
    found: dict[str, list[Item]] = {split: [] for split in SPLITS}
    for place, row in read_tsv(path):
        split = text_of(row, "split", place=place).strip()
        if split not in SPLITS:
            raise malformed(place, f"split {split!r}", expected="train or test")
        item = inference_item(
            text_of(row, "", place=place),
            "/".join(text_of(row, column, place=place) for column in ("semtag", "heuristics", "number_of_NPs")),
            text_of(row, "sentence_A_Ja", place=place),
            text_of(row, "sentence_B_Ja", place=place),
            text_of(row, "entailment_label_Ja", place=place),
            labels=JANLI.labels,
            place=place,
        )
        found[split].append(item)
    return tuple(found["train"]), tuple(found["test"])


def _repeated(items: Sequence[Item]) -> tuple[Item, ...]:
    """The first published example says its premise twice and no row does: it is made from a row with that premise."""
    if not any(f"前提：{REPEATED}\n" in item.prompt for item in items):
        return ()
    made = inference_item("repeated", "repeated", REPEATED, REPEATED, "entailment", labels=JANLI.labels, place="")
    return (made,)
