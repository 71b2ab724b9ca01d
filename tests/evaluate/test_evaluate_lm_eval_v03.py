"""Examples as lm-eval v0.3.0 drew them, examples of the fair profile, prompts that are too long for a model."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swallow_exp.artefact.errors import RequestError
from swallow_exp.evaluate.harness import evaluate_task
from swallow_exp.evaluate.metrics.likelihood import ACCURACY, ACCURACY_NORM
from swallow_exp.evaluate.shots import chosen_shots, running_shots
from swallow_exp.evaluate.task import CHOICE, Item, Output, Ruler, Task
from swallow_exp.evaluate.tasks.lm_eval_v03 import both_profiles, enough, spread_shots

POOL = [Item(f"p{n}", f"c{n // 2}", f"question {n}", f"answer {n}") for n in range(40)]
ASKED = [Item(f"a{n}", f"a{n}", f"asked {n}", f"answer {n}") for n in range(7)]


def test_one_generator_shuffles_and_then_draws() -> None:
    shots = running_shots(ASKED, POOL, 8)
    generator = random.Random(42)
    documents = list(ASKED)
    generator.shuffle(documents)
    for document in documents:  # the order in which v0.3.0 asks
        assert list(shots(document)) == generator.sample(POOL, 8)
    # as drawn by Python's generator in every version so far
    assert [shot.item_id for shot in shots(ASKED[0])] == PINNED


PINNED = ["p5", "p35", "p18", "p23", "p12", "p4", "p2", "p14"]


def test_drawn_from_the_questions_themselves_without_the_question() -> None:
    shots = running_shots(POOL, POOL, 8, pool_is_asked=True)
    generator = random.Random(42)
    documents = list(POOL)
    generator.shuffle(documents)
    removed = 0
    for document in documents:
        drawn = generator.sample(POOL, 9)
        removed += document in drawn
        assert list(shots(document)) == [other for other in drawn if other != document][:8]
    assert removed > 0


def test_copies_of_a_question_are_not_among_its_examples() -> None:
    copies = [replace(item, item_id=f"q{n}", prompt=f"question {n % 5}", target="x") for n, item in enumerate(POOL[:20])]
    shots = running_shots(copies, copies, 8, pool_is_asked=True)
    for item in copies:
        assert len(shots(item)) == 8 and item.prompt not in {shot.prompt for shot in shots(item)}
        assert len({shot.item_id for shot in shots(item)}) == 8


def test_fair_examples_are_the_same_for_all_and_share_no_cluster() -> None:
    shots = spread_shots(POOL, salt="x")
    assert len({shots(item) for item in ASKED}) == 1
    assert len({shot.cluster for shot in shots(ASKED[0])}) == 8
    assert set(chosen_shots(POOL, 8, salt="x")) != set(chosen_shots(POOL, 8, salt="y"))
    assert chosen_shots(POOL[::-1], 8, salt="x") == chosen_shots(POOL, 8, salt="x")  # whatever the order of the file
    assert len(chosen_shots(POOL[:4], 8, salt="x")) == 2


def test_too_few_to_draw_from_is_said() -> None:
    assert enough(POOL[:16], Path("train.jsonl")) == POOL[:16]
    with pytest.raises(RequestError, match=r"train\.jsonl: 7 items to draw examples from; expected at least 8"):
        enough(POOL[:14], Path("train.jsonl"))


def _choice(items: list[Item]) -> list[Task]:
    return both_profiles(
        "quiz", version="1", family="choice", output_type=CHOICE, items=items, pool=POOL,
        paper_metrics=(ACCURACY,), fair_metrics=(ACCURACY, ACCURACY_NORM),
    )  # fmt: skip


def test_profiles_differ_in_what_the_docstring_says() -> None:
    paper, fair = _choice(ASKED)
    assert (paper.folder, fair.folder) == ("quiz-paper", "quiz-fair")
    assert (paper.bos, fair.bos) == (False, True) and paper.fit is None and fair.fit is not None
    assert [m.name for m in paper.metrics] == ["accuracy"] and {m.profile for m in paper.metrics} == {"paper"}
    assert [m.name for m in fair.metrics] == ["accuracy", "accuracy_norm"] and {m.profile for m in fair.metrics} == {"fair"}
    assert "v0.3.0" in paper.remarks[0] and fair.remarks == ()


def test_the_longest_choice_has_room_beside_a_fitted_prompt(load: Callable[..., Any]) -> None:
    lm = load()
    items = [Item(f"{n}", f"{n}", f"asked {n}", "yes", ("yes", "no " * (1 + 20 * n))) for n in range(3)]
    paper, fair = _choice(items)
    outcome = evaluate_task(lm, fair)
    assert outcome.health["truncated"] == 0 and outcome.health["fitted"] == 3
    kept = [row["prompt"].count("answer") for row in outcome.items]
    assert kept[0] > kept[1] > kept[2]
    for row, item, count in zip(outcome.items, items, kept, strict=True):
        longest = len(lm.encoder.encode(item.choices[1]))
        assert len(lm.encoder.encode(row["prompt"])) + longest + 1 <= lm.max_length
        one_more = fair.render(item, shots=fair.shots(item)[8 - count - 1 :])
        assert len(lm.encoder.encode(one_more)) + len(lm.encoder.encode(f" {item.choices[1]}")) + 1 > lm.max_length
    assert evaluate_task(lm, paper).health["truncated"] == 3  # the published way: the start is lost


def test_scored_endings_count_as_choices_when_a_prompt_is_fitted() -> None:
    item = Item("0", "0", "", "b", ("a", "b"), scored=(("a", " " + "z" * 50), ("b", " " + "z" * 50)))
    _, fair = _choice([item])
    ruler = Ruler(list, "".join, max_length=120, answer_tokens=0)  # type: ignore[arg-type]
    (prompt,) = fair.prompts_for(ruler)
    kept = prompt.count("question")
    assert 0 < kept < 8 and len(prompt) + 52 + 1 <= 120 < len(fair.render(item, shots=fair.shots(item)[7 - kept :])) + 52 + 1


def test_accuracy_per_byte_of_the_choices() -> None:
    item = Item("0", "0", "?", "日本", ("ab", "日本", "abcd"))
    output = Output(loglikelihoods=(-2.0, -4.5, -5.0))  # a byte: -1, -0.75, -1.25
    assert ACCURACY.statistics(item, output) == (0.0,) and ACCURACY_NORM.statistics(item, output) == (1.0,)
