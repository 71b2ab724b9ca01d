"""The page without a browser: whole, self-contained, readable aloud, every score with its source, every flip counted and on file."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from page_study import BEGINNING, CELLS, Outline
from synthetic_study import BUDGET, write_run, write_sweep, write_task

from analysis.claims.claim import EQUIVALENT, INCONCLUSIVE
from analysis.claims.compare import compare_contrasts
from analysis.cost import RunCost, cost_table, cost_words, read_costs
from analysis.figures.style import PageFigure
from analysis.flips import FlipGroup, gather_flips, shared_beginning
from analysis.load import load_study
from analysis.page.basis import Method
from analysis.page.flips import BUDGET_BYTES, LONGEST_TEXT, fitting, shortened
from analysis.page.page import Parts, render_page
from analysis.page.verdicts import findings
from analysis.scores import changes_table, comparison_table
from analysis.table import Table
from analysis.wording import sentence, summary, tally
from swallow_exp.artefact.paths import ReportPaths, RunPaths
from swallow_exp.record.flips import Flip, find_flips
from swallow_exp.record.store import ITEMS_NAME


@pytest.fixture
def out(folder: Path) -> Path:
    return folder.parent.parent


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def outline(page: str) -> Outline:
    return Outline(page)


def test_the_page_is_whole_and_asks_for_nothing(folder: Path, page: str, outline: Outline) -> None:
    assert outline.open == []
    assert "@import" not in page and "url(" not in re.sub(r"url\(#[\w-]+\)", "", page)
    assert "fetch(" not in page and "XMLHttpRequest" not in page and "http-equiv" not in page
    for address in outline.addresses:
        if address.startswith("#"):
            assert address[1:] in outline.ids
        elif address != "data:,":  # the empty icon keeps browsers from asking for one
            assert (folder / address).is_file()
    size = re.search(r"This file is (\d\.\d) MB", page)
    assert size and abs(float(size[1]) - len(page.encode()) / 1e6) <= 0.1


def test_the_page_can_be_read_aloud_and_reached_by_keyboard(outline: Outline, page: str) -> None:
    assert outline.levels[0] == 1 and outline.levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(outline.levels, outline.levels[1:], strict=False))
    assert [name for name, count in Counter(outline.ids).items() if count > 1] == []
    assert len(outline.drawings) >= 3 and all(len(label) > 40 for label in outline.drawings)
    assert len(outline.fields) >= 6 and all(field["id"] in outline.labelled for field in outline.fields)
    assert set(outline.references) <= set(outline.ids)
    assert '<html lang="en">' in page and "prefers-color-scheme:dark" in page and "prefers-reduced-motion" in page
    assert page.index('class="skip"') < page.index("<header>") and "@media print" in page


def test_the_question_and_what_was_expected_come_first_then_the_verdicts(outline: Outline, page: str) -> None:
    text = "".join(outline.words)
    first = ("対訳は?", "Expected before the runs", "On this page", "Of 4 tasks:", "Scores at the last evaluated checkpoint", "Files: csv")
    places = [text.index(words) for words in first]
    assert places == sorted(places)
    assert "translation gains, nothing else moves" in text and "Noted with the question" not in text  # no outcome, no line
    assert "Does &lt;parallel&gt; text help &amp; how?" in page
    assert re.search(r"mini_en_ja \+\d+\.\d points \[\d+\.\d,\s\d+\.\d\].*?: improved\.", text)
    assert "null study null, 12 runs" in text and "One run per side" not in text  # single runs are judged by a null study
    assert "Nothing could be compared yet." in text


def test_the_box_of_single_runs_follows_the_results_and_not_the_plan(tmp_path: Path) -> None:
    """Two seeds are planned and one is finished: there is one run per side."""
    write_sweep(tmp_path, ["none", "mixed"], seeds=(0, 1))
    for level in ("none", "mixed"):
        write_run(tmp_path, f"{level}-s0", level, tasks=("mini_choice",), marks=(0.0, 1.0), effects={"mini_choice": 2.0})
    study = load_study(tmp_path, "parallel")
    text = findings(study, compare_contrasts(study))
    assert "One run per side: no verdict for every comparison." in text and "swallow train -m +sweep=null" in text
    assert "improved" not in text and "1 with one run per side and no verdict" in text
    for level in ("none", "mixed"):
        write_run(tmp_path, f"{level}-s1", level, seed=1, tasks=("mini_choice",), marks=(0.0, 1.0), effects={"mini_choice": 2.0})
    study = load_study(tmp_path, "parallel")
    assert "One run per side" not in findings(study, compare_contrasts(study))


def test_an_effect_that_four_items_can_never_decide_stands_among_the_badges(tmp_path: Path) -> None:
    write_sweep(tmp_path, ["none", "mixed"], seeds=(0, 1, 2))
    for seed in (0, 1, 2):
        for level, worse in (("none", 1.0), ("mixed", 2.0)):
            write_run(tmp_path, f"{level}-s{seed}", level, seed=seed, tasks=("mini_choice",), marks=(0.0, 1.0))
            bits = np.array([[worse * 100.0 + seed + i, 100.0] for i in range(4)])
            write_task(tmp_path, f"{level}-s{seed}", BUDGET, "heldout_english", bits)
    study = load_study(tmp_path, "parallel")
    text = findings(study, compare_contrasts(study))
    badges = text[text.index('<ul class="badges">') : text.index("</ul>")]
    assert "heldout_english" in badges and "4 items can never decide" in badges and "% more bits per byte" in badges
    claim = next(c for c in compare_contrasts(study) if c.task == "heldout_english")
    assert claim.p == claim.smallest_p == 0.125 and claim.verdict == "inconclusive"


def test_every_score_names_run_checkpoint_and_task(out: Path, outline: Outline, page: str) -> None:
    sources = outline.data["sources"]
    rows = [dict(zip(sources["columns"], row, strict=True)) for row in sources["rows"]]
    table = re.search(r'<table class="comparison".*?</table>', page, re.S)
    assert table
    cells = re.findall(r'data-value="([^"]+)"( data-from="([\d ]+)")?', table[0])
    assert len(cells) == 4 + 4 + 4 + 2 and all(numbers for _, _, numbers in cells)
    for value, _, number in cells:
        of = rows[int(number)]
        assert of["score"] == pytest.approx(float(value))
        assert of["prompt_digest"] == f"{of['task']}-prompts" and of["task_version"] == "1"
        assert of["checkpoint_digest"] == ("start" if of["trained_tokens"] == 0 else f"{of['run_id']}-{of['trained_tokens']}")
    changes = changes_table(load_study(out, "parallel"), compare_contrasts(load_study(out, "parallel")))
    row = next(i for i, texts in enumerate(changes.rows) if texts[:2] == ("mixed vs none", "mini_choice"))
    column = changes.columns.index
    assert [r.run_id for r in changes.sources[row, column("baseline")]] == ["none-s0"]
    assert [r.run_id for r in changes.sources[row, column("score")]] == ["mixed-s0"]
    assert [r.run_id for r in changes.sources[row, column("difference")]] == ["none-s0", "mixed-s0"]
    never = next(i for i, texts in enumerate(changes.rows) if texts[0] == "never vs none")
    assert not any(place[0] == never for place in changes.sources)


def test_provenance_is_a_file_too(folder: Path, out: Path) -> None:
    lines = list(csv.DictReader((folder / "tables/provenance.csv").read_text(encoding="utf-8").splitlines()))
    table = comparison_table(load_study(out, "parallel"))
    mine = [line for line in lines if line["table"] == "comparison"]
    assert len(mine) == sum(value is not None for line in table.values for value in line)
    assert all(float(line["value"]) == pytest.approx(float(line["score"])) for line in mine)
    assert {line["table"] for line in lines} == {"comparison", "changes", "flips"}


def test_flips_are_counted_whole_and_their_texts_fit(folder: Path, out: Path, outline: Outline) -> None:
    data = outline.data["flips-data"]
    groups = {(group["comparison"], group["task"]): group for group in data["groups"]}
    starts = {f"{cell} vs its start weights" for cell in CELLS}
    assert set(groups) == {(c, t) for c in {"mixed vs none", "staged vs none", *starts} for t in ("mini_choice", "mini_reading")}
    study = load_study(out, "parallel")
    measure = next(m for m in study.measures if m.task == "mini_choice")
    ours, theirs = (study.record_of(run_id, BUDGET, measure) for run_id in ("mixed-s0", "none-s0"))
    assert ours and theirs
    flips = list(find_flips(out, ours, theirs))
    group = groups["mixed vs none", "mini_choice"]
    assert (group["won"], group["lost"]) == (sum(f.won for f in flips), sum(not f.won for f in flips)) and group["won"] > 40
    assert len(group["rows"]) == 40 and data["texts"][group["beginning"]] == BEGINNING
    first = group["rows"][0]
    texts = [data["texts"][number] for number in first["texts"]]
    assert texts == [flips[0].prompt.removeprefix(BEGINNING), flips[0].reference, flips[0].baseline_prediction, flips[0].prediction]
    lines = [json.loads(line) for line in (folder / group["file"]).read_text(encoding="utf-8").splitlines()]
    assert [line["item_id"] for line in lines] == [flip.item_id for flip in flips]
    beginnings = json.loads((folder / "flips/beginnings.json").read_text(encoding="utf-8"))
    assert beginnings[Path(group["file"]).stem] + lines[-1]["prompt_end"] == flips[-1].prompt


def test_texts_cannot_leave_their_place(page: str) -> None:
    assert "</script><b>" not in page and "\\u003c/script>" in page
    assert "a=&lt;b&gt;" in page and "a=<b>" not in page


def flip_group(name: str, texts: list[str]) -> FlipGroup:
    record = None
    kept = tuple(Flip(f"{name}-{i}", True, text, "gold", "before", "after", 0.0, 1.0) for i, text in enumerate(texts))
    return FlipGroup("a vs b", "a", "b", name, name, record, record, 900, 500, 3, "", kept)  # type: ignore[arg-type]


def test_a_page_of_many_long_texts_keeps_its_size_and_says_so() -> None:
    groups = [flip_group(f"task{g}", [f"{g} {i} " + "字" * 3000 for i in range(40)]) for g in range(20)]
    data, kept = fitting(groups)
    assert len(json.dumps(data, ensure_ascii=False).encode()) <= BUDGET_BYTES
    assert 0 < kept < 40 and all(len(group["rows"]) == kept and group["won"] == 500 for group in data["groups"])
    assert fitting(groups[:2])[1] == 40


def test_too_long_a_text_keeps_both_ends() -> None:
    text = "a" * LONGEST_TEXT + "b" * 1000
    assert shortened("short") == "short" and shortened(text).startswith("aaa") and shortened(text).endswith("bbb")
    assert "1,000 characters are only in the file" in shortened(text) and len(shortened(text)) < LONGEST_TEXT + 100


@pytest.mark.parametrize(
    ("prompts", "shared"),
    [(["one"], ""), (["a\nb\nc", "a\nb\nd"], "a\nb\n"), (["a\nbc", "a\nbd"], "a\n"), (["ab", "ac"], ""), (["a\n", "a\nb"], "a\n")],
)
def test_what_prompts_share_ends_with_a_line(prompts: list[str], shared: str) -> None:
    assert shared_beginning(prompts) == shared


def test_items_that_are_gone_are_said_to_be(tmp_path: Path) -> None:
    write_sweep(tmp_path, ["none", "mixed"])
    for cell in ("none", "mixed"):
        write_run(tmp_path, f"{cell}-s0", cell, tasks=("mini_choice",), marks=(0.0, 1.0))
    (RunPaths.of(tmp_path, "mixed-s0").evaluation(BUDGET, "mini_choice") / ITEMS_NAME).unlink()
    study = load_study(tmp_path, "parallel")
    claims = compare_contrasts(study)
    groups, unread = gather_flips(study, claims, ReportPaths.of(tmp_path, "parallel"))
    assert [group.comparison for group in groups] == ["none vs its start weights"]
    assert unread[-1] == "mixed vs its start weights on mini_choice: items of mixed-s0 are gone"
    assert all(line.endswith("items of mixed-s0 are gone") for line in unread)


def test_seeds_have_flips_of_their_own(tmp_path: Path) -> None:
    write_sweep(tmp_path, ["none", "mixed"], seeds=(0, 1))
    for cell in ("none", "mixed"):
        for seed in (0, 1):
            write_run(tmp_path, f"{cell}-s{seed}", cell, seed=seed, tasks=("mini_choice",), marks=(1.0,))
    study = load_study(tmp_path, "parallel")
    groups, _ = gather_flips(study, compare_contrasts(study), ReportPaths.of(tmp_path, "parallel"))
    assert [group.comparison for group in groups] == ["mixed vs none (seed 0)", "mixed vs none (seed 1)"]
    assert len({group.name for group in groups}) == 2


def test_cost_adds_up_and_does_not_invent(out: Path) -> None:
    study = load_study(out, "parallel")
    costs = read_costs(study)
    assert [cost.run_id for cost in costs] == ["none-s0", "mixed-s0", "staged-s0"]  # `never` has no folder
    table = cost_table(study, costs)
    assert table.columns == ("cell", "FLOPs")  # these rows say nothing of speed
    assert table.footer == (("all runs", f"{6e6 * BUDGET * 2.5:.2e}"),)
    words = cost_words(costs)
    assert "An unknown time of training" in words and "3.00e+13 FLOPs" in words and "MFU is not known" in words and "not measured" in words
    known = replace(costs[0], device="A100", num_devices=8, device_hours=120.0, tokens_per_second=1234.5, mfu=0.43, evaluation_seconds=60)
    table = cost_table(study, [known, costs[1]])
    assert table.rows[0][:5] == ("none", "A100", "8", "120", "1.20e+13") and "43.0%" in table.rows[0]
    words = cost_words([known, costs[1]])
    assert "120 device-hours" in words and "on A100" in words and "1 of 2 runs logged no rates" in words
    assert "no cost to show" in cost_words([RunCost("x", *[None] * 10)])


def test_runs_say_how_they_came_about(outline: Outline, page: str) -> None:
    assert {f"run-{cell}-s0" for cell in (*CELLS, "never")} <= set(outline.ids)
    text = "".join(outline.words)
    assert "c0ffee with uncommitted changes" in text and "weights: artefacts/weights/w" in text and "tokens wiki: t" in text
    assert text.count("no provenance.json in its folder") == 3


def test_many_figures_are_titles_that_open(out: Path) -> None:
    study = load_study(out, "parallel")
    path = '<path d="M 1.23456 2.000000" transform="scale(0.015625)"/>'
    svg = f'<svg viewBox="0 0 9 9" width="1">{path}<use xlink:href="#m1" x="3.14159"/></svg>'
    figures = [PageFigure(f"figure{i}", f"Figure {i}", svg, "what it shows", "caption") for i in range(1, 6)]
    text = render_page(study, [], Method(0), Parts([comparison_table(study)], figures))
    assert [m[1] for m in re.finditer(r'<h3 id="h-(figure\d)">', text)] == ["figure1", "figure2", "figure3"]
    assert text.count("<summary>Figure ") == 2 and text.count('role="img"') == 5
    assert 'd="M 1.23 2.00" transform="scale(0.015625)"' in text and 'href="#figure4-m1" x="3.14"' in text


def test_more_tables_open_from_a_title(out: Path) -> None:
    study = load_study(out, "parallel")
    captions = {
        "table4_japanese": "Scores on Japanese tasks. More words.",
        "table7": "word " * 40,
        "appendix_d4": "Computation of a run; FLOPs.",
    }
    more = [Table(name, caption, ("a",), (("b",),), ((None,),)) for name, caption in captions.items()]
    text = render_page(study, [], Method(0), Parts([comparison_table(study), *more], []))
    assert "<summary>Table 4 (japanese): Scores on Japanese tasks</summary>" in text
    assert re.search(r"<summary>Table 7: word .{70,90} …</summary>", text)
    assert "<summary>Table appendix d4: Computation of a run</summary>" in text


def test_problems_and_what_is_absent_are_told_at_the_top_and_in_their_place(out: Path) -> None:
    study = load_study(out, "parallel")
    parts = Parts([comparison_table(study)], [], problems=["two digests <differ>"], absent=[("figure9", "no model of another kind")])
    text = render_page(study, [], Method(0), parts)
    assert '<a href="#h-missing">1 problem</a>' in text and f'<a href="#h-missing">{len(study.missing)} things missing</a>' in text
    assert "two digests &lt;differ&gt;" in text and "<strong>figure9</strong>: no model of another kind" in text
    assert 'id="h-figures"' not in text  # an empty section is no section


def test_equivalence_noise_and_warnings_are_told_where_they_are_known(out: Path) -> None:
    study = load_study(out, "parallel")
    claims = compare_contrasts(study)
    known = {"equivalence_margin": 1.0, "run_noise": 0.4, "noise_source": "last 3 checkpoints", "p_bh": 0.2}
    warned = ("prompts were cut", "one_run: one run a side", "near_chance: none-s0 is no better than chance")
    undecided = replace(claims[1], verdict=INCONCLUSIVE, detectable_difference=3.0)
    changed = replace(claims[0], verdict=EQUIVALENT, warnings=warned, sign_agreement="same sign at 7b and 13b", **known)
    text = findings(study, [changed, undecided, *claims[2:]])
    assert "<b>within ±1.0 points</b>" in text
    assert (
        "1 equivalent" in text
        and "≈" in text
        and "run noise 0.4" in text
        and "Run noise from last 3 checkpoints" in text
        and "within ±1.0" in text
    )
    assert "Prompts were cut; none-s0 is no better" in text and "same sign at 7b and 13b" in text
    assert "one run a side" not in text and "near_chance" not in text  # the first is said once, above; codes are for claims.json
    assert "would often go unseen here" in text
    bare = replace(claims[0], verdict="no interval", difference_interval=None, relative_interval=None)
    assert sentence(bare).endswith(": no interval.") and "[" not in sentence(bare) and tally([bare]) == "Of 1 task: 1 no interval."
    table = changes_table(study, [changed, *claims[1:]])
    without = changes_table(study, [replace(claim, p_bh=None, run_noise=None) for claim in claims])
    assert {"p (BH)", "run noise"} <= set(table.columns) and not {"p (BH)", "run noise"} & set(without.columns)
    assert f"Equivalent on {changed.measure}." in summary("x", [changed]) and tally([changed]) == "Of 1 task: 1 equivalent."
