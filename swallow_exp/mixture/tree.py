"""The token plan as a tree: stages, groups, sources; what was asked, planned, is there, and how often it comes.

Reads  the config; plan.json of a finished plan
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.manifest import Artefact
from swallow_exp.artefact.units import format_bytes, format_count, steps_to_reach
from swallow_exp.config import Config
from swallow_exp.mixture.build_plan import PLAN_NAME
from swallow_exp.mixture.quotas import asked_text

Facts = Mapping[str, Any]
NAME_WIDTH, ASKED_WIDTH = 30, 21
HEADINGS = ("sequences", "share", "off by", "available", "repeated", "positions", "trained", "text")
WIDTHS = (12, 9, 8, 12, 9, 10, 10, 9)


def plan_tree(config: Config, plan: Artefact | None) -> list[str]:
    """The token plan: what is asked, and what was planned, is available and repeats once the shards exist."""
    optim, budget = config.optim, config.budget
    per_step = optim.sequence_length * optim.global_batch_sequences
    counted = budget.counts.replace("_", " ")
    head = f"{budget.tokens:,} {counted} asked, {per_step:,} a step ({optim.global_batch_sequences} x {optim.sequence_length})"
    lines = [f"mixture {config.mixture.name}, parallel {config.parallel.name}: {head}"]
    if config.mixture.attention != "packed":
        lines.append("  attention inside each document, positions restart (the paper: across the documents of a sequence)")
    if plan is None:
        steps = steps_to_reach(budget.tokens, per_step)
        return [*lines, *_asked(config), f"  `- about {steps:,} steps; exact numbers after `swallow mixture` has counted the tokens"]
    facts = read_json(plan.folder / PLAN_NAME)
    heads = "".join(f"{heading:>{width}}" for heading, width in zip(HEADINGS, WIDTHS, strict=True))
    lines.append(f"  {'':<{NAME_WIDTH}}{'asked':<{ASKED_WIDTH}}{heads}")
    lines += _planned(facts)
    return [
        *lines,
        f"  `- {facts['steps']:,} steps, {facts['trained_tokens']:,} trained tokens of {facts['positions']:,} positions, "
        f"{format_bytes(facts['text_bytes'])} of text, plan {plan.id}",
    ]


def _asked(config: Config) -> list[str]:
    """Requests: nothing is counted yet."""
    mixture, parallel = config.mixture, config.parallel
    lines = [f"  |- {name:<22} {100 * weight:6.2f}% of what is not parallel" for name, weight in mixture.weights.items()]
    for key, group in mixture.groups.items():
        lines.append(f"  |- {key:<22} {asked_text(group, of='the mixture')} of what is not parallel")
        last = list(group.sources)[-1]
        lines += [
            f"  |  {'`-' if source == last else '|-'} {source:<19} {asked_text(part)}" + (" of what is not parallel" if part.share else "")
            for source, part in group.sources.items()
        ]
    if parallel.format is not None:
        lines.append(f"  |- {mixture.parallel_source!s:<22} in full, {parallel.epochs}x, {parallel.format}, {parallel.order}")
    return lines


def _planned(facts: Facts) -> list[str]:
    """Stages when there are two, then groups where the mixture has them, then sources."""
    documents = sum(source["positions"] for source in facts["sources"] if source["share"] is not None)
    lines = []
    for number, stage in enumerate(facts["stages"], start=1):
        mine = [source for source in facts["sources"] if source["stage"] == stage["name"]]
        indent = "  "
        if len(facts["stages"]) > 1:
            lines.append(_row(f"  |- stage {number}, {stage['name']}", "", mine, documents=None))
            indent = "  |  "
        lines += _groups(facts, mine, documents, indent)
    return lines


def _groups(facts: Facts, sources: Sequence[Facts], documents: int, indent: str) -> list[str]:
    lines = []
    for group in dict.fromkeys(source["group"] for source in sources):
        mine = [source for source in sources if source["group"] == group]
        if group is None:
            lines += [_row(f"{indent}|- {source['name']}", source["asked"], [source], documents=documents) for source in mine]
            continue
        asked = facts["groups"][group]
        words = f"{100 * asked['share']:.2f}%" if asked["share"] is not None else "the rest of the mixture"
        words = f"{format_count(asked['tokens'])} tokens" if asked["tokens"] is not None else words
        lines.append(_row(f"{indent}|- {group}", words, mine, documents=documents, asked_share=asked["share"]))
        for source in mine:
            twig = "`-" if source is mine[-1] else "|-"
            lines.append(_row(f"{indent}|  {twig} {source['name']}", source["asked"], [source], documents=documents))
    return lines


def _row(name: str, asked: str, sources: Sequence[Facts], *, documents: int | None, asked_share: float | None = None) -> str:
    """One line: a source, or a group or stage of them. `documents`: positions that shares are of; None for no share."""
    total = {key: sum(source[key] for source in sources) for key in ("positions", "trained_tokens", "text_bytes", "planned_sequences")}
    shared = documents is not None and all(source["share"] is not None for source in sources)
    alone = sources[0] if len(sources) == 1 else None
    asked_share = alone["weight"] if alone is not None and asked_share is None else asked_share
    off = "-"
    if shared and documents and asked_share is not None:
        every = total["positions"] // total["planned_sequences"] if total["planned_sequences"] else 1
        off = f"{total['planned_sequences'] - asked_share * documents / every:+.2f}"
    cells = (
        f"{total['planned_sequences']:,}",
        f"{100 * total['positions'] / documents:.3f}%" if shared and documents else "-",
        off,
        f"{alone['available_sequences']:,}" if alone is not None else "",
        f"{alone['repetition']:.2f}x" if alone is not None else "",
        format_count(total["positions"]),
        format_count(total["trained_tokens"]),
        format_bytes(total["text_bytes"]),
    )
    numbers = "".join(f"{cell:>{width}}" for cell, width in zip(cells, WIDTHS, strict=True))
    return f"{name:<{NAME_WIDTH + 2}}{asked:<{ASKED_WIDTH}}{numbers}"
