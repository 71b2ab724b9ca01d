"""Texts of the English tasks beside those that the installed lm-eval makes of the same rows, where both spell them alike."""

from __future__ import annotations

import json
import random
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from swallow_exp.config.schema import SuiteConfig
from swallow_exp.evaluate.metrics.gsm8k import marked_number
from swallow_exp.evaluate.suite import build_tasks
from swallow_exp.evaluate.task import Item
from swallow_exp.evaluate.tasks.hellaswag.task import clean

SHIPPED = Path(__file__).resolve().parent.parent / "data" / "evaluation"


def items(name: str) -> tuple[Item, ...]:
    return build_tasks([name], sources=[], suite=SuiteConfig(data_dir=str(SHIPPED)))[0].all_items


def rows(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SHIPPED / path).read_text(encoding="utf-8").splitlines()]


def setting(path: str, key: str) -> list[str]:
    """Every value of a key in one of lm-eval's task files."""
    text = files("lm_eval").joinpath("tasks", path).read_text(encoding="utf-8")
    return [json.loads(f'"{value}"') for value in re.findall(rf'{key}: "(.*)"', text)]


def test_hellaswag() -> None:
    from lm_eval.tasks.hellaswag.utils import preprocess

    generator = random.Random(3)
    parts = ["[title]", " [title]", "[step]", " ", "  ", "Fold it.", "[", "]", "\n", "x"]
    for _ in range(400):
        text = "".join(generator.choices(parts, k=generator.randrange(8)))
        assert clean(text) == preprocess(text)
    for row, item in zip(rows("hellaswag/hellaswag_val.jsonl"), items("hellaswag"), strict=True):
        assert item.prompt == preprocess(f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}")
        assert list(item.choices) == [preprocess(ending) for ending in row["endings"]]


def test_xwino() -> None:
    from lm_eval.tasks.xwinograd import utils

    for row, item in zip(rows("xwino/en.jsonl"), items("xwino"), strict=True):
        assert [item.prompt + stem for stem, _ in item.scored] == utils.doc_to_choice(row)
        assert {ending for _, ending in item.scored} == {f" {utils.doc_to_target(row)}"}
        assert item.choices.index(item.target) == utils.doc_to_text(row)


def test_squad2() -> None:
    from lm_eval.tasks.squadv2.task import SQuAD2

    document = json.loads((SHIPPED / "squad2" / "dev-v2.0.json").read_text(encoding="utf-8"))
    found = {item.item_id: item for item in items("squad2")}
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                answers = {"text": [answer["text"] for answer in question["answers"]]}
                row = {"title": article["title"], "context": paragraph["context"], "question": question["question"], "answers": answers}
                item = found.pop(question["id"])
                assert item.prompt == SQuAD2.doc_to_text(None, row) and f" {item.target}" == SQuAD2.doc_to_target(None, row)
    assert not found


def test_gsm8k() -> None:
    name = "gsm8k/gsm8k.yaml"
    (layout,) = setting(name, "doc_to_text")
    for row, item in zip(rows("gsm8k/test.jsonl"), items("gsm8k"), strict=True):
        assert item.prompt == layout.replace("{{question}}", row["question"])
    strict = setting(name, "regex_pattern")[0]
    for answer in ("#### 5", "#### -1,250.0 and", "####5", "x #### 7\n#### 8", "#### .", "5"):
        found = re.findall(strict, answer)
        assert marked_number(answer) == (found[0].replace(",", "") if found else None)


def test_triviaqa() -> None:
    (layout,) = setting("triviaqa/default.yaml", "doc_to_text")
    readable = json.loads((SHIPPED / "triviaqa" / "rows.json").read_text(encoding="utf-8"))["validation"]
    for row, item in zip(readable, items("triviaqa"), strict=True):
        # later versions ask "...??" where the question has its mark already
        assert item.prompt == layout.replace("{{question}}?", row["question"])
