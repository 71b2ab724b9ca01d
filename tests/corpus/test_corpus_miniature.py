"""The miniature world: the same on every machine, and no item's text in any training text."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import islice

import pytest

from swallow_exp.corpus.miniature import BASE_CHARACTERS, FAMILIES, documents, items, pairs
from swallow_exp.corpus.miniature.draws import Draws
from swallow_exp.corpus.miniature.events import draw_event
from swallow_exp.corpus.miniature.facts import FACTS
from swallow_exp.corpus.miniature.lexicon import ADJECTIVES, AGENTS, OBJECTS, PEOPLE, PLACES, VERBS, world_kanji
from swallow_exp.corpus.miniature.passages import draw_passage

# At least as many as any configuration of the demo asks for.
NUM_DOCUMENTS = 60_000
NUM_PAIRS = 20_000
ASKED_FAMILIES = ("choice", "question", "reading", "arithmetic")
LONGEST_TEXT = 160  # characters; a document must fit into a short training sequence

JAPANESE = [
    "客が港で長い花を壊す。",
    "静は寺にいる。光は駅にいる。静はどこにいますか。静は寺にいます。",
    "葵は市場にいる。操は川にいる。葵はどこにいますか。葵は市場にいます。",
]
ENGLISH = [
    "Isamu is in the garden. Tsuyoshi is in the market. Where is Isamu? Isamu is in the garden.",
    "The girl finds the round flower in the harbor.",
    "The home of Noboru is in the castle. Ken wears purple.",
]
PAIRS = [("The cat carries the black bow in the forest.", "猫が森で黒い弓を運ぶ。")]


@pytest.fixture(scope="module")
def training_texts() -> dict[str, list[str]]:
    """All training text of each language: documents and that language's side of the pairs."""
    both = list(pairs(NUM_PAIRS))
    return {
        "en": [pair.en for pair in both] + [document.text for document in documents("en", NUM_DOCUMENTS)],
        "ja": [pair.ja for pair in both] + [document.text for document in documents("ja", NUM_DOCUMENTS)],
    }


def spans(text: str, ends: str) -> Iterator[str]:
    """Every run of whole sentences inside a text."""
    cuts = [0, *(at + 1 for at, character in enumerate(text) if character in ends)]
    for start in range(len(cuts) - 1):
        for stop in range(start + 1, len(cuts)):
            yield text[cuts[start] : cuts[stop]].strip()


def all_spans(texts: list[str], ends: str) -> set[str]:
    return {span for text in texts for span in spans(text, ends)}


@pytest.fixture(scope="module")
def read(training_texts: dict[str, list[str]]) -> dict[str, set[str]]:
    """Every run of sentences that training shows, by language."""
    return {"en": all_spans(training_texts["en"], ".?"), "ja": all_spans(training_texts["ja"], "。")}


def test_texts_are_pinned() -> None:
    # Whoever changes these lines changes every number of the demo, on purpose.
    assert [document.text for document in documents("ja", 3)] == JAPANESE
    assert [document.text for document in documents("en", 3)] == ENGLISH
    assert [(pair.en, pair.ja) for pair in pairs(1)] == PAIRS


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_shorter_request_is_a_prefix(language: str) -> None:
    longer = list(documents(language, 200))
    assert list(documents(language, 50)) == longer[:50]
    assert list(islice(documents(language, 10_000_000), 50)) == longer[:50]  # lazy
    assert len({document.id for document in longer}) == 200
    assert {document.language for document in longer} == {language}


def test_pairs_are_a_prefix_too_and_independent_of_documents() -> None:
    assert list(pairs(20)) == list(pairs(90))[:20]
    assert len({pair.id for pair in pairs(90)}) == 90
    events = {document.text for document in documents("en", 90)}
    assert len({pair.en for pair in pairs(90)} - events) > 80


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(KeyError):
        next(documents("fr", 1))


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_items_are_many_unique_and_stable(family: str) -> None:
    asked = items(family)
    assert len(asked) >= (200 if family.startswith("translation") else 150)
    assert len({item["id"] for item in asked}) == len(asked)
    assert len({item["prompt"] for item in asked}) == len(asked)
    assert asked == items(family)
    assert all(item["prompt"] and item["answer"] and item["cluster"] for item in asked)


def test_choices_hold_the_answer_once_and_in_no_favourite_place() -> None:
    asked = items("choice")
    places = [item["choices"].index(item["answer"]) for item in asked]
    assert all(len(set(item["choices"])) == len(item["choices"]) == 4 for item in asked)
    assert all(places.count(place) > len(asked) // 8 for place in range(4))


@pytest.mark.parametrize("family", ASKED_FAMILIES)
def test_no_answer_is_a_safe_guess(family: str) -> None:
    answers = [item["answer"] for item in items(family)]
    assert max(answers.count(answer) for answer in set(answers)) < 0.25 * len(answers)


def test_no_held_out_sentence_in_training(read: dict[str, set[str]]) -> None:
    for family, source, target in (("translation_en_ja", "en", "ja"), ("translation_ja_en", "ja", "en")):
        for item in items(family):
            assert item["prompt"] not in read[source]
            assert item["answer"] not in read[target]


@pytest.mark.parametrize("family", ASKED_FAMILIES)
def test_no_question_of_an_item_in_training(family: str, read: dict[str, set[str]]) -> None:
    assert not [item["prompt"] for item in items(family) if item["prompt"] in read["ja"]]


def test_the_search_for_leaks_finds_one() -> None:
    item = items("translation_en_ja")[0]
    assert item["answer"] in all_spans([f"石が3個ある。{item['answer']}猫がいる。"], "。")


def test_reserved_and_training_events_never_meet() -> None:
    draws = Draws("test", 0)
    reserved = {draw_event(draws, reserved=True).ja for _ in range(500)}
    assert reserved.isdisjoint({draw_event(draws).ja for _ in range(20_000)})


def test_pairs_are_aligned_slot_by_slot() -> None:
    for pair in pairs(300):
        for slot in (AGENTS, VERBS, ADJECTIVES, OBJECTS, PLACES):
            english = [word for word in slot if f" {word.en} " in pair.en.replace(".", " ")]
            assert len(english) == 1
            assert english[0].ja in pair.ja


def test_items_agree_with_the_documents(read: dict[str, set[str]]) -> None:
    """Every fact that an item asks about is stated, and asked in its training wording, with the same answer."""
    for fact, asked, free in zip(FACTS, items("choice"), items("question"), strict=True):
        assert asked["answer"] == free["answer"] == f"{fact.value.ja}です。"
        assert len({fact.question_ja(use) for use in range(3)}) == 3
        assert fact.question_ja(0) + asked["answer"] in read["ja"]
        assert any(statement.format(p=fact.person.ja, x=fact.value.ja) in read["ja"] for statement in fact.attribute.statements_ja)


def test_every_sum_is_right() -> None:
    for item in items("arithmetic"):
        digits = "".join(character if character.isdigit() else " " for character in item["prompt"]).split()
        first, second = map(int, digits)
        expected = first + second if "全部" in item["prompt"] else first - second
        assert item["answer"] == f"{expected}個です。"


def test_every_reading_answer_is_in_its_passage() -> None:
    for item in items("reading"):
        *passage, question = item["prompt"].removesuffix("。").split("。")
        person, _, rest = question.partition("は")
        assert rest == "どこにいますか"
        assert item["answer"].removesuffix("います。") + "いる" in passage
        assert item["answer"].startswith(person)


def test_text_survives_nfkc_and_is_short(training_texts: dict[str, list[str]]) -> None:
    for texts in training_texts.values():
        assert max(map(len, texts)) <= LONGEST_TEXT
        sample = texts[:2_000] + texts[-5_000:]
        assert [unicodedata.normalize("NFKC", text) for text in sample] == sample
        assert not any("\n" in text or text != text.strip() for text in sample)
    for family in FAMILIES:
        for item in items(family):
            assert unicodedata.normalize("NFKC", item["prompt"] + item["answer"]) == item["prompt"] + item["answer"]


def test_base_characters_are_kana_and_close_to_half_of_the_kanji(training_texts: dict[str, list[str]]) -> None:
    assert len(set(BASE_CHARACTERS)) == len(BASE_CHARACTERS)
    assert set("あんがぱっゃアンガパッャー、。") <= set(BASE_CHARACTERS)
    kanji = set(world_kanji())
    written = set("".join(training_texts["ja"])) - set("0123456789")
    assert kanji == {character for character in written if "一" <= character <= "鿿"}
    assert written - kanji <= set(BASE_CHARACTERS)
    assert 0.35 < len(kanji & set(BASE_CHARACTERS)) / len(kanji) < 0.65
    assert all(word.ja in BASE_CHARACTERS for word in PEOPLE)


def test_the_english_passages_say_the_same() -> None:
    draws = Draws("test", 1)
    for exercise in (draw_passage(draws) for _ in range(100)):
        person, place = (word for word in (*PEOPLE, *PLACES) if word.ja in exercise.answer_ja.replace("います", ""))
        assert exercise.answer_en == f"{person.en} is in the {place.en}."
        assert exercise.en.startswith(exercise.text_en)
