"""What an answer took is counted before it is cut, stored with the item, and read back as a record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from swallow_exp.artefact.paths import RunPaths
from swallow_exp.evaluate.engine.windows import Budget
from swallow_exp.evaluate.harness import evaluate_task
from swallow_exp.evaluate.run import evaluate_runs
from swallow_exp.evaluate.tasks.miniature import miniature_answer, miniature_choice, miniature_translation
from swallow_exp.record.store import read_evaluations, read_result
from swallow_exp.record.token_counts import read_generated


def test_an_answer_is_counted_with_its_stop_and_before_its_cut(load: Callable[..., Any], knowing_export: Path) -> None:
    lm = load(knowing_export)
    question, translation = miniature_answer("question", 8), miniature_translation("en_ja", 8)
    for task in (question, translation):
        outcome = evaluate_task(lm, task)
        contexts = [lm.encoder.context(prompt) for prompt in task.prompts]
        budget = Budget(lm.answer_tokens(task.max_new_bytes or 0), task.max_new_bytes)
        ids = lm.engine.generate(contexts, until=task.until, budget=budget)
        assert [row["generated_tokens"] for row in outcome.items] == [len(one) for one in ids]
        assert [row["generated_characters"] for row in outcome.items] == [len(lm.encoder.decode(one)) for one in ids]
    # answers to questions end before their full stop, which was generated all the same
    rows = evaluate_task(lm, question).items
    assert [row["generated_characters"] for row in rows] == [len(row["prediction"]) + 1 for row in rows]


def test_what_is_chosen_was_not_generated(load: Callable[..., Any]) -> None:
    lm = load()
    evaluate_task(lm, miniature_answer("question", 4))  # its counts do not stay for the next task
    rows = evaluate_task(lm, miniature_choice(4)).items
    assert [(row["generated_tokens"], row["generated_characters"]) for row in rows] == [(None, None)] * 4


def test_counts_are_records_of_a_run(make_run: Callable[..., str], random_export: Path, tmp_path: Path) -> None:
    run_id = make_run("run-aaaaaaa", {1024: (random_export, "d")}, ["suite.tasks=[mini_question,mini_choice]"])
    assert evaluate_runs(tmp_path, [run_id]).failures == []
    records = {record.task: record for record in read_evaluations(tmp_path, run_id)}
    generated = read_generated(tmp_path, records["mini_question"])
    assert generated is not None and generated.tokens_N.min() > 0 and len(generated.item_ids) == 6
    assert read_generated(tmp_path, records["mini_choice"]) is None
    result = read_result(RunPaths.of(tmp_path, run_id).evaluation(1024, "mini_question"))
    assert result is not None and "generated_tokens" not in result["health"]
