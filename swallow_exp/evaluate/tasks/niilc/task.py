"""NIILC as llm-jp-eval v1.0 asks it, and the same question asked fairly. See README.md in this folder.

Reads   <data_dir>/niilc/{NIILC-ECQA2015_test.xml, NIILC-ECQA2015_dev.xml, shots.jsonl}
Source  paper Table 2, appendix G
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from swallow_exp.config.schema import SuiteConfig
from swallow_exp.corpus.readers import malformed, read_xml
from swallow_exp.evaluate.data import DataFile, DataFolder
from swallow_exp.evaluate.metrics.strings import CHAR_F1_FAIR, CHAR_F1_PAPER, EXACT_MATCH_FAIR
from swallow_exp.evaluate.task import Item, Task
from swallow_exp.evaluate.tasks.llm_jp import dataset_tasks, llm_jp_prompt

VERSION = "1"
INSTRUCTION = "質問に対する答えを出力してください。答えが複数の場合、コンマ（,）で繋げてください。"
PAPER_TOKENS = 180
FAIR_CHARACTERS = 300
NO_ANSWER = "-"
SEVERAL = "複数"  # the question asks for a list; else several answers are ways to say one thing
# The questions of the four published examples.
PUBLISHED = (
    "質問：ワールドカップは何年に一度開催されるの？\n",
    "質問：リアス式海岸は日本のどこにある？\n",
    "質問：サッカーのイエローカードはいつ出るの？\n",
    "質問：ハリーポッターの著者は誰？\n",
)
DOUBT = " (assumed: the third and the fourth)"  # see README.md

_COMMIT = "9830b116ceb11f55733d90c59789760c8297110c"
_SOURCE = f"https://raw.githubusercontent.com/mynlp/niilc-qa/{_COMMIT}/data/"
_TEST, _DEV = "NIILC-ECQA2015_test.xml", "NIILC-ECQA2015_dev.xml"
TEST = DataFile("niilc", _TEST, _SOURCE + _TEST, f"commit {_COMMIT[:7]}", "CC BY-SA")
DEV = DataFile("niilc", _DEV, _SOURCE + _DEV, f"commit {_COMMIT[:7]}", "CC BY-SA")


def tasks(data: DataFolder, suite: SuiteConfig) -> list[Task]:
    """Both profiles. Raises MissingData without the files, RequestError for malformed ones."""
    return dataset_tasks(
        "niilc",
        data,
        read=read_items,
        test=TEST,
        train=DEV,
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


def read_items(path: Path) -> Iterator[Item]:
    """Every question of a file that has an answer, in its order."""
    for number, question in enumerate(read_xml(path).iter("question"), start=1):
        place = f"{path}, question {number}"
        item_id, text = question.get("id"), _text(question.find("text"))
        if not item_id or not text:
            raise malformed(place, "a question without an id or a text", expected='<question id="..."><text>...</text>')
        if question.find("answers") is None:
            raise malformed(place, f"no <answers> in {item_id}", expected="<answers><answer>...</answer></answers>")
        answers = [answer for answer in map(_text, question.iterfind("answers/answer")) if answer]
        if answers in ([], [NO_ANSWER]):
            continue  # nobody found an answer in the encyclopedia; llm-jp-eval leaves such questions out, too
        joined = ",".join(answers)
        ways = () if _text(question.find("meta/D.3")) == SEVERAL else answers
        yield Item(item_id, item_id, llm_jp_prompt(f"質問：{text}"), joined, answers=tuple(dict.fromkeys((joined, *ways))))


def _text(element: Element | None) -> str:
    return "" if element is None else "".join(element.itertext()).strip()
