"""XL-Sum in Japanese as the fork asks it, and the same question asked fairly. See README.md in this folder.

(1) read     the published subset when it is there, else the release with our own overlap filter     -> rows
(2) paper    whole articles; cut.py shortens them for each model, by its own tokens and the gold summary's length
(3) fair     every article cut at a full stop within ARTICLE_CHARACTERS: the same text for every vocabulary

Reads   <data_dir>/xlsum/{filtered_train.jsonl, filtered_test.jsonl} or {japanese_train.jsonl, japanese_test.jsonl}
Source  paper Table 2, appendix G; Hasan et al. (2021)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config.schema import SuiteConfig
from swallow_exp.corpus.readers import malformed, read_jsonl, text_of
from swallow_exp.evaluate.data import DataFile, DataFolder
from swallow_exp.evaluate.metrics.rouge import ROUGE2_FAIR, ROUGE2_PAPER
from swallow_exp.evaluate.shots import running_shots
from swallow_exp.evaluate.task import Item, Task
from swallow_exp.evaluate.tasks.jp_harness import generated_tasks
from swallow_exp.evaluate.tasks.xlsum.cut import ARTICLE, FIT_ARTICLES, SUMMARY, first_sentences

VERSION = "1"
NUM_SHOTS = 1
DESCRIPTION = "与えられたニュース記事を要約してください。\n\n"
FAIR_CHARACTERS = 200
ARTICLE_CHARACTERS = 1_000  # two articles and a summary fit 4,096 tokens of Llama 2, whose Japanese is the longest we compare
OVERLAP = 15  # characters

_ARCHIVE = "https://huggingface.co/datasets/csebuetnlp/xlsum/resolve/main/data/japanese_XLSum_v2.0.tar.bz2"
_LICENCE = "CC BY-NC-SA 4.0"


def _subset(split: str) -> DataFile:
    return DataFile("xlsum", f"filtered_{split}.jsonl", None, "mkshing/xlsum_ja", _LICENCE, remedy="see tasks/xlsum/README.md")


def tasks(data: DataFolder, suite: SuiteConfig) -> list[Task]:
    """Both profiles. Raises MissingData without the files, RequestError for malformed ones or half of the published subset."""
    train, test, remark = _splits(data)
    paper_shots = running_shots(test, train, NUM_SHOTS)
    short = {
        item.item_id: replace(item, prompt=f"{ARTICLE}{first_sentences(_article(item), ARTICLE_CHARACTERS)}\n{SUMMARY}")
        for item in (*train, *test)
    }
    return generated_tasks(
        "xlsum",
        version=VERSION,
        family="summary",
        num_fewshot=NUM_SHOTS,
        items=lambda: test,
        shots=paper_shots,
        paper_metric=ROUGE2_PAPER,
        fair_metric=ROUGE2_FAIR,
        fair_characters=FAIR_CHARACTERS,
        fair_changes={
            "items": lambda: tuple(short[item.item_id] for item in test),
            "shots": lambda item: tuple(short[shot.item_id] for shot in paper_shots(item)),
            "fit": None,
        },
        description=DESCRIPTION,
        separator="",
        fit=FIT_ARTICLES,
        remarks=(remark,),
    )


def _splits(data: DataFolder) -> tuple[tuple[Item, ...], tuple[Item, ...], str]:
    """Train items, test items, and which they are."""
    found = [data.find(_subset(split)) for split in ("train", "test")]
    if any(found):
        missing = [file.name for file, path in zip(map(_subset, ("train", "test")), found, strict=True) if path is None]
        if missing:
            raise RequestError(
                f"xlsum: half of the published subset, without {missing[0]}",
                expected="filtered_train.jsonl and filtered_test.jsonl",
                remedy=f"add {missing[0]}, or remove the other to use the release with our own filter",
            )
        train, test = (tuple(_items(path, split)) for split, path in zip(("train", "test"), found, strict=True) if path is not None)
        return train, test, f"items: the published subset, {len(test)} articles"
    everything = []
    for split in ("train", "test"):
        name = f"japanese_{split}.jsonl"
        release = DataFile("xlsum", name, _ARCHIVE, "XLSum v2.0", _LICENCE, member=name)
        everything.append(tuple(_items(data.path(release), split)))
    train, test = (tuple(item for item in items if not _overlaps(item)) for items in everything)
    if not train or not test:
        raise RequestError(
            f"xlsum: {len(train)} train and {len(test)} test items without shared {OVERLAP} characters",
            expected="at least one of each",
            remedy="get the release again",
        )
    share = f"{len(test)} of {len(everything[1])} articles"
    return train, test, f"items: {share}, those whose summary shares no {OVERLAP} characters with them; not the published subset"


def _items(path: Path, split: str) -> Iterator[Item]:
    seen: set[str] = set()
    for number, (place, row) in enumerate(read_jsonl(path)):
        text, summary = text_of(row, "text", place=place), text_of(row, "summary", place=place)
        if not text.strip() or not summary.strip():
            raise malformed(place, "an empty article or summary", expected="text in both")
        name = f"{split}-{number}" if split == "train" else text_of(row, "id", place=place)
        if name in seen:
            raise malformed(place, f"the id '{name}' again", expected="every article once")
        seen.add(name)
        yield Item(name, name, f"{ARTICLE}{text}\n{SUMMARY}", summary)


def _article(item: Item) -> str:
    return item.prompt.removeprefix(ARTICLE).removesuffix(f"\n{SUMMARY}")


def _overlaps(item: Item) -> bool:
    # assumed: the paper's subset is described as pairs with a low 15-gram overlap; unit and threshold are not published
    article, summary = _article(item), item.target
    return any(summary[start : start + OVERLAP] in article for start in range(len(summary) - OVERLAP + 1))
