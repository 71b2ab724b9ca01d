"""WMT20 news translation as the fork asks it, and the same asked fairly, in both directions. See README.md in this folder.

Reads   <data_dir>/wmt20/newstest2020-{enja,jaen}-{src,ref}.{en,ja}.sgm
Source  paper Table 2, appendix G; Barrault et al. (2020)
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from swallow_exp.config.schema import SuiteConfig
from swallow_exp.corpus.readers import malformed, read_lines
from swallow_exp.evaluate.data import DataFile, DataFolder
from swallow_exp.evaluate.metrics.translation import BLEU_EN_JA_FAIR, BLEU_EN_JA_PAPER, BLEU_JA_EN_FAIR, BLEU_JA_EN_PAPER, require_nagisa
from swallow_exp.evaluate.shots import Shots, drawn_shots, running_shots
from swallow_exp.evaluate.task import Item, Task
from swallow_exp.evaluate.tasks.jp_harness import generated_tasks

VERSION = "1"
NUM_SHOTS = 4
LANGUAGES = {"en": "English", "ja": "Japanese"}
METRICS = {"en_ja": (BLEU_EN_JA_PAPER, BLEU_EN_JA_FAIR), "ja_en": (BLEU_JA_EN_PAPER, BLEU_JA_EN_FAIR)}
FAIR_CHARACTERS = {"en_ja": 300, "ja_en": 600}

_ARCHIVE = "https://data.statmt.org/wmt20/translation-task/test.tgz"  # the archive that sacrebleu fetches
_REVISION = "WMT20 test.tgz, md5 3b1f777cfd2fb15ccf66e9bfdb2b1699"
_LICENCE = "free for research, see statmt.org/wmt20"
_DOCUMENT = re.compile(r'docid="(.*?)"')
_SEGMENT = re.compile(r'<seg id="(.*?)".*?>(.*)</seg>')


def _file(pair: str, side: str, language: str) -> DataFile:
    name = f"newstest2020-{pair}-{side}.{language}.sgm"
    return DataFile("wmt20", name, _ARCHIVE, _REVISION, _LICENCE, member=f"sgm/{name}")


FILES = {
    "en_ja": (_file("enja", "src", "en"), _file("enja", "ref", "ja")),
    "ja_en": (_file("jaen", "src", "ja"), _file("jaen", "ref", "en")),
}


def tasks(data: DataFolder, suite: SuiteConfig) -> list[Task]:
    """Both profiles of both directions: a file or package that one lacks does not concern the others.

    Their items raise MissingData without the files, RequestError for malformed ones, MissingPackage for paper en-ja without nagisa.
    """
    return [task for direction in FILES for task in _direction_tasks(direction, data)]


def _direction_tasks(direction: str, data: DataFolder) -> list[Task]:
    """Both profiles of en_ja or ja_en; its files are looked for when its items are first asked for."""
    name, (paper_metric, fair_metric) = f"wmt20_{direction}", METRICS[direction]

    @cache
    def items() -> tuple[Item, ...]:
        source, reference = (data.path(file) for file in FILES[direction])
        return tuple(_items(source, reference, *(LANGUAGES[language] for language in direction.split("_"))))

    def paper_items() -> tuple[Item, ...]:
        if direction == "en_ja":
            require_nagisa(name)
        return items()

    @cache
    def paper_shots() -> Shots:
        return running_shots(items(), items(), NUM_SHOTS, pool_is_asked=True)

    @cache
    def fair_items() -> tuple[Item, ...]:  # `&amp;` and its like undone
        return tuple(replace(item, prompt=html.unescape(item.prompt), target=html.unescape(item.target)) for item in items())

    @cache
    def fair_shots() -> Shots:  # of other documents
        return drawn_shots(fair_items(), NUM_SHOTS, salt=name)

    return generated_tasks(
        name,
        version=VERSION,
        family="translation",
        num_fewshot=NUM_SHOTS,
        items=paper_items,
        shots=lambda item: paper_shots()(item),
        paper_metric=paper_metric,
        fair_metric=fair_metric,
        fair_characters=FAIR_CHARACTERS[direction],
        fair_changes={"items": fair_items, "shots": lambda item: fair_shots()(item)},
    )


def _items(source: Path, reference: Path, language: str, other: str) -> Iterator[Item]:
    """Every sentence pair, in the order of the files; sentences of one document share a cluster."""
    sources, references = list(_segments(source)), list(_segments(reference))
    for (place, key, text), (other_place, other_key, translation) in zip(sources, references, strict=False):
        if key != other_key:
            raise malformed(other_place, f"segment {other_key[1]} of {other_key[0]}", expected=f"{key[1]} of {key[0]}, as in {place}")
        yield Item(f"{key[0]}/{key[1]}", key[0], f"{language} phrase: {text}\n{other} phrase:", translation)
    if len(sources) != len(references):
        raise malformed(str(reference), f"{len(references)} segments", expected=f"{len(sources)}, as in {source}")


def _segments(path: Path) -> Iterator[tuple[str, tuple[str, str], str]]:
    """(place, (document, segment), text) of a file in WMT's SGML, line by line, as sacrebleu reads it: entities stay as they are."""
    document, seen = "", set[tuple[str, str]]()
    for place, line in read_lines(path):
        if line.startswith("<doc "):
            named = _DOCUMENT.search(line)
            if named is None:
                raise malformed(place, "a document without docid", expected='<doc docid="..." ...>')
            document = named.group(1)
        elif line.startswith("<seg "):
            segment = _SEGMENT.match(line)
            if segment is None:
                raise malformed(place, "a segment that does not end in its line", expected='<seg id="...">text</seg>')
            key = (document, segment.group(1))
            if key in seen:
                raise malformed(place, f"segment {key[1]} of {key[0]} again", expected="every segment once")
            seen.add(key)
            yield place, key, " ".join(segment.group(2).split())
    if not seen:
        raise malformed(str(path), "no segments", expected='<seg id="...">text</seg>')
