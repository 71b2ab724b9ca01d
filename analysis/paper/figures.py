"""The paper's figures from the records of a study: which of Figures 1 to 11 it can fill, drawn, and why it cannot fill the others.

figure1   every cell against its own token 0                figure7   question answering along training, with and without expansion
figure2   item scores before and after training             figure8   training loss
figure3   average of the Japanese (and English) tasks        figure9   classes of the inference sets, asked and answered
figure4   vocabulary expansion                               figure10  accuracy on them along training
figure5   parallel corpus                                    figure11  share of the commonest answer
figure6   summarization along training, with and without expansion

Where vocabularies differ, 1, 3, 4, 6, 7 and 8 exist three times: at equal tokens, and as NAME_bytes and NAME_flops at equal text and
equal compute, because equal tokens are not equal text.

Reads  the study, its claims and items.  Writes  <report>/figures/figure*.{svg,pdf,png}.  Source  paper Figures 1 to 11
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from analysis.claims.claim import Claim
from analysis.claims.compare import Comparer
from analysis.figures.averages import language_panels, question_panels, summary_panels
from analysis.figures.axes import BYTES, FLOPS, TOKENS, Progress, has_two_vocabularies, reached
from analysis.figures.classes import answers_of, inference_measures, majority_shares
from analysis.figures.gains import Results
from analysis.figures.joint import joint_measure, joints_of
from analysis.figures.loss import per_byte_cells
from analysis.figures.style import PageFigure, font_words, save_figure
from analysis.figures.tasks import scored_measures
from analysis.load import Contrast, Measure, Study
from analysis.paper.sketches import (
    Given,
    Sketch,
    averages_sketch,
    classes_sketch,
    contrasts_sketch,
    inference_sketch,
    joint_sketch,
    loss_sketch,
    majority_sketch,
    training_sketch,
)
from analysis.wording import listing
from swallow_exp.artefact.paths import ReportPaths
from swallow_exp.artefact.progress import track
from swallow_exp.record.contrast import group_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VOCABULARY, PARALLEL = "vocabulary", "parallel"


@dataclass(frozen=True)
class Planned:
    """One figure on one axis: how it is drawn, or why it cannot be (`why`, empty when it can)."""

    number: int
    words: str
    why: str
    draw: Callable[[Given, Progress], Sketch | None] = field(repr=False)
    progress: Progress = TOKENS

    @property
    def name(self) -> str:
        """`figure6`, `figure6_bytes`."""
        return f"figure{self.number}{self.progress.suffix}"

    @property
    def title(self) -> str:
        """Heading on the page."""
        return f"Figure {self.number}: {self.words}" + ("" if self.progress == TOKENS else f", at {self.progress.same}")


def draw_paper_figures(
    comparer: Comparer,
    claims: Sequence[Claim],
    paths: ReportPaths,
    *,
    names: Collection[str] | None = None,
    training: Sequence[Claim] = (),
) -> list[PageFigure]:
    """Draw and save those of Figures 1 to 11 that the records can fill.

    names: only these. training: cells against token 0, where they are judged already.
    """
    study = comparer.study
    given, drawn = Given(comparer, claims, training), []
    wanted = [planned for planned in planned_figures(study) if not planned.why and (names is None or planned.name in names)]
    for planned in track(wanted, "figures", len(wanted)):
        sketch = planned.draw(given, planned.progress)
        if sketch is not None:
            caption = " ".join(part for part in (sketch.caption, font_words(_texts(sketch.figure))) if part)
            svg = save_figure(sketch.figure, planned.name, paths)
            drawn.append(PageFigure(planned.name, planned.title, svg, sketch.alt, caption))
    return drawn


def absent_paper_figures(study: Study) -> list[tuple[str, str]]:
    """Name of every figure that the records cannot fill, and why."""
    return [(planned.name, planned.why) for planned in planned_figures(study) if planned.why]


def _texts(figure: Figure) -> list[str]:
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text)]


def planned_figures(study: Study) -> list[Planned]:
    """All figures in the paper's order, with the variants on the other axes where they say something of their own."""
    progresses = (TOKENS, BYTES, FLOPS) if has_two_vocabularies(study) else (TOKENS,)
    scores = [*_score_figures(study), *_vocabulary_figures(study)]
    plan = [
        Planned(p.number, p.words, p.why or _no_log(study, progress), p.draw, progress)
        for p in sorted(scores, key=lambda p: p.number)
        for progress in (progresses if p.number in (1, 3, 4, 6, 7) else (TOKENS,))
    ]
    loss = [
        Planned(8, "training loss", _no_loss(study, progress), lambda g, p: loss_sketch(g, progress=p), progress) for progress in progresses
    ]
    return [*plan, *loss, *_inference_figures(study)]


def _score_figures(study: Study) -> list[Planned]:
    """1, 2, 3 and 5."""
    vocabulary, parallel = (_contrasts(study, factor) for factor in (VOCABULARY, PARALLEL))
    joint, panels = joint_measure(study), language_panels(study)
    return [
        Planned(1, "what training changed", _no_training(study), lambda g, p: training_sketch(g, progress=p)),
        Planned(2, "items before and after training", _no_joint(study, joint), lambda g, p: joint_sketch(g, measure=joint)),
        Planned(
            3,
            "average score along training",
            "" if panels else "neither Japanese nor English tasks of the paper were asked",
            lambda g, p: averages_sketch(g, panels=panels, contrasts=vocabulary, every_cell=True, progress=p),
        ),
        Planned(
            5,
            "what a parallel corpus changed",
            _no_contrast(study, parallel, "uses of a parallel corpus"),
            lambda g, p: contrasts_sketch(g, contrasts=parallel, progress=p),
        ),
    ]


def _vocabulary_figures(study: Study) -> list[Planned]:
    """4, 6 and 7."""
    contrasts = _contrasts(study, VOCABULARY)
    why = _no_contrast(study, contrasts, "vocabularies")
    summaries, questions = summary_panels(study), question_panels(study)
    return [
        Planned(4, "what another vocabulary changed", why, lambda g, p: contrasts_sketch(g, contrasts=contrasts, progress=p)),
        Planned(
            6,
            "summarization along training",
            why or ("" if summaries else "xlsum was not asked"),
            lambda g, p: averages_sketch(g, panels=summaries, contrasts=contrasts, every_cell=False, progress=p),
        ),
        Planned(
            7,
            "question answering along training",
            why or ("" if questions else "jcqa, jemhopqa and niilc were not all asked"),
            lambda g, p: averages_sketch(g, panels=questions, contrasts=contrasts, every_cell=False, progress=p),
        ),
    ]


def _inference_figures(study: Study) -> list[Planned]:
    """9, 10 and 11."""
    measures = inference_measures(study)
    why = "" if measures else "no task with a closed set of labels (natural language inference) was asked"
    unread = why or ("" if answers_of(study, measures) else "no labels and answers of a trained checkpoint are on disk")
    return [
        Planned(9, "classes, asked and answered", unread, lambda g, p: classes_sketch(g, measures=measures)),
        Planned(
            10,
            "accuracy on inference along training",
            why or _no_two_points(study, measures),
            lambda g, p: inference_sketch(g, measures=measures),
        ),
        Planned(
            11, "share of the commonest answer", why or _no_shares(study, measures), lambda g, p: majority_sketch(g, measures=measures)
        ),
    ]


def _contrasts(study: Study, factor: str) -> list[Contrast]:
    return [contrast for contrast in study.contrasts if group_of(contrast.factor) == factor]


def _no_log(study: Study, progress: Progress) -> str:
    """Why an axis cannot be had: the log of every run that was evaluated after training must say how far it was."""
    without = []
    for run_id in (r for cell in study.cells for r in cell.run_ids):
        marks = study.checkpoints_of(run_id)
        if marks and reached(study, run_id, marks[-1], progress) is None:
            without.append(run_id)
    return f"the training log does not say {progress.column} for {listing(without)}" if without else ""


def _no_training(study: Study) -> str:
    results = Results(study, TOKENS)
    for measure in scored_measures(study):
        for cell in study.cells:
            for run_id in cell.run_ids:
                sides = (results.start(run_id, measure), results.end(cell, run_id, measure))
                if all(side and study.items_of(side[0][1]) for side in sides):
                    return ""
    return "no cell was asked the same at token 0 and after training"


def _no_joint(study: Study, measure: Measure | None) -> str:
    if measure is None:
        return "no task has a score for every item"
    return "" if joints_of(study, measure) else f"no cell has the items of {measure.task} at token 0 and after training"


def _no_contrast(study: Study, contrasts: Sequence[Contrast], what: str) -> str:
    if not contrasts:
        return f"the sweep compares no two {what}"
    evaluated = {record.run_id for record in study.records if record.trained_tokens > 0}
    both = any(set(pair) <= evaluated for contrast in contrasts for pair in contrast.pairs)
    return "" if both else f"no two {what} have been evaluated after training"


def _no_loss(study: Study, progress: Progress) -> str:
    if study.curves.empty:
        return "no run has logged a training loss"
    return "" if progress == TOKENS or per_byte_cells(study) else "no run has a log of bytes of text that were all trained on"


def _no_two_points(study: Study, measures: Sequence[Measure]) -> str:
    runs = [run_id for cell in study.cells for run_id in cell.run_ids]
    counts = [sum(study.record_of(r, t, m) is not None for t in study.checkpoints_of(r)) for r in runs for m in measures]
    return "" if any(count > 1 for count in counts) else "no cell was asked at two checkpoints"


def _no_shares(study: Study, measures: Sequence[Measure]) -> str:
    return "" if majority_shares(study, measures, last=True) else "no health of a trained checkpoint says how often its commonest answer is"
