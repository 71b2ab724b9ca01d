"""Training loss: per token against trained tokens, and per byte of text against bytes or FLOPs, where vocabularies may differ.

A loss per token is not comparable between vocabularies; the same loss per byte of text is: nats per token x tokens / bytes / ln 2.
Runs of which some text is read but not trained on (a loss flag of 0) have no such number: their bytes are not those behind the loss.

Reads  nothing but the study (its training log) and runs/*/identity.json.  Writes  nothing.  Source  paper Figure 8 (shape).
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

import numpy as np

from analysis.figures.axes import TOKENS, Progress, progress_axis
from analysis.figures.series import by_size, cell_series, legend_inches, line_legend
from analysis.figures.style import figure_style, new_figure
from analysis.frames import Cell
from analysis.load import Study
from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.aggregate import FloatArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SMOOTHING_WINDOWS = 60
MOST_POINTS = 600  # of a loss curve; more would only make the files larger
INSTRUCTION = "translation_instruction"  # the one format with text that is read without being trained on
MARKERS_ON_A_LINE = 6
FIRST_STEPS = 0.04  # of a run: where they are much higher than the rest, they leave the top of the axis


def smoothed(values_S: FloatArray) -> FloatArray:
    """Mean over a centred window of about 1/60 of the curve (at least one step); the ends use what is there."""
    half = len(values_S) // (2 * SMOOTHING_WINDOWS)
    padded = np.concatenate([[0.0], np.cumsum(values_S)])
    ends = np.minimum(np.arange(len(values_S)) + half + 1, len(values_S))
    starts = np.maximum(np.arange(len(values_S)) - half, 0)
    return np.asarray((padded[ends] - padded[starts]) / (ends - starts), dtype=np.float64)


def per_byte_cells(study: Study) -> list[Cell]:
    """Cells with a training log whose text is all trained on and whose bytes are logged."""
    logged = set(study.curves.loc[study.curves["text_bytes"].notna(), "cell"])
    return [cell for cell in study.cells if cell.label in logged and not any(_has_untrained_text(study, r) for r in cell.run_ids)]


def _has_untrained_text(study: Study, run_id: str) -> bool:
    identity = read_json(RunPaths.of(study.out, run_id).identity)
    parallel = identity.get("parallel") if isinstance(identity, dict) else None
    return isinstance(parallel, dict) and parallel.get("format") == INSTRUCTION


def loss_figure(study: Study, progress: Progress = TOKENS) -> Figure | None:
    """One line a run; None when no run has logged what is drawn."""
    cells = study.cells if progress == TOKENS else tuple(per_byte_cells(study))
    labels = [cell.label for cell in by_size(cells)]
    rows = study.curves[study.curves["cell"].isin(labels) & study.curves[progress.column].notna()]
    if rows.empty:
        return None
    looks = cell_series(study)
    drawn = [looks[label] for label in labels if label in set(rows["cell"])]
    later = []
    with figure_style():
        figure = new_figure(2.75 + legend_inches([look.label for look in drawn]))
        axes = figure.add_subplot()
        for run_id, mine in rows.groupby("run_id", sort=False):
            look = looks[str(mine["cell"].iloc[0])]
            tokens = mine["trained_tokens"].to_numpy(dtype=np.float64)
            places, loss = mine[progress.column].to_numpy(dtype=np.float64), mine["loss"].to_numpy(dtype=np.float64)
            if progress != TOKENS:  # tokens per byte of the whole run: one vocabulary, one mixture
                loss = loss / log(2) * tokens[-1] / float(mine["text_bytes"].iloc[-1])
            shown = np.unique(np.linspace(0, len(places) - 1, num=min(len(places), MOST_POINTS)).astype(int))
            smooth = smoothed(loss)
            later.append(float(smooth[int(FIRST_STEPS * (len(smooth) - 1)) :].max()))
            axes.plot(places[shown], loss[shown], color=look.color, alpha=0.22, linewidth=0.6)
            axes.plot(
                places[shown],
                smooth[shown],
                color=look.color,
                linewidth=1.4,
                linestyle=look.dashes,
                marker=look.marker,
                markersize=3.5,
                markevery=max(1, len(shown) // MARKERS_ON_A_LINE),
                gid=f"loss_{run_id}",
            )
        axes.set_xlabel(progress.label)
        axes.set_ylabel("training loss (nats per token)" if progress == TOKENS else "training loss (bits per byte of text)")
        progress_axis(axes, progress)
        top = 1.15 * max(later)
        if axes.get_ylim()[1] > 1.5 * top:
            axes.set_ylim(top=top)
        line_legend(figure, drawn)
    return figure
