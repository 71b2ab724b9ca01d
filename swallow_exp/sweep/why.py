"""Why two runs are two: choices, fields and inputs that differ, and whether a comparison of them would say anything.

(1) choices   levels that differ, a line a group, with the fields behind them
(2) inputs    text, tokenizer, plan and weights that differ under equal choices
(3) verdict   one run, one factor, or several (which cannot be told apart)

Also the proof before a sweep starts: every contrast it asks for differs in its factor alone.
Reads  runs/<run_id>/{identity.json, inputs.json}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.artefact.progress import say
from swallow_exp.record.contrast import Differences, differing_groups, in_words, unexpected_differences, unexpected_inputs
from swallow_exp.record.identity import identity_difference, read_identity
from swallow_exp.record.inputs import read_inputs
from swallow_exp.sweep.expand import Cell, find_contrasts
from swallow_exp.sweep.narrow import MADE_UP
from swallow_exp.sweep.question import Question


def undeclared_differences(question: Question, cells: Sequence[Cell]) -> list[tuple[Mapping[str, Any], Differences]]:
    """Contrasts of a question whose cells differ in more than the factor and what it declares to follow, with the difference."""
    identities = {cell.run_id: cell.identity for cell in cells}
    found: list[tuple[Mapping[str, Any], Differences]] = []
    for contrast in find_contrasts(question, cells):
        first, second = identities[contrast["run_id"]], identities[contrast["baseline_run_id"]]
        undeclared = unexpected_differences(first, second, factor=contrast["factor"], consequences=contrast["consequences"])
        if undeclared:
            found.append((contrast, undeclared))
    return found


def check_one_factor(question: Question, cells: Sequence[Cell]) -> None:
    """Refuse a question from a file that would compare cells that differ in more than one factor; say it of one typed on the spot."""
    for contrast, undeclared in undeclared_differences(question, cells):
        what = f"{contrast['label']}: the cells differ in more than {contrast['factor']}: {in_words(undeclared)}"
        if question.name.startswith(MADE_UP):
            say(f"{what}; they are run, the report does not compare them")
            continue
        raise RequestError(
            f"sweep {question.name}, {what}",
            expected=f"{contrast['factor']} alone",
            remedy=f"make the levels differ in their own group only, or declare what comes along: follows: {{{contrast['factor']}: "
            f"{{{contrast['level']}: {{group: level}}}}}}",
        )


def explain_difference(first: RunPaths, second: RunPaths) -> str:
    """The page `swallow why` prints. Raises RequestError when an identity cannot be read."""
    ours, theirs = _identity(first), _identity(second)
    differences = identity_difference(ours, theirs)
    groups = differing_groups(differences)
    lines = [f"A  {first.run_id}", f"B  {second.run_id}", ""]
    for group in groups:
        lines.append(f"{group:<14} {_name(ours[group])} | {_name(theirs[group])}")
        inside = [name for name in differences if name.startswith(f"{group}.") and name != f"{group}.name"]
        lines += [f"  {name:<38} {_shown(differences[name][0]):<28} | {_shown(differences[name][1])}" for name in inside]
    others = [name for name in differences if name.partition(".")[0] not in groups]
    lines += [f"{name:<40} {_shown(differences[name][0]):<28} | {_shown(differences[name][1])}" for name in others]
    inputs = _undeclared_inputs(first, second, groups)
    lines += [f"{role:<40} {a:<28} | {b}  other text or weights under the same choices" for role, (a, b) in inputs.items()]
    return "\n".join([*lines, *([""] if len(lines) > 3 else []), _verdict(groups, others, inputs)])


def _verdict(groups: Sequence[str], others: Sequence[str], inputs: Differences) -> str:
    if inputs:
        return f"not comparable: {', '.join(inputs)} changed between the two runs, and no choice says so"
    if others:
        return f"not comparable: {', '.join(others)}"
    if not groups:
        return "no difference: one run"
    if len(groups) == 1:
        return f"one factor: {groups[0]}; a comparison says what it does"
    return f"{len(groups)} factors at once: {', '.join(groups)}; a comparison cannot tell which of them did it"


def _undeclared_inputs(first: RunPaths, second: RunPaths, groups: Sequence[str]) -> Differences:
    ours, theirs = read_inputs(first), read_inputs(second)
    if ours is None or theirs is None:
        return {}
    return unexpected_inputs(ours, theirs, factor=groups[0] if groups else "", consequences=groups[1:])


def _identity(run: RunPaths) -> dict[str, Any]:
    identity = read_identity(run.identity)
    if identity is None:
        raise RequestError(
            f"run {run.run_id} has no readable {run.identity.name}",
            expected="a run that `swallow train` prepared",
            remedy="its `swallow train` command writes it again",
        )
    return identity


def _name(group: Any) -> str:
    return str(group["name"]) if isinstance(group, dict) and "name" in group else str(group)


def _shown(value: Any) -> str:
    return "(not there)" if value is None else str(value)
