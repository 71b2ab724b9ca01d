"""The five inference sets: prompts to the letter, labels in two languages, splits, examples, metrics, bad files, end to end."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config.schema import SuiteConfig
from swallow_exp.evaluate.data import MissingData
from swallow_exp.evaluate.harness import evaluate_task
from swallow_exp.evaluate.metrics.labels import macro_f1, matthews, mean_recall
from swallow_exp.evaluate.suite import DATASETS, build_tasks, collect_tasks
from swallow_exp.evaluate.task import Output, Task
from swallow_exp.evaluate.tasks.jsem.task import FILES, PHENOMENA
from swallow_exp.record.aggregate import score_of_items

SHIPPED = Path(__file__).resolve().parent.parent / "data" / "evaluation"
NAMES = ("jamp", "janli", "jnli", "jsem", "jsick")
HEAD = "以下はタスクを説明する指示と、追加の背景情報を提供する入力の組み合わせです。要求を適切に満たす回答を書いてください。\n### 指示\n"
ONLY = "の中から回答してください。それ以外には何も含めないことを厳守してください。\n\n制約：\n"

INSTRUCTIONS = {
    "jamp": "前提と仮説の関係をentailment、contradiction、neutral" + ONLY
    + "- 前提から仮説が、時間関係上導出可能である場合はentailmentと出力\n"
    "- 前提と仮説が両立しえない場合はcontradictionと出力\n- そのいずれでもない場合はneutralと出力",
    "janli": "前提と仮説の関係をentailment、non-entailment" + ONLY + "- 前提に対して仮説が同じ意味を含む場合は、entailmentと出力\n"
    "- 前提に対して仮説が異なる意味を含む場合は、non-entailmentと出力",
    "jnli": "前提と仮説の関係をentailment、contradiction、neutral" + ONLY
    + "- 前提から仮説が、論理的知識や常識的知識を用いて導出可能である場合はentailmentと出力\n"
    "- 前提と仮説が両立しえない場合はcontradictionと出力\n- そのいずれでもない場合はneutralと出力",
    "jsem": "前提と仮説の関係をyes、no、unknown、undef" + ONLY
    + "- 前提が仮説を含意する場合はyesと出力\n- 前提が仮説の否定を含意する場合はnoと出力\n"
    "- 前提が仮説を含意せず、その否定も含意しない場合はunknownと出力\n- 与えられた情報のみからは判断ができない場合はundefと出力",
    "jsick": "前提と仮説の関係をentailment、contradiction、neutral" + ONLY
    + "- 前提が真であるとき仮説が必ず真になる場合はentailmentと出力\n"
    "- 前提が真であるとき仮説が必ず偽になる場合はcontradictionと出力\n- そのいずれでもない場合はneutralと出力",
}  # fmt: skip
# (premise, hypothesis, label) of the four examples and of the last item
PAIRS = {
    "jamp": [
        ("花子は庭で草を抜いている。", "花子は現在庭で草を抜いている。", "entailment"),
        ("次郎は2010年以来、船を直している。現在、2008年である。", "次郎は2007年に船を直した。", "contradiction"),
        ("雪子は5時間歩いた。", "雪子は8時間歩いた。", "neutral"),
        ("次郎は2010年以来、船を直している。現在、2014年である。", "次郎は2012年に船を直した。", "entailment"),
        ("渚は6月に初めて馬に乗った。", "渚は2月に初めて馬に乗った。", "contradiction"),
    ],
    "janli": [
        ("漁師が猫を呼んだ", "猫を漁師が呼んだ", "entailment"),
        ("漁師が猫を呼んだ", "漁師を猫が呼んだ", "non-entailment"),
        ("犬が泳いだか、馬が泳いだ", "犬が泳いだ", "non-entailment"),
        ("犬が泳ぎ、馬も泳いだ", "馬も泳いだ", "entailment"),
        ("姉は妹が笑ったと思っている", "妹が笑った", "non-entailment"),
    ],
    "jnli": [
        ("赤い屋根の家の前に犬がいます。", "家の前に動物がいます。", "entailment"),
        ("家の前に動物がいます。", "赤い屋根の家の前に犬がいます。", "neutral"),
        ("机の上に林檎が三つあります。", "机の上には何もありません。", "contradiction"),
        ("机の上には何もありません。", "机の上に林檎が三つあります。", "contradiction"),
        ("港の舟に漁師が乗っています。", "港に舟があります。", "entailment"),
    ],
    "jsick": [
        ("料理人が葱を切っている", "料理人が何かを切っている", "entailment"),
        ("料理人が葱を切っている", "葱を切っている人は一人もいない", "contradiction"),
        ("女の子が歌っている", "女の子が丘の上で歌っている", "neutral"),
        ("二匹の山羊が眠っている", "山羊が夢を見ている", "neutral"),
        ("女性が網を繕っている", "女性が網を切っている", "contradiction"),
    ],
}


def asked(name: str, folder: Path = SHIPPED, **changes: Any) -> dict[str, Task]:
    suite = SuiteConfig(data_dir=str(folder), **changes)
    return {task.profile: task for task in build_tasks([name], sources=[], limit=suite.limit, suite=suite)}


def targets(task: Task) -> list[str]:
    return [shot.target for shot in task.shots(task.all_items[0])]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        shutil.copytree(SHIPPED / name, tmp_path / "data" / name)
    return tmp_path / "data"


def jsem_rows() -> list[tuple[str, str, str]]:
    """The published recipe, written down once more: read in the tool's order, drop, shuffle."""
    rows = []
    for name in PHENOMENA:
        for problem in ElementTree.parse(SHIPPED / "jsem" / f"{name}.xml").getroot():
            premise = "".join(str(p.findtext("script")) for p in problem.findall("p"))
            rows.append((premise, str(problem.findtext("h/script")), str(problem.get("answer"))))
    rows = [row for row in rows if row[2] in ("yes", "no", "unknown", "undef")]
    random.seed(42)
    random.shuffle(rows)
    return rows


def jsem_pairs() -> list[tuple[str, str, str]]:
    rows = jsem_rows()
    train = rows[: int(len(rows) * 0.8)]
    first = [next(row for row in train if row[2] == label) for label in dict.fromkeys(row[2] for row in train)]
    return [*first, rows[-1]]


@pytest.mark.parametrize("name", NAMES)
def test_the_prompt_is_the_published_form_to_the_letter(name: str) -> None:
    pairs = PAIRS.get(name) or jsem_pairs()
    assert len(pairs) == 5
    solved = "".join(f"### 入力：\n前提：{p}\n仮説：{h}\n### 回答：\n{label}\n\n" for p, h, label in pairs[:4])
    prompt = f"{HEAD}{INSTRUCTIONS[name]}\n\n{solved}### 入力：\n前提：{pairs[4][0]}\n仮説：{pairs[4][1]}\n### 回答：\n"
    tasks = asked(name)
    assert tasks["paper"].prompts[-1] == tasks["fair"].prompts[-1] == prompt
    assert asked(f"{name}_choice")["fair"].prompts == tasks["fair"].prompts
    assert tasks["paper"].all_items[-1].target == pairs[4][2]
    assert asked(name, limit=2)["paper"].prompts == tasks["paper"].prompts[:2]


def test_japanese_labels_stand_in_instruction_examples_and_answers() -> None:
    for name in NAMES:
        task, official = asked(f"{name}_ja")["paper"], asked(name)["paper"]
        names = {"entailment": "含意", "contradiction": "矛盾", "neutral": "中立", "non-entailment": "非含意"}
        names |= {"yes": "含意", "no": "矛盾", "unknown": "中立", "undef": "不明"}
        assert [item.target for item in task.all_items] == [names[item.target] for item in official.all_items]
        assert targets(task) == [names[label] for label in targets(official)]
        assert set(task.labels) == {names[label] for label in official.labels} and len(task.labels) == len(official.labels)
        english = [label for label in official.labels if label in task.prompts[0]]
        assert not english and task.folder == f"{name}_ja-paper"
    assert "関係を含意、非含意の中から" in asked("janli_ja")["fair"].prompts[0]
    assert "- 前提が仮説の否定を含意する場合は矛盾と出力\n" in asked("jsem_ja")["fair"].prompts[0]


@pytest.mark.parametrize(("name", "tokens"), [("jamp", 3), ("janli", 7), ("jnli", 3), ("jsem", 3), ("jsick", 3)])
def test_the_profiles_differ_where_the_readme_says(name: str, tokens: int) -> None:
    for form in ("", "_ja"):
        paper, fair = asked(name + form)["paper"], asked(name + form)["fair"]
        assert (paper.bos, paper.until, paper.max_new_tokens, paper.max_new_characters) == (False, (), tokens, None)
        assert (fair.bos, fair.until, fair.max_new_tokens, fair.max_new_characters) == (True, ("\n",), None, 20)
        assert max(map(len, fair.labels)) < 20
    assert list(asked(f"{name}_choice")) == ["fair"] and asked(f"{name}_choice", profiles=["paper"]) == {}
    assert DATASETS[f"{name}_choice"] == DATASETS[f"{name}_ja"] == name


def test_items_are_the_published_part_of_each_dataset() -> None:
    rows = jsem_rows()
    assert len(rows) == 41 and [item.target for item in asked("jsem")["paper"].all_items] == [row[2] for row in rows[36:]]
    assert [item.item_id for item in asked("janli")["paper"].all_items] == ["2", "3", "6", "7", "8"]  # the rows of its test split
    assert [item.cluster for item in asked("jnli")["paper"].all_items] == ["21", "21", "22", "22", "23", "23"]
    assert [item.cluster for item in asked("jsick")["paper"].all_items] == ["e.jpg", "e.jpg", "f.jpg", "g.jpg", "g.jpg"]
    assert [item.target for item in asked("jamp")["paper"].all_items][:3] == ["entailment", "entailment", "neutral"]


def test_published_examples_are_taken_and_fair_never_shows_what_it_asks(folder: Path) -> None:
    path = folder / "janli" / "janli.tsv"
    rows = [
        ("100", "ホッケー選手が男の子を助けた", "ホッケー選手を男の子が助けた", "non-entailment", "train"),
        ("101", "大人がテニス選手を見ている", "テニス選手は大人が見ている", "entailment", "train"),
        ("102", "フットボール選手が会社員を見つめている", "フットボール選手を会社員が見つめている", "non-entailment", "train"),
        ("103", "男性がライダーをいじめている", "ライダーは男性がいじめている", "entailment", "test"),
    ]
    with path.open("a", encoding="utf-8") as handle:
        handle.writelines(f"{n}\t{p}\t{h}\t{label}\toverlap-full\t2\tscrambling\t{split}\n" for n, p, h, label, split in rows)
    tasks = asked("janli", folder)
    paper, fair = tasks["paper"], tasks["fair"]
    assert targets(paper) == ["entailment", "entailment", "non-entailment", "entailment"]
    assert "前提：ホッケー選手が男の子を助けた\n仮説：ホッケー選手が男の子を助けた\n### 回答：\nentailment\n" in paper.prompts[0]
    assert paper.prompts[0].count("ライダー") == 2 and fair.prompts[0].count("ライダー") == 0
    assert "1 of the examples" in paper.remarks[2] and "replaced" in fair.remarks[1] and "published" in fair.remarks[0]
    shown = {shot.prompt for shot in fair.shots(fair.all_items[0])}
    assert len(shown) == 4 and not shown & {item.prompt for item in fair.all_items}
    assert asked("janli_choice", folder)["fair"].prompts == fair.prompts


def test_the_users_own_examples_need_known_labels_and_no_train_file(folder: Path) -> None:
    (folder / "jsick" / "train.tsv").unlink()
    with pytest.raises(MissingData, match=r"jsick/train\.tsv is missing.*commit da426bb"):
        asked("jsick", folder)
    shots = folder / "jsick" / "shots.jsonl"
    rows = [{"input": f"前提：甲{n}\n仮説：乙", "output": label} for n, label in enumerate(("neutral", "entailment") * 2)]
    shots.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert targets(asked("jsick_ja", folder)["paper"]) == ["中立", "含意", "中立", "含意"]
    shots.write_text("\n".join(map(json.dumps, [*rows[:3], {"input": "x", "output": "含意"}])), encoding="utf-8")
    with pytest.raises(RequestError, match=r"jsick/shots\.jsonl: label '含意'"):
        asked("jsick", folder)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("jamp/test_2.tsv", "\tneutral\t", "\tmaybe\t", r"test_2\.tsv, line 4: label 'maybe'"),
        ("jamp/train_all.tsv", "\tentailment\t0\tNone", "\tentailment", r"train_all\.tsv, line 2: 6 columns"),
        ("janli/janli.tsv", "disjunction\ttrain", "disjunction\tdev", r"janli\.tsv, line 6: split 'dev'"),
        ("jnli/valid-v1.1.json", '"yjcaptions_id": "23-1-2", ', "", r"valid-v1\.1\.json, line 5: nothing under 'yjcaptions_id'"),
        ("jsick/test.tsv", "\tentailment_label_Ja\t", "\tlabel\t", r"test\.tsv, line 2: nothing under 'entailment_label_Ja'"),
        ("jsem/NP.xml", 'answer="undef"', 'answer="perhaps"', r"NP\.xml, problem 2: label 'perhaps'"),
        ("jsem/Verbs.xml", "<script>皿が割れた。</script>", "", r"Verbs\.xml, problem 1: no premise or no hypothesis"),
        ("jsem/Verbs.xml", "</jsem-dataset>", "", r"Verbs\.xml, line \d+: not XML"),
    ],
)
def test_malformed_files_are_named_with_the_place(folder: Path, file: str, old: str, new: str, message: str) -> None:
    text = (folder / file).read_text(encoding="utf-8")
    assert text.count(old) >= 1
    (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(RequestError, match=message):
        collect_tasks([file.split("/")[0]], sources=[], suite=SuiteConfig(data_dir=str(folder)))


def test_missing_files_make_their_tasks_absent(folder: Path) -> None:
    (folder / "jsem" / "Plurals.xml").unlink()
    collected = collect_tasks(["jsem", "jsem_choice", "jamp"], sources=[], suite=SuiteConfig(data_dir=str(folder)))
    assert set(collected.absent) == {"jsem", "jsem_choice"} and "jsem/Plurals.xml is missing" in collected.absent["jsem"]
    assert len(FILES) == 22 and all(str(file.url).endswith(f"/data/v1.0/{file.name}") for file in FILES)


def _pieces(model: Path, label: str) -> int:
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    return len(processor.encode(f"### 回答：\n{label}")) - len(processor.encode("### 回答：\n"))


def test_a_budget_in_tokens_does_not_hold_every_japanese_label(tokenizer_folder: Path) -> None:
    small = tokenizer_folder / "tokenizer.model"
    task = asked("jnli_ja")["paper"]
    assert task.max_new_tokens is not None and any(_pieces(small, label) > task.max_new_tokens for label in task.labels)


@pytest.mark.skipif("SWALLOW_TEST_DATA" not in os.environ, reason="SWALLOW_TEST_DATA has no folder with the Llama 2 tokenizer")
def test_what_llama_2_can_write_within_the_published_budgets() -> None:
    model = Path(os.environ["SWALLOW_TEST_DATA"]) / "llama2_tokenizer.model"
    for name in NAMES:
        for form, unwritable in (("", set()), ("_ja", {"含意", "矛盾"} - ({"含意"} if name == "janli" else set()))):
            task = asked(name + form)["paper"]
            assert task.max_new_tokens is not None
            assert {label for label in task.labels if _pieces(model, label) > task.max_new_tokens} == unwritable & set(task.labels)


@pytest.mark.parametrize("seed", range(3))
def test_label_metrics_are_those_of_scikit_learn(seed: int) -> None:
    from sklearn import metrics

    rng = np.random.default_rng(seed)
    golds = rng.choice(["a", "b", "c"], 200, p=[0.7, 0.2, 0.1]).tolist()
    known = [gold if rng.random() < 0.6 else str(rng.choice(["a", "b", "c"])) for gold in golds]
    invalid = [found if rng.random() < 0.9 else "other" for found in known]
    assert mean_recall(golds, known) == pytest.approx(100 * metrics.balanced_accuracy_score(golds, known))
    for found in (known, invalid):
        assert matthews(golds, found) == pytest.approx(metrics.matthews_corrcoef(golds, found))
        expected = metrics.f1_score(golds, found, labels=["a", "b", "c"], average="macro")
        assert macro_f1(golds, found) == pytest.approx(100 * expected)
    assert matthews(golds, ["a"] * 200) == 0.0 and mean_recall(golds, ["a"] * 200) == pytest.approx(100 / 3)


def test_balanced_accuracy_is_the_mean_recall_and_a_constant_answer_gains_nothing() -> None:
    tasks = asked("jsem")
    choice = asked("jsem_choice")["fair"]
    golds = [item.target for item in choice.all_items]
    labels = len(set(golds))
    assert labels > 1 and dict(choice.all_items[0].extra) == {"class_size": str(Counter(golds)[golds[0]])}

    def balanced(task: Task, outputs: list[Output]) -> float:
        (metric,) = [metric for metric in task.metrics if metric.name == "balanced_accuracy"]
        found = [metric.statistics(item, output) for item, output in zip(task.all_items, outputs, strict=True)]
        return score_of_items(np.array(found), metric.aggregate)

    for answer in golds:
        for task in tasks.values():
            assert balanced(task, [Output(text=answer)] * len(golds)) == pytest.approx(100 / labels)
        likely = Output(loglikelihoods=tuple(0.0 if label == answer else -1.0 for label in choice.labels))
        assert balanced(choice, [likely] * len(golds)) == pytest.approx(100 / labels)
    answers = ["yes", "yes\n", "", "no", "undef"]
    for task in tasks.values():
        expected = mean_recall(golds, [task.normalise(answer) for answer in answers])
        assert balanced(task, [Output(text=answer) for answer in answers]) == pytest.approx(expected)


@pytest.mark.parametrize("name", NAMES)
def test_they_run_end_to_end(name: str, make_export: Callable[..., Path], load: Callable[..., Any], tmp_path: Path) -> None:
    lm = load(make_export(tmp_path / "long", max_length=3_072))
    for form in ("", "_ja", "_choice") if name == "jnli" else ("", "_choice"):
        for profile, task in asked(name + form, limit=3, gold_likelihood=True).items():
            outcome = evaluate_task(lm, task)
            found = {m["metric"]: m["score"] for m in outcome.metrics if m["profile"] == profile}
            hit = "accuracy" if form == "_choice" else "exact_match"
            assert set(found) == {hit, "balanced_accuracy", "gold_bits_per_byte"} and found["gold_bits_per_byte"] > 0
            assert {"invalid", "majority_share", "num_predicted", "balanced_accuracy", "macro_f1", "matthews"} <= set(outcome.health)
            assert [row["prompt"] for row in outcome.items] == list(task.prompts) and not any(row["truncated"] for row in outcome.items)
            if form == "_choice":
                assert outcome.health["invalid"] == 0 and len(outcome.items[0]["choice_loglikelihoods"]) == len(task.labels)
                assert all(row["prediction"] in task.labels for row in outcome.items)
