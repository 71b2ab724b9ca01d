"""The six English datasets: prompts to the letter, profiles, clusters, bad and missing files, every task from its files to its scores."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config.schema import SuiteConfig
from swallow_exp.corpus.readers import read_parquet
from swallow_exp.evaluate.data import MissingData
from swallow_exp.evaluate.harness import evaluate_task
from swallow_exp.evaluate.suite import build_tasks, collect_tasks
from swallow_exp.evaluate.task import GENERATE, Output, Task
from swallow_exp.evaluate.tasks.hellaswag.task import clean
from swallow_exp.record.store import statistics_column

SHIPPED = Path(__file__).resolve().parent.parent / "data" / "evaluation"
NAMES = ("openbookqa", "triviaqa", "hellaswag", "squad2", "xwino", "gsm8k")


def asked(name: str, folder: Path = SHIPPED, **changes: Any) -> dict[str, Task]:
    suite = SuiteConfig(data_dir=str(folder), **changes)
    return {task.profile: task for task in build_tasks([name], sources=[], limit=suite.limit, suite=suite)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        shutil.copytree(SHIPPED / name, tmp_path / "data" / name)
    return tmp_path / "data"


# dataset -> (first example and what follows it, the question), both as lm-eval v0.3.0 spells them
LAYOUT = {
    "openbookqa": (
        "Wool keeps a shepherd warm because it traps air\n\nA puddle dries up fastest on a day that is hot and windy\n\n",
        "\n\nA kettle of water on a fire will",
    ),
    "triviaqa": (
        "Question: Which sea is the saltiest?\nAnswer: The Dead Sea\n\nQuestion: What do bees make?\nAnswer: Honey\n\n",
        "\n\nQuestion: Which river flows through Vienna?\nAnswer:",
    ),
    "hellaswag": (
        "Baking bread: A baker kneads dough on a table. He puts it into the oven.\n\nWashing a window: A woman dips",
        "\n\nFamily Life: How to wrap a present. Measure the paper. Lay the box on it.",
    ),
    "squad2": (
        "Title: Old_mill\n\nBackground: The old mill was built in 1804 by two brothers. It burnt down once.\n\n"
        "Question: When was the mill built?\n\nAnswer: 1804\n\nTitle: Old_mill\n\nBackground: The wheel",
        "\n\nQuestion: When do young storks leave the nest?\n\nAnswer: unanswerable\n\nTitle: Town_clock\n\n"
        "Background: The town clock was made by Anna Berg, a smith, in 1912. It strikes the hours.\n\n"
        "Question: Who made the town clock?\n\nAnswer:",
    ),
    "xwino": (
        "The nail bent the hammer because the hammer was made of lead.\n\nThe boat passed",
        "\n\nThe lid does not fit the jar because The jar is too narrow.\n\nThe lid does not fit the jar because ",
    ),
    "gsm8k": (
        "Question: A tank of 90 liters loses 6 liters an hour. When is it empty?\n"
        "Answer: It is empty after 90/6=<<90/6=15>>15 hours.\n#### 15\n\nQuestion: Ken has",
        "\n\nQuestion: Lou bakes 4 trays of 6 rolls and eats 2. How many are left?\nAnswer:",
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_prompts_are_the_published_form_to_the_letter(name: str) -> None:
    head, tail = LAYOUT[name]
    tasks = asked(name)
    paper = tasks["paper"].prompts[0]
    assert paper.startswith(head) and paper.endswith(tail)
    for task in tasks.values():
        item = task.all_items[0]
        shots = task.shots(item)
        assert len(shots) == task.num_fewshot == 8 == len(set(shots))
        assert task.prompts[0] == "".join(f"{shot.prompt} {shot.target}\n\n" for shot in shots) + item.prompt
        assert tail.endswith(item.prompt)


FILES = {  # dataset -> (asked, examples), number of lines or questions of each
    "openbookqa": (("test.jsonl", 3), ("train.jsonl", 9)),
    "triviaqa": (("validation.parquet", 4), ("train.parquet", 9)),
    "hellaswag": (("hellaswag_val.jsonl", 3), ("hellaswag_train.jsonl", 10)),
    "squad2": (("dev-v2.0.json", 4), ("train-v2.0.json", 11)),
    "xwino": (("en.jsonl", 14), ("en.jsonl", 14)),
    "gsm8k": (("test.jsonl", 3), ("train.jsonl", 9)),
}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "xwino"])
def test_paper_examples_follow_the_shuffled_questions(name: str) -> None:
    (_, questions), (_, examples) = FILES[name]
    task = asked(name)["paper"]
    assert len(task.all_items) == questions
    generator = random.Random(42)
    order = list(range(questions))
    generator.shuffle(order)
    places = {question: generator.sample(range(examples), 8) for question in order}
    # the same examples, told apart by their texts: the n-th of the file is always the n-th
    texts: dict[int, str] = {}
    for question, drawn in places.items():
        for place, shot in zip(drawn, task.shots(task.all_items[question]), strict=True):
            assert texts.setdefault(place, f"{shot.prompt}{shot.target}") == f"{shot.prompt}{shot.target}"
    assert len(set(texts.values())) == len(texts) > 8


@pytest.mark.parametrize("name", NAMES)
def test_prompts_depend_on_nothing_but_the_item(name: str) -> None:
    for profile in ("paper", "fair"):
        whole = asked(name)[profile]
        prompts = dict(zip((i.item_id for i in whole.all_items), whole.prompts, strict=True))
        for changes in ({"limit": 1}, {"limit": 2}, {"fraction": 0.4}, {"profiles": [profile]}, {"batch_size": 1}):
            part = asked(name, **changes)[profile]  # type: ignore[arg-type]
            assert {i.item_id: p for i, p in zip(part.all_items, part.prompts, strict=True)}.items() <= prompts.items()


def test_profiles_differ_where_the_readmes_say() -> None:
    budgets = {}
    for name in NAMES:
        paper, fair = asked(name)["paper"], asked(name)["fair"]
        assert (paper.bos, fair.bos) == (False, True) and paper.all_items == fair.all_items
        assert len({paper.prompt_digest, fair.prompt_digest}) == 2 and fair.fit is not None and paper.fit is None
        budgets[name] = (paper.max_new_tokens, paper.until, fair.max_new_characters, fair.until)
        assert (paper.empty_allowed, fair.empty_allowed) == (paper.output_type == GENERATE, False)
    no_answer = (None, ("\n",), None, ("\n",))
    assert budgets == {
        "openbookqa": no_answer, "hellaswag": no_answer, "xwino": no_answer,
        "triviaqa": (256, ("\n", ".", ","), 100, ("\n",)),
        "squad2": (256, ("\n",), 100, ("\n",)),
        "gsm8k": (256, (":", "Question:", "Question"), 800, ("\nQuestion:",)),
    }  # fmt: skip


def test_clusters_are_what_items_share() -> None:
    clusters = {name: [item.cluster for item in asked(name)["fair"].all_items] for name in NAMES}
    assert clusters["squad2"] == ["0-0", "0-0", "0-1", "1-0"]
    assert clusters["hellaswag"] == ["wikihow~91", "activitynet~v_zz", "activitynet~v_zz"]
    assert clusters["triviaqa"] == ["sfq_1", "sfq_2", "sfq_1", "sfq_3"]  # the same question, in both halves of the dataset
    assert [item.item_id for item in asked("triviaqa")["fair"].all_items] == ["sfq_1", "sfq_2", "sfq_1-2", "sfq_3"]
    # twins: the same options, most words in common
    assert clusters["xwino"] == ["0", "0", "2", "3", "4", "4", "6", "6", "8", "8", "10", "11", "12", "12"]
    assert clusters["gsm8k"] == ["0", "1", "2"] and clusters["openbookqa"] == ["x-0", "x-1", "x-2"]


def test_xwino_scores_the_rest_of_the_sentence_and_shows_no_twin() -> None:
    fair = asked("xwino")["fair"]
    items = {item.item_id: item for item in fair.all_items}
    assert items["0"].scored == (("The lid", " is too wide."), ("The jar", " is too wide.")) and items["0"].target == "The lid"
    assert items["1"].cluster == "0" and items["13"].cluster == "12" and items["3"].cluster == "3"
    assert items["11"].scored[0] == ("Tom", " 's uncle lived with nine cats.")  # the space is the tool's
    for task in asked("xwino").values():
        for item in task.all_items:
            solved = {f"{shot.prompt} {shot.target}" for shot in task.shots(item)}
            stem, ending = item.scored[item.choices.index(item.target)]
            assert len(solved) == 8 and f"{item.prompt}{stem}{ending}" not in solved
            if task.profile == "fair":
                assert item.cluster not in {shot.cluster for shot in task.shots(item)}


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("[header] How to fold [title] Lay it flat. [step] Press.", "How to fold. Lay it flat. Press."),
        ("[substeps] Fold it.", " Fold it."),
        ("  plain  text ", "plain text"),
        ("[title] Begin", " Begin"),  # only one that follows a space ends a sentence
        ("a [x] b [y", "a b [y"),
    ],
)
def test_hellaswag_texts_lose_the_marks_of_their_page(text: str, cleaned: str) -> None:
    assert clean(text).removeprefix(" ") == cleaned.removeprefix(" ") and clean(text).startswith(" ") == (text[0] == "[")


def test_hellaswag_capitalises_the_second_half_as_python_does() -> None:
    assert asked("hellaswag")["paper"].all_items[1].prompt == "Diving: A girl stands on a high board. She looks down and"
    item = asked("hellaswag")["paper"].all_items[0]
    assert item.choices[0] == item.target == " The paper should meet above the box." and item.choices[2] == " Wait for snow."


def test_an_ending_of_nothing_but_brackets_can_still_be_scored(folder: Path) -> None:
    path = folder / "hellaswag" / "hellaswag_val.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"melts."', '"[empty]"'), encoding="utf-8")
    assert asked("hellaswag", folder)["fair"].all_items[2].choices[0] == "[empty]"


def test_squad2_fair_examples_are_half_unanswerable_and_of_eight_paragraphs(folder: Path) -> None:
    task = asked("squad2")["fair"]
    shots = task.shots(task.all_items[0])
    assert [shot.target for shot in shots].count("unanswerable") == 4 and len({shot.cluster for shot in shots}) == 8
    path = folder / "squad2" / "train-v2.0.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    for article in document["data"]:  # paragraphs that would not leave room for a question are no examples
        for paragraph in article["paragraphs"]:
            paragraph["context"] += " so" * 400
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(RequestError, match=r"train-v2\.0\.json: 0 paragraphs to draw questions without an answer from, 0 others"):
        asked("squad2", folder)


def test_squad2_scores_only_the_parts_that_are_asked() -> None:
    whole, first = asked("squad2")["paper"], asked("squad2", limit=1)["paper"]
    assert [m.name for m in whole.metrics] == ["exact", "f1", "has_answer_exact", "has_answer_f1", "no_answer_exact"]
    assert [m.name for m in first.metrics] == ["exact", "f1", "has_answer_exact", "has_answer_f1"]


def test_triviaqa_rows_are_the_readable_ones() -> None:
    rows = json.loads((SHIPPED / "triviaqa" / "rows.json").read_text(encoding="utf-8"))
    for split in ("train", "validation"):
        assert [row for _, row in read_parquet(SHIPPED / "triviaqa" / f"{split}.parquet")] == rows[split]
    item = asked("triviaqa")["fair"].all_items[0]
    assert item.target == "The Danube" and item.golds == ("Danube", "River Danube", "Donau")


BAD = [  # dataset, file, text to replace, by what, what is said
    (
        "openbookqa",
        "test.jsonl",
        '"answerKey": "B"',
        '"answerKey": "E"',
        r"test\.jsonl, line 1: the answer 'E'; expected one of A, B, C, D",
    ),
    ("openbookqa", "train.jsonl", '"stem"', '"stamm"', r"train\.jsonl, line 1: nothing under 'question\.stem'"),
    ("hellaswag", "hellaswag_val.jsonl", '"label": 3', '"label": ""', r"hellaswag_val\.jsonl, line 3: the label ''"),
    ("hellaswag", "hellaswag_train.jsonl", '"ind": 1,', '"ind": 1', r"hellaswag_train\.jsonl, line 2: not JSON"),
    ("squad2", "dev-v2.0.json", '"title": "Ferry",', '"title": "Ferry"', r"dev-v2\.0\.json, line 5\d: not JSON"),
    (
        "squad2",
        "dev-v2.0.json",
        '"is_impossible": true',
        '"is_impossible": false',
        r"data\[0\]\.paragraphs\[0\]\.qas\[1\]: is_impossible False",
    ),
    (
        "squad2",
        "train-v2.0.json",
        '"question": "Who painted',
        '"frage": "Who painted',
        r"paragraphs\[0\]\.qas\[1\]: nothing under 'question'",
    ),
    ("xwino", "en.jsonl", "Rain wet the road so that _ shone.", "Rain.", r"en\.jsonl, line 11: a sentence without a blank"),
    ("xwino", "en.jsonl", '"answer": "2"', '"answer": "3"', r"en\.jsonl, line 2: the answer '3'"),
    ("gsm8k", "test.jsonl", "#### 1,500", "1,500", r"test\.jsonl, line 2: a solution without its number"),
    ("gsm8k", "train.jsonl", '"question": "Of 50', '"q": "Of 50', r"train\.jsonl, line 5: nothing under 'question', which has q, answer"),
]


@pytest.mark.parametrize(("name", "file", "old", "new", "message"), BAD)
def test_malformed_files_are_named_with_the_place(folder: Path, name: str, file: str, old: str, new: str, message: str) -> None:
    path = folder / name / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(RequestError, match=message):
        collect_tasks([name], sources=[], suite=SuiteConfig(data_dir=str(folder)))


def test_malformed_parquet_is_named_too(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def collect(rows: Sequence[dict[str, Any]]) -> None:
        pq.write_table(pa.Table.from_pylist(list(rows)), folder / "triviaqa" / "validation.parquet")
        collect_tasks(["triviaqa"], sources=[], suite=SuiteConfig(data_dir=str(folder)))

    good = {"question_id": "q", "question": "Who?", "answer": {"value": "I", "aliases": ["I"]}}
    with pytest.raises(RequestError, match=r"validation\.parquet: no column question_id; expected the columns question_id, question"):
        collect([{"question": "Who?", "answer": good["answer"]}])
    with pytest.raises(RequestError, match=r"validation\.parquet, row 2: a NoneType under 'question'"):
        collect([good, {**good, "question": None}])
    with pytest.raises(RequestError, match=r"validation\.parquet, row 1: nothing under 'answer\.aliases'"):
        collect([{**good, "answer": {"value": "I"}}])
    (folder / "triviaqa" / "validation.parquet").write_bytes(b"no parquet")
    with pytest.raises(RequestError, match=r"validation\.parquet: not parquet"):
        collect_tasks(["triviaqa"], sources=[], suite=SuiteConfig(data_dir=str(folder)))


@pytest.mark.parametrize("name", NAMES)
def test_missing_files_are_named_with_where_to_get_them(folder: Path, name: str) -> None:
    (file, _), (examples, _) = FILES[name]
    (folder / name / examples).unlink()
    with pytest.raises(MissingData, match=rf"{name}/{examples} is missing.*https://"):
        asked(name, folder)
    collected = collect_tasks(NAMES, sources=[], suite=SuiteConfig(data_dir=str(folder)))
    assert list(collected.absent) == [name] and len(collected.tasks) == 10
    if file != examples:
        (folder / name / file).unlink()
        with pytest.raises(RequestError, match=r"no task has its data"):
            collect_tasks([name], sources=[], suite=SuiteConfig(data_dir=str(folder)))


def test_too_few_examples_are_said(folder: Path) -> None:
    path = folder / "gsm8k" / "train.jsonl"
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:7]), encoding="utf-8")
    with pytest.raises(RequestError, match=r"gsm8k/train\.jsonl: 7 items to draw examples from; expected at least 8"):
        asked("gsm8k", folder)


@pytest.fixture(scope="module")
def lm(make_export: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    from swallow_exp.evaluate.harness import load_checkpoint, settings_of

    export = make_export(tmp_path_factory.mktemp("long"), max_length=3_072)
    return load_checkpoint(export, settings_of(export, batch_size=8, device="cpu"))


METRICS = {
    "openbookqa": (["accuracy"], ["accuracy", "accuracy_norm"]),
    "hellaswag": (["accuracy"], ["accuracy", "accuracy_norm"]),
    "xwino": (["accuracy"], ["accuracy"]),
    "triviaqa": (["exact_match"], ["exact_match", "f1"]),
    "gsm8k": (["accuracy"], ["accuracy"]),
    "squad2": (["exact", "f1", "has_answer_exact", "has_answer_f1", "no_answer_exact"],) * 2,
}


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_end_to_end(lm: Any, name: str) -> None:
    for (profile, task), metrics in zip(asked(name, limit=2, gold_likelihood=True).items(), METRICS[name], strict=True):
        outcome = evaluate_task(lm, task)
        assert [m["metric"] for m in outcome.metrics] == [*metrics, "gold_bits_per_byte"]
        assert all(m["profile"] == profile and math.isfinite(m["score"]) for m in outcome.metrics)
        assert outcome.health["truncated"] == 0 and len(outcome.items) == 2
        for row, item, prompt in zip(outcome.items, task.all_items, task.prompts, strict=True):
            assert row["prompt"] == prompt and row["gold_bits_per_byte"] > 0 and row["cluster"] == item.cluster
            output = Output(row["prediction"], tuple(row["choice_loglikelihoods"]))
            assert row["normalised"] == task.normalise(row["prediction"])
            for metric in task.metrics:
                assert row[statistics_column(metric.name, profile)] == list(metric.statistics(item, output))
            if task.output_type == GENERATE:
                assert not any(stop in row["prediction"] for stop in task.until)
                assert len(row["prediction"]) <= (task.max_new_characters or len(row["prediction"]))
            else:
                assert len(row["choice_loglikelihoods"]) == len(item.choices)
