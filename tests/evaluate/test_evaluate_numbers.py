"""The number in a worked answer, by hand and against the fork's rule taken apart character by character (400 random answers)."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from swallow_exp.evaluate.metrics.numbers import NUMBER_FAIR, NUMBER_PAPER, last_number, last_number_paper
from swallow_exp.evaluate.task import Item, Output

# answer, what the fork reads, what the fair profile reads
NUMBERS: list[tuple[str, int | None, int | None]] = [
    ("3+2=5。答えは5です。", 5, 5),
    ("答えは18", 18, 18),
    ("答えは18.", 18, 18),
    ("答えは18.0です", 18, 18),
    ("答えは18.5です", None, None),
    ("答えは１８です", None, 18),
    ("答えは5です。つまり１８個", 5, 18),
    ("答えは1,200円です", 1200, 1200),
    ("答えは１，２００円です", None, 1200),
    ("答えは十八です", None, None),
    ("", None, None),
    ("わかりません", None, None),
    ("10-4=6", 6, 6),
    ("答えは10-4", -4, 4),
    ("答えは-7です", -7, -7),
    ("答えは−7です", 7, -7),
    ("気温は－3度", 3, -3),
    ("18個,です", None, 18),
    ("18, 19", 19, 19),
    ("18個、", 18, 18),
    ("18個...", None, 18),
    ("18個 , ", None, 18),
    ("1.2.3", None, 3),
    ("0", 0, 0),
    ("-0", 0, 0),
    ("007", 7, 7),
    ("$20です", 20, 20),
    ("20%", 20, 20),
    ("3/4", 4, 4),
    ("(5)-3", -3, 3),
    (".5", 5, 5),
    ("5.", 5, 5),
    ("1,", 1, 1),
    ("3 - 2", 2, 2),
    ("3 -2", -2, -2),
    ("100000000000", 100_000_000_000, 100_000_000_000),
]


def _scan(text: str, read: Callable[[str], int | None]) -> int | None:
    """Runs of digits, points and commas, taken apart character by character: the last one with its minus."""
    runs: list[str] = []
    for index, character in enumerate(text):
        if character in "0123456789.,":
            if index and text[index - 1] in "0123456789.,":
                runs[-1] += character
            else:
                runs.append(("-" if index and text[index - 1] == "-" else "") + character)
    return read(runs[-1]) if runs else None


def _as_the_fork(run: str) -> int | None:
    while run and run[0] == ".":
        run = run[1:]
    while run and run[-1] == ".":
        run = run[:-1]
    body = run.replace(",", "")
    digits = body.removeprefix("-").replace(".", "", 1)
    if not digits or not all(character in "0123456789" for character in digits):
        return None
    whole, _, rest = body.partition(".")
    return int(whole if whole.strip("-") else "0") if not rest.strip("0") else None


@pytest.mark.parametrize(("answer", "paper", "fair"), NUMBERS)
def test_numbers_by_hand(answer: str, paper: int | None, fair: int | None) -> None:
    assert (last_number_paper(answer), last_number(answer)) == (paper, fair)
    gold = Item("1", "1", "", "18")
    assert NUMBER_PAPER.statistics(gold, Output(text=answer)) == (float(paper == 18),)
    assert NUMBER_FAIR.statistics(gold, Output(text=answer)) == (float(fair == 18),)


def test_numbers_are_read_as_the_fork_reads_them() -> None:
    assert len(NUMBERS) >= 30
    rng, found = random.Random(7), []
    for _ in range(400):
        answer = "".join(
            rng.choice(["1", "20", "345", ".", ",", "-", "個", " ", "=", "答えは", "6", "0"]) for _ in range(rng.randint(0, 12))
        )
        assert last_number_paper(answer) == _scan(answer, _as_the_fork), answer
        found.append(last_number_paper(answer))
        clean = f"{answer}。答えは{(number := rng.randint(-999, 9_999))}です。"
        assert last_number(clean) == last_number_paper(clean) == number
    assert found.count(None) > 40 and len({number for number in found if number is not None}) > 50
