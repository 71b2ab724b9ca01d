"""A result stands for one checkpoint: the same weights under another tokenizer or another config.json are asked for themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swallow_exp.artefact.files import read_json, write_json_atomic
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.config.schema import SuiteConfig
from swallow_exp.evaluate.models import open_model
from swallow_exp.evaluate.run import evaluate_model, evaluate_runs
from swallow_exp.model.identity import side_files
from swallow_exp.record.store import read_evaluations, read_result

MakeRun = Callable[..., str]
Edit = Callable[[Path], None]
TASKS = ["suite.tasks=[mini_choice]"]
SUITE = SuiteConfig(name="own", tasks=["mini_choice"], limit=3, device="cpu")


def edit(name: str, change: Callable[[dict[str, Any]], None]) -> Edit:
    def edited(folder: Path) -> None:
        plain = json.loads((folder / name).read_text(encoding="utf-8"))
        change(plain)
        (folder / name).write_text(json.dumps(plain, ensure_ascii=False), encoding="utf-8")

    return edited


def swap_pieces(plain: dict[str, Any]) -> None:
    pieces = plain["model"]["vocab"]
    first, second = [piece for piece in pieces if piece.isalpha() and len(piece) == 1][:2]
    pieces[first], pieces[second] = pieces[second], pieces[first]


def normalise(plain: dict[str, Any]) -> None:
    plain["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFKC"}, *([plain["normalizer"]] if plain["normalizer"] else [])]}


def turn(plain: dict[str, Any]) -> None:
    plain["rope_parameters"]["rope_theta"] = 500.0


CHANGES = {
    "two pieces swapped": edit("tokenizer.json", swap_pieces),
    "other normalisation": edit("tokenizer.json", normalise),
    "rope_theta": edit("config.json", turn),
    "rms_norm_eps": edit("config.json", lambda plain: plain.update(rms_norm_eps=0.1)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_equal_weights_alone_share_no_result(tmp_path: Path, make_run: MakeRun, random_export: Path, change: Edit) -> None:
    runs = [make_run(name, {0: (random_export, "same")}, TASKS) for name in ("a", "b", "c")]
    changed = RunPaths.of(tmp_path, runs[1])
    change(changed.checkpoint_export(0))
    summary = evaluate_runs(tmp_path, runs)
    assert (summary.evaluated, summary.reused, summary.failures) == (2, 1, [])
    results = [read_result(RunPaths.of(tmp_path, run).evaluation(0, "mini_choice")) for run in runs]
    assert [result is not None and result.get("reused_from") for result in results] == [None, None, "a"]
    assert len({result["weights_digest"] for result in results if result}) == 1
    first, second, third = (record.checkpoint_digest for run in runs for record in read_evaluations(tmp_path, run))
    assert first == third != second


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_folder_is_another_model(tmp_path: Path, make_export: Callable[..., Path], change: Edit) -> None:
    out, folder = tmp_path / "out", make_export(tmp_path / "model")
    assert evaluate_model(out, open_model(out, str(folder)), suite=SUITE).evaluated == 1
    change(folder)
    assert evaluate_model(out, open_model(out, str(folder)), suite=SUITE).evaluated == 1


def test_who_wrote_a_config_makes_no_other_model(tmp_path: Path, make_export: Callable[..., Path]) -> None:
    out, folder = tmp_path / "out", make_export(tmp_path / "model")
    first = open_model(out, str(folder))
    edit("config.json", lambda plain: plain.update(transformers_version="0.0", _name_or_path="elsewhere"))(folder)
    assert open_model(out, str(folder)).digest == first.digest


def test_results_of_earlier_versions_are_asked_again(
    tmp_path: Path, make_run: MakeRun, random_export: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, other = (RunPaths.of(tmp_path, make_run(name, {0: (random_export, "same")}, TASKS)) for name in ("a", "b"))
    evaluate_runs(tmp_path, ["a"])
    path = run.evaluation(0, "mini_choice") / "result.json"
    result = read_json(path)
    weights = result.pop("weights_digest")
    write_json_atomic(path, {**result, "checkpoint_digest": weights})  # as it was written before
    capsys.readouterr()
    assert evaluate_runs(tmp_path, ["b"]).reused == 0
    summary = evaluate_runs(tmp_path, ["a"])
    assert (summary.evaluated + summary.reused, summary.already_done) == (1, 0)
    assert "a at 0 tokens: 1 results of an earlier version do not say which config and tokenizer" in capsys.readouterr().err
    assert read_json(path)["checkpoint_digest"] == read_json(other.evaluation(0, "mini_choice") / "result.json")["checkpoint_digest"]
    assert evaluate_runs(tmp_path, ["a"]).already_done == 1


def test_a_damaged_export_is_named_and_not_asked(
    tmp_path: Path, make_run: MakeRun, random_export: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One bit of the weights; one letter of a file beside them."""
    weights, side, _ = (RunPaths.of(tmp_path, make_run(name, {0: (random_export, name)}, TASKS)) for name in ("a", "b", "c"))
    index = read_json(side.checkpoint_index)
    index["checkpoints"][0]["sides"] = side_files(side.checkpoint_export(0))
    write_json_atomic(side.checkpoint_index, index)
    assert evaluate_runs(tmp_path, ["b"]).evaluated == 1
    file = weights.checkpoint_export(0) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + bytes([file.read_bytes()[-1] ^ 1]))
    edit("config.json", lambda plain: plain.update(rms_norm_eps=1e-5))(side.checkpoint_export(0))
    summary = evaluate_runs(tmp_path, ["a", "b", "c"])
    assert summary.evaluated == 1 and len(summary.failures) == 2
    assert f"the weights in {file.parent} were damaged or changed: their digest is" in summary.failures[0]
    assert f"{side.checkpoint_export(0) / 'config.json'} was damaged or changed since it was written" in summary.failures[1]
    assert not list(read_evaluations(tmp_path, "a")) and "Traceback" not in capsys.readouterr().err
