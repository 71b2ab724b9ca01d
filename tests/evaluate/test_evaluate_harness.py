"""A Task through lm-eval: real scores, deterministic rows, nothing else touched."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from swallow_exp.evaluate.harness import evaluate_task, settings_of
from swallow_exp.evaluate.metrics.likelihood import ACCURACY, BITS_PER_BYTE
from swallow_exp.evaluate.metrics.strings import EXACT_MATCH
from swallow_exp.evaluate.task import CHOICE, CONDITIONAL, GENERATE, ROLLING, Item, Task
from swallow_exp.evaluate.tasks.miniature import miniature_answer, miniature_choice, miniature_translation
from swallow_exp.record.aggregate import score_of_items
from swallow_exp.record.store import statistics_column


def _task(output_type: str, items: list[Item], metric: Any = EXACT_MATCH, **changes: Any) -> Task:
    budget = {"max_new_bytes": 30} if output_type == GENERATE else {}
    return Task("example", "1", "example", output_type, lambda: items, (metric,), **{**budget, **changes})


def test_a_model_that_learnt_the_answers_scores(load: Callable[..., Any], knowing_export: Any) -> None:
    lm = load(knowing_export)
    question, translation = miniature_answer("question", 32), miniature_translation("en_ja", 16)
    answered, translated = evaluate_task(lm, question), evaluate_task(lm, translation)
    # the first half was learnt by heart, the other half only has the same form
    learnt = [row["prediction"] + "。" == row["reference"] for row in answered.items]
    assert all(learnt[:16]) and not all(learnt[16:])
    (exact,) = answered.metrics
    assert exact["score"] == pytest.approx(100 * sum(learnt) / 32) and exact["num_items"] == 32
    assert {m["metric"]: round(m["score"], 6) for m in translated.metrics} == {"bleu": 100.0}
    assert translated.items[0]["prediction"].strip() == translated.items[0]["reference"]
    choice = evaluate_task(lm, miniature_choice(16))
    assert choice.metrics[0]["metric"] == "accuracy" and choice.items[0]["prediction"] in miniature_choice(16).all_items[0].choices


def test_a_random_model_does_not(load: Callable[..., Any]) -> None:
    outcome = evaluate_task(load(), miniature_answer("question", 32))
    assert outcome.metrics[0]["score"] < 20
    assert set(outcome.health) == {"truncated", "empty", "at_budget", "majority_share", "num_predicted"}


def test_bits_per_byte_is_the_direct_computation(load: Callable[..., Any]) -> None:
    import torch

    lm = load()
    texts = ["The monk carries the red flower.", "僧が城で赤い花を運ぶ。"]
    rolling = evaluate_task(lm, _task(ROLLING, [Item(str(i), str(i), "", text) for i, text in enumerate(texts)], BITS_PER_BYTE))
    conditional = evaluate_task(lm, _task(CONDITIONAL, [Item("0", "0", texts[0], texts[1])], BITS_PER_BYTE))

    def bits(context: list[int], target: list[int]) -> float:
        ids = torch.tensor([[*context, *target]])
        with torch.no_grad():
            loss = torch.nn.functional.cross_entropy(
                lm.model(ids).logits[0, len(context) - 1 : -1], ids[0, len(context) :], reduction="sum"
            )
        return float(loss) / math.log(2)

    encode = lm.encoder.encode
    direct = [bits([1], encode(text)) for text in texts]
    assert rolling.metrics[0]["score"] == pytest.approx(sum(direct) / sum(len(t.encode()) for t in texts), rel=1e-5)
    assert not rolling.metrics[0]["higher_is_better"]
    expected = bits([1, *encode(texts[0])], encode(texts[1])) / len(texts[1].encode())
    assert conditional.metrics[0]["score"] == pytest.approx(expected, rel=1e-5)


def test_choices_are_compared_by_their_likelihood(load: Callable[..., Any]) -> None:
    lm = load()
    items = [Item("a", "a", "健の家はどこですか。", "城です。", ("駅です。", "城です。", "市場です。"))]
    outcome = evaluate_task(lm, _task(CHOICE, items, ACCURACY, separator=""))
    totals = [_direct(lm, items[0].prompt, choice) for choice in items[0].choices]
    assert outcome.items[0]["prediction"] == items[0].choices[int(np.argmax(totals))]


def _direct(lm: Any, prompt: str, answer: str) -> float:
    import torch

    context, target = lm.encoder.pair(prompt, answer)
    with torch.no_grad():
        table = lm.model(torch.tensor([[*context, *target]])).logits[0].log_softmax(-1)
    return sum(float(table[len(context) - 1 + i, token]) for i, token in enumerate(target))


def test_rows_are_in_the_order_of_the_items_and_carry_everything(load: Callable[..., Any]) -> None:
    # lengths out of order: batches are sorted inside
    items = [Item(f"i{n}", f"c{n % 2}", "花" * n, "駅") for n in (3, 1, 9, 2, 7)]
    task = _task(GENERATE, items, separator="")
    outcome = evaluate_task(load(batch_size=2), task)
    assert [row["item_id"] for row in outcome.items] == ["i3", "i1", "i9", "i2", "i7"]
    assert [row["prompt"] for row in outcome.items] == list(task.prompts)
    assert len({row["prompt_digest"] for row in outcome.items}) == 5
    assert not any(row["truncated"] for row in outcome.items)
    column = statistics_column("exact_match", "both")
    assert outcome.metrics[0]["score"] == score_of_items(np.array([row[column] for row in outcome.items]), "mean")
    assert all(len(row["prediction"].encode()) <= 30 for row in outcome.items)


def test_truncated_prompts_are_marked(load: Callable[..., Any]) -> None:
    items = [Item("short", "1", "花", "駅"), Item("long", "2", "花が城で" * 100, "駅")]
    outcome = evaluate_task(load(), _task(GENERATE, items))
    assert [row["truncated"] for row in outcome.items] == [False, True]
    assert outcome.health["truncated"] == 1


def test_evaluating_twice_gives_the_same_and_touches_no_generator(load: Callable[..., Any]) -> None:
    import torch

    lm, task = load(), miniature_translation("ja_en", 8)
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    first, second = evaluate_task(lm, task), evaluate_task(lm, task)
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before
    assert first == second


def test_few_shot_prompts_are_ours(load: Callable[..., Any]) -> None:
    pool = [Item("s", "s", "花は", "赤"), Item("t", "t", "空は", "青")]
    task = _task(GENERATE, [Item("0", "0", "石は", "白")], num_fewshot=2, shots=lambda item: pool, separator=" ", description="色：")
    assert evaluate_task(load(), task).items[0]["prompt"] == "色：花は 赤\n\n空は 青\n\n石は"


def test_prompt_digest_follows_everything_that_is_asked() -> None:
    items = [Item("0", "0", "石は", "白")]
    task = _task(GENERATE, items)
    changed = [
        replace(task, version="2"),
        replace(task, until=("。",)),
        replace(task, max_new_bytes=31),
        replace(task, separator=""),
        replace(task, description="x"),
        replace(task, items=lambda: [replace(items[0], target="黒")]),
        replace(task, items=lambda: [replace(items[0], prompt="石 は")]),
        replace(task, metrics=(ACCURACY,)),
    ]
    digests = {t.prompt_digest for t in changed}
    assert len(digests) == len(changed) and task.prompt_digest not in digests
    assert task.prompt_digest == replace(task, items=lambda: list(items)).prompt_digest


def test_contradicting_tasks_are_refused() -> None:
    with pytest.raises(AssertionError, match="budget"):
        Task("x", "1", "x", GENERATE, lambda: [], (EXACT_MATCH,))
    with pytest.raises(AssertionError, match="repeat"):
        _ = _task(GENERATE, [Item("0", "0", "a", "b")] * 2).all_items


def test_settings_name_what_moves_numbers(random_export: Any) -> None:
    settings = settings_of(random_export, batch_size=7, device="cpu")
    assert (settings.batch_size, settings.max_length, settings.device, settings.dtype) == (7, 128, "cpu", "float32")
    assert settings.digest != settings_of(random_export, batch_size=8, device="cpu").digest


def test_the_method_is_part_of_the_settings_where_it_moves_numbers(random_export: Any) -> None:
    from swallow_exp.artefact.files import digest_of

    settings = settings_of(random_export, batch_size=7, device="cpu")
    plain = {name: getattr(settings, name) for name in ("batch_size", "max_length", "device", "dtype", "lm_eval")}
    assert settings.facts == plain and settings.digest == digest_of(plain), "results of float32 keep their digest"
    assert replace(settings, dtype="bfloat16", method="another").digest != replace(settings, dtype="bfloat16").digest
