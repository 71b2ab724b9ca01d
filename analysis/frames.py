"""Tidy frames of a study: one row per run, score or logged step. A value that does not exist is NaN, never 0 or -1.

Reads   status of runs.  Writes  nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.schema import CurveRecord, EvaluationRecord
from swallow_exp.record.status import is_stale, read_status
from swallow_exp.record.store import read_run

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Cell:
    """One combination of levels; one run for each seed."""

    label: str
    choices: Mapping[str, str]
    run_ids: tuple[str, ...]
    seeds: tuple[int, ...]


def runs_frame(out: Path, cells: Sequence[Cell]) -> pd.DataFrame:
    """State and amounts of every run of the sweep, folder or not."""
    import pandas as pd

    rows = []
    for cell in cells:
        for run_id, seed in zip(cell.run_ids, cell.seeds, strict=True):
            run = read_run(out, run_id)
            status = read_status(RunPaths.of(out, run_id).status)
            state = "missing" if run is None else "lost" if is_stale(status) else run.state
            rows.append(
                {
                    "run_id": run_id,
                    "cell": cell.label,
                    "seed": seed,
                    "state": state,
                    "trained_tokens": run.trained_tokens if run else None,
                    "budget_tokens": run.budget_tokens if run else None,
                    "cause": status.get("cause"),
                }
            )
    columns = ["run_id", "cell", "seed", "state", "trained_tokens", "budget_tokens", "cause"]
    return pd.DataFrame(rows, columns=columns).astype({"trained_tokens": "Int64", "budget_tokens": "Int64"})


def scores_frame(records: Sequence[EvaluationRecord], cells: Sequence[Cell]) -> pd.DataFrame:
    """Columns of EvaluationRecord, the cell and seed, and whether the row is of the run's last evaluated checkpoint."""
    import pandas as pd

    frame = pd.DataFrame({f.name: [getattr(record, f.name) for record in records] for f in fields(EvaluationRecord)})
    return _with_cells(frame, cells).assign(
        is_final=frame["trained_tokens"] == frame.groupby("run_id")["trained_tokens"].transform("max"),
    )


def curves_frame(rows: Sequence[CurveRecord], cells: Sequence[Cell]) -> pd.DataFrame:
    """Columns of CurveRecord, the cell and seed."""
    import pandas as pd

    return _with_cells(pd.DataFrame({f.name: [getattr(row, f.name) for row in rows] for f in fields(CurveRecord)}), cells)


def _with_cells(frame: pd.DataFrame, cells: Sequence[Cell]) -> pd.DataFrame:
    of_run = {run_id: (cell.label, seed) for cell in cells for run_id, seed in zip(cell.run_ids, cell.seeds, strict=True)}
    return frame.assign(
        cell=[of_run[run_id][0] for run_id in frame["run_id"]],
        seed=[of_run[run_id][1] for run_id in frame["run_id"]],
    )
