"""SQuAD 2.0's exact match and F1 against two independent computations, questions without an answer, both profiles."""

from __future__ import annotations

import random
import string

import pytest

from swallow_exp.evaluate.metrics.squad import SQUAD_FAIR, SQUAD_PAPER, UNANSWERABLE, squad_prediction, squad_scores
from swallow_exp.evaluate.task import Item, Output

WORDS = [
    "the",
    "a",
    "an",
    "The",
    "river",
    "Danube",
    "St.",
    "1,912",
    "it's",
    "A.",
    "green-blue",
    "Anna",
    "—",
    "--",
    "Theatre",
    "(",
    "’s",
    "naïve",
]


def normalised_words(text: str) -> list[str]:
    """The definition in other words: letter by letter, then word by word with the edges of words looked for by hand."""
    kept = [letter for letter in text.lower() if letter not in string.punctuation]
    word_letter = [letter.isalnum() or letter == "_" for letter in kept]
    start = 0
    while start < len(kept):
        end = start
        while end < len(kept) and word_letter[end] == word_letter[start]:
            end += 1
        if word_letter[start] and "".join(kept[start:end]) in ("a", "an", "the"):
            kept[start:end] = [" "] * (end - start)
        start = end
    return "".join(kept).split()


def defined_scores(prediction: str, answers: list[str]) -> tuple[float, float]:
    """exact and F1 of squad_v2: the best of the answers that have words; without any, of the empty answer."""
    golds = [words for words in map(normalised_words, answers) if words] or [[]]
    found = normalised_words(prediction)
    best = 0.0
    for gold in golds:
        left, shared = list(gold), 0
        for word in found:
            if word in left:
                left.remove(word)
                shared += 1
        if not gold or not found:
            best = max(best, float(gold == found))
        elif shared:
            precision, recall = shared / len(found), shared / len(gold)
            best = max(best, 2 * precision * recall / (precision + recall))
    return float(any(found == gold for gold in golds)), best


def random_text(generator: random.Random) -> str:
    return " ".join(generator.choices(WORDS, k=generator.randrange(6)))


def test_random_pairs_have_the_scores_of_the_definition() -> None:
    generator = random.Random(5)
    seen = set()
    for _ in range(600):
        answers = [random_text(generator) for _ in range(generator.randrange(4))]
        prediction = generator.choice([*answers, *(f"the {a}!" for a in answers), random_text(generator), random_text(generator)])
        expected = defined_scores(prediction, answers)
        assert squad_scores(prediction, answers) == pytest.approx(expected), (prediction, answers)
        seen.add((expected[0], 0 < expected[1] < 1, bool(answers)))
    assert {(1.0, False, True), (1.0, False, False), (0.0, True, True), (0.0, False, True), (0.0, False, False)} <= seen


def test_random_pairs_with_an_answer_agree_with_torchmetrics() -> None:
    from torchmetrics.functional.text import squad

    generator = random.Random(6)
    for number in range(200):
        answers = [f"{random_text(generator)} word" for _ in range(generator.randrange(1, 4))]
        prediction = generator.choice([answers[0].upper(), random_text(generator), f"{answers[-1]} {random_text(generator)}"])
        theirs = squad(
            {"prediction_text": prediction, "id": str(number)},
            {"answers": {"answer_start": [0] * len(answers), "text": answers}, "id": str(number)},
        )
        ours = squad_scores(prediction, answers)
        assert (100 * ours[0], 100 * ours[1]) == pytest.approx((float(theirs["exact_match"]), float(theirs["f1"])), abs=1e-4), prediction


BY_HAND = [  # prediction, answers, exact, F1
    ("Anna Berg", ["Anna Berg"], 1, 1),
    (" anna berg.", ["Anna Berg"], 1, 1),
    ("the Anna Berg", ["Anna Berg"], 1, 1),
    ("Anna", ["Anna Berg"], 0, 2 / 3),
    ("Anna Berg Anna", ["Anna Berg"], 0, 4 / 5),
    ("Berg Anna", ["Anna Berg"], 0, 1),
    ("Carl", ["Anna Berg"], 0, 0),
    ("", ["Anna Berg"], 0, 0),
    ("the", ["Anna Berg"], 0, 0),
    ("A smith", ["Anna Berg", "smith"], 1, 1),
    ("a smith in town", ["Anna Berg", "smith"], 0, 1 / 2),
    ("1,912", ["1912"], 1, 1),
    ("1 912", ["1912"], 0, 0),
    ("$5", ["5"], 1, 1),
    ("5.0", ["50"], 1, 1),
    ("green-blue", ["greenblue"], 1, 1),
    ("green blue", ["green-blue"], 0, 0),
    ("Theatre", ["the Theatre"], 1, 1),
    ("atheist", ["the ist"], 0, 0),
    ("an apple a day", ["apple day"], 1, 1),
    ("apple\nday", ["apple day"], 1, 1),
    ("", ["the"], 1, 1),  # an answer without words counts as none
    ("x", ["the"], 0, 0),
    ("", ["the", "x"], 0, 0),
    ("", [], 1, 1),
    ("the", [], 1, 1),
    (" ... ", [], 1, 1),
    ("unanswerable", [], 0, 0),
    ("Anna", [], 0, 0),
    ("É", ["é"], 1, 1),
    ("x x y", ["x y y"], 0, 2 / 3),
    ("x", ["x y", "x y z"], 0, 2 / 3),
]


@pytest.mark.parametrize(("prediction", "answers", "exact", "f1"), BY_HAND)
def test_pairs_by_hand(prediction: str, answers: list[str], exact: float, f1: float) -> None:
    assert squad_scores(prediction, answers) == pytest.approx((exact, f1))
    assert defined_scores(prediction, answers) == pytest.approx((exact, f1))


def _scores(metrics: tuple[tuple[object, ...], ...], item: Item, text: str) -> dict[str, tuple[float, ...]]:
    return {m.name: m.statistics(item, Output(text=text)) for part in metrics for m in part}  # type: ignore[attr-defined]


def test_only_the_fair_profile_credits_what_the_examples_teach() -> None:
    without = Item("0", "0", "?", "unanswerable", extra=(UNANSWERABLE,))
    taught = _scores(SQUAD_PAPER, without, " unanswerable")
    assert taught["exact"] == taught["f1"] == (0.0,) and taught["no_answer_exact"] == (0.0, 1.0) and taught["has_answer_f1"] == (0.0, 0.0)
    assert _scores(SQUAD_PAPER, without, "")["no_answer_exact"] == (100.0, 1.0)
    taught = _scores(SQUAD_FAIR, without, " unanswerable")
    assert taught["exact"] == taught["f1"] == (1.0,) and taught["no_answer_exact"] == (100.0, 1.0)
    assert taught["has_answer_exact"] == (0.0, 0.0)


def test_no_answer_is_wrong_where_there_is_one() -> None:
    item = Item("0", "0", "?", "Anna Berg", answers=("Anna Berg", "Berg"))
    for metrics in (SQUAD_PAPER, SQUAD_FAIR):
        found = _scores(metrics, item, "unanswerable")
        assert found["exact"] == (0.0,) and found["has_answer_exact"] == (0.0, 1.0) and found["no_answer_exact"] == (0.0, 0.0)
        found = _scores(metrics, item, " Anna")
        assert found["exact"] == (0.0,) and found["f1"] == pytest.approx((2 / 3,))
        assert found["has_answer_f1"] == pytest.approx((200 / 3, 1.0))


@pytest.mark.parametrize(
    ("text", "prediction"),
    [
        ("\n Anna \nBerg", "Anna"),
        ("Unanswerable.", ""),
        ("unanswerable: no", ""),
        ("unanswerables", "unanswerables"),
        ("is unanswerable",) * 2,
    ],
)
def test_the_fair_reading_of_an_answer(text: str, prediction: str) -> None:
    assert squad_prediction(text) == prediction
