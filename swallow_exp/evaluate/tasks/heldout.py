"""Bits per byte of held-out text, one task a source of the run's mixture.

documents  -log2 p(text | <s>) / UTF-8 bytes of the text                        heldout_<source>
pairs      -log2 p(target | <s> source text) / UTF-8 bytes of the target        heldout_<source>_en_ja, heldout_<source>_ja_en

The first NUM_DOCUMENTS held-out documents (or `limit` of them), each cut at MAX_CHARACTERS. The end token </s> is not scored: a cut
document has none, and it is no byte of text. Independent of the vocabulary, so models with and without expansion compare.

Reads  heldout.jsonl.zst of the corpus artefacts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from swallow_exp.artefact.check import require_sound
from swallow_exp.artefact.manifest import Artefact
from swallow_exp.artefact.progress import say
from swallow_exp.corpus.build_corpus import read_documents, read_pairs
from swallow_exp.corpus.document import Pair
from swallow_exp.evaluate.metrics.likelihood import BITS_PER_BYTE
from swallow_exp.evaluate.task import CONDITIONAL, ROLLING, Item, Task

NUM_DOCUMENTS = 200
MAX_CHARACTERS = 2_000
VERSION = f"1 (first {MAX_CHARACTERS} characters, without </s>)"
DIRECTIONS = ("en_ja", "ja_en")


@dataclass(frozen=True)
class HeldoutSource:
    """A corpus whose held-out side is scored. `kind`: documents | pairs."""

    name: str
    kind: str
    corpus: Artefact


def heldout_tasks(source: HeldoutSource, limit: int | None = None, *, separator: str = " ") -> list[Task]:
    """Tasks of one source: one for documents, two for pairs, none when nothing is held out (said on stderr)."""
    if not source.corpus.counts["heldout"]["documents"]:
        say(f"heldout_{source.name}: the corpus {source.corpus.id} holds nothing out, so this task is left out")
        return []
    require_sound(source.corpus, only="heldout.jsonl.zst")
    count = limit or NUM_DOCUMENTS
    if source.kind == "documents":
        return [Task(f"heldout_{source.name}", VERSION, "heldout", ROLLING, _documents(source.corpus, count), (BITS_PER_BYTE,))]
    return [
        Task(
            f"heldout_{source.name}_{direction}",
            VERSION,
            "heldout",
            CONDITIONAL,
            _pairs(source.corpus, count, direction),
            (BITS_PER_BYTE,),
            separator=separator,
        )
        for direction in DIRECTIONS
    ]


def _documents(corpus: Artefact, count: int) -> Callable[[], Sequence[Item]]:
    def provide() -> list[Item]:
        texts = ((document.id, document.text[:MAX_CHARACTERS]) for document in read_documents(corpus, "heldout"))
        return [Item(name, name, "", text) for name, text in islice(((n, t) for n, t in texts if t.strip()), count)]

    return provide


def _pairs(corpus: Artefact, count: int, direction: str) -> Callable[[], Sequence[Item]]:
    def sides(pair: Pair) -> tuple[str, str]:
        source, target = (pair.en, pair.ja) if direction == "en_ja" else (pair.ja, pair.en)
        return source[:MAX_CHARACTERS], target[:MAX_CHARACTERS]

    return lambda: [Item(pair.id, pair.id, *sides(pair)) for pair in islice(read_pairs(corpus, "heldout"), count)]
