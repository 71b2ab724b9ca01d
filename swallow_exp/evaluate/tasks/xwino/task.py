"""XWINO (English) as lm-eval v0.3.0 asks it, and the same question asked fairly. See README.md in this folder.

Reads   <data_dir>/xwino/en.jsonl
Source  paper Table 3, appendix G
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from swallow_exp.config.schema import SuiteConfig
from swallow_exp.corpus.readers import malformed, read_jsonl, text_of, value_of
from swallow_exp.evaluate.data import DataFile, DataFolder
from swallow_exp.evaluate.metrics.likelihood import ACCURACY
from swallow_exp.evaluate.shots import drawn_shots
from swallow_exp.evaluate.task import CHOICE, Item, Task
from swallow_exp.evaluate.tasks.lm_eval_v03 import NUM_SHOTS, both_profiles, enough

VERSION = "1"
BLANK = "_"
TWIN_OVERLAP = 0.5  # share of common words from which two sentences with the same options are twins

REVISION = "e98b9216f60fc8dbabfe766e014534a08ff01949"
TEST = DataFile(
    "xwino",
    "en.jsonl",
    f"https://huggingface.co/datasets/Muennighoff/xwinograd/resolve/{REVISION}/test/en.jsonl",
    REVISION,
    "CC BY 4.0",
)


def tasks(data: DataFolder, suite: SuiteConfig) -> list[Task]:
    """Both profiles. Raises MissingData without the file, RequestError for a malformed one."""
    test = data.path(TEST)
    # one more than are shown: the question's own cluster gives none
    items = enough(read_items(test), test, needed=NUM_SHOTS + 1)
    pool = tuple(_solved(item) for item in items)
    return both_profiles(
        "xwino",
        version=VERSION,
        family="choice",
        output_type=CHOICE,
        items=items,
        pool=pool,
        pool_is_asked=True,
        fair_shots=drawn_shots(pool, NUM_SHOTS, salt="xwino"),
        paper_metrics=(ACCURACY,),
        fair_metrics=(ACCURACY,),
    )


def _solved(item: Item) -> Item:
    """A question as an example: its sentence with the right option, the rest as the answer."""
    stem, ending = item.scored[item.choices.index(item.target)]
    return replace(item, prompt=f"{item.prompt}{stem}", target=ending.removeprefix(" "), scored=())


def read_items(path: Path) -> Sequence[Item]:
    """Every sentence of the file, in its order; a sentence and its twin share a cluster."""
    families = _Families({})
    return tuple(_item(number, row, place, families) for number, (place, row) in enumerate(read_jsonl(path)))


@dataclass(frozen=True)
class _Families:
    """Sentences met so far: options in any order -> (words of the first sentence of a cluster, the cluster's name)."""

    met: dict[frozenset[str], list[tuple[frozenset[str], str]]]

    def cluster(self, sentence: str, options: tuple[str, str], name: str) -> str:
        """The cluster of a twin that was met before, else a new one called `name`."""
        words = frozenset(sentence.lower().split())
        known = self.met.setdefault(frozenset(option.lower() for option in options), [])
        for others, cluster in known:
            if len(words & others) >= TWIN_OVERLAP * len(words | others):
                return cluster
        known.append((words, name))
        return name


def _item(number: int, row: dict[str, Any], place: str, families: _Families) -> Item:
    sentence = text_of(row, "sentence", place=place)
    options = (text_of(row, "option1", place=place), text_of(row, "option2", place=place))
    answer = str(value_of(row, "answer", place=place))
    if answer not in ("1", "2"):
        raise malformed(place, f"the answer '{answer}'", expected="1 or 2")
    before, blank, rest = sentence.partition(BLANK)
    if not blank or not rest.strip():
        raise malformed(place, "a sentence without a blank and something after it", expected=f"one '{BLANK}' inside 'sentence'")
    ending = f" {rest.strip()}"
    return Item(
        str(number),
        families.cluster(sentence, options, str(number)),
        before,
        options[int(answer) - 1],
        options,
        scored=tuple((option, ending) for option in options),
    )
