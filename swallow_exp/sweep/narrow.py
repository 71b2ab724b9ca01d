"""What the words behind `-m` ask for: a question of sweeps/, whole or in part, or one made up on the spot.

+sweep=main                            its cells
+sweep=main base_model=llama2_7b       a group of its grids: only the cells of these levels; a level that no cell has is refused
+sweep=main seed=0,1,2                 seeds of its own, or others
+sweep=main budget=tokens_20b          any other group or field: the same in all cells, in place of what `fixed` and `follows` say
vocabulary=base,ja_16k seed=0,1        a question made up of Hydra's own words

Reads  sweeps/NAME.yaml
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import digest_of
from swallow_exp.config.checks import check_seed
from swallow_exp.config.levels import list_levels
from swallow_exp.config.overrides import parse_overrides, read_overrides
from swallow_exp.sweep.question import Question, read_question

SEED = "seed"
NAMED = "+sweep="
MADE_UP = "multirun-"  # how the name of a question made up on the spot begins


def question_of_overrides(overrides: Sequence[str], config_dirs: Sequence[Path] = ()) -> tuple[Question, list[str]]:
    """The question behind `-m`: `+sweep=NAME` reads its file, and further words narrow it; `vocabulary=base,ja_16k` makes one up.

    Returns the question and the overrides that stay the same in every cell. Raises RequestError.
    """
    named = [word.removeprefix(NAMED) for word in overrides if word.startswith(NAMED)]
    plain = [word for word in overrides if not word.startswith(NAMED)]
    if len(named) > 1:
        raise RequestError(
            f"{len(named)} sweeps at once ({', '.join(named)})", expected="one +sweep=NAME", remedy="run them one after the other"
        )
    if named:
        return narrow_question(read_question(named[0], config_dirs), plain)
    axes, fixed = _sweep_axes(plain, config_dirs)
    if not axes:
        raise RequestError("a grid without anything to vary", expected="+sweep=NAME or key=a,b", remedy="leave out -m, or name two levels")
    seeds = [check_seed(value) for value in axes.pop(SEED, ["0"])]
    question = " x ".join(f"{key} in {', '.join(values)}" for key, values in axes.items()) or f"seeds {seeds}"
    name = f"{MADE_UP}{digest_of([axes, seeds, fixed])[:7]}"
    baseline = {key: values[0] for key, values in axes.items()}
    return Question(name, question, "", "", {}, baseline, [axes], [], seeds, []), fixed


def question_of_plan(overrides: Sequence[str], config_dirs: Sequence[Path] = ()) -> tuple[Question, list[str]]:
    """As question_of_overrides; overrides that vary nothing are one cell."""
    words = read_overrides(overrides)
    if any(word.startswith(NAMED) for word in words) or _sweep_axes(words, config_dirs)[0]:
        return question_of_overrides(overrides, config_dirs)
    seeds = [check_seed(word.removeprefix("seed=")) for word in words if word.startswith("seed=")] or [0]
    return Question("run", "one run", "", "", {}, {}, [{}], [], seeds[-1:], []), words


def narrow_question(question: Question, overrides: Sequence[str]) -> tuple[Question, list[str]]:
    """The part of a question of sweeps/ that is asked for, and the overrides that stay the same in every cell. Raises RequestError."""
    axes = list(dict.fromkeys(factor for grid in question.grids for factor in grid))
    rest = []
    words = read_overrides(overrides)
    for word, one in zip(words, parse_overrides(words), strict=True):
        key, plain = one.get_key_element(), not word.startswith(("+", "~"))
        if plain and key == SEED:
            seeds = [check_seed(value) for value in _levels_of(word, one, [str(seed) for seed in question.seeds])]
            known = set(seeds) <= set(question.seeds)
            question = replace(question, part={**question.part, SEED: seeds}) if known else replace(question, seeds=seeds)
        elif plain and key in axes:
            question = replace(question, part={**question.part, key: _part(question, word, one)})
        elif one.is_sweep_override():
            raise RequestError(
                f"{word} with {NAMED}{question.name}, which does not vary {key}",
                expected=f"several values of {', '.join([*axes, SEED])}, or one of {key}",
                remedy="write a sweep file of your own",
            )
        elif plain and key in _settled(question):
            question = _settle(question, key, _levels_of(word, one, ())[0])
        else:
            rest.append(word)
    return question, rest


def _part(question: Question, word: str, one: Any) -> list[str]:
    """Levels of an axis that are asked for. Raises RequestError for one that no cell has."""
    key, known = one.get_key_element(), question.levels(one.get_key_element())
    asked = _levels_of(word, one, known)
    strange = [level for level in asked if level not in known]
    if strange or not asked:
        raise RequestError(
            f"{word}: no cell of sweep {question.name} has {key} {', '.join(strange)}".rstrip(),
            expected=f"some of {', '.join(known)}",
            remedy="leave it out, or write a sweep file of your own",
        )
    return asked


def _settled(question: Question) -> set[str]:
    """Groups that the file chooses without varying them: their word would otherwise stand there twice."""
    along = {group for by_level in question.follows.values() for levels in by_level.values() for group in levels}
    return {*question.fixed, *question.baseline, *along}


def _settle(question: Question, group: str, level: str) -> Question:
    """`group` at `level` in every cell, whatever came along with another factor before."""
    follows = {
        factor: {name: {g: x for g, x in levels.items() if g != group} for name, levels in by_level.items()}
        for factor, by_level in question.follows.items()
    }
    baseline = {key: value for key, value in question.baseline.items() if key != group}
    return replace(question, fixed={**question.fixed, group: level}, baseline=baseline, follows=follows)


def _sweep_axes(overrides: Sequence[str], config_dirs: Sequence[Path]) -> tuple[dict[str, list[str]], list[str]]:
    """Split overrides into those with several values (Hydra's own grammar) and the rest."""
    words = read_overrides(overrides)
    axes: dict[str, list[str]] = {}
    rest = []
    for word, one in zip(words, parse_overrides(words), strict=True):
        if one.is_sweep_override():
            axes[one.get_key_element()] = _levels_of(word, one, list_levels(one.get_key_element(), config_dirs))
        else:
            rest.append(word)
    return axes, rest


def _levels_of(word: str, one: Any, known: Sequence[str]) -> list[str]:
    """Values of one word: a,b or choice(a,b), range(1,4), glob(*) among `known`, or a single one. Raises RequestError."""
    from hydra.core.override_parser.types import Glob

    value = one.value()
    if not one.is_sweep_override():
        return [value if isinstance(value, str) else one.get_value_element_as_str()]  # a text without the quotes around it
    if not one.is_discrete_sweep():
        raise RequestError(word, expected="values that can be listed", remedy="write key=first,second or key=range(1,4)")
    values = value.filter(list(known)) if isinstance(value, Glob) else list(one.sweep_string_iterator())
    if not values:
        raise RequestError(word, expected="a group of levels, and one that fits", remedy="write key=first,second")
    return values


def has_part(question: Question, choices: Mapping[str, str], seed: int) -> bool:
    """Whether a cell is among those asked for."""
    return all((seed if key == SEED else choices.get(key)) in levels for key, levels in question.part.items())
