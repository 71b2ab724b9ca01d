"""What tasks of real datasets need: no begin token, budgets in characters and tokens, fitted prompts, stems, labels, gold likelihoods."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swallow_exp.evaluate.harness import evaluate_task
from swallow_exp.evaluate.metrics.likelihood import ACCURACY
from swallow_exp.evaluate.metrics.strings import EXACT_MATCH
from swallow_exp.evaluate.shots import DROP_FIRST_SHOTS
from swallow_exp.evaluate.task import CHOICE, CONDITIONAL, GENERATE, ROLLING, Fit, Item, Metric, Output, Ruler, Task

SHOTS = [Item(f"s{n}", f"s{n}", f"花{n}は", "赤") for n in range(4)]


def _task(output_type: str = GENERATE, items: Any = None, **changes: Any) -> Task:
    budget = {"max_new_bytes": 30} if output_type == GENERATE and not any(name.startswith("max_new") for name in changes) else {}
    metric = (ACCURACY,) if output_type == CHOICE else (EXACT_MATCH,)
    provided = items or [Item("0", "0", "健の家はどこですか。", "駅です。", ("駅です。", "城です。"))]
    return Task("example", "1", "example", output_type, lambda: provided, metric, **{"separator": "", **budget, **changes})


@pytest.fixture
def seen(load: Callable[..., Any]) -> tuple[Any, list[Any]]:
    """A model, and the (ids, attention mask or None) of each of its forward passes."""
    lm, passes = load(), []
    forward = lm.model.forward

    def noting(*args: Any, **kwargs: Any) -> Any:
        passes.append((args[0].clone(), kwargs.get("attention_mask")))
        return forward(*args, **kwargs)

    lm.model.forward = noting
    return lm, passes


@pytest.mark.parametrize("output_type", [GENERATE, CHOICE, CONDITIONAL])
def test_without_a_begin_token_the_model_sees_none(seen: tuple[Any, list[Any]], output_type: str) -> None:
    lm, passes = seen
    metric = Metric("zero", "mean", lambda item, output: (0.0,))
    outcomes = {}
    for bos in (True, False):
        passes.clear()
        task = replace(_task(output_type), metrics=(metric,), bos=bos)
        outcomes[bos] = evaluate_task(lm, task)
        prompt = lm.encoder.encode("健の家はどこですか。")
        assert passes[0][0][0, : len(prompt) + bos].tolist() == [1] * bos + prompt
    if output_type == CHOICE:
        assert outcomes[True].items[0]["choice_loglikelihoods"] != outcomes[False].items[0]["choice_loglikelihoods"]
    assert replace(_task(), bos=False).prompt_digest != _task().prompt_digest
    with pytest.raises(AssertionError, match="needs <s>"):
        replace(_task(ROLLING), bos=False)


def test_long_prompts_without_a_begin_token_keep_their_end(seen: tuple[Any, list[Any]]) -> None:
    lm, passes = seen
    long = [Item("0", "0", "花が城で" * 100, "駅")]
    outcome = evaluate_task(lm, _task(items=long, bos=False, max_new_tokens=4))
    assert outcome.items[0]["truncated"]
    assert passes[0][0][0].tolist() == lm.encoder.encode("花が城で" * 100)[-(lm.max_length - 4) :]
    passes.clear()
    evaluate_task(lm, replace(_task(CONDITIONAL, items=long), metrics=(Metric("z", "mean", lambda i, o: (0.0,)),), bos=False))
    assert 1 not in passes[0][0][0].tolist()


@pytest.mark.parametrize("budget", [1, 2, 5, 17])
def test_a_budget_in_characters_is_kept_exactly_and_used(load: Callable[..., Any], budget: int) -> None:
    lm = load()
    items = [Item(str(n), str(n), text, "駅") for n, text in enumerate(("花", "The monk", "健の家", "犬が城で", "𠮷野家"))]
    free = evaluate_task(lm, _task(items=items, until=(), max_new_tokens=40)).items
    cut = evaluate_task(lm, _task(items=items, until=(), max_new_characters=budget)).items
    for whole, row in zip(free, cut, strict=True):
        assert row["prediction"] == whole["prediction"][:budget]
        assert row["at_budget"] == (len(row["prediction"]) == budget)
    assert any(row["at_budget"] for row in cut)


def test_a_budget_in_tokens_that_is_used_up_is_marked(load: Callable[..., Any], knowing_export: Path) -> None:
    from swallow_exp.corpus.miniature import items

    lm = load(knowing_export)
    item = items("question")[0]
    asked = [Item("0", "0", item["prompt"], item["answer"])]
    enough, short = (evaluate_task(lm, _task(items=asked, until=("\n",), max_new_tokens=n)) for n in (60, 2))
    assert enough.items[0]["prediction"] == item["answer"] and not enough.items[0]["at_budget"] and enough.health["at_budget"] == 0
    assert short.items[0]["at_budget"] and short.health["at_budget"] == 1 and item["answer"].startswith(short.items[0]["prediction"])


def test_an_answer_may_be_empty_where_the_task_allows_it(load: Callable[..., Any], make_export: Any, tmp_path: Path) -> None:
    def end_at_once(model: Any) -> None:
        import torch

        with torch.no_grad():  # every position prefers </s>
            model.lm_head.weight.zero_()
            model.model.norm.weight.fill_(1.0)
            model.model.embed_tokens.weight.fill_(0.05)
            model.lm_head.weight[2].fill_(1.0)
            model.lm_head.weight[300].fill_(0.5)

    lm = load(make_export(tmp_path / "ending", train=end_at_once))
    refused, allowed = (evaluate_task(lm, _task(empty_allowed=allowed)) for allowed in (False, True))
    assert refused.items[0]["prediction"] and not refused.items[0]["empty"]
    assert allowed.items[0]["prediction"] == "" and allowed.items[0]["empty"] and allowed.health["empty"] == 1


def test_shots_are_dropped_from_the_front_until_the_prompt_fits(load: Callable[..., Any]) -> None:
    lm = load()
    items = [Item(str(n), str(n), "石" * n + "は", "白") for n in (1, 40, 70, 90)]
    task = _task(items=items, num_fewshot=4, shots=lambda item: SHOTS, fit=DROP_FIRST_SHOTS, max_new_tokens=16)
    outcome = evaluate_task(lm, task)
    kept = [row["prompt"].count("赤") for row in outcome.items]
    assert kept[0] == 4 and kept == sorted(kept, reverse=True) and kept[-1] < 4
    assert not any(row["truncated"] for row in outcome.items)
    assert [row["fitted"] for row in outcome.items] == [count < 4 for count in kept]
    assert outcome.health["fitted"] == sum(count < 4 for count in kept)
    room = lm.max_length - 16 - 1
    for row, item, count in zip(outcome.items, items, kept, strict=True):
        assert len(lm.encoder.encode(row["prompt"])) <= room
        if count < 4:  # one more would not have fitted
            assert len(lm.encoder.encode(task.render(item, shots=SHOTS[4 - count - 1 :]))) > room
        assert row["prompt"] == task.render(item, shots=SHOTS[4 - count :])


def test_the_digest_names_the_rule_and_not_what_it_made() -> None:
    rule = Fit("half", "1", lambda task, item, ruler: ruler.decode(ruler.encode(item.prompt)[:3]))
    task = _task(fit=rule)
    letters, words = (Ruler(encode, decode, 99, 9) for encode, decode in ((list, "".join), (str.split, " ".join)))  # type: ignore[arg-type]
    assert task.prompts_for(letters) == ("健の家",) != task.prompts_for(words)
    digests = {_task().prompt_digest, task.prompt_digest, _task(fit=replace(rule, version="2")).prompt_digest}
    assert len(digests) == 3 and task.prompts == _task().prompts
    assert letters.room == 89


def test_stems_are_put_behind_the_prompt_and_one_ending_is_scored(load: Callable[..., Any]) -> None:
    lm = load()
    item = Item("0", "0", "健が", "犬", ("犬", "僧"), scored=(("犬を", "城で見る。"), ("僧を", "城で見る。")))
    row = evaluate_task(lm, _task(CHOICE, items=[item], gold_likelihood=True)).items[0]
    plain = _task(CHOICE, items=[Item("0", "0", f"健が{stem}", "城で見る。", ("城で見る。",)) for stem in ("犬を",)])
    expected = [
        evaluate_task(lm, replace(plain, items=lambda stem=stem: [Item("0", "0", f"健が{stem}", "城で見る。", ("城で見る。",))])).items[0]
        for stem in ("犬を", "僧を")
    ]
    totals = [one["choice_loglikelihoods"][0] for one in expected]
    assert row["choice_loglikelihoods"] == pytest.approx(totals, abs=2e-4)
    assert row["prediction"] == ("犬", "僧")[totals.index(max(totals))]
    assert row["gold_loglikelihood"] == pytest.approx(totals[0], abs=2e-4)
    assert row["stat:gold_bits_per_byte:both"] == pytest.approx([-totals[0] / math.log(2), 15.0], abs=1e-3)


def test_the_likelihood_of_gold_answers_is_that_of_the_target_after_the_prompt(load: Callable[..., Any]) -> None:
    lm = load()
    items = [Item("0", "0", "健の家は", "駅です。"), Item("1", "1", "The monk", "is here"), Item("2", "2", "花は", "")]
    generated = evaluate_task(lm, _task(items=items, separator=" ", gold_likelihood=True))
    bits = Metric("bits", "mean", lambda item, output: (output.loglikelihoods[0],))
    direct = evaluate_task(lm, replace(_task(CONDITIONAL, items=items[:2], separator=" "), metrics=(bits,)))
    for row, expected in zip(generated.items, direct.items, strict=False):
        assert row["gold_loglikelihood"] == pytest.approx(expected["stat:bits:both"][0], abs=2e-4)
    assert generated.items[2]["gold_loglikelihood"] is None and generated.items[2]["gold_bits_per_byte"] is None
    (metric,) = [m for m in generated.metrics if m["metric"] == "gold_bits_per_byte"]
    total = -sum(row["gold_loglikelihood"] for row in generated.items[:2]) / math.log(2)
    assert metric["score"] == pytest.approx(total / (len("駅です。".encode()) + 7)) and not metric["higher_is_better"]
    assert _task(gold_likelihood=True).prompt_digest != _task().prompt_digest


def test_health_of_labels(load: Callable[..., Any]) -> None:
    from swallow_exp.evaluate.rows import item_row, task_health

    golds, answers = "aabbbc", ["a ", "b", "b", "b", "x", "b"]
    items = [Item(str(n), str(n), "?", gold) for n, gold in enumerate(golds)]
    task = _task(items=items, labels=("a", "b", "c"), normalise=str.strip)
    rows = [
        item_row(task, n, Output(text=text), prompt="?", statistics={}, truncated=False, exhausted=False) for n, text in enumerate(answers)
    ]
    health = task_health(task, rows)
    assert health["invalid"] == 1 and health["num_predicted"] == 3 and health["majority_share"] == pytest.approx(4 / 6)
    assert health["balanced_accuracy"] == pytest.approx(100 * (1 / 2 + 2 / 3 + 0 / 1) / 3)
    assert [row["normalised"] for row in rows] == ["a", "b", "b", "b", "x", "b"] and rows[0]["prediction"] == "a "


def test_metrics_may_ask_for_the_models_own_pieces(load: Callable[..., Any]) -> None:
    lm = load()
    pieces = Metric("pieces", "mean", lambda item, output: (float(len(output.encode("健の家は駅です。"))),))  # type: ignore[misc]
    outcome = evaluate_task(lm, replace(_task(), metrics=(pieces,)))
    assert outcome.items[0]["stat:pieces:both"] == [float(len(lm.encoder.encode("健の家は駅です。")))]
    assert lm.encoder.pieces("a 駅") == tuple(lm.encoder.tokenizer.id_to_token(i) for i in lm.encoder.encode("a 駅"))


def test_a_task_of_one_profile_has_metrics_of_no_other() -> None:
    with pytest.raises(AssertionError, match="profile paper"):
        _task(profile="paper")
    assert replace(_task(), metrics=(EXACT_MATCH.under("paper"),), profile="paper").folder == "example-paper"
    assert _task().folder == "example"
