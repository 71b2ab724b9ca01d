"""How many tokens the same text costs under each vocabulary of a study, and how much text a generated token carries.

(1) held out   documents of each source, the same ones under the vocabulary and its base tokenizer     -> SavedText, paired over documents
(2) generated  answers of each generative task at the last checkpoint; vocabulary contrasts only        -> SavedText, paired over items
(3) paper      its two numbers as printed, and as they can both be true                                 -> SavedText without counts

Three names that are easily swapped: token_ratio = tokens after / tokens before; reduction = 1 - token_ratio (fewer tokens for the same
text); gain = 1 / token_ratio - 1 (more text for the same tokens).

Held-out text is the measurement: it is the same text, and no model is involved. Why not the items of held-out evaluations: they are cut
at 2,000 characters, belong to a checkpoint although the number does not depend on one, and finished results have no tokens. Generated
text is an observation: each model writes its own, so where two write different scripts no gain is given.

The paper (section 1) says "78%" more efficient generation "due to a 56.2% token reduction". A reduction of 56.2% is a gain of
1 / (1 - 0.562) - 1 = 128%. A mean over Japanese and English text could bring 128% down to 78% if 22% of the base tokens were text whose
tokens do not change: s + (1 - s) 0.438 = 1 / 1.78 gives s = 0.22. In its training mixture (90:10 in tokens after expansion) that share is
10 / (10 + 90 / 0.438) = 4.6%, and the gain 115%: the mixture does not explain it. Read as token_ratio, 56.2% gives 1 / 0.562 - 1 = 78%,
to the digit: a reduction of 43.8%, and close to what the method gives on other Japanese text.
# differs from paper 1: we give the second reading beside the printed one, as assumed, not as known.

Reads  the study's token counts (swallow_exp/record/token_counts.py).  Writes  nothing.  Source  paper 1, 3.3, 5.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.claims.align import unit_index
from analysis.claims.claim import Interval
from analysis.claims.influence import influences
from analysis.claims.variance import NOTHING, relative_interval, seen_covariance
from analysis.load import Study
from swallow_exp.artefact.progress import track
from swallow_exp.record.aggregate import FloatArray, score_of_sums
from swallow_exp.record.schema import EvaluationRecord, FertilityRecord, GenerationRecord
from swallow_exp.record.token_counts import PAPER_GAIN, PAPER_REDUCTION, PAPER_TOKEN_RATIO, read_fertility, read_generated

VOCABULARY = "vocabulary"
HELD_OUT, GENERATED, PAPER = "held out", "generated", "paper"
FEW_TEXTS = 10  # assumed: an interval over fewer documents says more about its method than about the text
# assumed: largest difference in the share of non-ASCII characters at which answers count as the same kind of text. English has four times
# the characters a token that Japanese has under a base vocabulary: two points of share are some 6% of characters a token.
OTHER_SCRIPT = 0.02


@dataclass(frozen=True)
class SavedText:
    """One vocabulary on one text. Counts are None for the paper; what compares is None where there is nothing to compare with."""

    text: str
    vocabulary: str
    source: str  # held out | generated | paper
    documents: int | None = None
    characters: int | None = None
    tokens: int | None = None
    reduction: float | None = None  # % fewer tokens
    reduction_interval: Interval | None = None
    gain: float | None = None  # % more text a token
    gain_interval: Interval | None = None

    @property
    def tokens_per_character(self) -> float | None:
        """Fertility."""
        return self.tokens / self.characters if self.characters and self.tokens else None

    @property
    def characters_per_token(self) -> float | None:
        """Its inverse."""
        return self.characters / self.tokens if self.characters and self.tokens else None


def gain_of(reduction: float) -> float:
    """% more text a token, from % fewer tokens for the same text."""
    return 100.0 * (1.0 / (1.0 - reduction / 100.0) - 1.0)


def measure_study(study: Study) -> list[SavedText]:
    """Every vocabulary on every text, text by text; the paper's rows last, where anything was compared. Empty when nothing was counted."""
    rows = [*_held_out_rows(study), *_generated_rows(study)]
    return [*rows, *paper_rows()] if any(row.reduction is not None for row in rows) else rows


def paper_rows() -> list[SavedText]:
    """As printed, and the reading under which its two numbers agree (see the module docstring)."""
    reduction = 100.0 * (1.0 - PAPER_TOKEN_RATIO)
    return [
        SavedText("Swallow Corpus, as printed", "paper", PAPER, reduction=100.0 * PAPER_REDUCTION, gain=100.0 * PAPER_GAIN),
        SavedText("Swallow Corpus, 56.2% as what is left", "paper", PAPER, reduction=reduction, gain=gain_of(reduction)),
    ]


def compare_counts(ours_NK: FloatArray, base_NK: FloatArray, clusters: Sequence[str]) -> tuple[float, Interval | None]:
    """Reduction (%) of tokens per character, a ratio of sums, with its paired interval; no interval for a few texts.

    Args:
        ours_NK, base_NK: tokens and characters of each text, (n, 2).
        clusters: texts of one cluster are one unit.
    """
    units = unit_index(clusters)
    arms_1AMK = np.stack([units.sums(ours_NK), units.sums(base_NK)])[None]
    ours, base = (float(score) for score in score_of_sums(arms_1AMK[0].sum(axis=1), "ratio"))
    reduction = 100.0 * (1.0 - ours / base)
    covariance_AA = seen_covariance(influences(arms_1AMK, "ratio"))
    found = relative_interval((ours, base), NOTHING, covariance_AA, units.num_units)
    if found is None or units.num_units < FEW_TEXTS:
        return reduction, None
    return reduction, (-found[1], -found[0])


def _saved(row: SavedText, compared: tuple[float, Interval | None]) -> SavedText:
    reduction, interval = compared
    gains = None if interval is None else (gain_of(interval[0]), gain_of(interval[1]))
    return replace(row, reduction=reduction, reduction_interval=interval, gain=gain_of(reduction), gain_interval=gains)


def measure_vocabulary(records: Sequence[FertilityRecord]) -> list[SavedText]:
    """One vocabulary by itself on each text, before any run has it."""
    return [_held_out_row(record, record.vocabulary, record.text) for record in records]


def level_of_runs(study: Study) -> dict[str, str]:
    """run_id -> level of the vocabulary."""
    return {run_id: cell.choices.get(VOCABULARY, cell.label) for cell in study.cells for run_id in cell.run_ids}


def _held_out_rows(study: Study) -> list[SavedText]:
    """Runs that share tokenizer and corpus share a row; the base comes first."""
    found: dict[tuple[str, str, str], FertilityRecord] = {}
    levels: dict[str, list[str]] = {}
    for run_id, level in level_of_runs(study).items():
        for record in read_fertility(study.out, run_id):
            found.setdefault((record.text, record.corpus, record.tokenizer), record)
            levels.setdefault(record.tokenizer, [])
            levels[record.tokenizer] += [level] * (level not in levels[record.tokenizer])
    texts = list(dict.fromkeys(key[:2] for key in found))
    ordered = sorted(found.values(), key=lambda record: (texts.index((record.text, record.corpus)), not record.is_base))
    several = {text for text, _ in texts if sum(other == text for other, _ in texts) > 1}
    return [
        _held_out_row(record, _name(record, levels), f"{record.text} ({record.corpus})" if record.text in several else record.text)
        for record in track(ordered, "tokens of held-out text", len(ordered))
    ]


def _name(record: FertilityRecord, levels: Mapping[str, Sequence[str]]) -> str:
    """The levels with this tokenizer; with the artefact's id where a level has others too (of other base models, other training text)."""
    mine = levels[record.tokenizer]
    shared = any(level in others for level in mine for tokenizer, others in levels.items() if tokenizer != record.tokenizer)
    return f"{', '.join(mine)} ({record.vocabulary})" if shared else ", ".join(mine)


def _held_out_row(record: FertilityRecord, vocabulary: str, text: str) -> SavedText:
    row = SavedText(text, vocabulary, HELD_OUT, len(record.document_ids), int(record.characters_N.sum()), int(record.tokens_N.sum()))
    if record.is_base or record.base_tokens_N is None or not record.base_tokens_N.sum():
        return row
    ours_NK, base_NK = (
        np.stack([tokens_N, record.characters_N], axis=1).astype(np.float64) for tokens_N in (record.tokens_N, record.base_tokens_N)
    )
    return _saved(row, compare_counts(ours_NK, base_NK, record.document_ids))


def _generated_rows(study: Study) -> list[SavedText]:
    """Task by task: what the baselines of vocabulary contrasts wrote, then each vocabulary against its own of them."""
    pairs: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for contrast in study.contrasts:
        if contrast.factor == VOCABULARY:
            pairs.setdefault((contrast.level, contrast.baseline_level), []).extend(contrast.pairs)
    answers = _last_answers(study, {run_id for of in pairs.values() for pair in of for run_id in pair})
    rows = []
    for task in dict.fromkeys(task for _, task in answers):
        told: set[str] = set()
        for (level, baseline), runs in pairs.items():
            both = [(answers[a, task], answers[b, task]) for a, b in runs if (a, task) in answers and (b, task) in answers]
            both = [(ours, theirs) for ours, theirs in both if ours.prompt_digest == theirs.prompt_digest]
            if not both:
                continue
            compared = _compare_answers(task, level, baseline, both)
            rows += [row for row in compared if row.vocabulary not in told]
            told |= {row.vocabulary for row in compared}
    return rows


def _last_answers(study: Study, run_ids: set[str]) -> dict[tuple[str, str], GenerationRecord]:
    """(run, task) -> answers at the last evaluated checkpoint past token 0, of tasks that generate."""
    last: dict[tuple[str, str], EvaluationRecord] = {}
    for record in study.records:
        if record.run_id in run_ids and 0 < record.trained_tokens == study.checkpoints_of(record.run_id)[-1]:
            last.setdefault((record.run_id, record.folder or record.task), record)
    found = {key: read_generated(study.out, record) for key, record in track(last.items(), "generated answers", len(last))}
    return {key: generated for key, generated in found.items() if generated is not None and generated.tokens_N.sum()}


def _compare_answers(task: str, level: str, baseline: str, both: Sequence[tuple[GenerationRecord, GenerationRecord]]) -> list[SavedText]:
    """Two rows: the baseline's answers and the level's, summed over seeds item by item."""
    clusters = {i: c for pair in both for record in pair for i, c in zip(record.item_ids, record.clusters, strict=True)}
    shared = sorted(set.intersection(*(set(record.item_ids) for pair in both for record in pair)))
    ours_NK, theirs_NK = (_summed([pair[side] for pair in both], shared) for side in (0, 1))
    theirs, ours = (
        SavedText(task, name, GENERATED, len(shared), int(sums_NK[:, 1].sum()), int(sums_NK[:, 0].sum()))
        for name, sums_NK in ((baseline, theirs_NK), (level, ours_NK))
    )
    share = [_non_ascii([pair[side] for pair in both]) for side in (0, 1)]
    if abs(share[0] - share[1]) > OTHER_SCRIPT or not (ours.characters and theirs.characters and ours.tokens and theirs.tokens):
        return [theirs, ours]
    clusters_of_shared = [clusters[item_id] for item_id in shared]
    return [theirs, _saved(ours, compare_counts(ours_NK, theirs_NK, clusters_of_shared))]


def _summed(records: Sequence[GenerationRecord], shared: Sequence[str]) -> FloatArray:
    """(n, 2): tokens and characters of each shared item over all runs."""
    sums_NK = np.zeros((len(shared), 2))
    for record in records:
        place = {item_id: index for index, item_id in enumerate(record.item_ids)}
        chosen = [place[item_id] for item_id in shared]
        sums_NK += np.stack([record.tokens_N[chosen], record.characters_N[chosen]], axis=1)
    return sums_NK


def _non_ascii(records: Sequence[GenerationRecord]) -> float:
    """Share of characters beyond ASCII in all answers."""
    text = "".join(answer for record in records for answer in record.answers)
    return sum(not character.isascii() for character in text) / max(1, len(text))
