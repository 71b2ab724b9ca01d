"""Character F1 and exact match against a computation of our own, on random and hand-written answers."""

from __future__ import annotations

import random
import re
import unicodedata

import pytest

from swallow_exp.evaluate.metrics.strings import (
    CHAR_F1_FAIR,
    CHAR_F1_PAPER,
    EXACT_MATCH_FAIR,
    EXACT_MATCH_PAPER,
    char_f1,
    first_line,
    paper_answer,
)
from swallow_exp.evaluate.task import Item, Output

ALPHABET = "東京都大阪府あいうアイウーabcAB 12３４。、・！?-éüｶﾞ\t"


def _similarity(first: str, second: str) -> float:
    """Token-sort similarity in hundredths, by the longest common subsequence; 0.5 hundredths may round either way."""

    def words(text: str) -> str:
        plain = re.sub(r"[\u0080-\u00ff]", "", text)
        return " ".join(sorted(re.sub(r"\W", " ", plain).lower().split()))

    a, b = words(first), words(second)
    if not a and not b:
        return 100.0
    row = [0] * (len(b) + 1)
    for letter in a:
        before = row[:]
        for j, other in enumerate(b):
            row[j + 1] = before[j] + 1 if letter == other else max(before[j + 1], row[j])
    return 200 * row[-1] / (len(a) + len(b))


def test_char_f1_is_the_sorted_indel_similarity_of_random_pairs() -> None:
    rng = random.Random(0)
    seen = set()
    for _ in range(1_000):
        gold = "".join(rng.choices(ALPHABET, k=rng.randint(0, 14)))
        answer = "".join(c if rng.random() < 0.7 else rng.choice(ALPHABET) for c in gold) + "".join(
            rng.choices(ALPHABET, k=rng.randint(0, 3))
        )
        found = char_f1(answer, gold)
        assert abs(100 * found - _similarity(answer, gold)) <= 0.5 + 1e-9, (answer, gold)
        assert round(100 * found) == pytest.approx(100 * found, abs=1e-9)
        seen.add(found)
    assert len(seen) > 50 and {0.0, 1.0} <= seen


# answer, gold, published score, fair score against (gold, "２番目")
BY_HAND = [
    ("東京", "東京", 1.0, 1.0),
    ("東京都", "東京", 0.8, 0.8),
    ("東京", "東京都", 0.8, 0.8),
    ("京都", "東京都", 0.8, 0.8),
    ("大阪", "東京", 0.0, 0.0),
    ("", "東京", 0.0, 0.0),
    ("\n東京", "東京", 0.0, 1.0),
    ("東京\n大阪", "東京", 1.0, 1.0),
    (" 東京", "東京", 1.0, 1.0),
    ("東京。", "東京", 1.0, 1.0),
    ("「東京」", "東京", 1.0, 1.0),
    ("。", "東京", 0.0, 0.0),
    ("４年", "4年", 1.0, 1.0),
    ("4年", "４年", 1.0, 1.0),
    ("ｶﾅ", "カナ", 1.0, 1.0),
    ("㈱青山", "(株)青山", 1.0, 1.0),
    ("YES", "yes", 1.0, 1.0),
    ("Yes!", "YES", 1.0, 1.0),
    ("NO", "YES", 0.0, 0.0),
    ("J・K・ローリング", "J・K・ローリング", 1.0, 1.0),
    ("ローリング J K", "J・K・ローリング", 1.0, 1.0),  # words are sorted
    ("JKローリング", "J・K・ローリング", 0.88, 0.88),
    ("red cat", "cat red", 1.0, 1.0),
    ("red cat", "red", 0.6, 0.6),
    ("café", "caf", 1.0, 1.0),  # accented Latin letters are dropped
    ("cafe", "café", 0.86, 0.86),
    ("2番目", "東京", 0.0, 1.0),
    ("2番", "東京", 0.0, 0.8),
    ("東京 東京", "東京", 0.57, 0.57),
    ("abcdef", "abcxyz", 0.5, 0.5),
    ("aabb", "bbaa", 0.5, 0.5),
    ("  ", "東京", 0.0, 0.0),
]


@pytest.mark.parametrize(("answer", "gold", "paper", "fair"), BY_HAND)
def test_char_f1_by_hand(answer: str, gold: str, paper: float, fair: float) -> None:
    item, output = Item("0", "0", "", gold, answers=(gold, "２番目")), Output(text=answer)
    assert CHAR_F1_PAPER.statistics(item, output) == (paper,)
    assert CHAR_F1_FAIR.statistics(item, output) == (fair,)


def test_exact_matches_differ_in_white_space_and_further_answers() -> None:
    item = Item("0", "0", "", "４年", answers=("４年", "四年"))
    found = {
        text: (EXACT_MATCH_PAPER.statistics(item, Output(text=text))[0], EXACT_MATCH_FAIR.statistics(item, Output(text=text))[0])
        for text in ("4年", "４年\n次", " 4年", "四年", "4年。", "\n4年", "")
    }
    assert list(found.values()) == [(1, 1), (1, 1), (0, 1), (0, 1), (0, 0), (0, 1), (0, 0)]


def test_the_two_readings_of_an_answer() -> None:
    assert (paper_answer(" Ａ \nb"), first_line(" Ａ \nb")) == (" A ", "A")
    assert (paper_answer("\nb"), first_line("\nb")) == ("", "b")
    assert paper_answer("…") == unicodedata.normalize("NFKC", "…") == "..."
