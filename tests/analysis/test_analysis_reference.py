"""The published numbers: they agree with each other, with our configs and code, and with what the text says of them."""

import csv
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from analysis.paper.published import (
    SCORE_TABLES,
    find_model,
    layout_rows,
    pairs_rows,
    paper_averages,
    paper_scores,
    read_models,
    read_numbers,
    read_scores,
    read_tasks,
    shape_rows,
    tasks_of,
    throughput_rows,
)
from analysis.paper.rows import score_row
from analysis.paper.statement import printed
from analysis.paper.statements import paper_statements
from swallow_exp.config.schema import SuiteConfig
from swallow_exp.evaluate.data import DataFolder
from swallow_exp.evaluate.suite import DATASETS
from swallow_exp.model.flops import PAPER_FLOPS
from swallow_exp.record.efficiency import PAPER_TABLE7

REPOSITORY = Path(__file__).resolve().parents[2]
REFERENCE = REPOSITORY / "analysis" / "paper"
# The one row whose printed average is not the mean of its printed scores: 41.8625.
ODD_AVERAGE = ("table9", "nekomata_7b")


def level(group: str, name: str) -> dict[str, object]:
    return dict(yaml.safe_load((REPOSITORY / "conf" / group / f"{name}.yaml").read_text(encoding="utf-8")))


@pytest.mark.parametrize("table", SCORE_TABLES)
def test_every_average_is_the_mean_of_its_row_but_for_one(table: str) -> None:
    for row in read_scores(table):
        mean = score_row("", "", row.records).average([record.task for record in row.records])
        assert mean is not None
        if (table, row.model.key) == ODD_AVERAGE:
            assert (mean, row.average) == (pytest.approx(41.8625), 41.8)
        else:
            assert float(printed(mean, "0.1")) == row.average, row.model.key


def test_scores_are_records_of_the_paper() -> None:
    records = {(r.run_id, r.task): r for table in SCORE_TABLES for row in read_scores(table) for r in row.records}
    record = records["swallow_7b", "niilc"]
    assert (record.source, record.score, record.metric, record.profile, record.num_items) == ("paper", 59.7, "char_f1", "paper", 198)
    assert record.trained_tokens == 100_000_000_000 and records["llama2_7b", "niilc"].trained_tokens == 0
    assert len(records) == 20 * 8 + 6 * 6
    assert all(0 < record.score < 100 and record.source == "paper" for record in records.values())


def test_tables_that_print_a_score_twice_agree() -> None:
    seen: dict[tuple[str, str], set[float]] = {}
    for table in SCORE_TABLES:
        for row in read_scores(table):
            for record in row.records:
                seen.setdefault((record.run_id, record.task), set()).add(record.score)
            seen.setdefault((row.model.key, tasks_of(table)[0].language), set()).add(row.average)
    assert all(len(values) == 1 for values in seen.values())
    assert len(paper_averages()) == 26


def test_one_file_owns_the_spelling_of_models() -> None:
    models = read_models()
    assert list(models)[:2] == ["calm2_7b", "stablelm_beta_7b"] and len(models) == 20
    for spelling in ("Llama 2-7b", "Llama-2-7b", "meta-llama/Llama-2-7b-hf", "Llama-2-7b-hf", "Llama 2 7b"):
        found = find_model(spelling)
        assert found is not None and found.key == "llama2_7b", spelling
    swallow = [model for spelling in ("Swallow-7b", "Swallow -7b", "Swallow 7b") if (model := find_model(spelling))]
    assert [model.key for model in swallow] == ["swallow_7b"] * 3
    owners: dict[str, str] = {}
    for model in models.values():
        for spelling in {model.key, model.hugging_face, *model.spellings.values()}:
            assert owners.setdefault(spelling, model.key) == model.key, spelling
        assert not model.base_model or model.base_model in models
    assert find_model("gpt-2") is None
    for path in REFERENCE.glob("table*.csv"):
        with path.open(encoding="utf-8", newline="") as handle:
            assert {row["model"] for row in csv.DictReader(handle) if "model" in row} <= set(models), path.name


def test_numbers_of_the_text_agree_with_the_tables() -> None:
    numbers = read_numbers()
    assert numbers["mgsm_items"].value == read_tasks()["mgsm"].instances
    assert {row.tokens for row in shape_rows()} == {numbers["training_tokens"].value}
    assert (numbers["mgsm_gain"].low, numbers["mgsm_gain"].high, numbers["mgsm_gain"].text) == (36.0, 63.0, "36–63")
    assert numbers["lr_final_ratio"].low is None and numbers["lr_final_ratio"].text == "1/30"
    with pytest.raises(AssertionError):
        _ = numbers["mgsm_gain"].value


def test_tasks_have_the_names_of_our_suites() -> None:
    tasks = read_tasks()
    for suite, table in (("paper_ja", "table2"), ("paper_en", "table3")):
        assert set(level("suite", suite)["tasks"]) == {task.task for task in tasks.values() if task.table == table}  # type: ignore[call-overload]
    assert {task.task for task in tasks.values()} <= set(DATASETS)
    assert [task.column for task in tasks_of("table4_english")] == ["OBQA", "TrQA", "HS", "SQuAD2", "XW", "GSM8K"]


@pytest.mark.parametrize("package", sorted({DATASETS[task] for task in read_tasks()} - {"wmt20"}))
def test_metrics_have_the_names_of_our_records(package: str) -> None:
    """Shots, metric and aggregate of a published task are those of the task we built after it."""
    data = REPOSITORY / "tests" / "data" / "evaluation"
    module = import_module(f"swallow_exp.evaluate.tasks.{package}.task")
    for built in module.tasks(DataFolder(data), SuiteConfig()):
        if built.profile == "paper":
            task = read_tasks()[built.name]
            assert built.num_fewshot == task.num_fewshot
            assert (task.metric, task.aggregate) in {(metric.name, metric.aggregate) for metric in built.metrics}


def test_translation_has_the_metric_of_our_records() -> None:
    from swallow_exp.evaluate.tasks.wmt20.task import METRICS

    published = [pair[0] for pair in METRICS.values()]
    assert {(metric.name, metric.aggregate, metric.profile) for metric in published} == {("bleu", "bleu", "paper")}
    assert {(task.metric, task.aggregate) for name, task in read_tasks().items() if name.startswith("wmt20")} == {("bleu", "bleu")}


def test_table7_and_d4_agree_with_what_plans_use() -> None:
    ours = {row.model: (row.tflops_per_device, row.execution_efficiency) for row in PAPER_TABLE7}
    assert {row.label: (row.tflops_per_device, pytest.approx(row.execution_efficiency)) for row in throughput_rows()} == ours
    shapes = {(row.hidden_size, row.num_layers): row.label for row in shape_rows()}
    flops = {row.label: row.flops for row in throughput_rows()}
    assert {label: PAPER_FLOPS[shape] for shape, label in shapes.items()} == flops  # type: ignore[index]


@pytest.mark.parametrize("row", shape_rows(), ids=lambda row: row.label)
def test_table1_is_what_our_levels_say(row) -> None:  # type: ignore[no-untyped-def]
    base = level("base_model", f"llama2_{row.label.lower()}")
    assert (row.hidden_size, row.num_heads, row.num_layers) == (base["hidden_size"], base["num_heads"], base["num_layers"])
    assert row.context_length == base["max_position_embeddings"] and row.grouped_queries == (base["num_kv_heads"] != base["num_heads"])
    optim = level("optim", "swallow_70b" if row.label == "70B" else "swallow_7b_13b")
    assert float(str(optim["lr_peak"])) == row.learning_rate
    numbers = read_numbers()
    assert optim["global_batch_sequences"] == numbers["global_batch_sequences"].value
    assert optim["warmup_steps"] == numbers["warmup_steps"].value and optim["weight_decay"] == numbers["weight_decay"].value


def test_table6_and_table8_are_what_our_levels_say() -> None:
    for row in layout_rows():
        strategy = level("strategy", f"table6_{row.label.lower()}")
        assert row.tensor_parallel == strategy["tensor_parallel"]
        assert row.devices == strategy["data_parallel"] * strategy["tensor_parallel"]  # type: ignore[operator]
    with (REFERENCE / "table8.csv").open(encoding="utf-8", newline="") as handle:
        cells = [line["cell_parallel"] for line in csv.DictReader(handle)]
    for cell, pairs in zip(cells, pairs_rows(), strict=True):
        assert (level("parallel", cell)["format"], level("parallel", cell)["order"]) == (pairs.format, pairs.order)


FALL_OUT = {
    "japanese_qa_gain": "+75.1%",
    "mgsm_gain": "+36.0 to +63.2%",
    "english_qa_arithmetic_loss": "−22.8 to −5.8%",
    "xlsum_change": "−4.2 to +1.4%",
    "en_ja_gain": "+15.2 to +41.0%",
    "ja_en_loss": "−13.2 to −4.2%",
    "from_scratch_gain": "calm2-7b +8.4",
    "jsquad_gain": "+1.1 to +8.2%",
    "japanese_average_gain": "+6.7 to +7.4 points",
    "english_average_loss": "−5.0 to −2.3 points",
}
DO_NOT = {"token_share", "figure1_japanese_gain", "jsquad_llama2", "average_table9", "devices"}
NOT_COMPUTABLE = {
    "figure3",
    "vocabulary_qa_change",
    "vocabulary_xlsum_loss",
    "parallel_en_ja_gain",
    "parallel_ja_en_gain",
    "parallel_other_change",
    "ratio",
    "nli_majority_share",
    "nli_fluctuation",
    "flops",
}


def test_the_claims_of_the_text_fall_out_of_the_tables() -> None:
    statements = {statement.key: statement for statement in paper_statements()}
    for key, found in FALL_OUT.items():
        assert statements[key].holds and found in statements[key].found, statements[key]
    assert {key for key, statement in statements.items() if statement.holds is None} == NOT_COMPUTABLE


def test_what_does_not_fall_out_is_said() -> None:
    statements = {statement.key: statement for statement in paper_statements()}
    assert {key for key, statement in statements.items() if statement.holds is False} == DO_NOT
    assert "7b 0.792" in statements["jsquad_llama2"].found
    assert "+77.9%" in statements["token_share"].found and "7B 64 against 32" in statements["devices"].found
    assert "nekomata-7b" in statements["average_table9"].found and "41.8625" in statements["average_table9"].found


def test_a_changed_score_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The statements rest on the tables: another number, another verdict."""
    from analysis.paper import statement, statements

    changed = {**paper_scores(), ("swallow_70b", "mgsm"): 49.0, ("llama2_7b", "jsquad"): 80.1}
    for module in (statement, statements):
        monkeypatch.setattr(module, "paper_scores", lambda: changed)
    verdicts = {s.key: s.holds for s in paper_statements()}
    assert verdicts["mgsm_gain"] is False and verdicts["jsquad_llama2"] is True
