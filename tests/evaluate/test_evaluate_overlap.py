"""How much of the items stands in the training text: by hand, and once for all runs of the same corpora."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from swallow_exp.artefact.manifest import Artefact
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.config.compose import compose_config
from swallow_exp.config.schema import SourceConfig, SuiteConfig
from swallow_exp.corpus.build_corpus import build_corpus
from swallow_exp.evaluate import overlap
from swallow_exp.evaluate.metrics.likelihood import ACCURACY, BITS_PER_BYTE
from swallow_exp.evaluate.metrics.strings import EXACT_MATCH
from swallow_exp.evaluate.overlap import Overlap, question_and_gold
from swallow_exp.evaluate.planner import Plan
from swallow_exp.evaluate.run import evaluate_runs
from swallow_exp.evaluate.suite import Collected
from swallow_exp.evaluate.task import CHOICE, GENERATE, ROLLING, Item, Task
from swallow_exp.evaluate.tasks.heldout import HeldoutSource
from swallow_exp.record.health import read_overlap
from swallow_exp.record.store import read_evaluations

TRAINING = [
    "富士山の高さについて。日本で一番高い山は何という名前ですか？　富士山です。そのほかの話も続く。",
    "A page of trivia. Which river flows through the middle of the old town of Prague? Nobody answered.",
    "お知らせ：来週の火曜日は図書館が休みになりますのでご注意ください",
]
QUESTIONS = {  # id -> question, gold answer
    "both": ("日本で一番高い山は何という名前ですか？", "富士山"),
    "question": ("Which river flows through the middle of the old town of Prague?", "the Vltava"),
    "gold": ("図書館の掲示には何と書いてありましたか。答えなさい。", "来週の火曜日は図書館が休みになります"),
    "neither": ("この問いは訓練の文書のどこにも書かれていないはずのものです。", "いいえ、ありません"),
    "short": ("首都は？", "東京"),
}


def task_of(items: list[Item], **settings: Any) -> Task:
    return Task("made_up", "1", "question", GENERATE, lambda: items, (EXACT_MATCH,), max_new_bytes=8, **settings)


@pytest.fixture
def two(tmp_path: Path) -> dict[str, Artefact]:
    built = {}
    for name, texts in {"first": TRAINING[:1], "second": TRAINING[1:]}.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"id": t[:9], "text": t}, ensure_ascii=False) + "\n" for t in texts))
        source = SourceConfig(name=name, language="ja", files=[f"{name}.jsonl"], heldout_fraction=0.0)
        built[name] = build_corpus(source, out=tmp_path, data=tmp_path)
    return built


def plan_of(out: Path, name: str, tasks: list[Task], two: dict[str, Artefact], **suite: Any) -> Plan:
    run = RunPaths.of(out, name)
    run.folder.mkdir(parents=True, exist_ok=True)
    sources = tuple(HeldoutSource(n, "documents", corpus) for n, corpus in two.items())
    return Plan(run, SuiteConfig(**{"name": "x", "overlap": True, **suite}), Collected(tasks), list, sources=sources)


def items_of(run: RunPaths, folder: str) -> dict[str, dict[str, Any]]:
    return {row["item_id"]: row for row in pq.read_table(run.overlap_items(folder)).to_pylist()}


def test_question_and_gold_are_told_apart(tmp_path: Path, two: dict[str, Artefact]) -> None:
    task = task_of([Item(name, name, question, gold) for name, (question, gold) in QUESTIONS.items()])
    plan = plan_of(tmp_path, "run", [task], two)
    assert Overlap().measure(plan) == 1
    found = items_of(plan.run, "made_up")
    share = {name: {part: (row[f"{part}_found"], row[f"{part}_ngrams"]) for part in ("question", "gold")} for name, row in found.items()}
    assert share["both"] == {"question": (18 - 12, 18 - 12), "gold": (3, 3)}  # 18 characters that count; 3 windows reach the answer
    assert share["question"] == {"question": (5, 5), "gold": (0, 2)}  # 12 words; two words of answer
    assert share["gold"]["question"][0] == 0 and share["gold"]["gold"] == (18 - 12, 18 - 12)
    assert share["neither"]["question"][0] == share["neither"]["gold"][0] == 0 < share["neither"]["gold"][1]
    assert share["short"] == {"question": (0, 0), "gold": (0, 0)}
    (record,) = read_overlap(tmp_path, "run")
    assert (record.num_items, record.question_measured, record.question_half) == (5, 4, 2)
    assert (record.gold_measured, record.gold_any, record.gold_half) == (4, 2, 2)
    assert record.corpora == ("first", "second") and record.prompt_digest == task.prompt_digest


def test_sources_count_together_and_one_alone_finds_less(tmp_path: Path, two: dict[str, Artefact]) -> None:
    task = task_of([Item(name, name, question, gold) for name, (question, gold) in QUESTIONS.items()])
    for name in two:
        Overlap().measure(plan_of(tmp_path, name, [task], {name: two[name]}))
    halves = {name: next(iter(read_overlap(tmp_path, name))).question_half for name in two}
    assert halves == {"first": 1, "second": 1}


def test_what_all_prompts_share_is_no_part_of_a_question() -> None:
    items = [Item(f"{n}", f"{n}", f"### 入力：\n質問：{n}番の人は誰\n\n### 回答：\n", "私") for n in range(12)]
    assert question_and_gold(task_of(items))[3] == ("3", "私")
    few = question_and_gold(task_of(items[:3]))
    assert few[0][0] == items[0].prompt  # three may share more than a template


def test_texts_that_are_scored_are_the_ones_looked_for() -> None:
    scored = Item("1", "1", "", "2", ("1", "2"), scored=(("The cup", " is full because it is"), ("The jug", " is full because it was")))
    choice = Task("x", "1", "choice", CHOICE, lambda: [scored], (ACCURACY,))
    assert question_and_gold(choice) == [("The jug", " is full because it was")]
    rolling = Task("x", "1", "heldout", ROLLING, lambda: [Item("1", "1", "", TRAINING[0])], (BITS_PER_BYTE,))
    assert question_and_gold(rolling) == [("", TRAINING[0])]


def test_a_corpus_is_read_once_for_all_runs_and_only_for_new_items(
    tmp_path: Path, two: dict[str, Artefact], monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[str] = []
    original = overlap.find_in_training_text

    def counting(corpus: Artefact, *arguments: Any, **options: Any) -> Any:
        passes.append(corpus.id)
        return original(corpus, *arguments, **options)

    monkeypatch.setattr(overlap, "find_in_training_text", counting)
    first = task_of([Item(name, name, question, gold) for name, (question, gold) in QUESTIONS.items()])
    assert Overlap().measure(plan_of(tmp_path, "one", [first], two)) == 1 and len(passes) == 2
    entry = json.loads(RunPaths.of(tmp_path, "one").overlap.read_text())["made_up"]
    assert Overlap().measure(plan_of(tmp_path, "one", [first], two)) == 0
    assert Overlap().measure(plan_of(tmp_path, "two", [first], two)) == 1 and len(passes) == 2
    assert json.loads(RunPaths.of(tmp_path, "two").overlap.read_text())["made_up"] == entry
    second = Task("other", "1", "q", GENERATE, lambda: [Item("a", "a", TRAINING[2], "はい")], (EXACT_MATCH,), max_new_bytes=8)
    assert Overlap().measure(plan_of(tmp_path, "one", [first, second], two)) == 1 and len(passes) == 4
    assert {record.task: record.question_half for record in read_overlap(tmp_path, "one")} == {"made_up": 2, "other": 1}
    torn = sorted((tmp_path / "overlap" / two["first"].id).glob("*.npz"))[0]
    torn.write_bytes(torn.read_bytes()[:40])
    RunPaths.of(tmp_path, "two").overlap.unlink()
    Overlap().measure(plan_of(tmp_path, "two", [first, second], two))
    assert len(passes) == 5 and json.loads(RunPaths.of(tmp_path, "two").overlap.read_text())["made_up"] == entry


def test_off_unless_asked_for(tmp_path: Path, two: dict[str, Artefact]) -> None:
    task = task_of([Item("a", "a", *QUESTIONS["both"])])
    assert Overlap().measure(plan_of(tmp_path, "run", [task], two, overlap=False)) == 0
    assert Overlap().measure(plan_of(tmp_path, "run", [task], {})) == 0  # a model that no run made
    assert not RunPaths.of(tmp_path, "run").overlap.exists()
    on = {level: compose_config([f"suite={level}"]).config.suite.overlap for level in ("paper", "paper_ja", "paper_en", "nli", "miniature")}
    assert on == {"paper": True, "paper_ja": True, "paper_en": True, "nli": True, "miniature": False}


def test_an_evaluator_measures_it_after_the_scores(tmp_path: Path, make_run: Callable[..., str], random_export: Path) -> None:
    """Held-out documents share sentences with training documents; overlap is of the items, so it needs no checkpoint of its own."""
    asked = ["suite.overlap=true", "suite.tasks=[mini_reading,heldout]", "suite.limit=2"]
    run_id = make_run("mini", {1024: (random_export, "digest")}, asked)
    summary = evaluate_runs(tmp_path, [run_id])
    assert not summary.failures and summary.evaluated == 5
    found = {record.task: record for record in read_overlap(tmp_path, run_id)}
    assert found.keys() == {record.task for record in read_evaluations(tmp_path, run_id)}
    assert found["mini_reading"].question_measured == found["mini_reading"].num_items == 2
    assert found["heldout_miniature_japanese"].question_measured == 0 < found["heldout_miniature_japanese"].gold_measured
    assert len(found["mini_reading"].corpora) == 3
    before = RunPaths.of(tmp_path, run_id).overlap.stat().st_mtime_ns
    assert evaluate_runs(tmp_path, [run_id]).already_done == 5
    assert RunPaths.of(tmp_path, run_id).overlap.stat().st_mtime_ns == before
