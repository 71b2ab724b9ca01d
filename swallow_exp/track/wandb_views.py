"""Build the W&B workspace and report of a sweep, and save them in place. The only file that imports wandb_workspaces.

(1) sections   a Board (dashboard.py)           -> learning curves over trained_tokens by every factor, final scores, relative change,
                                                   what differs between runs, health; no smoothing, only runs of the sweep's group
(2) view       a name made from the sweep's     -> the saved view is found again and changed, from whatever machine it is pushed
(3) report     id kept by push.py, else title   -> the same for the report

Relative changes are our own numbers with their intervals, as text: W&B would draw them without.
Reads/Writes  the project on the server.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import digest_of
from swallow_exp.track.dashboard import Board, answers_markdown, changes_markdown, verdict_sentences
from swallow_exp.track.rows import STEP_METRIC, axis_key
from swallow_exp.track.wandb_sink import import_wandb

EXTRA = "swallow_exp[dashboard]"
MAX_RUNS = 100  # W&B draws no more in one panel
FEW_COLUMNS = 6  # score columns beside a run's name
WITHOUT_CLAIMS = "No claims yet: `swallow report {name}` makes them, and the next `swallow dashboard push {name}` shows them here."
# The library's own query reads the view as well, and gives up on one that the web app has saved since.
VIEW_QUERY = """
query SavedView($entity: String, $project: String, $name: String) {
  project(name: $project, entityName: $entity) {
    allViews(viewType: "project-view", viewName: $name) { edges { node { id } } }
  }
}
"""


@dataclass(frozen=True)
class Pushed:
    """Where the two are, and the report's id."""

    workspace_url: str
    report_url: str
    report_id: str


def import_views() -> tuple[Any, Any, Any]:
    """wandb_workspaces' workspaces, reports and filter expressions. Raises RequestError when it is not installed."""
    try:
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # its classes use an older pydantic
            import wandb_workspaces.reports.v2 as reports
            import wandb_workspaces.workspaces as workspaces
            from wandb_workspaces import expr
    except ImportError as error:
        raise RequestError(
            "a W&B dashboard without the package wandb-workspaces", expected="the optional dependency", remedy=f"pip install '{EXTRA}'"
        ) from error
    return workspaces, reports, expr


def push_views(board: Board, *, project: str, entity: str | None, report_id: str | None) -> Pushed:
    """Save the workspace and the report of `board`; those of an earlier push are changed. Raises RequestError: no login, no project."""
    modules = import_views()
    wandb = import_wandb()
    try:
        api = wandb.Api()
        owner = entity or api.default_entity
        if not owner:
            raise RequestError("a W&B account without a default entity", expected="a team or user", remedy="name it with --entity")
        builder = _Builder(board, str(owner), project, *modules)
        workspace, report = builder.workspace(), builder.report()
        workspace._internal_name = view_name(board.name)
        workspace._internal_id = builder.find_view(api, workspace._internal_name)
        report.id = builder.find_report(api, report.title, report_id)
        workspace.save()
        report.save()
    except (wandb.Error, OSError, _failed_call(wandb)) as error:
        raise RequestError(
            f"W&B refused or could not be reached ({_first_line(error)})",
            expected="a login (`wandb login` or WANDB_API_KEY) and a network",
            remedy="log in, check --project and --entity, and repeat the command",
        ) from error
    return Pushed(str(workspace.url), str(report.url), str(report.id))


def _failed_call(wandb: Any) -> type[Exception]:
    """What wandb's background process raises for an answer it cannot use; in releases without it, wandb.Error."""
    try:
        error: type[Exception] = wandb.sdk.lib.service.service_connection.WandbApiFailedError
    except AttributeError:
        error = wandb.Error
    return error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def view_name(name: str) -> str:
    """W&B's own name of the saved view of sweep `name`: the same on every machine, in the form the web app uses."""
    return f"nw-{digest_of(name)[:11]}-v"


@dataclass(frozen=True)
class _Builder:
    """A board in the words of wandb_workspaces (its modules `workspaces`, `reports`, `expr`)."""

    board: Board
    entity: str
    project: str
    workspaces: Any
    reports: Any
    expr: Any

    def workspace(self) -> Any:
        """The saved view."""
        ws, board = self.workspaces, self.board
        columns = [f"config:{axis_key(factor)}.value" for factor in board.factors]
        columns += [f"summary:{metric}" for metric in board.scores[:FEW_COLUMNS]]
        axis = {"x_axis": STEP_METRIC, "smoothing_type": "none", "smoothing_weight": 0}
        return ws.Workspace(
            entity=self.entity,
            project=self.project,
            name=board.name,
            sections=[
                ws.Section(name=title, panels=panels, is_open=True, panel_settings=ws.SectionPanelSettings(**axis))
                for title, panels in self.sections()
            ],
            settings=ws.WorkspaceSettings(**axis, max_runs=self.num_runs, group_by_prefix="first"),
            runset_settings=ws.RunsetSettings(
                filters=self.filters(),
                order=[self.expr.Ordering(self.expr.Metric("Name"), ascending=True)],
                pinned_columns=columns,
                baseline_run=board.baseline_run_id,
            ),
        )

    def report(self) -> Any:
        """Question, what was expected, what was found in words, then the panels."""
        wr, board = self.reports, self.board
        blocks = [wr.H1("Question"), wr.P(board.question)]
        blocks += [wr.P(f"Expected: {board.expects}")] if board.expects else []
        blocks += [wr.P(f"Source: {board.section}")] if board.section else []
        blocks.append(wr.H1("Findings"))
        if board.claims:
            blocks += [wr.UnorderedList(items=verdict_sentences(board.claims)), wr.MarkdownBlock(changes_markdown(board.claims))]
        else:
            blocks.append(wr.P(WITHOUT_CLAIMS.format(name=board.name)))
        for title, panels in self.sections(with_changes=False):
            grid = wr.PanelGrid(runsets=[self.runset()], panels=_arranged(wr, panels))
            blocks += [wr.H1(title), grid]
        return wr.Report(
            project=self.project,
            entity=self.entity,
            title=f"swallow_exp {board.name}"[:128],
            description=board.question,
            blocks=blocks,
            width="fluid",
        )

    def sections(self, *, with_changes: bool = True) -> Iterator[tuple[str, list[Any]]]:
        """(title, panels) in the order a reader asks: how it went, by which choice, where it ended, what changed, and is it sound."""
        wr, board = self.reports, self.board
        curves = [*board.curves, *board.scores]
        yield "Learning curves: every run", [self.line(metric) for metric in curves]
        for factor in board.factors:
            yield f"Learning curves by {factor}", [self.line(metric, factor) for metric in curves]
        if board.scores:
            yield (
                "Final scores",
                [self.bars(metric, factor) for factor in board.factors for metric in board.scores]
                or [self.bars(metric) for metric in board.scores],
            )
        if with_changes:
            told = "\n".join(f"- {sentence}" for sentence in verdict_sentences(board.claims)) + f"\n\n{changes_markdown(board.claims)}"
            text = told if board.claims else WITHOUT_CLAIMS.format(name=board.name)
            yield "Relative change", [wr.MarkdownPanel(markdown=text, layout=wr.Layout(w=24, h=12))]
        yield "What differs between runs", [wr.RunComparer(diff_only=True, layout=wr.Layout(w=24, h=12))]
        health = [self.line(metric) for metric in board.health]
        if board.answers:
            health.append(wr.MarkdownPanel(markdown=answers_markdown(board.answers), layout=wr.Layout(w=24, h=12)))
        if health:
            yield "Health", health

    def line(self, metric: str, factor: str | None = None) -> Any:
        """One metric over trained tokens: every run, or the mean of each level of `factor` with the range of its runs."""
        return self.reports.LinePlot(
            title=metric,
            x=STEP_METRIC,
            y=[metric],
            title_x="trained tokens",
            smoothing_type="none",
            smoothing_factor=0.0,
            max_runs_to_show=self.num_runs,
            **self.grouping(factor),
        )

    def bars(self, metric: str, factor: str | None = None) -> Any:
        """One metric at the end, by level of `factor`."""
        return self.reports.BarPlot(
            title=f"{metric} by {factor}" if factor else metric,
            metrics=[metric],
            max_runs_to_show=self.num_runs,
            max_bars_to_show=self.num_runs,
            **self.grouping(factor),
        )

    def grouping(self, factor: str | None) -> dict[str, Any]:
        """Mean of each level's runs, with their smallest and largest; nothing without a factor."""
        if factor is None:
            return {}
        return {"groupby": self.reports.Config(axis_key(factor)), "groupby_aggfunc": "mean", "groupby_rangefunc": "minmax"}

    def runset(self) -> Any:
        """The sweep's runs, for the panels of a report."""
        return self.reports.Runset(entity=self.entity, project=self.project, name=self.board.name, filters=self.filters())

    def filters(self) -> Any:
        """Only runs of the sweep: the publisher gives them its name as their group. A run has one group, even when two sweeps have it."""
        of_group = self.expr.Metric("Group") == self.board.name
        if not self.board.shared_run_ids:
            return self.expr.And(of_group)
        return self.expr.Or(of_group, self.expr.Metric("ID").isin(list(self.board.shared_run_ids)))

    @property
    def num_runs(self) -> int:
        """How many runs a panel may show."""
        return min(max(len(self.board.run_ids), 10), MAX_RUNS)

    def find_view(self, api: Any, name: str) -> str:
        """Id of the saved view of that name; empty when there is none yet. Raises RequestError when there is no such project."""
        from wandb_workspaces._graphql import execute_graphql

        project = execute_graphql(api, VIEW_QUERY, {"entity": self.entity, "project": self.project, "name": name}).get("project")
        if project is None:
            raise self.no_project()
        return next((str(edge["node"]["id"]) for edge in project["allViews"]["edges"]), "")

    def find_report(self, api: Any, title: str, known_id: str | None) -> str:
        """Id of the report: the one of an earlier push while it is there, otherwise one of this title; empty when there is neither."""
        try:
            reports = {str(report.id): report.display_name for report in api.reports(f"{self.entity}/{self.project}")}
        except ValueError as error:
            raise self.no_project() from error
        if known_id in reports:
            return str(known_id)
        return next((report_id for report_id, shown in reports.items() if shown == title), "")

    def no_project(self) -> RequestError:
        """What to say of a project nobody published to."""
        return RequestError(
            f"no W&B project {self.entity}/{self.project}",
            expected="a project with the sweep's runs",
            remedy=f"publish first: swallow publish {self.board.name} --mode online",
        )


def _arranged(wr: Any, panels: list[Any]) -> list[Any]:
    """The same panels in a report's grid of 24 columns: three a row, wide ones in rows of their own, below."""
    wide = [panel for panel in panels if panel.layout.w == 24]
    small = [panel for panel in panels if panel.layout.w != 24]
    for number, panel in enumerate(small):
        panel.layout = wr.Layout(x=8 * (number % 3), y=6 * (number // 3), w=8, h=6)
    below = 6 * math.ceil(len(small) / 3)
    for number, panel in enumerate(wide):
        panel.layout = wr.Layout(x=0, y=below + 12 * number, w=24, h=12)
    return [*small, *wide]
