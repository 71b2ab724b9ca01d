"""What `swallow show` and the stage verbs print.

1. Run     choices, token plan as a tree, steps, FLOPs, memory, run_id, what exists
2. Stage   folder and counts of an artefact that was just built

Reads  the config; the run folder and its plan when they exist. Builds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swallow_exp.artefact.manifest import Artefact, find_artefact
from swallow_exp.checkpoint.index import read_checkpoints
from swallow_exp.config import Composed, Config
from swallow_exp.config.layout import describe_layout
from swallow_exp.evaluate.suite import check_task_names
from swallow_exp.mixture.tree import plan_tree
from swallow_exp.model.describe import describe_model
from swallow_exp.model.flops import padded_size
from swallow_exp.record.identity import IDENTITY_GROUPS
from swallow_exp.record.inputs import read_inputs
from swallow_exp.record.status import read_status
from swallow_exp.record.token_counts import PAPER_TOKEN_RATIO
from swallow_exp.sweep.prepare import Built, base_tokenizer, output_root, run_paths
from swallow_exp.sweep.progress import shown_state
from swallow_exp.train.optimizer import describe_recipe
from swallow_exp.vocabulary.build_vocabulary import measure_pairs


def show_run(composed: Composed) -> str:
    """The page `swallow show` prints."""
    config = composed.config
    check_task_names(config)
    run = run_paths(composed)
    inputs = read_inputs(run)
    plan = find_artefact(output_root(config) / inputs["mixture"]["folder"]) if inputs else None
    vocabulary = find_artefact(output_root(config) / inputs["vocabulary"]["folder"]) if inputs else None
    size = int(vocabulary.counts["size"]) if vocabulary is not None else None
    lines = [f"run      {run.run_id}", f"folder   {run.folder}", f"state    {shown_state(read_status(run.status))}", "", "choices"]
    lines += [f"  {group:<12} {composed.plain[group]['name']}" for group in IDENTITY_GROUPS]
    lines += [f"  {'seed':<12} {config.seed}", ""]
    lines += plan_tree(config, plan)
    lines += ["", describe_recipe(config.optim), *describe_model(config, vocabulary_size=size), *describe_layout(config)]
    checkpoints = read_checkpoints(run)
    lines += ["", f"checkpoints  {len(checkpoints)} of {len(config.budget.marks())} exported"]
    lines += [f"  {record.trained_tokens:>16,} tokens  step {record.step:,}" for record in checkpoints]
    return "\n".join(lines)


def stage_summary(stage: str, config: Config, built: Built) -> str:
    """Folder and counts of the artefacts of one stage."""
    if stage == "corpus":
        return "\n".join(_corpus(name, artefact) for name, artefact in built.corpora.items())
    if stage == "vocabulary":
        assert built.vocabulary is not None
        more = measure_pairs(built.vocabulary, base_tokenizer=base_tokenizer(config), corpora=built.corpora)
        return vocabulary_summary(built.vocabulary, more=more)
    if stage == "tokens":
        assert built.tokens is not None
        kinds = {name: config.mixture.sources[name].kind for name in built.tokens}
        return "\n".join(_tokens(name, artefact, pairs=kinds[name] == "pairs") for name, artefact in built.tokens.items())
    if stage == "mixture":
        assert built.plan is not None
        return "\n".join([str(built.plan.folder), *plan_tree(config, built.plan)])
    assert stage == "weights" and built.weights is not None
    return weights_summary(config, built.weights)


def _corpus(name: str, artefact: Artefact) -> str:
    counts = artefact.counts
    train, heldout, what = counts["train"], counts["heldout"], counts["kind"]
    dropped = ", ".join(f"{number:,} {reason}" for reason, number in counts["dropped"].items() if number)
    return (
        f"{artefact.folder}\n  {name}: {train['documents']:,} {what}, {train['characters']:,} characters; "
        f"held out {heldout['documents']:,}" + (f"; dropped {dropped}" if dropped else "")
    )


def _tokens(name: str, artefact: Artefact, *, pairs: bool) -> str:
    counts = artefact.counts
    each = " (each pair once in either direction)" if pairs else ""
    return (
        f"{artefact.folder}\n  {name}: {counts['tokens']:,} tokens, {counts['trained_tokens']:,} loss-bearing, "
        f"{counts['documents']:,} documents{each}, {counts['dtype']}"
    )


def vocabulary_summary(vocabulary: Artefact, *, more: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """What was trained, the funnel, the fertility table (`more`: rows of pairs), and how its numbers relate to the paper's."""
    counts = vocabulary.counts
    lines = [str(vocabulary.folder), f"  {counts['base_size']:,} base pieces + {counts['added']:,} added = {counts['size']:,}"]
    if text := counts.get("training_text"):
        words = f"  pieces trained on {text['words']:,} words of {text['documents']:,} documents"
        lines.append(words + (f", split by {counts['dictionary']}" if "dictionary" in counts else ""))
    if counts.get("funnel"):
        lines.append("  funnel: " + ", ".join(f"{step} {number:,}" for step, number in counts["funnel"].items()))
    lines.append(
        f"  {'held-out text':<24} {'characters/token':>18} {'token_ratio':>12} {'reduction':>10} {'byte tokens':>18} {'added used':>10}"
    )
    rows = {**counts["fertility"], **(more or {})}
    lines += [_fertility(source, row) for source, row in rows.items()]
    return "\n".join([*lines, *_beside_the_paper(rows)])


def _beside_the_paper(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the two names mean, and which of them the paper's number is. Nothing to say without a base or without added pieces."""
    changed = [row for row in rows.values() if row.get("added_token_share")]
    if not changed:
        return []
    ratio = sum(row["tokens"] for row in changed) / sum(row["base_tokens"] for row in changed)
    return [
        "  token_ratio = tokens after / tokens before; reduction = 1 - token_ratio. "
        f"All text with added pieces: token_ratio {ratio:.3f}, reduction {1 - ratio:.1%}, {1 / ratio:.2f} times the text per token.",
        f'  paper 5.1 ("56.2%" fewer tokens, efficiency up by "78%"): the two agree only if token_ratio is {PAPER_TOKEN_RATIO} '
        f"(1 / {PAPER_TOKEN_RATIO} = {1 / PAPER_TOKEN_RATIO:.2f}), which is a reduction of {1 - PAPER_TOKEN_RATIO:.1%}.",
    ]


def _fertility(source: str, row: Mapping[str, float]) -> str:
    """One source: before -> after; before is the base tokenizer, absent when there is none to compare with."""
    after, bytes_after = f"{row['characters_per_token']:.2f}", f"{100 * row['byte_fallback_share']:.1f}%"
    if "token_ratio" not in row:
        return f"  {source:<24} {after:>18} {'-':>12} {'-':>10} {bytes_after:>18} {'-':>10}"
    before, bytes_before = 1.0 / row["base_tokens_per_character"], f"{100 * row['base_byte_fallback_share']:.1f}%"
    used = f"{100 * row['added_pieces_used_share']:.1f}%" if "added_pieces_used_share" in row else "-"
    return (
        f"  {source:<24} {f'{before:.2f} -> {after}':>18} {row['token_ratio']:>12.4f} {100 * row['reduction']:>9.1f}% "
        f"{f'{bytes_before} -> {bytes_after}':>18} {used:>10}"
    )


def weights_summary(config: Config, weights: Artefact) -> str:
    """Parameters, rows, how the added ones began; norms (medians, L2) and added pieces that share a vector, table by table."""
    counts = weights.counts
    base_rows, size = int(counts.get("base_rows", counts["vocab_size"])), int(counts["vocab_size"])
    padded = padded_size(size, config.strategy.pad_vocabulary_multiple)
    rows = f"{base_rows:,} base rows + {size - base_rows:,} added = {size:,}"
    if padded != size:
        rows += f", {padded:,} while training (strategy.pad_vocabulary_multiple={config.strategy.pad_vocabulary_multiple})"
    lines = [str(weights.folder), f"  {counts['parameters']:,} parameters, {rows}"]
    tables: Mapping[str, Mapping[str, float]] = counts.get("tables", {})
    if tables:
        lines.append(f"  added rows begin as {config.vocabulary.init}")
        lines.append(f"  {'table':<26} {'base norm':>10} {'added norm':>11} {'ratio':>7} {'pieces sharing a vector':>28}")
        lines += [_table(name, facts, size - base_rows) for name, facts in tables.items()]
    return "\n".join(lines)


def _table(name: str, facts: Mapping[str, float], added: int) -> str:
    ratio = f"{facts['added_norm'] / facts['base_norm']:.3f}" if facts["base_norm"] else "-"
    sharing = f"{facts['sharing']:,} of {added:,} ({100 * facts['sharing'] / added:.1f}%)"
    return f"  {name:<26} {facts['base_norm']:>10.4f} {facts['added_norm']:>11.4f} {ratio:>7} {sharing:>28}"
