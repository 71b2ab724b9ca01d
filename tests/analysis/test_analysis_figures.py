"""Figures 1 to 11: each is drawn from records or told absent, reads without colour, and comes out the same twice."""

import json
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import synthetic_paper
from synthetic_paper import BUDGET, CELLS, NAME, TASKS, run_id_of, write_paper_study
from synthetic_study import write_run, write_sweep

from analysis.claims.claim import EQUIVALENT, IMPROVED, INCONCLUSIVE, Claim
from analysis.claims.compare import Comparer, compare_contrasts
from analysis.figures.axes import BYTES, FLOPS, TOKENS
from analysis.figures.bars import language_figure
from analysis.figures.classes import (
    AnswerShares,
    ClassCounts,
    answers_of,
    classes_figure,
    flips_of_majority,
    inference_measures,
    majority_shares,
)
from analysis.figures.series import cell_series, nth_series
from analysis.figures.style import GRID, INK, MUTED, PAPER, SERIES, figure_style, font_families, font_words, new_figure
from analysis.load import Study, load_study
from analysis.paper.figures import absent_paper_figures, draw_paper_figures, planned_figures
from analysis.paper.sketches import Given, Sketch
from swallow_exp.artefact.paths import ReportPaths, RunPaths

ON_AXES = (1, 3, 4, 6, 7, 8)
EVERY = {f"figure{n}" for n in range(1, 12)} | {f"figure{n}_{axis}" for n in ON_AXES for axis in ("bytes", "flops")}
JAPANESE_ONLY = tuple(TASKS)[:8]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("paperlike")
    write_paper_study(root, cells=CELLS[:5], marks=(0.0, 0.4, 1.0))
    return root


@pytest.fixture(scope="module")
def study(out: Path) -> Study:
    return load_study(out, NAME)


@pytest.fixture(scope="module")
def sketches(study: Study) -> dict[str, Sketch]:
    given = Given(Comparer.of(study), compare_contrasts(study))
    drawn = {planned.name: planned.draw(given, planned.progress) for planned in planned_figures(study)}
    return {name: sketch for name, sketch in drawn.items() if sketch is not None}


def test_a_whole_study_has_every_figure_on_every_axis(study: Study, sketches: dict[str, Sketch]) -> None:
    assert set(sketches) == EVERY and absent_paper_figures(study) == []
    for name, sketch in sketches.items():
        assert len(sketch.alt) > 60 and len(sketch.caption) > 40, name
        assert sketch.figure.get_size_inches()[1] <= 10.5, f"{name} does not fit a page"


def test_what_a_study_cannot_fill_is_told_with_its_reason(tmp_path: Path) -> None:
    write_sweep(tmp_path, ["none", "mixed"])
    for level in ("none", "mixed"):
        write_run(tmp_path, f"{level}-s0", level, tasks=("mini_choice", "heldout_japanese"), marks=(0.0, 1.0))
    absent = dict(absent_paper_figures(load_study(tmp_path, "parallel")))
    assert absent.keys() == {"figure4", "figure6", "figure7", "figure9", "figure10", "figure11"}
    assert absent["figure4"] == "the sweep compares no two vocabularies" and "inference" in absent["figure9"]


def test_without_bytes_in_the_log_only_the_axes_of_text_and_compute_are_absent(tmp_path: Path) -> None:
    write_paper_study(tmp_path, cells=CELLS[:2], marks=(0.0, 1.0), tasks=("niilc", "jcqa"), log=False)
    absent = dict(absent_paper_figures(load_study(tmp_path, NAME)))
    assert {"figure1_bytes", "figure1_flops", "figure3_bytes", "figure8_flops"} <= absent.keys()
    assert "text_bytes for llama2_7b-base-none and" in absent["figure4_bytes"]
    assert not {"figure1", "figure2", "figure3", "figure4", "figure8"} & absent.keys()


def _legend_marks(sketch: Sketch) -> list[tuple[str, str]]:
    """(marker, dashes or hatch) of every series in a figure's legend: lines, bars with a marker on them, or bars alone."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    marks = []
    for legend in sketch.figure.legends:
        inside = legend.get_children()[0]  # without the frame
        lines, bars = inside.findobj(Line2D), inside.findobj(Patch)
        markers = [str(line.get_marker()) for line in lines] or [""] * len(bars)
        patterns = [str(bar.get_hatch()) for bar in bars] or [str(line._unscaled_dash_pattern) for line in lines]
        marks += zip(markers, patterns, strict=True)
        assert len(marks) == len(legend.get_texts())
    return marks


def test_no_two_series_look_alike_without_colour(sketches: dict[str, Sketch]) -> None:
    for name, sketch in sketches.items():
        marks = _legend_marks(sketch)
        assert name == "figure2" or marks, name
        if name == "figure9":  # an empty bar for answers that are no label is white, not plain
            assert marks.count(("", "None")) == 2
            marks.remove(("", "None"))
        assert len(set(marks)) == len(marks), (name, marks)


def test_every_colour_is_one_that_the_page_can_swap(sketches: dict[str, Sketch]) -> None:
    """Any other colour would stay as it is in dark mode."""
    from matplotlib.colors import to_hex, to_rgba
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

    for name, sketch in sketches.items():
        lines, boxes = sketch.figure.findobj(Line2D), sketch.figure.findobj(Rectangle)
        colours = [c for line in lines for c in (line.get_color(), line.get_markerfacecolor(), line.get_markeredgecolor())]
        colours += [c for box in boxes for c in (box.get_facecolor(), box.get_edgecolor())]
        shown = {to_hex(c) for c in colours if to_rgba(c)[3] > 0}
        assert shown <= {INK, MUTED, GRID, PAPER, *SERIES}, name


def test_looks_stay_apart_for_many_series() -> None:
    looks = [nth_series(i) for i in range(40)]
    assert len({(look.marker, look.dashes) for look in looks}) == 40
    assert len({(look.marker, look.hatch) for look in looks}) == 40
    assert all(a.color != b.color for a, b in pairwise(looks))


def test_sizes_and_treatments_share_looks_across_cells(study: Study) -> None:
    looks = cell_series(study)
    small, large = looks["llama2_7b ja_16k none"], looks["llama2_13b ja_16k none"]
    assert small.color == large.color and small.dashes != large.dashes and small.hatch != large.hatch


def _missing_letters(sketch: Sketch) -> set[str]:
    """Letters that none of the fonts of the style has."""
    from matplotlib import font_manager
    from matplotlib.text import Text

    fonts = [font_manager.get_font(font_manager.findfont(family)) for family in font_families()]
    letters = {letter for text in sketch.figure.findobj(Text) for letter in text.get_text() if not letter.isspace()}
    return {letter for letter in letters if all(font.get_char_index(ord(letter)) == 0 for font in fonts)}


def test_every_letter_has_a_glyph(sketches: dict[str, Sketch]) -> None:
    assert {name for name, sketch in sketches.items() if _missing_letters(sketch)} == set()


@pytest.mark.skipif(len(font_families()) < 2, reason="no Japanese font is installed")
def test_japanese_labels_have_glyphs_and_the_caption_names_the_font() -> None:
    counts = ClassCounts({"含意": 6, "矛盾": 4}, {"含意": 9}, 1)
    figure = classes_figure([AnswerShares("jnli_ja", counts.gold, {"対訳あり": counts})])
    assert figure is not None and _missing_letters(Sketch(figure, "", "")) == set()
    assert font_words(["含意"]) == f"Japanese letters: {font_families()[1]}." and font_words(["entailment ≈ −1"]) == ""


def test_without_a_japanese_font_the_caption_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from analysis.figures import style

    monkeypatch.setattr(style, "font_families", lambda: ("DejaVu Sans",))
    assert "No Japanese font is installed" in font_words(["含意"])


def _draw_in_two_processes(out: Path, to: Path, names: list[str]) -> None:
    program = (
        "import sys; from pathlib import Path; from analysis.load import load_study; from swallow_exp.artefact.paths import ReportPaths; "
        "from analysis.claims.compare import Comparer; from analysis.paper.figures import draw_paper_figures; "
        "out, to, *names = sys.argv[1:]; "
        f"draw_paper_figures(Comparer.of(load_study(Path(out), {NAME!r})), (), ReportPaths(Path(to)), names=names)"
    )
    commands = [[sys.executable, "-W", "error", "-c", program, str(out), str(to / side), *names] for side in "ab"]
    for process in [subprocess.Popen(command) for command in commands]:
        assert process.wait(timeout=500) == 0
    for name in names:
        for suffix in ("svg", "pdf", "png"):
            first, second = (ReportPaths(to / side).figure(name, suffix).read_bytes() for side in "ab")
            assert len(first) > 1000 and first == second, f"{name}.{suffix}"


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    """Bars with hatches, and squares with numbers; the others are drawn by hand (slow)."""
    write_paper_study(tmp_path, cells=CELLS[:2], marks=(0.0, 1.0), tasks=("niilc", "jnli"))
    _draw_in_two_processes(tmp_path, tmp_path, ["figure1", "figure2"])


@pytest.mark.slow
def test_two_processes_write_the_same_bytes_of_every_figure(out: Path, tmp_path: Path) -> None:
    _draw_in_two_processes(out, tmp_path, sorted(EVERY - {"figure4", "figure5"}))  # those two need the claims of a report


def test_drawn_figures_are_named_titled_and_on_disk(study: Study, tmp_path: Path) -> None:
    (figure,) = draw_paper_figures(Comparer.of(study), (), ReportPaths(tmp_path), names=["figure8_bytes"])
    assert figure.name == "figure8_bytes" and figure.title == "Figure 8: training loss, at the same amount of text"
    assert "<svg" in figure.svg and {p.suffix for p in (tmp_path / "figures").iterdir()} == {".svg", ".pdf", ".png"}


def _claims(verdict: str, count: int = 1) -> list[Claim]:
    blank = Claim("c0", "f", "a", "b", "c0", "x", "jcqa", "exact_match", "both", "JCQA", "points", True, verdict)
    ends = {"difference": 2.0, "difference_interval": (1.0, 3.0), "relative_change": 4.0, "relative_interval": (2.0, 6.0)}
    return [replace(blank, contrast=f"c{i}", task=task, measure=task, **ends) for i in range(count) for task in TASKS]


@pytest.mark.parametrize("verdict", [IMPROVED, INCONCLUSIVE, EQUIVALENT])
def test_verdicts_are_told_by_the_marker(verdict: str) -> None:
    figure = language_figure(_claims(verdict), {"c0": nth_series(0, "c0")})
    assert figure is not None and [axes.get_title(loc="left") for axes in figure.axes] == ["Japanese tasks", "English tasks"]
    markers = [line for axes in figure.axes for line in axes.lines if line.get_marker() == "o"]
    assert len(markers) == len(TASKS)
    assert all((line.get_markerfacecolor() == PAPER) == (verdict == INCONCLUSIVE) for line in markers)
    assert all((line.get_fillstyle() == "bottom") == (verdict == EQUIVALENT) for line in markers)
    assert sum(text.get_text() == "≈" for axes in figure.axes for text in axes.texts) == (len(TASKS) if verdict == EQUIVALENT else 0)


def test_many_series_still_fit_a_page() -> None:
    figure = language_figure(_claims(IMPROVED, 10), {f"c{i}": nth_series(i, f"c{i}") for i in range(10)})
    assert figure is not None and figure.get_size_inches()[1] <= 10.5


def test_floor_measures_are_drawn_in_points(sketches: dict[str, Sketch]) -> None:
    """MGSM starts near zero: a ratio there says nothing, so Figure 1 shows its difference."""
    floor = [axes for axes in sketches["figure1"].figure.axes if "floor" in axes.get_title(loc="left")]
    assert [label.get_text() for label in floor[0].get_yticklabels()] == ["MGSM"] and floor[0].get_xlabel() == "difference in points"
    assert "Baselines at the floor" in sketches["figure1"].caption


def test_summaries_are_compared_as_published_and_fair(sketches: dict[str, Sketch]) -> None:
    rows = [label.get_text() for axes in sketches["figure4"].figure.axes for label in axes.get_yticklabels()]
    assert {"XL-Sum (as published)", "XL-Sum (fair)"} <= set(rows) and "XL-Sum" not in rows
    assert [axes.get_title(loc="left") for axes in sketches["figure6"].figure.axes] == ["XL-Sum, as published", "XL-Sum, fair"]


def test_captions_compare_the_vocabularies_where_both_have_been(sketches: dict[str, Sketch]) -> None:
    assert "at 100B tokens llama2_7b ja_16k none" in sketches["figure7"].caption
    assert "at 200 GB llama2_7b ja_16k none" in sketches["figure7_bytes"].caption and "straight lines" in sketches["figure7_bytes"].caption
    assert "at 4.2e+21 FLOPs" in sketches["figure7_flops"].caption
    assert "Dotted" in sketches["figure4_bytes"].caption and "Dotted" not in sketches["figure4"].caption


def test_classes_are_those_of_the_items(out: Path, study: Study, sketches: dict[str, Sketch]) -> None:
    answers = {one.task: one for one in answers_of(study, inference_measures(study))}
    assert list(answers) == list(synthetic_paper.LABELS)
    gold, given = synthetic_paper.paper_answers(CELLS[0], BUDGET, "jsem")
    counts = answers["jsem"].of_cell[" ".join(CELLS[0])]
    assert counts.gold == {label: gold.count(label) for label in set(gold)} and counts.invalid == given.count("?")
    assert "JSeM (4 classes, 120 items)" in [axes.get_title(loc="left") for axes in sketches["figure9"].figure.axes]
    shares = majority_shares(study, inference_measures(study), last=True)[" ".join(CELLS[0])]
    assert shares["jsem"] == pytest.approx(100 * max(map(given.count, set(given))) / len(given))


def test_changes_of_the_commonest_answer_are_ringed(study: Study) -> None:
    measure = next(m for m in inference_measures(study) if m.task == "jsick")
    favourites = []
    for tokens in (0, int(0.4 * BUDGET), BUDGET):
        _, given = synthetic_paper.paper_answers(CELLS[0], tokens, "jsick")
        favourites.append((tokens, max(set(given), key=given.count)))
    flips = [tokens for (_, before), (tokens, now) in pairwise(favourites) if now != before]
    assert flips and [tokens for tokens, _ in flips_of_majority(study, study.cells[0], measure)] == flips


def test_items_without_labels_leave_figure_9_out(tmp_path: Path) -> None:
    write_paper_study(tmp_path, cells=CELLS[:1], marks=(0.0, 1.0), tasks=("jnli",))
    for items in tmp_path.glob("runs/*/evaluations/*/*/items.parquet"):
        items.unlink()
    absent = dict(absent_paper_figures(load_study(tmp_path, NAME)))
    assert "no labels and answers" in absent["figure9"] and "figure11" not in absent


def test_untrained_text_has_no_loss_per_byte(tmp_path: Path) -> None:
    from analysis.figures.loss import loss_figure

    write_paper_study(tmp_path, cells=CELLS[:2], marks=(0.0, 1.0), tasks=("jcqa",))
    path = RunPaths.of(tmp_path, run_id_of(CELLS[1])).identity
    identity = json.loads(path.read_text(encoding="utf-8"))
    identity["parallel"] = {"name": "ti_mixed", "format": "translation_instruction"}
    path.write_text(json.dumps(identity), encoding="utf-8")
    study = load_study(tmp_path, NAME)
    lines = {progress: loss_figure(study, progress).axes[0].lines for progress in (TOKENS, BYTES, FLOPS)}  # type: ignore[union-attr]
    assert [len(drawn) for drawn in lines.values()] == [4, 2, 2]  # raw and smoothed
    nats, bits = (lines[progress][0].get_ydata() for progress in (TOKENS, BYTES))
    assert bits[0] / nats[0] == pytest.approx(1 / (synthetic_paper.BYTES_PER_TOKEN["base"] * 0.6931472), rel=1e-6)


def test_the_style_draws_without_a_display() -> None:
    with figure_style():
        assert new_figure(1.0).get_size_inches()[0] == pytest.approx(7.2)
