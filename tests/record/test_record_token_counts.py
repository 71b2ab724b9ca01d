"""Token counts of single texts: written once, read back by what a run is made from, absent when they are of something else."""

import json
from pathlib import Path

import numpy as np
import pytest

from swallow_exp.artefact.paths import RunPaths, fertility_file
from swallow_exp.record.schema import EvaluationRecord
from swallow_exp.record.store import write_result
from swallow_exp.record.token_counts import has_fertility, read_fertility, read_generated, write_fertility

FACTS = {"vocabulary_digest": "aaaa111", "corpus_digest": "bbbb222", "tokenizer": "tttt", "is_base": "no"}
COLUMNS = {
    "text": ["en", "ja", "en", "ja"],
    "document_id": ["p1", "p1", "p2", "p2"],
    "characters": [10, 4, 20, 6],
    "bytes": [10, 12, 20, 18],
    "tokens": [3, 4, 6, 5],
    "base_tokens": [3, 8, 6, 11],
}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    run = RunPaths.of(tmp_path, "r")
    run.folder.mkdir(parents=True)
    inputs = {
        "vocabulary": {"folder": "artefacts/vocabulary/ja-aaaa111", "digest": "aaaa111"},
        "corpora": {
            "pairs": {"folder": "artefacts/corpus/pairs-bbbb222", "digest": "bbbb222"},
            "other": {"folder": "artefacts/corpus/other-cccc333", "digest": "cccc333"},
        },
    }
    run.inputs.write_text(json.dumps(inputs), encoding="utf-8")
    write_fertility(fertility_file(tmp_path, "ja-aaaa111", "pairs-bbbb222"), COLUMNS, FACTS)
    return tmp_path


def test_each_side_of_pairs_is_a_text_and_what_was_not_counted_is_absent(out: Path) -> None:
    english, japanese = read_fertility(out, "r")
    assert (english.text, japanese.text) == ("pairs_en", "pairs_ja")
    assert japanese.document_ids == ("p1", "p2")
    assert (japanese.vocabulary, japanese.corpus, japanese.tokenizer, japanese.is_base) == ("ja-aaaa111", "pairs-bbbb222", "tttt", False)
    for name in ("characters", "bytes", "tokens", "base_tokens"):
        np.testing.assert_array_equal(getattr(japanese, f"{name}_N"), COLUMNS[name][1::2])


@pytest.mark.parametrize("damage", ["torn", "of another corpus", "of another format", "gone"])
def test_a_file_that_is_not_what_the_run_was_made_from_is_not_read(out: Path, damage: str) -> None:
    path = fertility_file(out, "ja-aaaa111", "pairs-bbbb222")
    assert has_fertility(path, FACTS)
    if damage == "torn":
        path.write_bytes(path.read_bytes()[:-9])
    elif damage == "of another corpus":
        write_fertility(path, COLUMNS, {**FACTS, "corpus_digest": "dddd"})
    elif damage == "of another format":
        import pyarrow.parquet as pq

        pq.write_table(pq.read_table(path).replace_schema_metadata(FACTS), path)
    else:
        path.unlink()
    assert not has_fertility(path, FACTS)
    assert read_fertility(out, "r") == []


def test_a_vocabulary_without_a_base_has_no_tokens_before(out: Path) -> None:
    path = fertility_file(out, "ja-aaaa111", "pairs-bbbb222")
    write_fertility(path, {**COLUMNS, "base_tokens": [None] * 4}, FACTS)
    assert all(record.base_tokens_N is None for record in read_fertility(out, "r"))


def test_a_run_of_an_older_version_has_no_counts(out: Path) -> None:
    RunPaths.of(out, "r").inputs.write_text(json.dumps({"corpora": {}}), encoding="utf-8")
    assert read_fertility(out, "r") == []
    assert read_fertility(out, "never") == []


def evaluation(**changes: object) -> EvaluationRecord:
    facts = {
        "run_id": "r", "trained_tokens": 8, "suite": "s", "task": "t", "task_version": "1", "profile": "both", "metric": "m",
        "aggregate": "mean", "higher_is_better": True, "num_fewshot": 0, "num_items": 2, "score": 1.0, "prompt_digest": "p",
        "checkpoint_digest": "c",
    }  # fmt: skip
    return EvaluationRecord(**{**facts, **changes})  # type: ignore[arg-type]


def test_generated_answers_are_read_and_older_results_have_none(out: Path) -> None:
    items = [
        {"item_id": "b", "cluster": "k", "prediction": "猫", "generated_tokens": 3, "generated_characters": 2},
        {"item_id": "a", "cluster": "k", "prediction": "", "generated_tokens": 1, "generated_characters": 1},
    ]
    folder = RunPaths.of(out, "r").evaluation(8, "t")
    write_result(folder, {"metrics": []}, items)
    found = read_generated(out, evaluation())
    assert found is not None
    assert (found.item_ids, found.clusters, found.answers, found.prompt_digest) == (("b", "a"), ("k", "k"), ("猫", ""), "p")
    assert (found.tokens_N.tolist(), found.characters_N.tolist()) == ([3, 1], [2, 1])
    write_result(folder, {"metrics": []}, [{**item, "generated_tokens": None, "generated_characters": None} for item in items])
    assert read_generated(out, evaluation()) is None  # a task that generates nothing
    write_result(folder, {"metrics": []}, [{"item_id": "a", "cluster": "a", "prediction": "x"}])
    assert read_generated(out, evaluation()) is None  # written before answers were counted
    assert read_generated(out, evaluation(task="gone")) is None
