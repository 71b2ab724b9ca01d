"""What changed between the inputs a run was begun with and those its config gives now, in words.

(1) find    the artefacts behind the digests, as long as they lie under the output root
(2) compare what they were asked to be and made from     -> "mixture weight wiki 0.9 -> 0.8", "tokens of source wiki 1,000 -> 1,200"
(3) say     the first few, in one line

A saved state knows one digest over all its inputs: the artefacts under the output root are tried until it comes out.

Reads  artefacts/{weights,vocabulary,mixture,tokens,corpus}/*/manifest.json, artefacts/mixture/*/plan.json
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swallow_exp.artefact.files import digest_of, read_json
from swallow_exp.artefact.manifest import Artefact, find_artefact
from swallow_exp.artefact.paths import artefact_folder
from swallow_exp.mixture.build_plan import PLAN_NAME
from swallow_exp.record.identity import identity_difference

INPUT_ROLES = ("weights", "vocabulary", "mixture")
SHOWN_CHANGES = 6
MAX_TRIED = 100_000  # combinations of artefacts
Digests = Mapping[str, str]

# fields of a plan's request, as a person would say them
PLAN_WORDS = {
    "weights.": "mixture weight ",
    "groups.": "mixture group ",
    "parallel": "parallel",
    "budget_tokens": "budget tokens",
    "budget_counts": "budget counts",
    "max_repetition": "mixture max_repetition",
}


def digests_of(inputs: Mapping[str, Any]) -> dict[str, str]:
    """{role: digest} of an inputs.json."""
    return {role: str(inputs[role]["digest"]) for role in INPUT_ROLES}


def inputs_digest(inputs: Mapping[str, Any]) -> str:
    """What a state may be continued with: the same start weights, vocabulary and plan."""
    return digest_of(digests_of(inputs))


def find_digests(out: Path, digest: str, now: Digests) -> dict[str, str] | None:
    """The {role: digest} behind an `inputs_digest`, found among today's and those of artefacts under `out`; None when they are gone."""
    known = []
    for role in INPUT_ROLES:
        folders = sorted(artefact_folder(out, role, "*", "").parent.glob("*"))
        there = [artefact.digest for folder in folders if (artefact := find_artefact(folder)) is not None]
        known.append(list(dict.fromkeys([now[role], *there])))
    for combination in itertools.islice(itertools.product(*known), MAX_TRIED):
        candidate = dict(zip(INPUT_ROLES, combination, strict=True))
        if digest_of(candidate) == digest:
            return candidate
    return None


def name_changes(out: Path, earlier: Digests, now: Digests) -> str:
    """One line that names what differs; empty when no role does."""
    changes: list[str] = []
    for role in INPUT_ROLES:
        if earlier[role] == now[role]:
            continue
        before, after = _artefact(out, role, earlier[role]), _artefact(out, role, now[role])
        if before is None or after is None:
            changes.append(f"{role} {earlier[role][:7]} -> {now[role][:7]} (no longer there to compare)")
            continue
        found = _plan_changes(out, before, after) if role == "mixture" else _other_changes(role, before, after)
        changes += found or [f"{role} {before.id} -> {after.id}"]
    more = [f"and {len(changes) - SHOWN_CHANGES} more"] if len(changes) > SHOWN_CHANGES else []
    return "; ".join([*changes[:SHOWN_CHANGES], *more])


def _artefact(out: Path, kind: str, digest: str) -> Artefact | None:
    """The finished artefact of that digest, whatever it is called."""
    pattern = artefact_folder(out, kind, "*", digest)
    found = (find_artefact(folder) for folder in sorted(pattern.parent.glob(pattern.name)))
    return next((artefact for artefact in found if artefact is not None and artefact.digest == digest), None)


def _plan_changes(out: Path, before: Artefact, after: Artefact) -> list[str]:
    """Fields of the request, then sources whose shards are others."""
    asked = identity_difference(before.manifest["request"], after.manifest["request"])
    changes = [f"{_said(field)} {_shown(old)} -> {_shown(new)}" for field, (old, new) in asked.items() if field != "name"]
    old_shards, new_shards = before.manifest["made_from"], after.manifest["made_from"]
    for source in dict.fromkeys([*old_shards, *new_shards]):
        if old_shards.get(source) != new_shards.get(source):
            changes.append(_source_change(out, source, (before, old_shards.get(source)), (after, new_shards.get(source))))
    return changes


def _source_change(out: Path, source: str, before: tuple[Artefact, str | None], after: tuple[Artefact, str | None]) -> str:
    """'tokens of source wiki 1,000 -> 1,200 (the text changed)'."""
    shards = [_artefact(out, "tokens", digest) if digest else None for _, digest in (before, after)]
    counts = []
    for (plan, digest), shard in zip((before, after), shards, strict=True):
        if digest is None:
            counts.append("absent")
        elif shard is not None:
            counts.append(f"{shard.counts['tokens']:,}")
        else:
            counts.append(_planned_of(plan, source))
    if shards[0] is None or shards[1] is None:
        return f"tokens of source {source} {counts[0]} -> {counts[1]}"
    old, new = shards[0].manifest, shards[1].manifest
    names = {"corpus": "text", "tokenizer": "tokenizer"}
    causes = [f"the {names.get(role, role)} changed" for role in old["made_from"] if old["made_from"][role] != new["made_from"].get(role)]
    causes += [f"{field} {_shown(a)} -> {_shown(b)}" for field, (a, b) in identity_difference(old["request"], new["request"]).items()]
    return f"tokens of source {source} {counts[0]} -> {counts[1]} ({', '.join(causes)})"


def _planned_of(plan: Artefact, source: str) -> str:
    """Without the shard there is still what the plan had counted."""
    facts = read_json(plan.folder / PLAN_NAME) or {"sources": []}
    for known in facts["sources"]:
        if known["name"] == source:
            return f"about {known['available_sequences'] * facts['sequence_length']:,}"
    return "unknown"


def _other_changes(role: str, before: Artefact, after: Artefact) -> list[str]:
    """Fields of the request, and what it was made from."""
    asked = identity_difference(before.manifest["request"], after.manifest["request"])
    changes = [f"{role} {field} {_shown(old)} -> {_shown(new)}" for field, (old, new) in asked.items()]
    made_from = identity_difference(before.manifest["made_from"], after.manifest["made_from"])
    if made_from:
        changes.append(f"{role} made from another {', '.join(made_from)}")
    return changes


def _said(field: str) -> str:
    for prefix, words in PLAN_WORDS.items():
        if field.startswith(prefix):
            return words + field[len(prefix) :].replace(".sources.", ": ")
    return field.replace("_", " ")


def _shown(value: Any) -> str:
    """None is absence; whole numbers with separators."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "absent" if value is None else str(value)
