"""Scores of a sweep without claims: cells by tasks at the last evaluated checkpoint, and what is missing or wrong, as text.

Fast: no item is read, nothing is drawn; the seconds of a report are in its claims and figures.
Reads   <out>/sweeps, <out>/runs.  Writes  nothing.
"""

from __future__ import annotations

from pathlib import Path

from analysis.load import Study, load_study
from analysis.tables.study import comparison_table
from analysis.tables.table import as_markdown


def summary_text(out: Path, name: str) -> str:
    """The comparison table (Markdown), then a line for each missing or unusable thing.

    Raises RequestError when there is no such sweep or none of its runs has an evaluation.
    """
    return study_summary(load_study(out, name))


def study_summary(study: Study) -> str:
    """`summary_text` of a study that is loaded already."""
    lines = [as_markdown(comparison_table(study)).rstrip(), ""]
    lines += [f"missing: {missing.label}: {missing.reason}" for missing in study.missing]
    lines += [f"problem: {problem}" for problem in study.problems]
    return "\n".join(lines).rstrip() + "\n"
