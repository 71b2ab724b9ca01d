"""The form in which llm-jp-eval v1.0 puts a question: one instruction, four fixed examples, the question.

description   a fixed sentence, "### 指示", the task's instruction, an empty line
example       "### 入力：", the input, "### 回答：", the answer, an empty line
question      "### 入力：", the input, "### 回答：" and a line break; the answer follows directly

paper   without <s>, no stop string, a budget in tokens of the evaluated model, the answer may be empty
fair    with <s>, up to the first line break, a budget in characters

Reads   <data_dir>/<dataset>/shots.jsonl, when the user has put one there
Source  llm-jp-eval v1.0.0 (template of its evaluation script); paper Table 2
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from swallow_exp.corpus.readers import malformed, read_jsonl, text_of
from swallow_exp.evaluate.data import DataFile, DataFolder
from swallow_exp.evaluate.metrics.strings import first_line, paper_answer
from swallow_exp.evaluate.shots import fixed_shots
from swallow_exp.evaluate.task import Item, Task
from swallow_exp.evaluate.tasks.profiles import two_profiles

OPENING = "以下はタスクを説明する指示と、追加の背景情報を提供する入力の組み合わせです。要求を適切に満たす回答を書いてください。"
NUM_SHOTS = 4
SHOTS_NAME = "shots.jsonl"


def llm_jp_description(instruction: str) -> str:
    """What stands before the examples."""
    return f"{OPENING}\n### 指示\n{instruction}\n\n"


def llm_jp_prompt(text: str) -> str:
    """One question, up to where its answer begins."""
    return f"### 入力：\n{text}\n### 回答：\n"


def user_shots(data: DataFolder, dataset: str) -> list[Item] | None:
    """The examples in the user's own shots.jsonl ({"input", "output"} a line, as llm-jp-eval writes its samples); None without one."""
    path = data.find(DataFile(dataset, SHOTS_NAME, None, "the user's own", "the user's own"))
    if path is None:
        return None
    shots = [
        Item(f"shot-{number}", f"shot-{number}", llm_jp_prompt(text_of(row, "input", place=place)), text_of(row, "output", place=place))
        for number, (place, row) in enumerate(read_jsonl(path))
    ]
    if len(shots) < NUM_SHOTS:
        raise malformed(str(path), f"{len(shots)} examples", expected=f"{NUM_SHOTS} examples, one a line")
    return shots


def chosen_examples(
    data: DataFolder, dataset: str, *, train: Callable[[], Sequence[Item]], published: Sequence[str], doubt: str = ""
) -> tuple[tuple[Item, ...], str]:
    """Four examples and where they are from: the user's shots.jsonl, else llm-jp-eval's own four, else the first of the train split.

    train      the train split as items
    published  a part of the prompt of each published example that no other train item has
    doubt      which of them are assumed to be the published ones, for the remark
    """
    own = user_shots(data, dataset)
    if own is not None:
        return tuple(own), f"shots: the user's {SHOTS_NAME}"
    pool = train()
    found = [next((item for item in pool if mark in item.prompt), None) for mark in published]
    if published and all(found):
        return tuple(item for item in found if item is not None), f"shots: the published ones, from the train split{doubt}"
    if len(pool) < NUM_SHOTS:
        raise malformed(f"{dataset}, train split", f"{len(pool)} items", expected=f"at least {NUM_SHOTS}")
    return tuple(pool[:NUM_SHOTS]), f"shots: the first {NUM_SHOTS} of the train split, not the published ones"


def generated_tasks(
    name: str, *, instruction: str, paper_tokens: int, fair_characters: int, fair: Mapping[str, Any] | None = None, **more: Any
) -> list[Task]:
    """Both profiles of a task whose answers are generated; `fair` and `more` as `two_profiles` takes them."""
    return two_profiles(
        name,
        num_fewshot=NUM_SHOTS,
        description=llm_jp_description(instruction),
        separator="",
        until=(),
        max_new_tokens=paper_tokens,
        normalise=paper_answer,
        fair={"until": ("\n",), "max_new_characters": fair_characters, "normalise": first_line, **(fair or {})},
        **more,
    )


def dataset_tasks(
    name: str,
    data: DataFolder,
    *,
    read: Callable[[Path], Iterable[Item]],
    test: DataFile,
    train: DataFile,
    published: Sequence[str],
    doubt: str = "",
    **more: Any,
) -> list[Task]:
    """Both profiles of a dataset whose test file is asked and whose train file gives the examples.

    Args:
        read: file -> items.
        published, doubt: as `chosen_examples` takes them.
        more: as `generated_tasks` takes it.
    """
    items = tuple(read(data.path(test)))
    shots, remark = chosen_examples(data, name, train=lambda: tuple(read(data.path(train))), published=published, doubt=doubt)
    return generated_tasks(name, items=lambda: items, shots=fixed_shots(shots, NUM_SHOTS), remarks=(remark,), **more)
