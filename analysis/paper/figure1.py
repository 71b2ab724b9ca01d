"""Figure 1 of the paper from its Table 4: relative change of Swallow against Llama 2, a group of bars a task, a bar a size.

The paper prints scores, not answers: without items there are no intervals.
Reads  analysis/paper/*.csv.  Writes  figures/figure1.{svg,pdf,png}.  Source  paper Figure 1, Table 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.figures.style import INK, SERIES, PageFigure, figure_style, new_figure, save_figure
from analysis.paper.published import PaperTask, tasks_of
from analysis.paper.statement import SIZES, relative_changes
from analysis.wording import signed
from swallow_exp.artefact.paths import ReportPaths

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "figure1"
TITLE = "Figure 1: Swallow against Llama 2"
BAR_WIDTH = 0.27
PARTS = (("Japanese", "table4_japanese"), ("English", "table4_english"))


def draw_figure1(paths: ReportPaths) -> PageFigure:
    """Draw, save and describe the figure."""
    with figure_style():
        figure = new_figure(2.9)
        widths = [len(tasks_of(table)) for _, table in PARTS]
        axes = figure.subplots(1, 2, sharey=True, width_ratios=widths)
        for part, (title, table) in zip(axes, PARTS, strict=True):
            _bars(part, tasks_of(table))
            part.set_title(f"{title} tasks")
        axes[0].set_ylabel("relative change (%)")
        axes[0].legend(loc="upper right", ncols=len(SIZES), handlelength=1.0, columnspacing=1.0)
    return PageFigure(NAME, TITLE, save_figure(figure, NAME, paths), _alt(), CAPTION)


CAPTION = (
    "Relative change (a − b) / b of every task's score, computed from Table 4; within a task the bars are 7b, 13b and 70b from left to "
    "right. No items: no interval. The paper prints scores alone, so nobody can tell which of these changes are more than noise."
)


def _bars(axes: Axes, tasks: tuple[PaperTask, ...]) -> None:
    changes = relative_changes(task.task for task in tasks)
    for index, size in enumerate(SIZES):
        places = [place + (index - 1) * BAR_WIDTH for place in range(len(tasks))]
        axes.bar(places, [changes[task.task, size] for task in tasks], BAR_WIDTH * 0.92, color=SERIES[index], label=size)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xticks(range(len(tasks)), [task.column for task in tasks], fontsize=7.5)
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    axes.margins(x=0.02)


def _alt() -> str:
    """Every bar in words."""
    told = []
    for title, table in PARTS:
        changes = relative_changes(task.task for task in tasks_of(table))
        each = [f"{t.column} {', '.join(f'{signed(changes[t.task, size], 1)}% ({size})' for size in SIZES)}" for t in tasks_of(table)]
        told.append(f"{title}: {'; '.join(each)}.")
    return f"Bars of the relative change of Swallow against Llama 2 in three sizes. {' '.join(told)}"
