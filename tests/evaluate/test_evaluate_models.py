"""Any Hugging Face folder: named by its weights and tokenizer, evaluated once, refused in one line when it is not whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.config.schema import SuiteConfig
from swallow_exp.config.suites import compose_suite
from swallow_exp.evaluate import run as evaluation
from swallow_exp.evaluate.models import check_model, is_model, open_model
from swallow_exp.evaluate.run import evaluate_model, evaluate_runs
from swallow_exp.inspect.status import status_rows, status_table
from swallow_exp.record.events import read_events
from swallow_exp.record.store import list_model_ids, read_absent, read_evaluations, read_health, read_items

SHIPPED = Path(__file__).resolve().parent.parent / "data" / "evaluation"
SUITE = SuiteConfig(name="own", tasks=["mini_choice", "mini_question"], limit=3, device="cpu")


@pytest.fixture
def model(tmp_path: Path, random_export: Path) -> Path:
    folder = tmp_path / "my model"
    shutil.copytree(random_export, folder)
    return folder


def test_a_model_is_evaluated_once_and_read_like_a_run(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    opened = open_model(out, str(model))
    assert opened.name == "my_model" and opened.paths(out).folder == out / "models" / f"my_model-{opened.digest[:7]}"
    assert evaluate_model(out, opened, suite=SUITE).evaluated == 2
    (model_id,) = list_model_ids(out)
    records = list(read_evaluations(out, model_id))
    assert [(r.task, r.trained_tokens, r.num_items) for r in records] == [("mini_choice", 0, 3), ("mini_question", 0, 3)]
    assert all(len(read_items(out, record).item_ids) == 3 for record in records)
    assert len(list(read_events(opened.paths(out).events, "evaluation"))) == 2
    monkeypatch.setattr(evaluation, "load_checkpoint", lambda *a, **k: pytest.fail("loaded again"))
    again = evaluate_model(out, open_model(out, str(model)), suite=SUITE)
    assert (again.evaluated, again.already_done) == (0, 2)
    moved = tmp_path / "elsewhere" / "my model"
    shutil.copytree(model, moved)
    assert evaluate_model(out, open_model(out, str(moved)), suite=SUITE).already_done == 2
    row = status_rows(out)[0]
    assert (row["run_id"], row["state"], row["results"]) == (model_id, "model", 2)


def test_another_tokenizer_or_other_weights_are_another_model(tmp_path: Path, model: Path, make_export: Callable[..., Path]) -> None:
    out = tmp_path / "out"
    first = open_model(out, str(model))
    tokenizer = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    (model / "tokenizer.json").write_text(json.dumps(tokenizer, indent=2), encoding="utf-8")
    second, third = open_model(out, str(model)), open_model(out, str(make_export(tmp_path / "other", seed=5)))
    assert len({first.digest, second.digest, third.digest}) == 3


def _without_a_shard(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    names = {"model.embed_tokens.weight": "model-00001-of-00002.safetensors", "lm_head.weight": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}), encoding="utf-8")


def _without_a_tensor(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "one.safetensors")
    names = {"model.embed_tokens.weight": "one.safetensors", "model.layers.9.x": "one.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}), encoding="utf-8")


def _cut(size: int) -> Callable[[Path], None]:
    def cut(folder: Path) -> None:
        with (folder / "model.safetensors").open("r+b") as handle:
            handle.truncate(size)

    return cut


def _larger_tokenizer(folder: Path) -> None:
    plain = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    plain["model"]["vocab"]["猫猫猫"] = len(plain["model"]["vocab"])
    (folder / "tokenizer.json").write_text(json.dumps(plain), encoding="utf-8")


def _edit_config(**changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        plain = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        (folder / "config.json").write_text(json.dumps({**plain, **changes}), encoding="utf-8")

    return edit


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_without_a_shard, r"has no model-00002-of-00002\.safetensors"),
        (_without_a_tensor, r"no file holds model\.layers\.9\.x"),
        (_cut(100_000), r"model\.safetensors has 100,000 bytes where its header says"),
        (_cut(50), r"model\.safetensors \(50 bytes\) has no whole header"),
        (_cut(0), r"has no whole header"),
        (_larger_tokenizer, r"ids up to 700, the embedding 700 rows"),
        (_edit_config(eos_token_id=None), r"no eos_token_id"),
        (lambda folder: (folder / "tokenizer.json").unlink(), r"no tokenizer\.json"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), r"tokenizer\.json is no tokenizer"),
        (lambda folder: (folder / "config.json").write_text("{"), r"no readable config\.json"),
    ],
)
def test_what_is_not_whole_is_said_before_anything_is_loaded(
    tmp_path: Path, model: Path, damage: Callable[[Path], Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_model(model)
    damage(model)
    with pytest.raises(RequestError, match=said):
        open_model(tmp_path / "out", str(model))
    assert not (tmp_path / "out").exists()


def test_a_damaged_checkpoint_of_a_run_fails_alone_in_one_line(
    tmp_path: Path, make_run: Callable[..., str], random_export: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = make_run("a", {0: (random_export, "d0"), 2048: (random_export, "d1")}, ["suite.tasks=[mini_choice]"])
    _cut(100_000)(RunPaths.of(tmp_path, run_id).folder / "checkpoints" / "tokens_0" / "export")
    summary = evaluate_runs(tmp_path, [run_id])
    assert summary.evaluated == 1 and len(summary.failures) == 1 and "100,000 bytes" in summary.failures[0]
    assert "Traceback" not in capsys.readouterr().err


def test_words_that_are_models(tmp_path: Path, model: Path) -> None:
    assert is_model(str(model), network=False) and is_model("./gone", network=False) and is_model("org/name", network=True)
    assert not is_model("org/name", network=False) and not is_model("some-run", network=True)
    with pytest.raises(RequestError, match="is not a folder"):
        open_model(tmp_path / "out", "./gone")


def test_missing_data_makes_a_task_absent_and_the_rest_goes_on(tmp_path: Path, model: Path) -> None:
    out, opened = tmp_path / "out", open_model(tmp_path / "out", str(model))
    suite = replace(SUITE, tasks=["jsquad", "mini_choice"], data_dir=str(tmp_path))
    summary = evaluate_model(out, opened, suite=suite)
    assert summary.evaluated == 1 and not summary.failures and "jsquad/valid-v1.1.json is missing" in summary.absent["jsquad"]
    assert read_absent(opened.paths(out)) == summary.absent
    assert {record.task for record in read_evaluations(out, list_model_ids(out)[0])} == {"mini_choice"}
    assert "absent: jsquad: " in status_table(status_rows(out), as_json=False)
    with pytest.raises(RequestError, match=r"no task has its data: jsquad: .*valid-v1\.1\.json is missing"):
        evaluate_model(out, opened, suite=replace(suite, tasks=["jsquad"]))
    with pytest.raises(RequestError, match="is not a folder"):
        evaluate_model(out, opened, suite=replace(suite, data_dir=str(tmp_path / "gone")))
    whole = evaluate_model(out, opened, suite=replace(suite, data_dir=str(SHIPPED), limit=1, profiles=["fair"]))
    assert whole.evaluated == 2 and read_absent(opened.paths(out)) == {}


def test_results_of_a_part_say_so_and_each_profile_has_its_folder(tmp_path: Path, model: Path) -> None:
    out, opened = tmp_path / "out", open_model(tmp_path / "out", str(model))
    suite = replace(SUITE, tasks=["jsquad"], data_dir=str(SHIPPED), fraction=0.3, limit=None)
    assert evaluate_model(out, opened, suite=suite).evaluated == 2
    records = {(r.profile, r.metric): r for r in read_evaluations(out, list_model_ids(out)[0])}
    assert set(records) == {("paper", "char_f1"), ("fair", "char_f1"), ("fair", "exact_match")}
    for (profile, _), record in records.items():
        assert (record.task, record.folder, record.fraction, record.num_items) == ("jsquad", f"jsquad-{profile}", 0.3, 2)
        assert len(read_items(out, record).item_ids) == 2
    health = {record.profile: record for record in read_health(out, list_model_ids(out)[0])}
    assert set(health) == {"paper", "fair"} and health["fair"].num_items == 2 and "shots: " in health["fair"].remarks[0]
    assert evaluate_model(out, opened, suite=replace(suite, fraction=None)).evaluated == 2, "the whole is another question"


def test_a_suite_by_itself() -> None:
    own = SuiteConfig(name="own", tasks=["mini_choice"], limit=4)
    assert compose_suite(["suite.limit=2", "suite.data_dir=/x y"], base=own) == replace(own, limit=2, data_dir="/x y")
    assert compose_suite(["suite=heldout", "suite.fraction=0.5"], base=own).fraction == 0.5
    assert compose_suite([], default="smoke").limit == 2
    for words, said in (
        (["seed=1"], "swallow evaluate seed=1"),
        (["suite.limit=0"], r"suite\.limit=0"),
        (["suite.fraction=2"], r"suite\.fraction=2"),
        (["suite.profiles=[fairly]"], r"suite\.profiles=fairly"),
        (["suite.limt=2"], "limt"),
        (["suite.limit=x"], "limit"),
    ):
        for base in (own, None):
            with pytest.raises(RequestError, match=said):
                compose_suite(words, base=base)


def test_the_verb_takes_a_run_or_a_model_and_a_suite(
    tmp_path: Path, make_run: Callable[..., str], random_export: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from swallow_exp.sweep import follow

    asked: list[Any] = []
    monkeypatch.setattr(follow, "launch_evaluation", lambda out, runs, **more: (asked.append((runs, more)), 0)[1])
    run_id = make_run("abc-run", {0: (random_export, "d0")}, ["suite.tasks=[mini_choice]"])
    assert follow.evaluate_named(tmp_path, "abc", [], [], follow=False) == 0
    assert follow.evaluate_named(tmp_path, "abc", ["suite.limit=2"], [], follow=False) == 0
    assert follow.evaluate_named(tmp_path, str(model), [], [], follow=False) == 0
    assert follow.evaluate_named(tmp_path, str(model), ["suite.tasks=[jsquad]"], [], follow=False) == 0
    assert follow.evaluate_named(tmp_path, str(model), [], [], follow=False, processes=3) == 0
    assert follow.evaluate_named(tmp_path, "abc", [], [], follow=False, processes=2) == 0
    assert [more["processes"] for _, more in asked] == [1, 1, 1, 1, 3, 2]
    (plain, changed, smoke, named, *_) = asked
    assert plain == ([run_id], {"suite": None, "processes": 1})
    assert changed[0] == [run_id] and (changed[1]["suite"].limit, changed[1]["suite"].tasks) == (2, ["mini_choice"])
    assert smoke[1]["model"] == str(model) and smoke[1]["suite"].name == "smoke"
    assert (named[1]["suite"].tasks, named[1]["suite"].limit) == (["jsquad"], None)
    with pytest.raises(RequestError, match="no run matches 'xyz'"):
        follow.evaluate_named(tmp_path, "xyz", [], [], follow=False)
    with pytest.raises(RequestError, match="--follow of the model"):
        follow.evaluate_named(tmp_path, str(model), [], [], follow=True)
