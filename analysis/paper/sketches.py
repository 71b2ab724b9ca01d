"""The paper's figures as sketches: each drawn from the study and given its words (alt text and caption), not yet saved.

Reads  the study, its claims and items.  Writes  nothing (analysis.paper.figures saves).  Source  paper Figures 1 to 11
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from analysis.claims.claim import EQUIVALENT, INCONCLUSIVE, MARGINS, ONE_RUN, Claim
from analysis.claims.compare import Comparer
from analysis.figures.averages import Averaged, averaged_in_words, curves_figure, ends_in_words, equal_in_words
from analysis.figures.axes import TOKENS, Progress, has_two_vocabularies
from analysis.figures.bars import language_figure
from analysis.figures.classes import GOLD, answers_of, classes_figure, inference_curves, majority_figure, majority_shares
from analysis.figures.gains import BETWEEN, equal_claims, training_claims
from analysis.figures.joint import MOST_PANELS, joint_figure, joints_of
from analysis.figures.loss import loss_figure, per_byte_cells
from analysis.figures.series import by_size, cell_series, contrast_series
from analysis.figures.tasks import profile_words, row_name, scored_measures, short_name, with_fair_summaries
from analysis.load import Contrast, Measure, Study
from analysis.wording import listing, summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OWN_TOKEN_0 = "With another vocabulary, token 0 is the base model with the untrained rows of the added subwords."
FIRST_STEPS = "The first steps may lie above the top."
BANDS = "Bands: 95% over the items of every averaged task, not paired."


@dataclass(frozen=True)
class Sketch:
    """A drawn figure before it is saved, with its words."""

    figure: Figure
    alt: str
    caption: str


@dataclass(frozen=True)
class Given:
    """What every figure is drawn from."""

    comparer: Comparer
    claims: Sequence[Claim]
    training: Sequence[Claim] = ()  # every cell against its own token 0, as the report judged it

    @property
    def study(self) -> Study:
        """The sweep and its runs."""
        return self.comparer.study

    @property
    def margins(self) -> Mapping[str, float]:
        """Margins of equivalence, as the report's claims were judged."""
        return {c.unit: c.equivalence_margin for c in self.claims if c.equivalence_margin is not None} or MARGINS


def _told(labels: Sequence[str], claims: Sequence[Claim]) -> str:
    return " ".join(summary(label, [claim for claim in claims if claim.contrast == label]) for label in labels)


def _reading(claims: Sequence[Claim]) -> str:
    """How to read the bars, as far as these claims need it."""
    parts = [
        "Bars and markers are relative changes, lines 95% intervals over runs and items. Filled: improved or degraded after adjustment"
    ]
    parts += ["; hollow: inconclusive"] if any(c.verdict == INCONCLUSIVE for c in claims) else []
    parts += ["; half filled with ≈: equivalent within the margin"] if any(c.verdict == EQUIVALENT for c in claims) else []
    parts += ["; hollow and dotted: one run, interval over items alone"] if any(c.verdict == ONE_RUN for c in claims) else []
    parts += [". Baselines at the floor: differences in points"] if any(c.at_floor and c.drawn_interval for c in claims) else []
    parts += [f". Dotted: {BETWEEN}"] if any(BETWEEN in c.notes for c in claims) else []
    lost = sum(c.difference is not None and c.drawn_interval is None for c in claims)
    parts += [f". Not drawn: {lost} change{'s' * (lost > 1)} without an interval, as items are gone"] if lost else []
    return "".join(parts) + "."


def training_sketch(given: Given, *, progress: Progress) -> Sketch | None:
    """Figure 1: every cell against its own token 0."""
    study, measures = given.study, scored_measures(given.study)
    if progress == TOKENS and given.training:
        names = {(m.task, m.metric, m.profile): row_name(m, measures) for m in measures}
        mine = [c for c in given.training if (c.task, c.metric, c.profile) in names]
        claims: Sequence[Claim] = [replace(c, measure=names[c.task, c.metric, c.profile]) for c in mine]
        family = "all comparisons of the report with token 0"
    else:
        claims = training_claims(given.comparer, measures, progress=progress, margins=given.margins)
        family = "the comparisons of this figure"
    looks = cell_series(study)
    figure = language_figure(claims, {cell.label: looks[cell.label] for cell in by_size(study.cells)})
    where = "its last checkpoint" if progress == TOKENS else f"{progress.same}, as far as every cell of its size has come,"
    words = f"Every cell at {where} against its own token 0."
    adjusted = f"Adjusted over {family} (Holm)."
    caption = _joined(words, OWN_TOKEN_0 if has_two_vocabularies(study) else "", _reading(claims), adjusted, profile_words(measures))
    return Sketch(figure, f"{words} {_told([cell.label for cell in study.cells], claims)}", caption) if figure else None


def contrasts_sketch(given: Given, *, contrasts: Sequence[Contrast], progress: Progress) -> Sketch | None:
    """Figures 4 and 5: the report's claims on the contrasts of one factor, or claims of this figure at equal text or compute."""
    study, measures = given.study, with_fair_summaries(given.study, scored_measures(given.study))
    if progress == TOKENS:
        names = {(m.task, m.metric, m.profile): row_name(m, measures) for m in measures}
        labels = {contrast.label for contrast in contrasts}
        mine = [c for c in given.claims if c.contrast in labels and (c.task, c.metric, c.profile) in names]
        order = list(names)
        mine.sort(key=lambda c: order.index((c.task, c.metric, c.profile)))
        claims = [replace(c, measure=names[c.task, c.metric, c.profile]) for c in mine]
        adjusted = "Adjusted over all comparisons of the report (Holm)."
    else:
        claims = list(equal_claims(given.comparer, contrasts, measures, progress=progress, margins=given.margins))
        adjusted = "Adjusted over the comparisons of this figure (Holm)."
    sizes = {cell.label: index for index, cell in enumerate(by_size(study.cells))}
    ordered = sorted(contrasts, key=lambda contrast: sizes[contrast.cell])
    figure = language_figure(claims, contrast_series(study, ordered))
    where = "the last checkpoints" if progress == TOKENS else f"{progress.same}, as far as both cells have come"
    words = f"Each contrast at {where}."
    caption = _joined(words, _reading(claims), adjusted, profile_words(measures))
    return Sketch(figure, f"{words} {_told([contrast.label for contrast in ordered], claims)}", caption) if figure else None


def joint_sketch(given: Given, *, measure: Measure | None) -> Sketch | None:
    """Figure 2."""
    if measure is None:
        return None
    joints = joints_of(given.study, measure)
    figure = joint_figure(joints)
    told = [f"{j.cell}: {j.better} items better, {j.worse} worse, {j.num_items - j.better - j.worse} the same." for j in joints]
    more = f"The first {MOST_PANELS} of {len(joints)} cells." if len(joints) > MOST_PANELS else ""
    caption = _joined(
        f"Every item of {short_name(measure.task)} by its score ({measure.metric.replace('_', ' ')}) at token 0 and after training: the "
        "upper left corner went from wrong to right. Numbers are items; grey bars count them by one score alone.",
        more,
        profile_words([measure]),
    )
    return Sketch(figure, f"Joint distribution of item scores of {measure.task}. {' '.join(told)}", caption) if figure else None


def averages_sketch(
    given: Given, *, panels: Sequence[Averaged], contrasts: Sequence[Contrast], every_cell: bool, progress: Progress
) -> Sketch | None:
    """Figures 3, 6 and 7: curves of every cell, or of the cells of the contrasts; the words compare the contrasts."""
    study = given.study
    named = {label for contrast in contrasts for label in (contrast.cell, contrast.baseline_cell)}
    cells = [cell for cell in study.cells if every_cell or cell.label in named]
    drawn = curves_figure(study, cells, panels, contrasts, progress)
    if drawn is None:
        return None
    caption = _joined(
        f"Score against {progress.label}; token 0 is the start.",
        averaged_in_words(study, cells, drawn),
        OWN_TOKEN_0 if contrasts else "",
        equal_in_words(drawn, contrasts, progress),
        "Upright line: as far as both cells of a comparison have come." if contrasts and progress != TOKENS else "",
        BANDS,
        profile_words([m for panel in panels for m in panel.measures if m.profile == "paper"]),
    )
    return Sketch(drawn.figure, f"Score against {progress.label}, one line a cell. {ends_in_words(drawn)}", caption)


def loss_sketch(given: Given, *, progress: Progress) -> Sketch | None:
    """Figure 8."""
    study = given.study
    figure = loss_figure(study, progress)
    if progress == TOKENS:
        words = f"Losses per token are comparable only between cells with the same vocabulary and data. {FIRST_STEPS}"
        return (
            Sketch(figure, f"Training loss per token against trained tokens, one smoothed line a run. {words}", words) if figure else None
        )
    left = [cell.label for cell in study.cells if cell not in per_byte_cells(study)]
    words = (
        f"Training loss in bits per byte of text against {progress.label}: comparable between vocabularies, not between data. {FIRST_STEPS}"
    )
    missing = f"Left out, as some of what they read is not trained on or not logged: {listing(left)}." if left else ""
    return Sketch(figure, f"{words} One smoothed line a run.", _joined(words, missing)) if figure else None


def classes_sketch(given: Given, *, measures: Sequence[Measure]) -> Sketch | None:
    """Figure 9."""
    answers = answers_of(given.study, measures)
    figure = classes_figure(answers)
    told = []
    for one in answers:
        shares = {GOLD: max(one.gold.values()) / sum(one.gold.values())}
        shares |= {label: max(c.predicted.values(), default=0) / c.num_items for label, c in one.of_cell.items()}
        told.append(f"{short_name(one.task)}: " + ", ".join(f"{label} {share:.0%}" for label, share in shares.items()) + ".")
    caption = (
        "Top bar: gold labels; the others: answers of each cell at its last checkpoint. A class that takes most of a bar whatever is asked "
        "makes the score depend on whether it is also the commonest gold label."
    )
    return Sketch(figure, f"Class distributions. Share of the commonest class: {' '.join(told)}", caption) if figure else None


def inference_sketch(given: Given, *, measures: Sequence[Measure]) -> Sketch | None:
    """Figure 10."""
    figure = inference_curves(given.study, measures)
    caption = _joined(
        "Ringed: another class has become the commonest answer since the checkpoint before (cells with one seed). Bands: 95% over items.",
        profile_words(measures),
    )
    names = listing([short_name(m.task) for m in measures])
    return Sketch(figure, f"Score against trained tokens on {names}, one panel a cell, one line a dataset.", caption) if figure else None


def majority_sketch(given: Given, *, measures: Sequence[Measure]) -> Sketch | None:
    """Figure 11."""
    figure = majority_figure(given.study, measures, answers_of(given.study, measures))
    ends = majority_shares(given.study, measures, last=True)
    told = " ".join(f"{label}: " + ", ".join(f"{short_name(t)} {s:.0f}%" for t, s in of.items()) + "." for label, of in ends.items())
    caption = "Filled: last checkpoint; hollow: token 0. Upright strokes: share of the commonest gold label."
    return Sketch(figure, f"Share of the commonest answer. {told}", caption) if figure else None


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)
