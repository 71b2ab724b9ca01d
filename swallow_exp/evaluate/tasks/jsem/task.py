"""JSeM: inference by linguistic phenomenon; the published tool made its own test part. See README.md in this folder.

(1) read     22 files, in the tool's order; problems without a label that the tool knows are left out
(2) shuffle  Python's generator, seed 42
(3) divide   the last tenth is asked, the first eight tenths are the train split

Reads   <data_dir>/jsem/{Adjectives.xml, ..., Verbs.xml, shots.jsonl}
Source  paper appendix F; llm-jp-eval v1.0.0
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from swallow_exp.config.schema import SuiteConfig
from swallow_exp.corpus.readers import malformed, read_xml
from swallow_exp.evaluate.data import DataFile, DataFolder
from swallow_exp.evaluate.task import Item, Task
from swallow_exp.evaluate.tasks.nli import Inference, inference_item, inference_tasks

JSEM = Inference(
    name="jsem",
    version="1",
    labels=("yes", "no", "unknown", "undef"),
    constraints={
        "yes": "前提が仮説を含意する場合は{}と出力",
        "no": "前提が仮説の否定を含意する場合は{}と出力",
        "unknown": "前提が仮説を含意せず、その否定も含意しない場合は{}と出力",
        "undef": "与えられた情報のみからは判断ができない場合は{}と出力",
    },
    published=(
        "入ってはいけません。\n仮説：ここは危ない。\n",
        "地面が濡れている。\n仮説：雨が降ったせいで、",
        "仮説：仕事が多すぎるのは、好ましいことだ。\n",
        "せいぜい二人だろう。\n仮説：出演料を慈善事業に寄付しそうな",
    ),
    paper_tokens=3,
)
LEFT_OUT = ("", "infelicitous", "unacceptable", "weakacceptable")
SEED = 42
PHENOMENA = (  # the order decides the shuffle
    "Adjectives", "Adverb", "Attitudes", "AuxiliaryVerb", "CaseParticle", "Comparatives", "CompoundAdjective", "CompoundVerb",
    "Conditional", "Conjunction", "Coordination", "Ellipsis", "GeneralizedQuantifier", "Modality", "NP", "NewAdjective",
    "NominalAnaphora", "Plurals", "Question", "TemporalReference", "Toritate", "Verbs",
)  # fmt: skip

_COMMIT = "55368623568d3160cfde2dc72d8c28ea5e76bf20"
_SOURCE = f"https://raw.githubusercontent.com/DaisukeBekki/JSeM/{_COMMIT}/data/v1.0/"
FILES = tuple(
    DataFile("jsem", f"{name}.xml", f"{_SOURCE}{name}.xml", f"v1.0, commit {_COMMIT[:7]}", "no licence is named") for name in PHENOMENA
)


def tasks(data: DataFolder, suite: SuiteConfig) -> list[Task]:
    """jsem, jsem_ja, jsem_choice. Raises MissingData without one of the files, RequestError for malformed ones."""
    items = [item for file in FILES for item in read_items(data.path(file))]
    random.Random(SEED).shuffle(items)
    train, test = items[: int(len(items) * 0.8)], items[int(len(items) * 0.9) :]
    return inference_tasks(JSEM, data, test=test, train=lambda: train)


def read_items(path: Path) -> Iterator[Item]:
    """Every problem of a file with a label, in its order; problems with one premise share a cluster."""
    for number, problem in enumerate(read_xml(path).iter("problem"), start=1):
        place = f"{path}, problem {number}"
        label = problem.get("answer")
        if label is None:
            raise malformed(place, "no answer", expected='<problem answer="...">')
        if label in LEFT_OUT:
            continue
        premise = "".join(_script(p) for p in problem.iterfind("p"))
        hypothesis = _script(problem.find("h"))
        if not premise or not hypothesis:
            raise malformed(place, "no premise or no hypothesis", expected="<p><script>...</script></p><h><script>...</script></h>")
        item_id = f"{path.stem}-{problem.get('jsem_id', '')}-{number}"
        yield inference_item(item_id, f"{path.stem}: {premise}", premise, hypothesis, label, labels=JSEM.labels, place=place)


def _script(element: Element | None) -> str:
    """The Japanese sentence inside a <p> or <h>."""
    script = None if element is None else element.find("script")
    return "" if script is None else "".join(script.itertext()).strip()
