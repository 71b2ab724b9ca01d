"""ROUGE-2 F of a summary, on the evaluated model's own pieces (paper) or on words of one fixed dictionary (fair).

The two bigram lists are compared as multisets: precision and recall of the shared bigrams, and their harmonic mean, exactly as the package
rouge_score computes it for given tokens. The paper's number depends on the vocabulary: one and the same answer scores higher where the
vocabulary cuts text finer.

paper   the text as generated; pieces as the vocabulary spells them
fair    both sides NFKC with single spaces; MeCab words under unidic-lite, whatever else is installed

Source  paper Table 2; Lin (2004)
"""

from __future__ import annotations

import itertools
import shlex
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache

from swallow_exp.evaluate.task import FAIR, PAPER, Item, Metric, Output


def rouge2(prediction: Sequence[str], reference: Sequence[str]) -> float:
    """F of the bigrams of two token lists, 0..1; 0 where one has no bigram."""
    found, wanted = (Counter(itertools.pairwise(tokens)) for tokens in (prediction, reference))
    shared = (found & wanted).total()
    precision, recall = shared / max(found.total(), 1), shared / max(wanted.total(), 1)
    return 2 * precision * recall / (precision + recall) if shared else 0.0


@lru_cache(maxsize=1)
def _tagger() -> Callable[[str], str]:
    import fugashi
    import unidic_lite

    # named outright: with the full UniDic beside it, fugashi would take that one, and scores would change with what is installed
    folder = shlex.quote(unidic_lite.DICDIR)
    parse: Callable[[str], str] = fugashi.GenericTagger(f"-r {folder}/mecabrc -d {folder} -Owakati").parse
    return parse


def japanese_words(text: str) -> list[str]:
    """NFKC, single spaces, then the words of MeCab with unidic-lite."""
    plain = " ".join(unicodedata.normalize("NFKC", text).split())
    return _tagger()(plain).split() if plain else []


def _rouge2_paper(item: Item, output: Output) -> tuple[float, ...]:
    assert output.encode is not None, "ROUGE of the paper needs the evaluated model's own tokenizer"
    return (rouge2(output.encode(output.text), output.encode(item.target)),)


ROUGE2_PAPER = Metric("rouge2", "mean", _rouge2_paper, profile=PAPER)
ROUGE2_FAIR = Metric(
    "rouge2", "mean", lambda item, output: (rouge2(japanese_words(output.text), japanese_words(item.target)),), profile=FAIR
)
