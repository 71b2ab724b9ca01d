"""Were two results asked the same, and do the answers behind a score say anything?

Reads/Writes  nothing.  Source  paper appendix F (constant predictions)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from analysis.load import Measure, Study
from swallow_exp.record.health import LIMITS, chance_level, is_chance
from swallow_exp.record.schema import EvaluationRecord


def test_of(record: EvaluationRecord) -> tuple[str, str]:
    """What two results must agree in to be compared: everything that is asked (profile and part of the items are in it) and its version."""
    return record.prompt_digest, record.task_version


def usual_test(records: Iterable[EvaluationRecord]) -> tuple[str, str] | None:
    """The test that most of the records are results of; of several, the one met first."""
    counts = Counter(test_of(record) for record in records)
    return max(counts, key=lambda test: counts[test], default=None)


def difference_of_tests(a: EvaluationRecord, b: EvaluationRecord) -> str:
    """What differs between what two results were asked, in words: version, part of the items, shots, number of items, prompts."""
    facts = {
        "task version": (a.task_version, b.task_version),
        "profile": (a.profile, b.profile),
        "share of the items": tuple("all" if r.fraction is None else f"{r.fraction:g}" for r in (a, b)),
        "shots": (a.num_fewshot, b.num_fewshot),
        "items": (a.num_items, b.num_items),
        "prompts": (a.prompt_digest[:12], b.prompt_digest[:12]),
    }
    return f"{a.task}, " + ", ".join(f"{name} {first} and {second}" for name, (first, second) in facts.items() if first != second)


def answer_warnings(study: Study, pairs: Sequence[tuple[EvaluationRecord, EvaluationRecord]], measure: Measure) -> list[str]:
    """Sides that answer (nearly) every item alike, or no better than by chance; one a run, its run_id the first word."""
    warnings = []
    for record in (side for pair in pairs for side in pair):
        health = study.health_of(record.run_id, record.trained_tokens, measure)
        if health is None:
            continue
        share, chance = health.health.get("majority_share", 0.0), chance_level(health)
        if share > LIMITS["majority_share"][1]:
            warnings.append(f"degenerate: {record.run_id} gives one answer to {share:.0%} of the items")
        elif is_chance(health):
            found = health.health["balanced_accuracy"]
            warnings.append(f"near_chance: {record.run_id} is no better than chance (balanced accuracy {found:.1f}, chance {chance:.1f})")
    return list(dict.fromkeys(warnings))


def digest_warnings(pairs: Sequence[tuple[EvaluationRecord, EvaluationRecord]]) -> list[str]:
    """Results of one test that were computed with other settings, and two sides that are one set of weights."""
    warnings = []
    for a, b in pairs:
        settings = {r.settings_digest for r in (a, b)}
        if len(settings) > 1 and "" not in settings:
            ours, theirs = a.settings_digest[:7], b.settings_digest[:7]
            warnings.append(f"digests_differ: {a.run_id} and {b.run_id} were evaluated with different settings ({ours} and {theirs})")
        if a.checkpoint_digest == b.checkpoint_digest:
            warnings.append(f"same_weights: the compared checkpoints of {a.run_id} and {b.run_id} are the same weights")
    return warnings
