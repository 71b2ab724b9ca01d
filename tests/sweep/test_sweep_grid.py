"""`+sweep=NAME` with further words: a part of its cells, or a variant with a record of its own; the whole record stays whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import read_json, write_json_atomic
from swallow_exp.artefact.paths import sweep_file
from swallow_exp.sweep.expand import find_contrasts
from swallow_exp.sweep.grid import Sweep, expand_sweep, write_sweep


def labels(sweep: Sweep) -> list[str]:
    return [cell.label for cell in sweep.cells]


def write(out: Path, *words: str) -> dict[str, object]:
    sweep = expand_sweep(words)
    return write_sweep(out, sweep.question, sweep.cells, sweep.others)


@pytest.fixture(scope="module")
def main() -> dict[str, str]:
    return {cell.label: cell.run_id for cell in expand_sweep(["+sweep=main"]).cells}


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("base_model=llama2_7b", ["llama2_7b"]),
        ("base_model='llama2_7b'", ["llama2_7b"]),
        ("base_model=llama2_70b", ["llama2_70b"]),
        ("base_model=llama2_13b,llama2_7b", ["llama2_7b", "llama2_13b"]),
        ("base_model=glob(llama2_*3b)", ["llama2_13b"]),
        ("seed=0", ["llama2_7b", "llama2_13b", "llama2_70b"]),
        ("vocabulary=ja_16k", ["llama2_7b", "llama2_13b", "llama2_70b"]),
    ],
)
def test_a_level_of_the_sweep_narrows_it(main: dict[str, str], word: str, kept: Sequence[str]) -> None:
    sweep = expand_sweep(["+sweep=main", word])
    assert {cell.label: cell.run_id for cell in sweep.cells} == {label: main[label] for label in kept}
    assert sweep.question.name == "main" and labels(sweep) == list(kept)
    assert {cell.run_id for cell in sweep.others} == {run_id for label, run_id in main.items() if label not in kept}
    for cell in sweep.cells:  # what follows the size came along
        config = cell.composed.config
        assert config.optim.name == ("swallow_70b" if cell.label == "llama2_70b" else "swallow_7b_13b")
        assert config.optim.lr_peak == (5e-5 if cell.label == "llama2_70b" else 1e-4)
        assert config.strategy.name == cell.label.replace("llama2", "table6")


def test_contrasts_follow_the_cells_that_are_left() -> None:
    words = ["+sweep=vocabulary_expansion", "base_model=llama2_7b,llama2_13b"]
    for extra, expected in ((), ["ja_16k vs base (llama2_7b)", "ja_16k vs base (llama2_13b)"]), (("vocabulary=ja_16k",), []):
        sweep = expand_sweep([*words, *extra])
        found = [one["label"] for one in find_contrasts(sweep.question, sweep.cells) if one["factor"] == "vocabulary"]
        assert found == expected


def test_a_level_no_cell_has_is_refused_with_those_there_are() -> None:
    with pytest.raises(RequestError, match=r"has base_model llama_1b; expected some of llama2_7b, llama2_13b, llama2_70b"):
        expand_sweep(["+sweep=main", "base_model=llama2_7b,llama_1b"])
    with pytest.raises(RequestError, match="which does not vary mixture"):
        expand_sweep(["+sweep=main", "mixture=ja90_en10,ja50_en50"])
    with pytest.raises(RequestError, match="has no cell of vocabulary=miniature_ja, parallel=ntp_mixed"):
        expand_sweep(["+sweep=miniature", "vocabulary=miniature_ja", "parallel=ntp_mixed"])


def test_what_the_sweep_does_not_vary_is_the_same_in_all_cells_and_makes_a_variant(main: dict[str, str]) -> None:
    sweep = expand_sweep(["+sweep=main", "optim=swallow_7b_13b", "suite=none", "machine.threads=2"])
    assert [cell.composed.config.optim.name for cell in sweep.cells] == ["swallow_7b_13b"] * 3
    assert [cell.run_id for cell in sweep.cells][:2] == list(main.values())[:2] and sweep.cells[2].run_id not in main.values()
    assert sweep.question.name.startswith("main-") and "optim=swallow_7b_13b" in sweep.remarks[0] and "suite" not in sweep.remarks[0]
    assert expand_sweep(["+sweep=main", "optim=swallow_7b_13b"]).question.name == sweep.question.name
    assert expand_sweep(["+sweep=main", "optim=swallow_7b_13b", "base_model=llama2_7b"]).question.name == "main"  # its very cell
    seeds = expand_sweep(["+sweep=main", "seed=0,1"])
    assert len(seeds.cells) == 6 and seeds.question.name.startswith("main-")
    assert expand_sweep(["+sweep=main", "suite=none", "budget=tokens_100b"]).question.name == "main"


def test_a_cell_can_go_where_the_others_could_not() -> None:
    sweep = expand_sweep(["+sweep=main", "base_model=llama2_7b", "machine=h100x8", "strategy=fsdp", "strategy.data_parallel=8"])
    assert [cell.composed.config.machine.name for cell in sweep.cells] == ["h100x8"] and len(sweep.others) == 2


def test_the_record_keeps_every_cell(tmp_path: Path) -> None:
    whole = write(tmp_path, "+sweep=miniature")
    before = sweep_file(tmp_path, "miniature").read_bytes()
    for words in (["vocabulary=miniature_ja"], ["parallel=none"], ["parallel=none,ntp_mixed", "vocabulary=base", "seed=0"]):
        write(tmp_path, "+sweep=miniature", *words)
        assert sweep_file(tmp_path, "miniature").read_bytes() == before
    variant = write(tmp_path, "+sweep=miniature", "budget=smoke")
    assert sweep_file(tmp_path, "miniature").read_bytes() == before
    assert variant["name"] != whole["name"] and len(variant["cells"]) == 12  # type: ignore[arg-type]
    assert len(list((tmp_path / "sweeps").iterdir())) == 2


def test_a_part_that_is_run_first_records_the_whole(tmp_path: Path) -> None:
    write(tmp_path / "part", "+sweep=miniature", "vocabulary=miniature_ja")
    write(tmp_path / "whole", "+sweep=miniature")
    assert read_json(sweep_file(tmp_path / "part", "miniature")) == read_json(sweep_file(tmp_path / "whole", "miniature"))


def test_what_was_asked_of_the_other_cells_stays_in_the_record(tmp_path: Path) -> None:
    whole = write(tmp_path, "+sweep=miniature", "suite=smoke")
    part = write(tmp_path, "+sweep=miniature", "vocabulary=miniature_ja")
    tasks = [[cell["tasks"] for cell in sweep["cells"]] for sweep in (whole, part)]  # type: ignore[attr-defined]
    assert tasks[0] == [6] * 12 and tasks[1][0] == tasks[1][2] == 6 and tasks[1][1] != 6
    write_json_atomic(sweep_file(tmp_path, "miniature"), {})  # torn: written anew
    assert len(write(tmp_path, "+sweep=miniature", "vocabulary=miniature_ja")["cells"]) == 12  # type: ignore[arg-type]
