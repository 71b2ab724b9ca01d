"""WMT20: prompts to the letter, the fork's draws, no leak under the fair profile, scores by hand, missing segmenter, bad files."""

from __future__ import annotations

import random
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sacrebleu import corpus_bleu

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config.schema import SuiteConfig
from swallow_exp.evaluate.harness import evaluate_task
from swallow_exp.evaluate.metrics.rouge import japanese_words
from swallow_exp.evaluate.metrics.translation import nagisa_words
from swallow_exp.evaluate.suite import Collected, collect_tasks
from swallow_exp.evaluate.task import Output, Task

SHIPPED = Path(__file__).resolve().parent.parent / "data" / "evaluation"
BOTH = ("wmt20_en_ja", "wmt20_ja_en")

PROMPT = """\
Japanese phrase: 完成までに３年かかった（予定は２年）。
English phrase: It took three years to build.

Japanese phrase: 灯台は夜も昼も光る。
English phrase: The lighthouse burns all night &amp; all day.

Japanese phrase: 最初に渡ったのは子どもたちだ。
English phrase: Children crossed it first.

Japanese phrase: 灯台守は七十歳である。
English phrase: Its keeper is seventy years old.

Japanese phrase: 青い橋が月曜日に開通した。
English phrase:"""


@pytest.fixture(autouse=True)
def segmenter(monkeypatch: pytest.MonkeyPatch) -> Any:
    """MeCab's words where nagisa's are wanted, whether that is installed or not."""
    standing_in = types.SimpleNamespace(tagging=lambda text: types.SimpleNamespace(words=japanese_words(text)))
    monkeypatch.setitem(sys.modules, "nagisa", standing_in)  # type: ignore[arg-type]
    nagisa_words.cache_clear()
    yield
    nagisa_words.cache_clear()


def collect(folder: Path = SHIPPED, names: tuple[str, ...] = BOTH, **changes: Any) -> Collected:
    return collect_tasks(names, sources=[], suite=SuiteConfig(data_dir=str(folder), **changes))


def wmt20(folder: Path = SHIPPED, **changes: Any) -> dict[str, Task]:
    return {task.folder: task for task in collect(folder, **changes).tasks}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(SHIPPED / "wmt20", tmp_path / "data" / "wmt20")
    return tmp_path / "data"


def test_the_prompt_is_the_forks_to_the_letter() -> None:
    tasks = wmt20()
    assert list(tasks) == ["wmt20_en_ja-paper", "wmt20_en_ja-fair", "wmt20_ja_en-paper", "wmt20_ja_en-fair"]
    assert tasks["wmt20_ja_en-paper"].prompts[0] == PROMPT
    asked = [tasks[name].prompts[0].rsplit("\n\n", 1)[1] for name in ("wmt20_en_ja-paper", "wmt20_en_ja-fair")]
    assert asked == ["English phrase: The blue bridge opened on Monday.\nJapanese phrase:"] * 2


@pytest.mark.parametrize("name", BOTH)
def test_the_profiles_differ_where_the_readme_says(name: str) -> None:
    paper, fair = (wmt20()[f"{name}-{profile}"] for profile in ("paper", "fair"))
    assert (paper.bos, paper.until, paper.max_new_tokens, paper.empty_allowed) == (False, ("\n",), 256, True)
    assert (fair.bos, fair.until, fair.max_new_tokens, fair.empty_allowed) == (True, ("\n",), None, False)
    assert fair.max_new_characters == {"wmt20_en_ja": 300, "wmt20_ja_en": 600}[name]
    assert [item.item_id for item in paper.all_items] == [item.item_id for item in fair.all_items]
    assert paper.all_items[3].item_id == "light.2/1" and {item.cluster for item in fair.all_items} == {"bridge.1", "light.2", "tea.3"}
    assert any("&amp;" in text for text in paper.prompts) and not any("&amp;" in text for text in fair.prompts)


def test_paper_shots_are_those_that_one_generator_draws_from_the_test_set() -> None:
    task = wmt20()["wmt20_en_ja-paper"]
    ids = [item.item_id for item in task.all_items]
    generator = random.Random(42)
    order = list(range(len(ids)))
    generator.shuffle(order)
    met_itself = 0
    for index in order:
        drawn = generator.sample(ids, 5)
        met_itself += ids[index] in drawn
        expected = [name for name in drawn if name != ids[index]][:4]
        assert [shot.item_id for shot in task.shots(task.all_items[index])] == expected
    assert met_itself > 0
    shared = sum(shot.cluster == item.cluster for item in task.all_items for shot in task.shots(item))
    assert shared > 0  # neighbours in a document do leak here


def test_fair_shots_are_of_other_documents() -> None:
    for name in BOTH:
        task = wmt20()[f"{name}-fair"]
        assert all(shot.cluster != item.cluster for item in task.all_items for shot in task.shots(item))


def test_a_pair_that_stands_twice_is_no_shot_of_itself(folder: Path) -> None:
    for name, old, new in (
        ("enja-src.en", "They cost 200 yen each.", "The tea house sells rice cakes."),
        ("enja-ref.ja", "一本二百円である。", "茶屋では団子を売っている。"),
    ):
        path = folder / "wmt20" / f"newstest2020-{name}.sgm"
        path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    task = wmt20(folder)["wmt20_en_ja-paper"]
    for item in task.all_items:
        shots = task.shots(item)
        assert len(shots) == 4 == len({shot.item_id for shot in shots}) and item.target not in {shot.target for shot in shots}


def test_prompts_depend_on_nothing_but_the_item() -> None:
    tasks = wmt20()
    for changes in ({"limit": 1}, {"limit": 3}, {"fraction": 0.4}, {"batch_size": 1}):
        for folder_name, part in wmt20(**changes).items():
            whole = dict(zip((i.item_id for i in tasks[folder_name].all_items), tasks[folder_name].prompts, strict=True))
            assert {i.item_id: p for i, p in zip(part.all_items, part.prompts, strict=True)}.items() <= whole.items()


def test_scores_by_hand() -> None:
    tasks = wmt20()
    item = tasks["wmt20_en_ja-fair"].all_items[1]
    assert item.target == "完成までに３年かかった（予定は２年）。"

    def counts(name: str, text: str) -> tuple[float, ...]:
        (metric,) = tasks[name].metrics
        return metric.statistics(item, Output(text=text))

    size = float(len(item.target))
    assert counts("wmt20_en_ja-fair", "完成までに3年かかった(予定は2年)。")[:3] == (size, size, size)  # width does not count
    words = " ".join(japanese_words(item.target))
    expected = corpus_bleu(["完成 まで に 3 年"], [[words]])
    assert counts("wmt20_en_ja-paper", "完成までに3年") == (expected.sys_len, expected.ref_len, *expected.counts, *expected.totals)


def test_without_the_segmenter_one_score_is_absent_and_the_others_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nagisa", None)  # import raises
    found = collect()
    assert [task.folder for task in found.tasks] == ["wmt20_en_ja-fair", "wmt20_ja_en-paper", "wmt20_ja_en-fair"]
    assert list(found.absent) == ["wmt20_en_ja-paper"] and "swallow_exp[paper_metrics]" in found.absent["wmt20_en_ja-paper"]
    assert not collect(profiles=["fair"]).absent
    with pytest.raises(RequestError, match=r"no task has its data: wmt20_en_ja .*without the package nagisa"):
        collect(names=("wmt20_en_ja",), profiles=["paper"])


def test_malformed_and_missing_files_are_named(folder: Path) -> None:
    source = folder / "wmt20" / "newstest2020-enja-src.en.sgm"
    text = source.read_text(encoding="utf-8")
    for old, new, said in (
        ("It took three years to build.</seg>", "It took three years", "line 5: a segment that does not end in its line"),
        ('docid="light.2" ', "", "line 9: a document without docid"),
        ('<seg id="2">It', '<seg id="1">It', r"line 5: segment 1 of bridge\.1 again"),
        ("<seg ", "<s ", "no segments"),
    ):
        source.write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(RequestError, match=rf"enja-src\.en\.sgm.*{said}"):
            collect(folder)
    source.write_text(text.replace('<seg id="3">Children crossed it first.</seg>\n', ""), encoding="utf-8")
    with pytest.raises(
        RequestError, match=r"enja-ref\.ja\.sgm, line 6: segment 3 of bridge\.1; expected 1 of light\.2, as in .*src\.en\.sgm"
    ):
        collect(folder)
    source.write_text(text.replace('<seg id="3">Most of them are gone by noon.</seg>\n', ""), encoding="utf-8")
    with pytest.raises(RequestError, match=r"enja-ref\.ja\.sgm: 8 segments; expected 7"):
        collect(folder)
    source.unlink()
    found = collect(folder)
    assert [task.name for task in found.tasks] == ["wmt20_ja_en"] * 2
    said = found.absent["wmt20_en_ja-fair"]
    assert "wmt20/newstest2020-enja-src.en.sgm is missing" in said and "the file sgm/newstest2020-enja-src.en.sgm in it" in said


def test_it_runs_end_to_end(make_export: Callable[..., Path], load: Callable[..., Any], tmp_path: Path) -> None:
    lm = load(make_export(tmp_path / "long", max_length=2_048))
    for task in wmt20(gold_likelihood=True, limit=4).values():
        outcome = evaluate_task(lm, task)
        found = {(m["metric"], m["profile"]): m["score"] for m in outcome.metrics}
        assert set(found) == {("gold_bits_per_byte", task.profile), ("bleu", task.profile)}
        assert outcome.health["truncated"] == 0
        texts, golds = [row["prediction"] for row in outcome.items], [row["reference"] for row in outcome.items]
        if task.folder == "wmt20_ja_en-paper":
            assert found["bleu", "paper"] == pytest.approx(corpus_bleu(texts, [golds]).score, abs=1e-9)
