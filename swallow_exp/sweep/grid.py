"""The words behind `-m` -> the sweep they ask for, and its record, which holds every cell of the question whatever part is asked for.

(1) part       `+sweep=main base_model=llama2_7b`: its cells are carried out; the others keep their place in the record
(2) variant    words that give other run_ids than the file's (`budget=tokens_20b`, other seeds): a record of its own, main-<hash>
(3) record     question, cells, contrasts                                       -> all that status, report and publish need

Reads/Writes  <out>/sweeps/NAME.json
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import digest_of, write_json_atomic
from swallow_exp.artefact.paths import sweep_file
from swallow_exp.artefact.progress import say
from swallow_exp.config.overrides import read_overrides
from swallow_exp.evaluate.suite import task_names
from swallow_exp.record.contrast import group_of
from swallow_exp.record.identity import IDENTITY_GROUPS
from swallow_exp.record.store import read_sweep
from swallow_exp.sweep.expand import Cell, expand_question, find_contrasts, in_order
from swallow_exp.sweep.narrow import NAMED, narrow_question, question_of_overrides, question_of_plan
from swallow_exp.sweep.question import Question, read_question

CIRCUMSTANCES = frozenset({"strategy", "machine", "suite", "tracking", "paths"})  # never in a run_id


@dataclass(frozen=True)
class Sweep:
    """What is asked for."""

    question: Question
    cells: list[Cell]  # to carry out
    others: tuple[Cell, ...] = ()  # of the same question, not asked for this time
    remarks: tuple[str, ...] = ()  # what is not as its file says


def expand_sweep(words: Sequence[str], config_dirs: Sequence[Path] = (), *, or_one_run: bool = False) -> Sweep:
    """The sweep behind `-m` (`or_one_run`: words that vary nothing are one cell). Raises RequestError."""
    question, overrides = (question_of_plan if or_one_run else question_of_overrides)(words, config_dirs)
    cells = expand_question(question, overrides, config_dirs)
    named = [word.removeprefix(NAMED) for word in words if word.startswith(NAMED)]
    if not named:
        return Sweep(question, cells)
    file, essence = read_question(named[0], config_dirs), [word for word in read_overrides(words) if _counts(word)]
    question, remarks = _name_variant(question, cells, file, essence, config_dirs)
    others = _others(question, cells, file, essence, config_dirs) if question.part else ()
    if others:
        asked = " ".join(f"{key}={','.join(map(str, levels))}" for key, levels in question.part.items())
        remarks += (f"{asked}: {len(cells)} of the {len(cells) + len(others)} cells of {question.name}; its record keeps them all",)
    return Sweep(question, cells, others, remarks)


def _counts(word: str) -> bool:
    """Whether a word may change a run_id."""
    return not word.startswith(NAMED) and group_of(word.partition("=")[0]) not in CIRCUMSTANCES


def _name_variant(
    question: Question, cells: Sequence[Cell], file: Question, essence: Sequence[str], config_dirs: Sequence[Path]
) -> tuple[Question, tuple[str, ...]]:
    """The question under a name of its own when it asks for runs that its file does not have."""
    keys = {word: word.partition("=")[0] for word in essence}
    changed = sorted(word for word, key in keys.items() if key not in question.part)
    if not changed:
        return question, ()
    try:
        known = {cell.run_id for cell in expand_question(file, (), config_dirs)}
    except RequestError:  # it cannot do without these words, so no other runs have its name
        return question, ()
    if {cell.run_id for cell in cells} <= known:
        return question, ()
    name, said = f"{question.name}-{digest_of(changed)[:7]}", " ".join(changed)
    remark = f"{said}: other runs than those of {question.name}; recorded as {name}"
    return replace(question, name=name, question=f"{question.question} ({said})"), (remark,)


def _others(
    question: Question, cells: Sequence[Cell], file: Question, essence: Sequence[str], config_dirs: Sequence[Path]
) -> tuple[Cell, ...]:
    """Cells of the whole question that are not asked for. They are not carried out: where, and on what, is not theirs to say."""
    whole, overrides = narrow_question(file, essence)
    asked = {cell.run_id for cell in cells}
    try:
        found = expand_question(replace(whole, part={}), overrides, config_dirs)
    except RequestError as error:
        say(f"the other cells of {question.name} cannot be composed, its record does not gain them: {error}")
        return ()
    return tuple(cell for cell in found if cell.run_id not in asked)


def write_sweep(out: Path, question: Question, cells: Sequence[Cell], others: Sequence[Cell] = ()) -> dict[str, Any]:
    """Write <out>/sweeps/NAME.json: every cell of the question in its order, `others` as an earlier call recorded them."""
    earlier = read_sweep(out, question.name)
    known = {str(entry["run_id"]): entry for entry in earlier["cells"]} if earlier else {}
    if earlier and question.part and not others and {cell.run_id for cell in cells} <= known.keys():
        return earlier  # it is whole, and no less than what could be written now
    entries = {cell.run_id: _entry(cell) for cell in cells} | {cell.run_id: known.get(cell.run_id) or _entry(cell) for cell in others}
    ordered = in_order(question, [*cells, *others])
    sweep = {
        "name": question.name,
        "question": question.question,
        "section": question.section,
        "expects": question.expects,
        "signs": dict(question.signs),
        "measures": dict(question.measures),
        "last_checkpoints": question.last_checkpoints,
        "null_study": question.null_study,
        "outcome": question.outcome,
        "baseline": dict(question.baseline),
        "axes": {factor: question.levels(factor) for factor in question.factors},
        "cells": [entries[cell.run_id] for cell in ordered],
        "contrasts": find_contrasts(question, ordered),
    }
    write_json_atomic(sweep_file(out, question.name), sweep)
    return sweep


def _entry(cell: Cell) -> dict[str, Any]:
    """One cell as status, report and publish need it."""
    config = cell.composed.config
    return {
        "run_id": cell.run_id,
        "marks": len(config.budget.marks()),
        "tasks": len(task_names(config)),
        "choices": {
            **{group: str(cell.composed.plain[group]["name"]) for group in IDENTITY_GROUPS},
            **{factor: level for factor, level in cell.choices.items() if "." in factor},  # a single field that varies
        },
        "seed": cell.seed,
        "label": cell.label,
        "overrides": list(cell.overrides),
    }
