"""Where everything lies under one output root. The only place that joins path strings.

<out>/artefacts/{corpus,vocabulary,tokens,mixture,weights}/<name>-<hash7>/
<out>/runs/<run_id>/...
<out>/sweeps/<name>.json
<out>/reports/<name>/
<out>/overlap/<corpus>/
<out>/fertility/<vocabulary>/<corpus>.parquet
<out>/leases/<run_id>.json
<out>/dashboards/{<name>.json, trackio/}
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from swallow_exp.artefact.errors import RequestError

DEFAULT_OUT = "outputs"
MODELS = "models"  # folder of models that no run made, and the beginning of their names
ARTEFACT_KINDS = ("corpus", "vocabulary", "tokens", "mixture", "weights")


def user_path(text: str | Path) -> Path:
    """A path as a person writes it; `~` is their home. Raises RequestError when there is no such home."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise RequestError(f"{text}", expected="a home folder that exists behind ~", remedy="write the whole path") from error


def artefact_folder(out: Path, kind: str, name: str, digest: str) -> Path:
    """Folder of one artefact; `digest` is a full hex digest, its first seven letters are used."""
    assert kind in ARTEFACT_KINDS, kind
    return out / "artefacts" / kind / f"{name}-{digest[:7]}"


def runs_folder(out: Path) -> Path:
    """All runs."""
    return out / "runs"


def models_folder(out: Path) -> Path:
    """Models that no run of ours made, each with its evaluations as a run has them."""
    return out / MODELS


def sweep_file(out: Path, name: str) -> Path:
    """The expanded grid of one sweep: cells, run_ids and the contrasts it asks for."""
    return out / "sweeps" / f"{name}.json"


def noise_folder(out: Path) -> Path:
    """What null studies measured: one register for each of them."""
    return out / "noise"


def report_folder(out: Path, name: str) -> Path:
    """Tables, figures and the page of one sweep."""
    return out / "reports" / name


def logs_folder(out: Path) -> Path:
    """Console logs of cells and evaluators."""
    return out / "logs"


def overlap_folder(out: Path, corpus_id: str) -> Path:
    """Which n-grams of evaluation items one corpus contains, a file for each set of items."""
    return out / "overlap" / corpus_id


def fertility_file(out: Path, vocabulary_id: str, corpus_id: str) -> Path:
    """Characters and tokens of every held-out document of one corpus under one vocabulary."""
    return out / "fertility" / vocabulary_id / f"{corpus_id}.parquet"


def trackio_folder(out: Path) -> Path:
    """The store behind local dashboards: made from outboxes, so it may be removed at any time."""
    return out / "dashboards" / "trackio"


def pushed_dashboard(out: Path, name: str) -> Path:
    """Where the dashboard of one sweep was pushed to, so that the next push changes it."""
    return out / "dashboards" / f"{name}.json"


def cell_lease(out: Path, run_id: str) -> Path:
    """Who carries a cell of a sweep out, and how the last attempt ended."""
    return out / "leases" / f"{run_id}.json"


@dataclass(frozen=True)
class RunPaths:
    """Every file of one run."""

    folder: Path

    @classmethod
    def of(cls, out: Path, run_id: str) -> RunPaths:
        """Paths of run `run_id` under the output root `out`; `models/<name>` stands for a model that no run made."""
        return cls(out / run_id if run_id.startswith(f"{MODELS}/") else runs_folder(out) / run_id)

    @property
    def out(self) -> Path:
        """The output root this run lies under."""
        return self.folder.parent.parent

    @property
    def checkpoints(self) -> Path:
        """Folder of all checkpoints: tokens_<n>/."""
        return self.folder / "checkpoints"

    @property
    def run_id(self) -> str:
        """The folder's name is the run_id."""
        return self.folder.name

    @property
    def identity(self) -> Path:
        """The hashed part of the config."""
        return self.folder / "identity.json"

    @property
    def config(self) -> Path:
        """The resolved config that ran."""
        return self.folder / "config.yaml"

    @property
    def inputs(self) -> Path:
        """Which artefacts the run is made from (folders and digests)."""
        return self.folder / "inputs.json"

    @property
    def provenance(self) -> Path:
        """Commit, versions, host, devices, argv."""
        return self.folder / "provenance.json"

    @property
    def status(self) -> Path:
        """State machine: planned | running | preempted | trained | failed."""
        return self.folder / "status.json"

    @property
    def events(self) -> Path:
        """The outbox: one JSON object a line."""
        return self.folder / "events.jsonl"

    @property
    def lock(self) -> Path:
        """Held by the one process that trains this run."""
        return self.folder / "train.lock"

    @property
    def failures(self) -> Path:
        """Why the processes of the last launch failed; absent while all is well."""
        return self.folder / "failures"

    @property
    def evaluation_lock(self) -> Path:
        """Held for the moment in which an evaluator writes rows to the outbox."""
        return self.folder / "evaluate.lock"

    @property
    def checkpoint_index(self) -> Path:
        """tokens -> folder, digest, export."""
        return self.folder / "checkpoints.json"

    def checkpoint(self, trained_tokens: int) -> Path:
        """Folder of the checkpoint at exactly `trained_tokens`."""
        return self.checkpoints / f"tokens_{trained_tokens}"

    def checkpoint_state(self, trained_tokens: int) -> Path:
        """Resumable state of one checkpoint: model, optimizer, scheduler, step."""
        return self.checkpoint(trained_tokens) / "state"

    def checkpoint_export(self, trained_tokens: int) -> Path:
        """Hugging Face folder of one checkpoint."""
        return self.checkpoint(trained_tokens) / "export"

    def evaluation(self, trained_tokens: int, task: str) -> Path:
        """Folder of one task's result at one checkpoint."""
        return self.folder / "evaluations" / f"tokens_{trained_tokens}" / task

    def evaluation_lease(self, trained_tokens: int, task: str) -> Path:
        """Held by the one process that asks this task at this checkpoint."""
        return self.folder / "evaluations" / f"tokens_{trained_tokens}" / f".{task}.lock"

    @property
    def absent_tasks(self) -> Path:
        """Tasks of the suite that could not be asked, and why."""
        return self.folder / "evaluations" / "absent.json"

    @property
    def overlap(self) -> Path:
        """How much of each task's items the run's training text contains."""
        return self.folder / "evaluations" / "overlap.json"

    def overlap_items(self, task: str) -> Path:
        """The same, item by item."""
        return self.folder / "evaluations" / "overlap" / f"{task}.parquet"

    def publication(self, sink: str) -> Path:
        """How far a publisher has sent this run's outbox."""
        return self.folder / "published" / f"{sink}.json"

    def publication_folder(self, sink: str) -> Path:
        """What a publisher leaves for later (offline fragments) or works in."""
        return self.folder / "published" / sink

    def publication_lock(self, sink: str) -> Path:
        """Held by the one process that publishes this run."""
        return self.folder / "published" / f"{sink}.lock"


@dataclass(frozen=True)
class ReportPaths:
    """Every file of one report."""

    folder: Path

    @classmethod
    def of(cls, out: Path, name: str) -> ReportPaths:
        """Paths of the report of sweep `name` under the output root `out`."""
        return cls(report_folder(out, name))

    @property
    def index(self) -> Path:
        """The page: one self-contained file."""
        return self.folder / "index.html"

    @property
    def claims(self) -> Path:
        """Every contrast on every task, with intervals and verdicts."""
        return self.folder / "claims.json"

    def table(self, name: str, suffix: str) -> Path:
        """One table in one format (csv, md, tex, html)."""
        return self.folder / "tables" / f"{name}.{suffix}"

    def figure(self, name: str, suffix: str) -> Path:
        """One figure in one format (svg, pdf, png)."""
        return self.folder / "figures" / f"{name}.{suffix}"

    def flips(self, name: str) -> Path:
        """Items that changed sides in one comparison on one task, one JSON object a line."""
        return self.folder / "flips" / f"{name}.jsonl"

    @property
    def flip_beginnings(self) -> Path:
        """Name of a flips file -> the text that comes before every `prompt_end` in it."""
        return self.folder / "flips" / "beginnings.json"
