"""JSQuAD as llm-jp-eval v1.0 asks it, and the same question asked fairly. See README.md in this folder.

Reads   <data_dir>/jsquad/{valid-v1.1.json, train-v1.1.json, shots.jsonl}
Source  paper Table 2, appendix G
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from swallow_exp.config.schema import SuiteConfig
from swallow_exp.corpus.readers import list_of, malformed, read_json, text_of
from swallow_exp.evaluate.data import DataFile, DataFolder
from swallow_exp.evaluate.metrics.strings import CHAR_F1_FAIR, CHAR_F1_PAPER, EXACT_MATCH_FAIR
from swallow_exp.evaluate.task import Item, Task
from swallow_exp.evaluate.tasks.llm_jp import dataset_tasks, llm_jp_prompt

VERSION = "1"
INSTRUCTION = (
    "質問に対する回答を文章から一言で抽出してください。回答は名詞で答えてください。 それ以外には何も含めないことを厳守してください。"
)
PAPER_TOKENS = 25
FAIR_CHARACTERS = 100
# The questions of the four published examples; each is asked once in the train split.
PUBLISHED = (
    "質問：文武天皇の第一皇子として生まれたのは？\n",
    "質問：人名としての通称は何と呼ばれているか\n",
    "質問：坂本龍一が療養に専念するためコンサート活動などを中止すると発表したのはいつか。\n",
    "質問：打線の援護を受けてチームが逆転するとどんな投手になる？\n",
)

_SOURCE = "https://raw.githubusercontent.com/yahoojapan/JGLUE/v1.1.0/datasets/jsquad-v1.1/"
VALID = DataFile("jsquad", "valid-v1.1.json", _SOURCE + "valid-v1.1.json", "JGLUE v1.1.0", "CC BY-SA 4.0")
TRAIN = DataFile("jsquad", "train-v1.1.json", _SOURCE + "train-v1.1.json", "JGLUE v1.1.0", "CC BY-SA 4.0")


def tasks(data: DataFolder, suite: SuiteConfig) -> list[Task]:
    """Both profiles. Raises MissingData without the files, RequestError for malformed ones."""
    return dataset_tasks(
        "jsquad",
        data,
        read=read_items,
        test=VALID,
        train=TRAIN,
        published=PUBLISHED,
        version=VERSION,
        family="reading",
        instruction=INSTRUCTION,
        paper_metrics=(CHAR_F1_PAPER,),
        fair_metrics=(CHAR_F1_FAIR, EXACT_MATCH_FAIR),
        paper_tokens=PAPER_TOKENS,
        fair_characters=FAIR_CHARACTERS,
    )


def read_items(path: Path) -> Iterator[Item]:
    """Every question of a file in SQuAD's format, in its order; questions of one paragraph share a cluster."""
    articles = list_of(read_json(path), "data", place=str(path))
    for number, article in enumerate(articles):
        where = f"{path}, data[{number}]"
        for place, paragraph in enumerate(list_of(article, "paragraphs", place=where)):
            cluster = f"{number}-{place}"
            within = f"{where}.paragraphs[{place}]"
            context = text_of(paragraph, "context", place=within)
            for index, question in enumerate(list_of(paragraph, "qas", place=within)):
                yield _item(question, context, cluster, f"{within}.qas[{index}]")


def _item(question: object, context: str, cluster: str, place: str) -> Item:
    answers = [text_of(answer, "text", place=place) for answer in list_of(question, "answers", place=place)]
    if not answers or not all(answers):
        raise malformed(place, "a question without an answer", expected="at least one answer that is not empty")
    return Item(
        text_of(question, "id", place=place),
        cluster,
        llm_jp_prompt(f"文章：{context}\n質問：{text_of(question, 'question', place=place)}"),
        answers[0],
        answers=tuple(dict.fromkeys(answers)),
    )
