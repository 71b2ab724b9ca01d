"""XL-Sum: the prompt to the letter, articles cut as the fork cuts them, the same text for every vocabulary when fair, bad files."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config.schema import SuiteConfig
from swallow_exp.evaluate.data import MissingData
from swallow_exp.evaluate.harness import evaluate_task
from swallow_exp.evaluate.suite import build_tasks, collect_tasks
from swallow_exp.evaluate.task import Ruler, Task
from swallow_exp.evaluate.tasks.xlsum.cut import cut_article, first_sentences
from swallow_exp.evaluate.tasks.xlsum.task import ARTICLE_CHARACTERS, FAIR_CHARACTERS
from swallow_exp.record.store import statistics_column

SHIPPED = Path(__file__).resolve().parent.parent / "data" / "evaluation"

PROMPT = """\
与えられたニュース記事を要約してください。

ニュース記事:町の時計台が三十年ぶりに動き出した。修理したのは隣町の高校生五人で、部品の半分は手作りだった。町長は感謝状を贈った。
要約:高校生が古い時計台を直した。

ニュース記事:岬の灯台で夜の見学会が開かれ、二百人が集まった。参加者は急な階段を上り、灯りの仕組みを聞いた。次の会は春に開かれる。
要約:"""


def xlsum(folder: Path = SHIPPED, **changes: Any) -> dict[str, Task]:
    suite = SuiteConfig(data_dir=str(folder), **changes)
    return {task.profile: task for task in build_tasks(["xlsum"], sources=[], limit=suite.limit, suite=suite)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(SHIPPED / "xlsum", tmp_path / "data" / "xlsum")
    return tmp_path / "data"


def test_the_prompt_is_the_forks_to_the_letter() -> None:
    tasks = xlsum()
    assert tasks["paper"].prompts[0] == tasks["fair"].prompts[0] == PROMPT


def test_the_profiles_differ_where_the_readme_says() -> None:
    paper, fair = xlsum()["paper"], xlsum()["fair"]
    assert (paper.bos, paper.until, paper.max_new_tokens, paper.empty_allowed) == (False, ("\n",), 256, True)
    assert (fair.bos, fair.until, fair.max_new_characters, fair.empty_allowed) == (True, ("\n",), 200, False)
    assert paper.num_fewshot == fair.num_fewshot == 1
    assert paper.fit is not None and fair.fit is None


def test_articles_that_hold_their_summary_are_left_out_and_it_is_said() -> None:
    task = xlsum()["paper"]
    assert [item.item_id for item in task.all_items] == ["s-1", "s-2", "s-4"]
    assert "3 of 4 articles" in task.remarks[0] and "not the published subset" in task.remarks[0]


def test_the_published_subset_comes_first_and_is_taken_as_it_is(folder: Path) -> None:
    before, data = xlsum(folder)["paper"].prompt_digest, folder / "xlsum"
    shutil.copy(data / "japanese_test.jsonl", data / "filtered_test.jsonl")
    with pytest.raises(RequestError, match=r"half of the published subset, without filtered_train\.jsonl"):
        xlsum(folder)
    shutil.copy(data / "japanese_train.jsonl", data / "filtered_train.jsonl")
    for release in data.glob("japanese_*"):
        release.unlink()
    task = xlsum(folder)["paper"]
    assert [item.item_id for item in task.all_items] == ["s-1", "s-2", "s-3", "s-4"]
    assert task.remarks == ("items: the published subset, 4 articles",) and task.prompt_digest != before
    generator, order = random.Random(42), [0, 1, 2, 3]
    generator.shuffle(order)
    for index in order:
        (number,) = generator.sample([0, 1, 2], 1)
        assert [shot.item_id for shot in task.shots(task.all_items[index])] == [f"train-{number}"]


def test_prompts_depend_on_nothing_but_the_item() -> None:
    for profile in ("paper", "fair"):
        whole = dict(zip((i.item_id for i in xlsum()[profile].all_items), xlsum()[profile].prompts, strict=True))
        for changes in ({"limit": 1}, {"limit": 2}, {"fraction": 0.4}, {"profiles": [profile]}, {"batch_size": 1}):
            part = xlsum(**changes)[profile]
            assert {i.item_id: p for i, p in zip(part.all_items, part.prompts, strict=True)}.items() <= whole.items()


def _as_the_fork(head: str, tokens: int, count: Callable[[str], int], cut: Callable[[str, int], str]) -> str:
    """The fork's rule, sentence by sentence: stop before the first that goes over."""
    kept: list[str] = []
    for sentence in head.split("。"):
        if count("。".join([*kept, sentence])) > tokens:
            return "。".join(kept) + "。\n" if kept else cut(sentence, tokens) + "\n"
        kept.append(sentence)
    return "。".join(kept)


def test_articles_are_cut_as_the_fork_cuts_them(make_export: Callable[..., Path], load: Callable[..., Any], tmp_path: Path) -> None:
    encoder = load(make_export(tmp_path / "any")).encoder
    ruler = Ruler(encoder.encode, encoder.decode, 4_096, 256, prefix=0)
    rng = random.Random(0)
    words = ["橋", "灯台の", "。", "。", "花が城で", "a", " b", "12", "、", "犬", "僧が", "。」", "\n"]
    whole = cut = started = 0
    for _ in range(400):
        head = "ニュース記事:" + "".join(rng.choices(words, k=rng.randint(1, 60))) + "\n"
        tokens = rng.randint(1, 90)
        found = cut_article(head, tokens, ruler)
        assert found == _as_the_fork(head, tokens, ruler.count, lambda text, n: encoder.decode(encoder.encode(text)[:n])), (head, tokens)
        whole, cut, started = whole + (found == head), cut + found.endswith("。\n"), started + ("。" not in found)
    assert min(whole, cut, started) > 20


def test_sizes_that_shrink_do_not_hide_the_first_sentence_that_goes_over() -> None:
    sizes = {1: 5, 2: 12, 3: 9, 4: 9, 5: 11, 6: 8}  # of texts with so many sentences
    ruler = Ruler(lambda text: [0] * sizes[text.count("。") + 1], lambda ids: "", 99, 9)
    assert cut_article("一。二。三。四。五。六", 10, ruler) == "一。\n"
    assert cut_article("一。二。三。四。五。六", 11, ruler) == "一。\n"
    assert cut_article("一。二。三。四。五。六", 12, ruler) == "一。二。三。四。五。六"


@pytest.mark.parametrize(
    ("characters", "expected"),
    [(99, "一二。三四。五"), (7, "一二。三四。五"), (6, "一二。三四。"), (5, "一二。"), (3, "一二。"), (2, "一二"), (1, "一")],
)
def test_sentences_that_fit(characters: int, expected: str) -> None:
    assert first_sentences("一二。三四。五", characters) == expected


def _with_long_articles(folder: Path) -> None:
    for path in (folder / "xlsum").glob("japanese_*"):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for row in rows:
            row["text"] = row["text"] * 40
        path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")


def test_long_articles_are_cut_by_the_models_tokens_or_by_characters(
    make_export: Callable[..., Path], load: Callable[..., Any], tmp_path: Path, folder: Path
) -> None:
    _with_long_articles(folder)
    tasks = xlsum(folder, limit=2)
    lm = load(make_export(tmp_path / "short", max_length=1_024))
    task = tasks["paper"]
    outcome = evaluate_task(lm, task)
    assert outcome.health["fitted"] == 2
    for row, item in zip(outcome.items, task.all_items, strict=True):
        limit = 1_024 - len(lm.encoder.encode(item.target)) - 10
        heads = ["ニュース記事:" + part.split("要約:")[0] for part in row["prompt"].split("ニュース記事:")[1:]]
        assert len(heads) == 2 and row["prompt"].startswith("与えられた")
        for head, source in zip(heads, (*task.shots(item), item), strict=True):
            assert len(lm.encoder.encode(head.removesuffix("。\n"))) <= limit // 2 and source.prompt.startswith(head.removesuffix("\n"))
    fair = tasks["fair"]
    assert fair.prompts_for(Ruler(lm.encoder.encode, lm.encoder.decode, 64, 9)) == fair.prompts  # whatever the vocabulary
    for prompt in fair.prompts:
        articles = [part.split("\n要約:")[0] for part in prompt.split("ニュース記事:")[1:]]
        assert len(articles) == 2 and all(900 < len(article) <= 1_000 and article.endswith("。") for article in articles)


def test_two_fair_articles_fit_a_model_of_4096_tokens_under_llama_2() -> None:
    folder = os.environ.get("SWALLOW_TEST_DATA")
    if not folder or not (Path(folder) / "llama2_tokenizer.model").is_file():
        pytest.skip("SWALLOW_TEST_DATA names no folder with llama2_tokenizer.model and ja/; the cut itself is tested without them")
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(Path(folder) / "llama2_tokenizer.model"))
    lines = (Path(folder) / "ja" / "ja_wiki.jsonl").read_text(encoding="utf-8").splitlines()[:400]
    cut = [first_sentences(text, ARTICLE_CHARACTERS) for line in lines if len(text := json.loads(line)["text"]) > ARTICLE_CHARACTERS]
    sizes = sorted((len(processor.encode(article)) for article in cut), reverse=True)
    assert len(sizes) > 50
    room = 4_096 - 1 - 4 * FAIR_CHARACTERS - FAIR_CHARACTERS * 2  # the answer at its worst, then a long summary and the labels
    assert sizes[len(sizes) // 20] * 2 < room


def test_malformed_and_missing_files_are_named(folder: Path) -> None:
    test = folder / "xlsum" / "japanese_test.jsonl"
    lines = test.read_text(encoding="utf-8").splitlines()
    for wrong, said in (
        (lines[1][:-1], "line 2: not JSON"),
        (lines[1].replace('"summary"', '"abstract"'), "line 2: nothing under 'summary'"),
        (json.dumps({"id": "s-2", "text": " ", "summary": "x"}), "line 2: an empty article"),
        (lines[0], "line 2: the id 's-1' again"),
    ):
        test.write_text("\n".join([lines[0], wrong, *lines[2:]]), encoding="utf-8")
        with pytest.raises(RequestError, match=rf"japanese_test\.jsonl, {said}"):
            collect_tasks(["xlsum"], sources=[], suite=SuiteConfig(data_dir=str(folder)))
    test.write_text(lines[2], encoding="utf-8")
    with pytest.raises(RequestError, match="3 train and 0 test items without shared 15 characters"):
        xlsum(folder)
    test.unlink()
    with pytest.raises(MissingData, match=r"xlsum/japanese_test\.jsonl is missing.*XLSum v2\.0.*japanese_XLSum_v2\.0\.tar\.bz2"):
        xlsum(folder)


def test_it_runs_end_to_end(make_export: Callable[..., Path], load: Callable[..., Any], tmp_path: Path) -> None:
    lm = load(make_export(tmp_path / "long", max_length=2_048))
    for profile, task in xlsum(gold_likelihood=True).items():
        outcome = evaluate_task(lm, task)
        found = {(m["metric"], m["profile"]): m["score"] for m in outcome.metrics}
        assert set(found) == {("gold_bits_per_byte", profile), ("rouge2", profile)}
        scores = [row[statistics_column("rouge2", profile)][0] for row in outcome.items]
        assert found["rouge2", profile] == pytest.approx(100 * sum(scores) / 3)
        assert outcome.health["truncated"] == 0
