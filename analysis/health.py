"""Whether the scores can be trusted: what happened to the questions and the answers behind them, and what training text they are in.

(1) worries   health and overlap at the last evaluated checkpoint, above their limits      -> words, tasks, cells
(2) health    one row a run and task                                                      -> Table, or None without records
(3) overlap   one row a task and training text                                            -> Table, or None when it was not measured

Reads  nothing but the study.  Writes  nothing.  Source  paper appendix F (majority share, class distributions).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from analysis.load import Study
from analysis.table import Table
from analysis.wording import ABSENT, plain
from swallow_exp.record.health import LIMITS, SEEN_LIMIT, chance_level, last_checkpoint, overlap_worries_of, worries_of
from swallow_exp.record.schema import HealthRecord, OverlapRecord

# Columns of the health table that are counts of items, and their headings.
COUNTS = {"truncated": "truncated", "fitted": "shortened", "empty": "empty", "at_budget": "at budget", "invalid": "no label"}
EVERY_CELL = "every cell"
HEALTH_CAPTION = (
    "Behind the scores, at the last evaluated checkpoint of every run. part: of the dataset's items that was asked. Then shares of the "
    "items: prompts that lost their start, prompts that the task's own rule shortened, empty answers, answers cut at the budget, answers "
    "that are no label. one answer: share of the commonest answer (or place of the choice); answers: how many different ones. Balanced "
    "accuracy and its chance level: tasks with labels."
)
OVERLAP_CAPTION = (
    "How much of the items is in the training text: n-grams of 13 characters (scripts without spaces) or 8 words. long enough: items with "
    "any n-gram; of these, half seen: at least half of the question's n-grams are in the training text; gold: the same of n-grams with a "
    "part of the gold answer, where touched means at least one of them. All documents for training of each source count; what the base "
    "model had read before is not known."
)


def final_health(study: Study) -> list[tuple[str, HealthRecord]]:
    """(cell, health) of every task at the last evaluated checkpoint of every run."""
    found = []
    for cell in study.cells:
        for run_id, seed in zip(cell.run_ids, cell.seeds, strict=True):
            label = f"{cell.label} (seed {seed})" if len(cell.run_ids) > 1 else cell.label
            found += [(label, record) for record in last_checkpoint([r for r in study.health if r.run_id == run_id])]
    return found


def worries(study: Study) -> dict[str, list[str]]:
    """What to call it -> `task share, task share` for every cell, and `in CELLS: task share` for some of them only."""
    found: dict[str, dict[tuple[str, str, str], list[str]]] = {}
    asked: dict[tuple[str, str], list[str]] = {}
    for label, record in final_health(study):
        asked.setdefault((record.task, record.profile), []).append(label)
        for worry in worries_of(record):
            found.setdefault(worry.words, {}).setdefault((worry.task, worry.profile, f"{worry.share:.0%}"), []).append(label)
    for overlap in study.overlap:
        label = _cell_of(study)[overlap.run_id]
        for worry in overlap_worries_of(overlap):
            key = (worry.task, "both", f"{worry.share:.0%}")  # profiles ask the same items
            found.setdefault(worry.words, {}).setdefault(key, []).append(label)
            asked.setdefault((worry.task, "both"), [cell.label for cell in study.cells])
    return {words: _grouped(of, asked) for words, of in found.items()}


def _grouped(of: Mapping[tuple[str, str, str], Sequence[str]], asked: Mapping[tuple[str, str], Sequence[str]]) -> list[str]:
    """One text for what is alike everywhere, one for each set of cells."""
    where: dict[str, list[str]] = {}
    for (task, profile, share), labels in of.items():
        names, everyone = dict.fromkeys(labels), asked.get((task, profile), ())
        everywhere = len(names) > 1 and set(names) >= set(everyone)
        where.setdefault("" if everywhere else f"in {', '.join(names)}: ", []).append(f"{_named(task, profile)} {share}")
    return [f"{cells}{', '.join(tasks)}" for cells, tasks in sorted(where.items())]


def _cell_of(study: Study) -> Mapping[str, str]:
    return {run_id: cell.label for cell in study.cells for run_id in cell.run_ids}


def _named(task: str, profile: str) -> str:
    return task if profile == "both" else f"{task} ({profile})"


def health_table(study: Study) -> Table | None:
    """Every run and task at the last evaluated checkpoint, in the columns that any of them has; None when no result has health."""
    records = final_health(study)
    if not records:
        return None
    columns = ("cell", "task", "items", "part", *COUNTS.values(), "one answer", "answers", "balanced", "chance")
    rows, values = [], []
    for label, record in records:
        health, n = record.health, record.num_items
        shares = [health[key] / n if key in health else None for key in COUNTS]
        one, number, balanced = (health.get(key) for key in ("majority_share", "num_predicted", "balanced_accuracy"))
        part, chance = 1.0 if record.fraction is None else record.fraction, chance_level(record)
        texts = [_percent(s) for s in (part, *shares, one)]
        rows.append((label, _named(record.task, record.profile), f"{n}", *texts, _whole(number), _plain(balanced), _plain(chance)))
        values.append((None, None, float(n), part, *shares, one, number, balanced, chance))
    used = [j for j in range(len(columns)) if j < 2 or any(line[j] is not None for line in values)]
    return Table(
        name="health",
        caption=HEALTH_CAPTION,
        columns=tuple(columns[j] for j in used),
        rows=tuple(tuple(row[j] for j in used) for row in rows),
        values=tuple(tuple(line[j] for j in used) for line in values),
    )


def overlap_table(study: Study) -> Table | None:
    """Every task and training text; runs of the same corpora, and profiles of the same items, share a row. None: not measured."""
    groups: dict[tuple[object, ...], list[OverlapRecord]] = {}
    for record in study.overlap:
        counts = (record.num_items, record.question_measured, record.question_half, record.gold_measured, record.gold_any, record.gold_half)
        groups.setdefault((record.task, record.corpora, counts), []).append(record)
    if not groups:
        return None
    rows, values = [], []
    for records in groups.values():
        first = records[0]
        cells = list(dict.fromkeys(_cell_of(study)[record.run_id] for record in records))
        profiles = dict.fromkeys(record.profile for record in records)
        where = EVERY_CELL if len(cells) == len(study.cells) else ", ".join(cells)
        shares = [
            _share(first.question_measured, first.num_items),
            _share(first.question_half, first.question_measured),
            _share(first.gold_measured, first.num_items),
            _share(first.gold_any, first.gold_measured),
            _share(first.gold_half, first.gold_measured),
        ]
        task = _named(first.task, "both" if len(profiles) > 1 else first.profile)
        rows.append((task, where, ", ".join(first.corpora), f"{first.num_items}", *(_percent(share) for share in shares)))
        values.append((None, None, None, float(first.num_items), *shares))
    return Table(
        name="overlap",
        caption=OVERLAP_CAPTION,
        columns=(
            "task",
            "cells",
            "training text",
            "items",
            "long enough",
            "half seen",
            "gold long enough",
            "gold touched",
            "gold half seen",
        ),
        rows=tuple(rows),
        values=tuple(values),
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _percent(share: float | None) -> str:
    if share is None:
        return ABSENT
    return f"{100 * share:.0f}%" if share in (0.0, 1.0) or share >= 0.1 else f"{100 * share:.1f}%"


def _whole(number: float | None) -> str:
    return ABSENT if number is None else f"{number:.0f}"


def _plain(number: float | None) -> str:
    return ABSENT if number is None else plain(number, 1)


def health_words(study: Study) -> str:
    """The worries as html, or that there are none, and what was not looked at."""
    parts = []
    if not study.health:
        parts.append("<p>The results of this sweep hold no counts of truncated prompts, empty answers and the like.</p>")
    found = worries(study)
    if found:
        items = "".join(
            f"<li><strong>{escape(words[:1].upper() + words[1:])}</strong>: {escape('; '.join(of))}.</li>" for words, of in found.items()
        )
        parts.append(f'<p>Read these scores with care:</p><ul class="worries">{items}</ul>')
    elif study.health:
        parts.append("<p>Nothing stands out.</p>")
    measured = {_cell_of(study)[record.run_id] for record in study.overlap}
    unmeasured = [cell.label for cell in study.cells if cell.label not in measured]
    if unmeasured:
        where = f" for {escape(', '.join(unmeasured))}" if measured else ""
        parts.append(
            f"<p>How much of the items is in the training text was not measured{where} (<code>suite.overlap=true</code> measures it).</p>"
        )
    absent = len({m.reason for m in study.missing if not m.run_id})
    if absent:
        parts.append(f'<p>{absent} task{"s" * (absent > 1)} could not be asked: see <a href="#h-missing">what is missing</a>.</p>')
    limits = ", ".join(f"{words} above {share:.0%}" if share else words for words, share in LIMITS.values())
    parts.append(
        f'<p class="note">Listed are: {escape(limits)}; balanced accuracy within two standard errors of chance; tasks of which only a part '
        f"was asked; items half of which the training text has, above {SEEN_LIMIT:.0%}. "
        "Answers cut at a published budget of tokens are not listed.</p>"
    )
    return "".join(parts)
