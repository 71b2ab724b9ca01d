"""The number a GSM8K solution ends with, and TriviaQA's aliases: by hand, and against independent readings of random answers."""

from __future__ import annotations

import random
import string

import pytest

from swallow_exp.evaluate.metrics.gsm8k import GSM8K_FAIR, GSM8K_PAPER, final_number, marked_number
from swallow_exp.evaluate.metrics.triviaqa import TRIVIA_EXACT_FAIR, TRIVIA_EXACT_PAPER, TRIVIA_F1, trivia_normalise
from swallow_exp.evaluate.task import Item, Output

SOLUTIONS = [  # answer, what the paper's tool reads, what is fair
    ("It is 4.\n#### 4", "4", 4),
    ("#### 1,200", "1200", 1200),
    ("#### -4", "-4", -4),
    ("#### 18.", "18.", 18),
    ("#### 18.0", "18.0", 18),
    ("#### 3.50", "3.50", 3.5),
    ("#### $40", None, 40),
    ("####40", None, 40),
    ("#### 7\n\n#### 9", "7", 7),
    ("#### 7 apples and 3 pears", "7", 7),
    ("The answer is 22.", None, 22),
    ("He has 24-2=22 left", None, 22),
    ("24-2", None, 2),
    ("so 24 - 2", None, 2),
    ("It is -4 degrees", None, -4),
    ("It costs $1,500.", None, 1500),
    ("It costs -$5", None, -5),
    ("a share of .5", None, 0.5),
    ("<<5-9=-4>>-4 degrees", None, -4),
    ("none at all", None, None),
    ("", None, None),
    ("#### many", None, None),
    ("#### many, 6", None, 6),
    ("### 5", None, 5),
    ("10% of 50", None, 50),
    ("3/4", None, 4),
    ("#### 0", "0", 0),
    ("#### 007", "007", 7),
    ("x4", None, 4),
    ("(9)", None, 9),
    ("18:30", None, 30),
    ("#### ,", "", None),
]


@pytest.mark.parametrize(("answer", "paper", "fair"), SOLUTIONS)
def test_numbers_by_hand(answer: str, paper: str | None, fair: float | None) -> None:
    assert marked_number(answer) == paper
    assert (None if (found := final_number(answer)) is None else float(found)) == fair


def _scanned(answer: str) -> tuple[str | None, float | None]:
    """Both readings of an answer of words and numbers, by walking over it."""
    words = answer.split()
    marked = [words[n + 1] for n, word in enumerate(words[:-1]) if word == "####" and words[n + 1].lstrip("-")[0].isdigit()]
    numbers = [float(word.replace(",", "")) for word in words if word.lstrip("-").replace(",", "").replace(".", "", 1).isdigit()]
    paper = marked[0].replace(",", "") if marked else None
    return paper, float(marked[0].replace(",", "")) if marked else numbers[-1] if numbers else None


def test_random_solutions() -> None:
    generator = random.Random(7)
    seen = set()
    for _ in range(400):
        words = ["so", "plums", "####", "5", "-3", "1,250", "2.5", "####"]
        answer = " ".join(generator.choices(words, k=generator.randrange(7)))
        paper, fair = _scanned(answer)
        assert marked_number(answer) == paper, answer
        assert (None if (found := final_number(answer)) is None else float(found)) == fair, answer
        item = Item("0", "0", "?", f"...\n#### {generator.choice(['5', '-3', '1,250', '2.5'])}")
        gold = item.target.split()[-1].replace(",", "")
        assert GSM8K_PAPER.statistics(item, Output(text=answer)) == (float(paper == gold),)
        assert GSM8K_FAIR.statistics(item, Output(text=answer)) == (float(fair == float(gold)),)
        seen.add((paper == gold, fair == float(gold)))
    assert seen == {(True, True), (False, True), (False, False)}


ITEM = Item("0", "0", "?", "George Washington", answers=("George Washington", "Washington, George", "G. Washington", "The General"))


@pytest.mark.parametrize(
    ("answer", "paper", "fair", "f1"),
    [
        (" George Washington", 1, 1, 1),
        ("george washington!", 1, 1, 1),
        ("G Washington", 1, 1, 1),
        ("Washington George", 1, 1, 1),
        ("GWashington", 0, 0, 0),
        ("The George Washington", 0, 1, 1),
        ("General", 0, 1, 1),
        ("George-Washington", 0, 1, 1),
        ("President George Washington", 0, 0, 0.8),
        ("George Washington\nQuestion: Who", 0, 1, 1),
        ("George", 0, 0, 2 / 3),
        ("Lincoln", 0, 0, 0),
        ("", 0, 0, 0),
        ("the", 0, 0, 0),
        ("  the   General ", 0, 1, 1),
    ],
)
def test_aliases_by_hand(answer: str, paper: float, fair: float, f1: float) -> None:
    assert TRIVIA_EXACT_PAPER.statistics(ITEM, Output(text=answer)) == (paper,)
    assert TRIVIA_EXACT_FAIR.statistics(ITEM, Output(text=answer)) == (fair,)
    assert TRIVIA_F1.statistics(ITEM, Output(text=answer)) == pytest.approx((f1,))


def test_random_aliases() -> None:
    generator = random.Random(8)
    letters = "aB .,'-é"
    hits = [0, 0]
    for _ in range(400):
        aliases = ["".join(generator.choices(letters, k=3)) for _ in range(4)]
        answer = "".join(generator.choices(letters, k=3))
        item = Item("0", "0", "?", aliases[0], answers=tuple(aliases))
        paper = any(
            [c for c in answer.strip().lower() if c not in string.punctuation] == [c for c in a.lower() if c not in string.punctuation]
            for a in aliases
        )
        spaced = [["".join(c if c not in string.punctuation else " " for c in text.lower())] for text in (answer, *aliases)]
        words = [[w for w in text[0].split() if w not in ("a", "an", "the")] for text in spaced]
        fair = bool(words[0]) and words[0] in words[1:]
        assert TRIVIA_EXACT_PAPER.statistics(item, Output(text=answer)) == (float(paper),), (answer, aliases)
        assert TRIVIA_EXACT_FAIR.statistics(item, Output(text=answer)) == (float(fair),), (answer, aliases)
        hits[0] += paper
        hits[1] += fair
    assert min(hits) > 20


def test_the_datasets_own_normalisation() -> None:
    assert trivia_normalise(" The Who’s ‘Tommy’\nx") == "who s tommy"
