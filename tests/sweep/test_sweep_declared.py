"""What a question declares before its runs: signs, measures, averaged checkpoints, a null study, single fields."""

import json
from pathlib import Path

import pytest

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.paths import sweep_file
from swallow_exp.sweep.grid import expand_sweep, write_sweep
from swallow_exp.sweep.question import read_question

QUESTION = """\
question: Does it matter?
expects: {text: "it does not", mini_choice: up, ntp_mixed: {mini_en_ja: up, others: none}, others: none}
measures: {mini_choice: gold_bits_per_byte}
last_checkpoints: 3
null_study: true
fixed: {base_model: miniature_random, vocabulary: miniature_en, mixture: miniature_en, parallel: none, budget: smoke, suite: smoke,
  optim: miniature}
baseline: {optim.eps: 1.0e-8}
grids:
  - {optim.eps: [1.0e-8, 1.001e-8]}
seeds: [0, 1]
"""


def folder(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "my" / "sweeps" / "declared.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    return tmp_path / "my"


def test_everything_declared_travels_into_the_record(tmp_path: Path) -> None:
    sweep = expand_sweep(["+sweep=declared", f"paths.out={tmp_path}"], [folder(tmp_path, QUESTION)])
    assert sweep.question.expects == "it does not" and sweep.question.signs["ntp_mixed"] == {"mini_en_ja": "up", "others": "none"}
    write_sweep(tmp_path, sweep.question, sweep.cells)
    record = json.loads(sweep_file(tmp_path, "declared").read_text(encoding="utf-8"))
    assert record["expects"] == "it does not" and "text" not in record["signs"] and record["signs"]["mini_choice"] == "up"
    assert (record["measures"], record["last_checkpoints"], record["null_study"]) == ({"mini_choice": "gold_bits_per_byte"}, 3, True)


def test_a_single_field_makes_cells_of_its_own_and_one_of_them_is_the_plain_run(tmp_path: Path) -> None:
    sweep = expand_sweep(["+sweep=declared", f"paths.out={tmp_path}"], [folder(tmp_path, QUESTION)])
    assert [(cell.label, cell.seed) for cell in sweep.cells] == [("1e-08", 0), ("1.001e-08", 0), ("1e-08", 1), ("1.001e-08", 1)]
    record = write_sweep(tmp_path, sweep.question, sweep.cells)
    assert {cell["choices"]["optim.eps"] for cell in record["cells"]} == {"1e-08", "1.001e-08"}
    assert {contrast["factor"] for contrast in record["contrasts"]} == {"optim.eps"} and len(record["contrasts"]) == 2
    plain = expand_sweep(["+sweep=smoke", f"paths.out={tmp_path}"]).cells[0]
    assert plain.run_id == sweep.cells[0].run_id  # 1e-8 is what the level has


def test_the_shipped_null_study_differs_in_nothing_real() -> None:
    question = read_question("null")
    assert question.null_study and question.factors == ["optim.eps"] and len(question.seeds) == 6


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("mini_choice: up", "mini_choice: better", "up, down or none"),
        ("{mini_en_ja: up, others: none}", "{mini_en_ja: [up]}", "up, down or none"),
        ("last_checkpoints: 3", "last_checkpoints: 0", "a whole number from 1 on"),
        ("last_checkpoints: 3", "last_checkpoints: true", "a whole number from 1 on"),
        ("null_study: true", "null_study: 1", "true or false"),
        ("measures: {mini_choice: gold_bits_per_byte}", "measures: mini_choice", "task: metric"),
        ("[1.0e-8, 1.001e-8]", "[]", "a list of"),
        ("optim.eps: [1.0e-8, 1.001e-8]", "optim.epsilon: [1.0e-8, 1.001e-8]", "optim"),
        ("optim.eps: [1.0e-8, 1.001e-8]", "optimum.eps: [1.0e-8, 1.001e-8]", "unknown factor"),
        ("optim.eps: [1.0e-8, 1.001e-8]", "numerics: [1, 2]", "a list of"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in QUESTION
    with pytest.raises(RequestError, match=words):
        expand_sweep(["+sweep=declared", f"paths.out={tmp_path}"], [folder(tmp_path, QUESTION.replace(old, new))])
