"""What the numbers rest on: the list of sources behind them, the runs and how they came about, the tests, the method.

Reads   provenance.json of the runs.  Writes  nothing.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from analysis.load import Study
from analysis.page.blocks import Numbers, embedded
from analysis.table import Table
from analysis.wording import ABSENT, tokens_text
from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.schema import EvaluationRecord

SOURCE_FIELDS = (
    "run_id", "trained_tokens", "task", "task_version", "num_fewshot", "metric", "profile", "num_items", "fraction", "score",
    "prompt_digest", "checkpoint_digest",
)  # fmt: skip
RUN_COLUMNS = ("cell", "seed", "state", "trained tokens", "budget", "text bytes", "FLOPs", "run_id")


@dataclass(frozen=True)
class Method:
    """How the intervals were made."""

    num_comparisons: int


def sources_data(study: Study, numbers: Numbers) -> str:
    """The list that `data-from` counts in, for the script."""
    cell_of = {run_id: cell.label for cell in study.cells for run_id in cell.run_ids}

    def label(record: EvaluationRecord) -> str:
        return cell_of[record.run_id] + (", before training" if record.trained_tokens == 0 else "")

    rows = [[label(record), *(getattr(record, name) for name in SOURCE_FIELDS)] for record in numbers]
    return embedded("sources", {"columns": ["cell", *SOURCE_FIELDS], "rows": rows})


def provenance_csv(tables: Iterable[Table]) -> str:
    """One line for each evaluation behind each number: table, row, column, the number, and where it comes from."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("table", "row", "column", "value", *SOURCE_FIELDS))
    for table in tables:
        for (i, j), records in sorted(table.sources.items()):
            head = (
                table.name,
                " / ".join(text for text, v in zip(table.rows[i], table.values[i], strict=True) if v is None),
                table.columns[j],
            )
            for record in records:
                facts = (getattr(record, name) for name in SOURCE_FIELDS)
                writer.writerow((*head, table.values[i][j], *("" if fact is None else fact for fact in facts)))
    return buffer.getvalue()


def runs_table(study: Study) -> Table:
    """State and amounts of every run: trained tokens, and text and compute where the training curve has them."""
    import pandas as pd

    rows, values = [], []
    for run in study.runs.to_dict("records"):
        curve = study.curves[study.curves["run_id"] == run["run_id"]].tail(1).to_dict("records")
        last = curve[0] if curve else {}
        amounts = [run["trained_tokens"], run["budget_tokens"], last.get("text_bytes"), last.get("flops")]
        numbers = [None if amount is None or pd.isna(amount) else float(amount) for amount in amounts]
        texts = [ABSENT if n is None else f"{n:.2e}" if j == 3 else tokens_text(n) for j, n in enumerate(numbers)]
        rows.append((str(run["cell"]), str(run["seed"]), str(run["state"]), *texts, str(run["run_id"])))
        values.append((None, float(run["seed"]), None, *numbers, None))
    return Table(
        "runs", "Every run of the sweep: how far it is, and how much text and compute that was.", RUN_COLUMNS, tuple(rows), tuple(values)
    )


def run_facts(study: Study) -> str:
    """For each run, folded: what provenance.json says. Its id is what run_ids elsewhere on the page point to."""
    parts = []
    for run_id in (run_id for cell in study.cells for run_id in cell.run_ids):
        facts = read_json(RunPaths.of(study.out, run_id).provenance)
        lines = _lines(facts) if isinstance(facts, dict) else {"provenance": "no provenance.json in its folder"}
        body = "".join(f"<dt>{escape(name)}</dt><dd>{value}</dd>" for name, value in lines.items())
        head = f'<details class="run" id="run-{escape(run_id)}"><summary>{_id(run_id)}</summary>'
        parts.append(f"{head}<dl>{body}</dl></details>\n")
    return "".join(parts)


def _lines(facts: Mapping[str, Any]) -> dict[str, str]:
    """Name -> html, for what is known."""
    git, devices, versions = facts.get("git"), facts.get("cuda_devices"), facts.get("versions")
    found: dict[str, str | None] = {"written": _text(facts.get("written"))}
    if isinstance(git, Mapping):
        dirty = " with uncommitted changes" + (f", sha256 {_id(str(git['diff_sha256'])[:16])}" if git.get("diff_sha256") else "")
        found["commit"] = _id(git.get("commit")) + (dirty if git.get("dirty") else "")
    found["host"] = _text(", ".join(str(facts[name]) for name in ("host", "platform") if facts.get(name)))
    found["devices"] = (
        _text(", ".join(str(d.get("name")) for d in devices if isinstance(d, Mapping))) if isinstance(devices, list) else None
    )
    if isinstance(launcher := facts.get("launcher"), Mapping):
        found["job"] = _text(", ".join(f"{name} {value}" for name, value in launcher.items()))
    if isinstance(versions, Mapping):
        found["versions"] = _text(", ".join(f"{name} {version}" for name, version in versions.items()))
    if isinstance(argv := facts.get("argv"), list):
        found["command"] = _id(" ".join(map(str, argv)))
    found["made from"] = _inputs(facts.get("inputs"))
    return {name: value for name, value in found.items() if value}


def _text(value: Any) -> str | None:
    return escape(str(value)) if value else None


def _id(value: Any) -> str:
    return f'<span class="id">{escape(str(value))}</span>'


def _inputs(inputs: Any) -> str | None:
    """role: folder (digest), for artefacts and for those below tokens and corpora."""
    if not isinstance(inputs, Mapping):
        return None
    found = []
    for role, entry in inputs.items():
        if not isinstance(entry, Mapping):
            continue
        parts = {str(role): entry} if "digest" in entry else {f"{role} {name}": part for name, part in entry.items()}
        found += [
            f"{escape(name)}: {_id(part.get('folder', ''))} ({_id(str(part['digest'])[:12])})"
            for name, part in parts.items()
            if isinstance(part, Mapping) and "digest" in part
        ]
    return "<br>".join(found) or None


def basis(study: Study) -> str:
    """How the intervals were made, and what exactly was asked."""
    asked = {(r.task, r.prompt_digest, r.task_version): r for r in study.records}
    tests = "".join(
        f"<li>{escape(r.task)}: version {escape(r.task_version)}, {r.num_fewshot}-shot, "
        f"{'' if r.fraction is None else f'{r.fraction:g} of the items, '}prompts <code>{escape(r.prompt_digest[:12])}</code></li>"
        for _, r in sorted(asked.items())
    )
    return (
        "<p>Point at a score, tap it, or reach it with Tab and the arrow keys: a box says which run, checkpoint and task it comes from. "
        'The same for every number of every table is in <a href="tables/provenance.csv">provenance.csv</a>; '
        'every number behind the sentences is in <a href="claims.json">claims.json</a>.</p>'
        "<p>Intervals are over runs and items: each seed is compared with itself, items of one cluster count as one, and the noise "
        "between runs comes from where each comparison says. Intervals over items alone are in the table of changes.</p>"
        f"<details><summary>Tests and their prompts</summary><ul>{tests}</ul></details>"
    )
