"""N-grams against a plain computation on tuples, and one pass over a corpus that may be cut short."""

from __future__ import annotations

import json
import random
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import regex

from swallow_exp.artefact.manifest import Artefact
from swallow_exp.config.schema import SourceConfig
from swallow_exp.corpus import ngrams, overlap
from swallow_exp.corpus.build_corpus import build_corpus
from swallow_exp.corpus.ngrams import CHARACTERS, WINDOW, WORDS, Finder, NgramQuery, count_units, in_pieces, kind_of, ngrams_of
from swallow_exp.corpus.overlap import find_in_training_text

UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}ー]", flags=regex.V1)


def plain_units(text: str, kind: str) -> list[str]:
    text = unicodedata.normalize("NFKC", text).lower().replace("\ufe0e", "")
    if kind == CHARACTERS:
        return regex.findall(r"[\p{L}\p{M}\p{N}]", text)
    return regex.findall(r"[\p{L}\p{M}\p{N}]+", UNSPACED.sub(" ", text))


def plain_grams(text: str, kind: str) -> list[tuple[str, ...]]:
    units, size = plain_units(text, kind), WINDOW[kind]
    return [tuple(units[i : i + size]) for i in range(len(units) - size + 1)]


def random_texts(seed: int, count: int) -> list[str]:
    draw = random.Random(seed)
    words = [
        "The",
        "cat",
        "sat",
        "on",
        "a",
        "mat",
        "naïve",
        "ＡＢＣ",
        "don't",
        "3.14",
        "2,000",
        "東京",
        "カード",
        "㈱",
        "か\u3099",
        "ｶﾞ",
        "é",
        "e\u0301",
        "ÉTÉ",
        "½",
        "↑\ufe0e",
        "葛\ufe0e",
        "각",
        "\u1100\u1161",
        "สวัสดี",
        "İ",
        "…",
        "は",
        "です。",
        "\x1e",
        "🙂",
        "、",
    ]
    return ["".join(draw.choice(words) + draw.choice(["", " ", " ", "\n"]) for _ in range(draw.randrange(60))) for _ in range(count)]


@pytest.mark.parametrize("kind", [CHARACTERS, WORDS])
def test_equal_hashes_are_equal_ngrams_and_no_window_leaves_its_text(kind: str) -> None:
    texts = [*random_texts(0, 200), "", "短い"]
    hashes, text_of = ngrams_of(texts, kind)
    expected = [(gram, index) for index, text in enumerate(texts) for gram in plain_grams(text, kind)]
    assert len(expected) > 1_000 and text_of.tolist() == [index for _, index in expected]
    named: dict[int, tuple[str, ...]] = {}
    assert all(named.setdefault(int(h), gram) == gram for h, (gram, _) in zip(hashes, expected, strict=True))
    assert len(named) == len({gram for gram, _ in expected})
    assert all(count_units(text, kind) == len(plain_units(text, kind)) for text in texts)


def test_a_text_is_cut_as_its_script_asks() -> None:
    assert kind_of("東京タワーの高さは何mですか") == CHARACTERS and kind_of("カード") == CHARACTERS
    assert kind_of("How tall is the 東京 tower?") == WORDS and kind_of("") == WORDS and kind_of("12") == WORDS
    assert kind_of("สวัสดีครับ") == CHARACTERS and kind_of("안녕 하세요") == WORDS  # Hangul has spaces between words


@pytest.mark.parametrize("size", [1, 7, 300])
def test_found_is_what_both_sides_have_however_the_stream_is_cut(size: int) -> None:
    items, stream = random_texts(1, 60), [*random_texts(2, 200), *random_texts(1, 20)]
    sides = {kind: (ngrams_of(items, kind)[0], ngrams_of(stream, kind)[0]) for kind in (CHARACTERS, WORDS)}
    finder = Finder(wanted := NgramQuery.of({kind: [mine] for kind, (mine, _) in sides.items()}))
    for kind, (mine, theirs) in sides.items():
        found = {int(place) for start in range(0, len(stream), size) for place in finder(stream[start : start + size]).get(kind, [])}
        hit = {int(h) for h in wanted.hashes[kind][sorted(found)]}
        # an n-gram without a single character of such scripts is looked for only in texts that have one
        unspaced = set(theirs.tolist()) if kind == WORDS else set(ngrams_of([t for t in stream if UNSPACED.search(t)], kind)[0].tolist())
        assert hit == set(mine.tolist()) & unspaced and hit


def test_a_long_text_in_pieces_loses_no_ngram(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngrams, "PIECE_CHARACTERS", 500)
    monkeypatch.setattr(ngrams, "PIECE_OVERLAP", 200)
    text = " ".join(random_texts(3, 60)).replace("\x1e", "")
    pieces = list(in_pieces(text))
    assert len(pieces) > 5 and max(map(len, pieces)) <= 500
    for kind in (CHARACTERS, WORDS):
        assert set(ngrams_of([text], kind)[0].tolist()) <= set(ngrams_of(pieces, kind)[0].tolist())


SENTENCES = [f"この文書は第{n}番で、内容は{n * 7919 % 1000}という数についての話である。" for n in range(400)]


@pytest.fixture
def corpus(tmp_path: Path) -> Artefact:
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"id": f"d{n}", "text": t}) + "\n" for n, t in enumerate(SENTENCES)))
    source = SourceConfig(name="made_up", language="ja", files=["text.jsonl"], heldout_fraction=0.0)
    return build_corpus(source, out=tmp_path, data=tmp_path)


def wanted_of(texts: list[str]) -> NgramQuery:
    return NgramQuery.of({kind: [ngrams_of(texts, kind)[0]] for kind in (CHARACTERS, WORDS)})


def test_a_pass_that_was_killed_goes_on_where_it_was(corpus: Artefact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, state = wanted_of([*SENTENCES[::50], "まったく別の文であり、どこにも書かれていないものである"]), tmp_path / "state.npz"
    whole = find_in_training_text(corpus, wanted, state=state)
    assert 0 < whole[CHARACTERS].sum() < len(whole[CHARACTERS]) and not state.exists()
    assert whole[CHARACTERS][wanted.places(CHARACTERS, ngrams_of(SENTENCES[:1], CHARACTERS)[0])].all()

    monkeypatch.setattr(overlap, "BATCH_CHARACTERS", 1_000)
    monkeypatch.setattr(overlap, "STATE_SECONDS", -1.0)
    read: list[int] = []

    def counted(limit: int) -> Iterator[None]:
        original = overlap._finder

        def make(wanted: NgramQuery):  # type: ignore[no-untyped-def]
            work = original(wanted)

            def counting(batch):  # type: ignore[no-untyped-def]
                if sum(read) > limit:
                    raise KeyboardInterrupt
                read.append(len(batch))
                return work(batch)

            return counting

        with monkeypatch.context() as patch:
            patch.setattr(overlap, "_finder", make)
            yield

    for _ in counted(limit=150):
        with pytest.raises(KeyboardInterrupt):
            find_in_training_text(corpus, wanted, state=state)
    before, read[:] = sum(read), []
    assert state.exists() and 150 < before < 400
    for _ in counted(limit=10_000):
        marks = find_in_training_text(corpus, wanted, state=state)
    assert sum(read) == 400 - before and not state.exists()
    assert all(np.array_equal(marks[kind], whole[kind]) for kind in whole)


def test_a_torn_state_or_one_of_other_ngrams_is_not_used(corpus: Artefact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, state = wanted_of(SENTENCES[:3]), tmp_path / "state.npz"
    monkeypatch.setattr(overlap, "STATE_SECONDS", -1.0)
    overlap.write_marks(state, corpus, wanted, wanted.unmarked(), documents=400)
    assert not find_in_training_text(corpus, wanted, state=state)[CHARACTERS].any()  # this is what would happen
    overlap.write_marks(state, corpus, wanted, wanted.unmarked(), documents=400)
    other = wanted_of(SENTENCES[3:6])
    assert find_in_training_text(corpus, other, state=state)[CHARACTERS].all()
    overlap.write_marks(state, corpus, wanted, wanted.unmarked(), documents=400)
    whole = state.read_bytes()
    for damage in (b"", b"PK\x03\x04 torn", whole[:-30], whole[: len(whole) // 2]):
        state.write_bytes(damage)
        assert find_in_training_text(corpus, wanted, state=state)[CHARACTERS].all()


@pytest.mark.slow
def test_more_processes_find_the_same(corpus: Artefact, tmp_path: Path) -> None:
    wanted = wanted_of([*SENTENCES[::3], *random_texts(5, 20)])
    one, two = (find_in_training_text(corpus, wanted, state=tmp_path / f"{n}.npz", processes=n) for n in (1, 2))
    assert all(np.array_equal(one[kind], two[kind]) for kind in one) and one[CHARACTERS].any()
