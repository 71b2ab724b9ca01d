"""Item statistics: exact matches, and BLEU counts whose sums give exactly sacrebleu's corpus score."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from swallow_exp.evaluate.metrics.likelihood import ACCURACY, BITS_PER_BYTE
from swallow_exp.evaluate.metrics.strings import EXACT_MATCH, first_sentence
from swallow_exp.evaluate.metrics.translation import BLEU_JAPANESE, bleu_statistics
from swallow_exp.evaluate.task import Item, Output
from swallow_exp.record.aggregate import score_of_items

ENGLISH = ["The monk carries the red flower in the castle.", "A dog steals 3.5 blue plates!", "Yes.", "old book", "the the the the the"]
JAPANESE = ["僧が城で赤い花を運ぶ。", "犬が城で青い皿を盗む。", "駅。", "花", "花花花花花"]


def _corpus(tokenizer: str, pairs: list[tuple[str, str]]) -> tuple[float, float]:
    from sacrebleu.metrics import BLEU

    hypotheses, references = [h for h, _ in pairs], [r for _, r in pairs]
    statistics = np.array([bleu_statistics(h, r, tokenizer) for h, r in pairs])
    return score_of_items(statistics, "bleu"), BLEU(tokenize=tokenizer).corpus_score(hypotheses, [references]).score


@pytest.mark.parametrize(("tokenizer", "sentences"), [("13a", ENGLISH), ("char", JAPANESE)])
def test_bleu_of_sums_is_sacrebleu(tokenizer: str, sentences: list[str]) -> None:
    rng = random.Random(0)
    seen = set()
    for trial in range(300):
        words = [list(s) if tokenizer == "char" else s.split(" ") for s in sentences]
        pairs = []
        noisy = trial % 3 > 0
        for reference in rng.choices(words, k=rng.randint(1, 6)):
            # from perfect copies to nothing in common, from empty to too long
            share = rng.choice([0.0, 0.3, 0.9, 1.0]) if noisy else 1.0
            kept = [w if rng.random() < share else rng.choice(["x", "y."]) for w in reference]
            if noisy:
                kept = kept[: rng.randint(0, len(kept))] if rng.random() < 0.4 else kept * rng.choice([1, 1, 2])
            joint = "" if tokenizer == "char" else " "
            pairs.append((joint.join(kept), joint.join(reference)))
        ours, theirs = _corpus(tokenizer, pairs)
        assert ours == pytest.approx(theirs, rel=1e-12, abs=1e-12), (trial, pairs)
        seen.add("zero" if theirs == 0 else "perfect" if theirs > 99.9 else "between")
    assert seen == {"zero", "perfect", "between"}


@pytest.mark.parametrize(
    "pairs",
    [
        [("", "The monk.")],
        [("monk", "The monk carries the flower.")],  # shorter than four words: no 2-gram at all
        [("a b c d e", "v w x y z")],  # no match of any order
        [("the x the y", "the monk the dog")],  # unigrams only: zero counts of higher orders
        [("the monk x y z", "the monk a b c")],
        [("", "Yes."), ("The monk carries the flower.", "The monk carries the flower.")],
    ],
)
def test_bleu_of_sums_at_the_edges(pairs: list[tuple[str, str]]) -> None:
    ours, theirs = _corpus("13a", pairs)
    assert ours == pytest.approx(theirs, rel=1e-12, abs=1e-12)


def test_bleu_reads_the_first_line_of_the_answer() -> None:
    item = Item("1", "1", "", "僧が城で赤い花を運ぶ。")
    perfect = BLEU_JAPANESE.statistics(item, Output(text=" 僧が城で赤い花を運ぶ。\n犬"))
    assert score_of_items(np.array([perfect]), "bleu") == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (" 駅です。次は寺です。", "駅です"),
        ("駅です", "駅です"),
        ("3.5 monks. And a dog.", "3.5 monks"),
        ("Ｋｅｎ！ yes", "Ken"),
        ("\nlater line", "later line"),
        ("", ""),
    ],
)
def test_first_sentence(text: str, sentence: str) -> None:
    assert first_sentence(text) == sentence


def test_exact_match_ignores_the_final_stop_and_width_but_not_the_words() -> None:
    item = Item("1", "1", "", "12個です。")
    assert EXACT_MATCH.statistics(item, Output(text="１２個です")) == (1.0,)
    assert EXACT_MATCH.statistics(item, Output(text="12個です。10個です。")) == (1.0,)
    assert EXACT_MATCH.statistics(item, Output(text="2個です。")) == (0.0,)
    assert EXACT_MATCH.statistics(item, Output(text="")) == (0.0,)


def test_accuracy_takes_the_likeliest_choice_and_the_first_of_equals() -> None:
    item = Item("1", "1", "", "b", ("a", "b", "c"))
    assert ACCURACY.statistics(item, Output(loglikelihoods=(-3.0, -1.0, -2.0))) == (1.0,)
    assert ACCURACY.statistics(item, Output(loglikelihoods=(-1.0, -1.0, -2.0))) == (0.0,)


def test_bits_per_byte_counts_bits_and_utf8_bytes() -> None:
    bits, size = BITS_PER_BYTE.statistics(Item("1", "1", "", "花a"), Output(loglikelihoods=(-8 * math.log(2),)))
    assert (bits, size) == (pytest.approx(8.0), 4.0)
    assert not BITS_PER_BYTE.higher_is_better
