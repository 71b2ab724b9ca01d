"""How much of each item the training text of a run contains: n-grams of question and gold answer against the run's corpora.

(1) texts    items                         -> question (without what all items of the task begin and end with), gold answer
(2) grams    13 characters or 8 words      -> those of the question, and those with a part of the gold answer
(3) find     train split of every source   -> marks, once for each (n-grams, corpus): other runs, checkpoints and profiles read them again
(4) share    marks of all sources          -> per item the found share of both; per task the items above a share

A gold answer too short for an n-gram is looked at together with the end of its question. An item too short for any is not measured, and
counted as such. All of each corpus's train split counts, whether or not the run's budget reaches it; what the base model was trained on
before is not known here. Nothing depends on a checkpoint.

Reads   <out>/artefacts/corpus/<id>/train.jsonl.zst
Writes  <out>/overlap/<corpus>/<n-grams>.npz, <run>/evaluations/{overlap.json, overlap/<task>.parquet}
Source  n-gram overlap as in PaLM (section 8) and Llama 3 (section 5.1.4); questions with their answers: Jiang et al. 2024, arXiv 2401.06059
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from swallow_exp.artefact.files import make_folder, user_disk
from swallow_exp.artefact.manifest import Artefact
from swallow_exp.artefact.paths import overlap_folder
from swallow_exp.artefact.progress import track
from swallow_exp.artefact.workers import in_batches
from swallow_exp.corpus.ngrams import (
    CHARACTERS,
    NGRAMS_VERSION,
    WINDOW,
    WORDS,
    Hashes,
    Indices,
    Marks,
    NgramQuery,
    count_units,
    kind_of,
    ngrams_of,
)
from swallow_exp.corpus.overlap import find_in_training_text, read_marks, write_marks
from swallow_exp.evaluate.planner import Plan
from swallow_exp.evaluate.task import CHOICE, Item, Task
from swallow_exp.record.health import read_overlap_entries, write_overlap

KINDS = (CHARACTERS, WORDS)
HALF = 0.5  # assumed: the share from which on an item counts as seen; overlap/<task>.parquet has every item's own
TEMPLATE_CLUSTERS = 10  # fewer clusters of items may share more than their template
BATCH_CHARACTERS = 1 << 18

Counts = npt.NDArray[np.int64]
Part = dict[str, tuple[Indices, Indices]]  # kind -> (item of each n-gram, its place among the task's n-grams of that kind)


@dataclass(frozen=True)
class TaskGrams:
    """The n-grams of one task's items, each once, and where each item's are among them."""

    num_items: int
    wanted: NgramQuery
    question: Part
    gold: Part

    def counted(self, part: Part, marks: Marks) -> tuple[Counts, Counts]:
        """(num_items,) n-grams of every item, and how many of them are marked."""
        grams, found = np.zeros(self.num_items, dtype=np.int64), np.zeros(self.num_items, dtype=np.int64)
        for kind, (items, places) in part.items():
            grams += np.bincount(items, minlength=self.num_items)
            found += np.bincount(items[marks[kind][places]], minlength=self.num_items)
        return grams, found


@dataclass
class Overlap:
    """Measures the overlap of runs; n-grams of tasks that runs share are made once."""

    _grams: dict[str, TaskGrams] = field(default_factory=dict)

    def measure(self, plan: Plan) -> int:
        """Measure what the run of `plan` lacks; returns how many tasks that were. Waits where another evaluator measures the same."""
        if not plan.suite.overlap or not plan.sources:
            return 0
        corpora = {source.name: source.corpus for source in plan.sources}
        asked_of = {name: corpus.digest for name, corpus in corpora.items()}
        known = read_overlap_entries(plan.run)
        missing = [task for task in plan.tasks if not _is_entry(known.get(task.folder), task, asked_of)]
        if not missing:
            return 0
        grams = {task.folder: self._grams_of(task) for task in track(missing, "overlap: n-grams of items", len(missing))}
        unions = {folder: found.wanted.unmarked() for folder, found in grams.items()}
        for corpus in corpora.values():
            marks = _marks_in(plan, corpus, {found.wanted.digest: found.wanted for found in grams.values()})
            for folder, found in grams.items():
                for kind, values in marks[found.wanted.digest].items():
                    unions[folder][kind] |= values
        for task in missing:
            with FileLock(str(plan.run.evaluation_lock)):
                write_overlap(plan.run, task.folder, *_described(task, grams[task.folder], unions[task.folder], asked_of))
        return len(missing)

    def _grams_of(self, task: Task) -> TaskGrams:
        if task.prompt_digest not in self._grams:
            self._grams[task.prompt_digest] = grams_of(task)
        return self._grams[task.prompt_digest]


def _is_entry(entry: Mapping[str, Any] | None, task: Task, corpora: Mapping[str, str]) -> bool:
    wanted = {"prompt_digest": task.prompt_digest, "corpora": dict(corpora), "ngrams_version": NGRAMS_VERSION}
    return entry is not None and all(entry.get(name) == value for name, value in wanted.items())


def _marks_in(plan: Plan, corpus: Artefact, sets: Mapping[str, NgramQuery]) -> dict[str, Marks]:
    """Marks of every set of n-grams (by digest) in one corpus: from files, and those without one from a single pass."""
    folder = make_folder(overlap_folder(plan.run.out, corpus.id))

    def stored() -> dict[str, Marks]:
        read = {name: read_marks(_marks_file(folder, wanted), corpus, wanted) for name, wanted in sets.items()}
        return {name: held[1] for name, held in read.items() if held is not None}

    marks = stored()
    if marks.keys() == sets.keys():
        return marks
    with user_disk(folder), FileLock(f"{folder}.lock"):
        marks = stored()  # another evaluator may have made them meanwhile
        missing = [wanted for name, wanted in sets.items() if name not in marks]
        if missing:
            together = NgramQuery.of({kind: [wanted.hashes[kind] for wanted in missing] for kind in KINDS})
            found = find_in_training_text(corpus, together, state=folder / "state.npz", processes=plan.processes)
            for wanted in missing:
                own = {kind: found[kind][together.places(kind, hashes)] for kind, hashes in wanted.hashes.items()}
                write_marks(_marks_file(folder, wanted), corpus, wanted, own, documents=corpus.counts["train"]["documents"])
                marks[wanted.digest] = own
    return marks


def _marks_file(folder: Path, wanted: NgramQuery) -> Path:
    return folder / f"{wanted.digest[:16]}.npz"


def _described(task: Task, grams: TaskGrams, marks: Marks, corpora: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Sequence[Any]]]:
    """The entry of overlap.json, and the columns of the item file."""
    question, question_found = grams.counted(grams.question, marks)
    gold, gold_found = grams.counted(grams.gold, marks)
    entry = {
        "task": task.name,
        "profile": task.profile,
        "prompt_digest": task.prompt_digest,
        "corpora": dict(corpora),
        "ngrams": {kind: WINDOW[kind] for kind in KINDS},
        "ngrams_version": NGRAMS_VERSION,
        "num_items": grams.num_items,
        "question_measured": int(np.count_nonzero(question)),
        "question_half": int(np.count_nonzero((question > 0) & (question_found >= HALF * question))),
        "gold_measured": int(np.count_nonzero(gold)),
        "gold_any": int(np.count_nonzero(gold_found)),
        "gold_half": int(np.count_nonzero((gold > 0) & (gold_found >= HALF * gold))),
    }
    items: dict[str, Sequence[Any]] = {
        "item_id": [item.item_id for item in task.all_items],
        "cluster": [item.cluster for item in task.all_items],
        "question_ngrams": question.tolist(),
        "question_found": question_found.tolist(),
        "gold_ngrams": gold.tolist(),
        "gold_found": gold_found.tolist(),
    }
    return entry, items


def grams_of(task: Task) -> TaskGrams:
    """The n-grams of a task's items: of each question, and those with a part of each gold answer."""
    texts = question_and_gold(task)
    question = _by_kind((index, text, None) for index, (text, _) in enumerate(texts))
    gold = _by_kind((index, *_around_gold(text, answer)) for index, (text, answer) in enumerate(texts))
    wanted = NgramQuery.of({kind: [question[kind][1], gold[kind][1]] for kind in KINDS})

    def placed(part: dict[str, tuple[Indices, Hashes]]) -> Part:
        return {kind: (items, wanted.places(kind, hashes)) for kind, (items, hashes) in part.items()}

    return TaskGrams(len(texts), wanted, placed(question), placed(gold))


def question_and_gold(task: Task) -> list[tuple[str, str]]:
    """Each item's own question and its gold answer as text. What all prompts begin and end with is the task's, not the item's."""
    prompts = [item.prompt for item in task.all_items]
    start = end = 0
    if len({item.cluster for item in task.all_items}) >= TEMPLATE_CLUSTERS:
        start = _shared_start(prompts)
        end = _shared_start([prompt[start:][::-1] for prompt in prompts])
    return [_parts(task, item, item.prompt[start : len(item.prompt) - end]) for item in task.all_items]


def _shared_start(texts: Sequence[str]) -> int:
    """Length of what all texts begin with."""
    first, last = min(texts), max(texts)
    return next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def _parts(task: Task, item: Item, question: str) -> tuple[str, str]:
    if task.output_type == CHOICE and item.scored:
        stem, ending = item.scored[item.choices.index(item.target)]
        return f"{question}{stem}", ending
    return question, item.target


def _around_gold(question: str, gold: str) -> tuple[str, int | None]:
    """(text, n): the last n n-grams of the text have a part of the gold answer; n None: all of them."""
    kind = kind_of(gold)
    if count_units(gold, kind) >= WINDOW[kind]:
        return gold, None
    joined = f"{question} {gold}"
    return joined, count_units(gold, kind_of(joined))


def _by_kind(texts: Iterator[tuple[int, str, int | None]]) -> dict[str, tuple[Indices, Hashes]]:
    """For each kind the n-grams of (item, text, n) and the item of each; of a text with n the last n only."""
    parts: dict[str, list[tuple[Indices, Hashes]]] = {kind: [(np.zeros(0, np.int64), np.zeros(0, np.uint64))] for kind in KINDS}
    size: Callable[[tuple[int, str, int | None]], int] = lambda entry: len(entry[1])  # noqa: E731
    for batch in in_batches(texts, size, BATCH_CHARACTERS):
        kinds = [kind_of(text) for _, text, _ in batch]
        for kind in KINDS:
            mine = [entry for entry, found in zip(batch, kinds, strict=True) if found == kind]
            if mine:
                hashes, text_of = ngrams_of([text for _, text, _ in mine], kind)
                kept = _last(text_of, [n for _, _, n in mine])
                parts[kind].append((np.array([index for index, _, _ in mine], dtype=np.int64)[text_of[kept]], hashes[kept]))
    return {kind: (np.concatenate([i for i, _ in found]), np.concatenate([h for _, h in found])) for kind, found in parts.items()}


def _last(text_of: Indices, wanted: Sequence[int | None]) -> npt.NDArray[np.bool_]:
    """Which n-grams are among the last n of their text."""
    totals = np.bincount(text_of, minlength=len(wanted))
    before_end = np.repeat(np.cumsum(totals), totals) - np.arange(len(text_of))
    limits = np.array([total if n is None else n for n, total in zip(wanted, totals, strict=True)], dtype=np.int64)
    return before_end <= limits[text_of]
