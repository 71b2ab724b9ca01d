"""Scores of a sweep without claims: cells by tasks at the last evaluated checkpoint, and what is missing or wrong, as text.

Fast: no item is read, nothing is drawn; the seconds of a report are in its claims and figures.
Reads  nothing but the study.  Writes  nothing.
"""

from __future__ import annotations

from analysis.load import Study
from analysis.scores import comparison_table
from analysis.table import as_markdown


def study_summary(study: Study) -> str:
    """The comparison table (Markdown), then a line for each missing or unusable thing."""
    lines = [as_markdown(comparison_table(study)).rstrip(), ""]
    lines += [f"missing: {missing.label}: {missing.reason}" for missing in study.missing]
    lines += [f"problem: {problem}" for problem in study.problems]
    return "\n".join(lines).rstrip() + "\n"
