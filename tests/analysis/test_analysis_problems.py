"""Bad input: every damaged or contradictory result is named, is in no number, and does not stop the report."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic_study import BUDGET, item_statistics, write_run, write_sweep, write_task

from analysis.__main__ import main
from analysis.claims.claim import INCONCLUSIVE, NOT_COMPARED, Claim
from analysis.claims.compare import compare_contrasts
from analysis.items import ItemReader
from analysis.load import Measure, load_study
from analysis.scores import study_summary
from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.paths import RunPaths, sweep_file

TASKS = ("mini_choice", "mini_en_ja")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    write_sweep(tmp_path, ["none", "mixed"])
    for level in ("none", "mixed"):
        write_run(tmp_path, f"{level}-s0", level, marks=(0.0, 1.0), tasks=TASKS)
    return tmp_path


def folder(out: Path, task: str = "mini_choice", run_id: str = "mixed-s0", tokens: int = BUDGET) -> Path:
    return RunPaths.of(out, run_id).evaluation(tokens, task)


def rewrite(path: Path, change: dict[str, object]) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **change}), encoding="utf-8")


def with_columns(path: Path, **columns: object) -> None:
    table = pq.read_table(path)
    for name, values in columns.items():
        position = next(i for i, known in enumerate(table.column_names) if known.startswith(name))
        table = table.remove_column(position) if values is None else table.set_column(position, table.column_names[position], [values])
    pq.write_table(table, path)


def claims_of(out: Path) -> tuple[dict[str, Claim], list[str]]:
    study = load_study(out, "parallel")
    claims = {claim.task: claim for claim in compare_contrasts(study)}
    return claims, [str(problem) for problem in study.problems]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def tear(path: Path) -> None:
    """The last page is gone, the footer is whole."""
    data = bytearray(path.read_bytes())
    data[4:400] = b"\0" * 396
    path.write_bytes(bytes(data))


def items_with(value: float) -> pa.Array:
    statistics = item_statistics("mini_choice", 0.5, 1).tolist()
    return pa.array([[value], *statistics[1:]], type=pa.list_(pa.float64()))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (truncate, "items.parquet cannot be read"),
        (tear, "items.parquet cannot be read"),
        (lambda path: path.write_bytes(b""), "items.parquet cannot be read"),
        (lambda path: with_columns(path, stat=None), "no statistics of this metric"),
        (lambda path: with_columns(path, item_id=None), "has no column item_id"),
        (lambda path: with_columns(path, stat=items_with(float("nan"))), "no finite number"),
        (lambda path: with_columns(path, stat=items_with(float("inf"))), "no finite number"),
        (lambda path: with_columns(path, stat=items_with(100.0)), "the items give"),
        (lambda path: with_columns(path, item_id=pa.array(["same"] * 200)), "two items have one id"),
        (lambda path: with_columns(path, stat=pa.array([[1.0, 2.0]] + [[1.0]] * 199)), "different lengths"),
        (lambda path: pq.write_table(pq.read_table(path).slice(0, 150), path), "150 items on disk, 200 in the result"),
    ],
)
def test_damaged_items_are_named_and_compared_with_nothing(out: Path, damage: object, words: str) -> None:
    damage(folder(out) / "items.parquet")
    claims, problems = claims_of(out)
    assert len(problems) == 1 and words in problems[0]
    assert problems[0].startswith("mixed-s0 at 2,000,000 tokens, mini_choice")
    assert claims["mini_choice"].verdict == NOT_COMPARED and claims["mini_choice"].difference is None
    assert any(words in note for note in claims["mini_choice"].notes)
    assert claims["mini_en_ja"].p_items is not None


@pytest.mark.parametrize("score", [float("nan"), float("inf"), None, "12", True])
def test_a_score_that_is_no_number_is_in_no_table(out: Path, score: object) -> None:
    path = folder(out) / "result.json"
    metrics = json.loads(path.read_text(encoding="utf-8"))["metrics"]
    rewrite(path, {"metrics": [{**metrics[0], "score": score}]})
    claims, problems = claims_of(out)
    assert len(problems) == 1 and "the score of accuracy (both) is" in problems[0] and "no number" in problems[0]
    assert claims["mini_choice"].verdict == NOT_COMPARED
    study = load_study(out, "parallel")
    assert np.isfinite(study.scores["score"]).all()
    assert not any("mini_choice" in missing.reason for missing in study.missing)  # named once, as a problem


@pytest.mark.parametrize("text", ['{"task": "mini_', "[]", '{"metrics": [{}]}', '{"metrics": 3}'])
def test_a_result_that_cannot_be_read_is_named(out: Path, text: str) -> None:
    (folder(out) / "result.json").write_text(text, encoding="utf-8")
    claims, problems = claims_of(out)
    assert len(problems) == 1 and problems[0].startswith("mixed-s0 at 2,000,000 tokens, mini_choice: result.json ")
    assert claims["mini_choice"].verdict == NOT_COMPARED and claims["mini_en_ja"].p_items is not None


def test_two_results_that_disagree_are_both_left_out_and_named(out: Path) -> None:
    write_task(out, "mixed-s0", BUDGET, "mini_choice", item_statistics("mini_choice", 3.0, 5))
    folder(out).rename(folder(out, "mini_choice-again"))
    write_task(out, "mixed-s0", BUDGET, "mini_choice", item_statistics("mini_choice", -1.0, 6))
    claims, problems = claims_of(out)
    assert len(problems) == 1 and "2 results of accuracy (both) in mini_choice, mini_choice-again: scores" in problems[0]
    assert "none is used" in problems[0]
    assert claims["mini_choice"].verdict == NOT_COMPARED
    assert load_study(out, "parallel").record_of("mixed-s0", BUDGET, measure_of(out)) is None


def test_two_results_that_agree_count_once_and_are_named(out: Path) -> None:
    before = claims_of(out)[0]["mini_choice"]
    again = folder(out, "mini_choice-again")
    again.mkdir()
    for path in folder(out).iterdir():
        (again / path.name).write_bytes(path.read_bytes())
    claims, problems = claims_of(out)
    assert len(problems) == 1 and "alike, mini_choice is used" in problems[0]
    assert (claims["mini_choice"].difference, claims["mini_choice"].p) == (before.difference, before.p)


def measure_of(out: Path) -> Measure:
    return next(m for m in load_study(out, "parallel").measures if m.task == "mini_choice")


def test_damaged_items_of_one_seed_keep_its_cell_out_of_the_table(tmp_path: Path) -> None:
    write_sweep(tmp_path, ["none", "mixed"], seeds=(0, 1))
    for level in ("none", "mixed"):
        for seed in (0, 1):
            write_run(tmp_path, f"{level}-s{seed}", level, seed=seed, marks=(1.0,), tasks=("mini_choice",))
    truncate(folder(tmp_path, run_id="mixed-s1") / "items.parquet")
    text = study_summary(load_study(tmp_path, "parallel"))
    assert "| mixed | — |" in text and "problem: mixed-s1 at 2,000,000 tokens, mini_choice" in text


def test_missing_cells_and_absent_tasks_are_no_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(tmp_path, ["none", "mixed", "never"])
    write_run(tmp_path, "none-s0", "none", marks=(1.0,), tasks=TASKS)
    write_run(tmp_path, "mixed-s0", "mixed", marks=(1.0,), tasks=TASKS[:1])
    study = load_study(tmp_path, "parallel")
    claims = {(claim.level, claim.task): claim for claim in compare_contrasts(study)}
    assert study.problems == ()
    assert {missing.reason for missing in study.missing} == {"not evaluated at 2,000,000 tokens: mini_en_ja", "no such run yet"}
    assert claims["mixed", "mini_en_ja"].verdict == claims["never", "mini_choice"].verdict == NOT_COMPARED
    assert any("no result of mixed-s0" in note for note in claims["mixed", "mini_en_ja"].notes)
    text = study_summary(load_study(tmp_path, "parallel"))
    assert "missing: never: no such run yet" in text and "problem" not in text and "| never | — | — |" in text
    assert main(["--out", str(tmp_path), "parallel"]) == 0
    assert capsys.readouterr().err == ""


def test_the_report_is_built_all_the_same_and_the_exit_code_is_one(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truncate(folder(out) / "items.parquet")
    (folder(out, "mini_en_ja", tokens=0) / "result.json").write_text("{", encoding="utf-8")
    assert main(["--out", str(out), "parallel"]) == 1
    printed = capsys.readouterr()
    assert printed.out.strip().endswith("index.html")
    assert printed.err.count("problem: ") == 2 and "mini_en_ja: result.json cannot be read" in printed.err
    document = json.loads((out / "reports/parallel/claims.json").read_text(encoding="utf-8"))
    assert [problem["task"] for problem in document["problems"]] == ["mini_en_ja", "mini_choice"]
    assert document["method"]["equivalence_margins"]["points"] == 1.0


def test_files_of_a_run_with_rows_of_another_shape_are_named(out: Path) -> None:
    run = RunPaths.of(out, "mixed-s0")
    with run.events.open("a", encoding="utf-8") as handle:
        handle.write('{"kind": "train", "trained_tokens": 7}\n')
    run.overlap.write_text('{"mini_choice": {"task": "mini_choice"}}', encoding="utf-8")
    study = load_study(out, "parallel")
    assert [str(problem).partition(": ")[0] for problem in study.problems] == ["mixed-s0, events.jsonl", "mixed-s0, overlap.json"]
    assert set(study.curves["run_id"]) == {"none-s0"} and study.overlap == ()
    sweep_file(out, "parallel").write_text("{", encoding="utf-8")
    with pytest.raises(RequestError, match="is no expanded sweep"):
        load_study(out, "parallel")


def test_nothing_but_broken_results_is_a_wrong_request_that_names_one(tmp_path: Path) -> None:
    write_sweep(tmp_path, ["none", "mixed"])
    write_run(tmp_path, "none-s0", "none", marks=(1.0,), tasks=("mini_choice",))
    (folder(tmp_path, run_id="none-s0") / "result.json").write_text("{", encoding="utf-8")
    with pytest.raises(RequestError, match=r"none of the 2 runs.*can be used \(none-s0 at 2,000,000 tokens, mini_choice"):
        load_study(tmp_path, "parallel")


def test_items_are_read_once_and_dropped_when_there_is_no_room(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from analysis import items as items_module

    reads: list[Path] = []
    real = items_module.read_statistics
    monkeypatch.setattr(items_module, "read_statistics", lambda path: (reads.append(path), real(path))[1])
    records = [record for record in load_study(out, "parallel").records if record.task == "mini_choice"]
    roomy, tight = ItemReader(out), ItemReader(out, limit_bytes=1)
    for reader, expected in ((roomy, len(records)), (tight, 2 * len(records))):
        reads.clear()
        found = [reader.of(record) for record in (*records, *records)]
        assert len(reads) == expected
        assert all(items is not None and items.item_ids is found[0].item_ids for items in found)
        assert found[0].statistics.tolist() == found[len(records)].statistics.tolist()


def test_a_damaged_file_is_named_once_however_many_metrics_it_has(tmp_path: Path) -> None:
    write_sweep(tmp_path, ["none", "mixed"])
    metric = {"aggregate": "mean", "higher_is_better": True, "num_items": 200, "metric": "accuracy"}
    for level in ("none", "mixed"):
        write_run(tmp_path, f"{level}-s0", level, marks=(1.0,), tasks=())
        statistics = item_statistics("mini_choice", 0.5, 1)
        metrics = [{**metric, "profile": profile, "score": 100 * statistics.mean()} for profile in ("paper", "fair")]
        write_task(tmp_path, f"{level}-s0", BUDGET, "mini_choice", statistics, metrics=metrics)
    study = load_study(tmp_path, "parallel")
    compare_contrasts(study)
    assert len(study.problems) == 4 and all("no statistics of this metric" in str(problem) for problem in study.problems)
    truncate(folder(tmp_path) / "items.parquet")
    study = load_study(tmp_path, "parallel")
    compare_contrasts(study)
    assert [problem.task for problem in study.problems if problem.run_id == "mixed-s0"] == ["mini_choice"]


def test_small_problems_do_not_change_the_other_claims(out: Path) -> None:
    before = claims_of(out)[0]["mini_en_ja"]
    truncate(folder(out) / "items.parquet")
    after = claims_of(out)[0]["mini_en_ja"]
    assert (before.difference_interval, before.p) == (after.difference_interval, after.p)
    assert after.verdict in (INCONCLUSIVE, before.verdict)


@pytest.mark.parametrize("words", [[], ["--summary"]])
def test_the_command_names_problems_and_says_so_with_its_exit_code(out: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    from swallow_exp.cli import main as swallow

    def exit_code() -> object:
        with pytest.raises(SystemExit) as ended:
            swallow(["report", "parallel", "--out", str(out), *words])
        return ended.value.code

    assert exit_code() == 0
    if words:
        rewrite(folder(out) / "result.json", {"metrics": [None]})
    else:
        truncate(folder(out) / "items.parquet")
    assert exit_code() == 1
    said = capsys.readouterr()
    assert "problem: mixed-s0 at 2,000,000 tokens, mini_choice" in said.out + said.err
