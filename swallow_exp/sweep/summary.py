"""What a stage verb prints when its artefact is there."""

from __future__ import annotations

from swallow_exp.artefact.manifest import Artefact
from swallow_exp.config import Config
from swallow_exp.sweep.build import Built
from swallow_exp.sweep.show import plan_tree


def stage_summary(stage: str, config: Config, built: Built) -> str:
    """Folder and counts of the artefacts of one stage."""
    if stage == "corpus":
        return "\n".join(_corpus(name, artefact) for name, artefact in built.corpora.items())
    if stage == "vocabulary":
        assert built.vocabulary is not None
        return vocabulary_summary(built.vocabulary)
    if stage == "tokens":
        assert built.tokens is not None
        return "\n".join(_tokens(name, artefact) for name, artefact in built.tokens.items())
    if stage == "mixture":
        assert built.plan is not None
        return "\n".join([str(built.plan.folder), *plan_tree(config, built.plan)])
    assert stage == "weights" and built.weights is not None
    counts = built.weights.counts
    return f"{built.weights.folder}\n  {counts['parameters']:,} parameters, {counts['vocab_size']:,} rows"


def _corpus(name: str, artefact: Artefact) -> str:
    counts = artefact.counts
    train, heldout = counts["train"], counts["heldout"]
    dropped = ", ".join(f"{number:,} {reason}" for reason, number in counts["dropped"].items() if number)
    return (
        f"{artefact.folder}\n  {name}: {train['documents']:,} documents, {train['characters']:,} characters; "
        f"held out {heldout['documents']:,}" + (f"; dropped {dropped}" if dropped else "")
    )


def _tokens(name: str, artefact: Artefact) -> str:
    counts = artefact.counts
    return (
        f"{artefact.folder}\n  {name}: {counts['tokens']:,} tokens, {counts['trained_tokens']:,} loss-bearing, "
        f"{counts['documents']:,} documents, {counts['dtype']}"
    )


def vocabulary_summary(vocabulary: Artefact) -> str:
    """The funnel and the fertility table; token_ratio is after / before, reduction is 1 - token_ratio."""
    counts = vocabulary.counts
    lines = [str(vocabulary.folder), f"  {counts['base_size']:,} base pieces + {counts['added']:,} added = {counts['size']:,}"]
    if counts.get("funnel"):
        lines.append("  funnel: " + ", ".join(f"{step} {number:,}" for step, number in counts["funnel"].items()))
    for source, row in counts["fertility"].items():
        facts = ", ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items())
        lines.append(f"  {source}: {facts}")
    return "\n".join(lines)
