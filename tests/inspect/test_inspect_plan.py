"""Numbers of a plan: the paper's where the paper has them, arithmetic where it can be done by hand, and flags for what cannot be."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.cli.parser import positive_number
from swallow_exp.config.compose import compose_config
from swallow_exp.config.overrides import set_value
from swallow_exp.inspect.estimate import Estimate, estimate_cell
from swallow_exp.inspect.plan import plan_cells, plan_page, plan_plain
from swallow_exp.inspect.speed import Measured, StatedSpeed, read_measured
from swallow_exp.record.events import append_events
from swallow_exp.record.identity import identity_of, run_id_of
from swallow_exp.record.status import write_status
from swallow_exp.sweep.composer import CellComposer
from swallow_exp.sweep.expand import expand_question
from swallow_exp.sweep.narrow import question_of_plan
from swallow_exp.sweep.question import list_questions, read_question

LLAMA = ["experiment=swallow_7b", "machine=a100_40gb_8n", "strategy=table6_7b", "suite=paper"]


def estimate(*overrides: str, stated: StatedSpeed | None = None, measured: dict[tuple[str, str], Measured] | None = None) -> Estimate:
    config = compose_config([*LLAMA, *overrides]).config
    return estimate_cell(config, plan=None, vocabulary_size=None, stated=stated or StatedSpeed(), measured=measured or {})


@pytest.fixture(scope="module")
def main_plan(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, object], str]:
    question = read_question("main")
    out = tmp_path_factory.mktemp("out")
    planned = plan_cells(expand_question(question, [set_value("paths.out", out)]), StatedSpeed(price_per_gpu_hour=2.0))
    return plan_plain(question, planned), plan_page(question, planned)


def test_the_papers_grid_has_the_papers_flops(main_plan: tuple[dict[str, object], str]) -> None:
    plain, page = main_plan
    cells = plain["cells"]
    assert isinstance(cells, list) and [cell["steps"] for cell in cells] == [25_000] * 3
    assert [cell["trained_tokens"] for cell in cells] == [104_857_600_000] * 3
    assert [cell["paper_flops"] for cell in cells] == [5.0e21, 9.4e21, 5.0e22]
    for cell in cells:
        assert abs(cell["flops"] / cell["paper_flops"] - 1) < 0.08
        assert 4 < cell["gib_per_gpu"] < 38  # the paper did run on 40 GB
        assert cell["price"] == pytest.approx(2.0 * (cell["gpu_hours"] + cell["evaluation_hours"]))
        assert cell["days"] == pytest.approx((cell["gpu_hours"] / cell["gpus"] + cell["evaluation_hours"]) / 24)
    total = plain["total"]
    assert isinstance(total, dict) and total["gpu_hours"] == pytest.approx(sum(cell["gpu_hours"] for cell in cells))
    for said in ("12 h^2 L", "-2.8%", "-2.4%", "-6.7%", "Table 7", "assumed: prompts", "GiB a GPU, llama2_70b", "price"):
        assert said in page
    assert json.loads(json.dumps(plain))["to_do"]["cells"] == 3


def test_hours_are_flops_over_speed() -> None:
    stated = estimate(stated=StatedSpeed(tokens_per_second=2_500.0))
    assert stated.gpu_hours == pytest.approx(stated.positions / 2_500 / 3600)
    half = estimate(stated=StatedSpeed(mfu=0.5))
    assert half.flops is not None and half.gpu_hours == pytest.approx(half.flops / (0.5 * 312e12) / 3600)
    mine = estimate(measured={("llama2_7b", "NVIDIA A100-SXM4-40GB"): Measured([90.0, 100.0, 110.0])})
    assert mine.flops is not None and mine.gpu_hours == pytest.approx(mine.flops / 100e12 / 3600) and "measured" in mine.speed_basis
    assert estimate(measured={("llama2_7b", "NVIDIA H200"): Measured([1.0])}).gpu_hours == estimate().gpu_hours  # another device
    with pytest.raises(RequestError, match="peak is unknown"):
        estimate("machine.device=null", stated=StatedSpeed(mfu=0.5))
    assert estimate("machine.device=null").gpu_hours is None


def test_memory_and_disk_by_hand() -> None:
    one = estimate("machine.keep_states=1", "vocabulary=base")
    parameters = 6_738_415_616  # Llama 2 7b
    assert one.parameters == parameters and one.state_bytes == 12 * parameters and one.num_marks == 7
    assert one.export_bytes == 6 * 2 * parameters
    assert one.memory is not None and one.memory.parameter_bytes == -(-parameters // 8) * 4
    every = estimate("machine.keep_mark_states=true", "vocabulary=base")
    assert every.state_bytes == 7 * 12 * parameters


@pytest.mark.parametrize(
    ("overrides", "flag"),
    [
        (["strategy=fsdp", "machine=h100x8", "machine.memory_gib=16"], "CANNOT FIT"),
        (["base_model=llama2_70b"], "evaluation of"),
        (["optim.warmup_steps=30000"], "never reaches its peak"),
        (["budget.checkpoint_every_tokens=200_000_000_000"], "only the end is kept"),
        (["parallel=ti_mixed"], "bear no loss"),
        (["strategy=single", "machine=cpu"], "on a CPU"),
        (["strategy.pad_vocabulary_multiple=1", "vocabulary=ja_16k", "base_model.num_pieces=32003"], "CANNOT RUN"),
    ],
)
def test_what_cannot_be_is_flagged(overrides: list[str], flag: str) -> None:
    found = [one for one in estimate(*overrides).flags if flag in one]
    assert len(found) == 1
    assert not any(flag in one for one in estimate().flags)


def test_finished_runs_are_measured(tmp_path: Path) -> None:
    for name, state in (("llama2_7b-a", "trained"), ("llama2_7b-b", "running"), ("other-c", "trained")):
        run = RunPaths.of(tmp_path, name)
        run.folder.mkdir(parents=True)
        run.identity.write_text(json.dumps({"base_model": {"name": name.partition("-")[0]}}), encoding="utf-8")
        write_status(run.status, state)
        append_events(run.events, [{"kind": "train", "trained_tokens": n, "tflops_per_device": 100.0 + n} for n in range(3)])
        folder = run.evaluation(8, "jcqa")
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps({"task": "jcqa", "metrics": [], "seconds": 60.0}), encoding="utf-8")
    measured = read_measured(tmp_path, {"llama2_7b"})
    assert measured == {("llama2_7b", "cpu"): Measured([101.0], {"jcqa": [60.0]})}


def test_a_put_together_cell_is_the_composed_one() -> None:
    composer = CellComposer(["optim.warmup_steps=7"])
    levels = itertools.product(("base", "base_nfkc"), ("none", "ntp_mixed"), ("1e-4", "2e-4"), (0, 3))
    wanted = [({"vocabulary": v, "parallel": p, "optim.lr_peak": rate}, seed) for v, p, rate, seed in levels]
    composer.prepare(wanted)
    for choices, seed in wanted[::3]:
        ours, hydras = composer.compose(choices, seed), compose_config(composer.words(choices, seed))
        assert (ours.plain, ours.config) == (hydras.plain, hydras.config)


def test_a_plan_without_a_sweep_is_one_run(tmp_path: Path) -> None:
    question, overrides = question_of_plan([set_value("paths.out", tmp_path), "seed=4"])
    (cell,) = expand_question(question, overrides)
    assert (cell.seed, cell.composed.config.seed) == (4, 4)
    assert "  1 cell, " in plan_page(question, plan_cells([cell], StatedSpeed()))


@pytest.mark.parametrize("text", ["0", "-1", "nan", "much"])
def test_rates_are_numbers(text: str) -> None:
    with pytest.raises(RequestError, match="a number above 0"):
        positive_number("--mfu", text)


def test_questions_share_their_cells() -> None:
    runs = {
        name: {cell.run_id for cell in expand_question(read_question(name))}
        for name in ("main", "vocabulary_expansion", "parallel_corpus", "nli")
    }
    assert runs["main"] < runs["vocabulary_expansion"] and runs["nli"] < runs["vocabulary_expansion"]
    assert len(runs["parallel_corpus"] & runs["vocabulary_expansion"]) == 2
    assert len(set.union(*runs.values())) == 14


def test_every_question_says_what_it_expects() -> None:
    for name in list_questions():
        question = read_question(name)
        assert question.expects and question.outcome and question.section and question.baseline and question.seeds, name
        assert "suite" in question.fixed, name


def test_marks_just_before_the_end_are_counted_and_change_no_run() -> None:
    final = ["budget.final_checkpoints=4", "budget.final_checkpoint_every_tokens=250_000_000"]
    config = compose_config([*LLAMA, *final]).config
    assert config.budget.marks()[-6:] == [10**11, *(104_857_600_000 - n * 250_000_000 for n in (4, 3, 2, 1)), 104_857_600_000]
    plain, more = estimate(), estimate(*final)
    assert more.num_marks == plain.num_marks + 4
    assert plain.evaluation_hours and more.evaluation_hours == pytest.approx(plain.evaluation_hours * 11 / 7)
    assert plain.export_bytes and more.export_bytes == plain.export_bytes * 10 // 6
    ids = {run_id_of(identity_of(compose_config([*LLAMA, *words]).plain)) for words in ([], final)}
    assert len(ids) == 1
    for words, said in (
        (final[:1], "both, or neither"),
        (["budget.final_checkpoints=2", "budget.final_checkpoint_every_tokens=9"], "a step"),
        (["budget.final_checkpoints=500", "budget.final_checkpoint_every_tokens=250_000_000"], "within the budget"),
    ):
        with pytest.raises(RequestError, match=said):
            compose_config([*LLAMA, *words])


def test_a_local_model_is_counted_from_its_folder(tmp_path: Path) -> None:
    stated = compose_config(["base_model=tiny_llama2"]).config.base_model
    plain = {
        "model_type": "llama", "hidden_size": stated.hidden_size, "intermediate_size": stated.intermediate_size, "vocab_size": 512,
        "num_hidden_layers": stated.num_layers, "num_attention_heads": stated.num_heads, "num_key_value_heads": stated.num_kv_heads,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(plain), encoding="utf-8")
    shape = ["hidden_size", "intermediate_size", "num_layers", "num_heads", "num_kv_heads", "num_pieces"]
    words = ["base_model=tiny_llama2", *(f"base_model.{name}=0" for name in shape), f"base_model.path={tmp_path}", "vocabulary=base"]
    config = compose_config([*words, "optim=miniature", "budget=smoke", "mixture=miniature_en"]).config
    found = estimate_cell(config, plan=None, vocabulary_size=None, stated=StatedSpeed(tokens_per_second=100.0), measured={})
    config.base_model = replace(stated, num_pieces=512)
    assert found.flops and found.parameters and found.disk_bytes and found.gib
    assert found == estimate_cell(config, plan=None, vocabulary_size=None, stated=StatedSpeed(tokens_per_second=100.0), measured={})
    assert (found.gpu_hours, found.cpu_hours) == (None, pytest.approx(found.positions / 100 / 3600))
    (tmp_path / "config.json").unlink()
    config.base_model = compose_config(words).config.base_model
    lost = estimate_cell(config, plan=None, vocabulary_size=None, stated=StatedSpeed(), measured={})
    assert lost.flops is None and any("no readable config.json" in flag for flag in lost.flags)


def test_a_page_says_nothing_twice(tmp_path: Path) -> None:
    question, overrides = question_of_plan(["vocabulary=base,miniature_ja", "seed=0,1,2", set_value("paths.out", tmp_path)])
    page = plan_page(question, plan_cells(expand_question(question, overrides), StatedSpeed()))
    assert page.count("miniature_ja vs base") == 1 and "contrasts, each for 3 seeds:" in page
    assert "D.4" not in page and "GPU-h" not in page and "CPU-h" in page and "price" not in page
