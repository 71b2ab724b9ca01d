"""The Hugging Face twin gives SentencePiece's ids: on edge strings, on any text, and loaded the way users load it."""

import json
import os
import shutil
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from swallow_exp.artefact.errors import RequestError
from swallow_exp.vocabulary import twin as twin_module
from swallow_exp.vocabulary.model_file import read_model
from swallow_exp.vocabulary.nfkc import beyond_twin
from swallow_exp.vocabulary.tokenizer import load_tokenizer
from swallow_exp.vocabulary.twin import EDGE_STRINGS, first_difference, make_twin, write_twin

LIKELY = st.text(alphabet="the fox  \n\t日本語ガｶﾞか王様市場で…①１ＡーをコンピューターTheé<s></s>▁_🦊\u3099", max_size=40)
ANY = st.text(max_size=20)
MARKS = st.text(
    alphabet="aeÅÅﬁかカｶﾞﾟ한ᄒㄱㅏ\u1161\u11ab\u0301\u0302\u0316\u0323\u0344\u3099\u309a\u05b0\u05bcשبـ\u064e\u0651ัำ㋿\ua7f1▁ \n", max_size=12
)


class Beyond:
    """beyond_twin() with a short name for hypothesis to print."""

    def __init__(self) -> None:
        self.find = beyond_twin()

    def __call__(self, text: str) -> bool:
        return self.find(text)


def twin_of(vocabulary) -> Tokenizer:
    twin = Tokenizer.from_file(str(vocabulary.folder / "hf" / "tokenizer.json"))
    twin.encode_special_tokens = True
    return twin


@pytest.fixture(scope="module")
def twins(base, expanded):
    return [(twin_of(each), load_tokenizer(each)) for each in (base, expanded)]


@pytest.fixture(scope="module")
def real_twins():
    """The Llama 2 tokenizer and an expansion of it, where they are at hand."""
    folder = os.environ.get("SWALLOW_TEST_DATA")
    if not folder:
        return []
    paths = [Path(folder) / name for name in ("llama2_tokenizer.model", "golden/expanded_swallow_style_43488.model")]
    found = []
    for path in paths:
        twin = make_twin(read_model(path))
        twin.encode_special_tokens = True
        found.append((twin, load_tokenizer(path)))
    return found


@pytest.fixture(scope="module")
def beyond():
    return Beyond()


def test_edge_strings(twins) -> None:
    for twin, processor in twins:
        assert first_difference(twin, processor, EDGE_STRINGS) is None


@given(text=st.one_of(LIKELY, ANY))
@settings(derandomize=True, max_examples=500, deadline=None)
def test_any_text_with_the_identity_normaliser(text, twins) -> None:
    twin, processor = twins[0]
    assert twin.encode(text, add_special_tokens=False).ids == processor.encode(text)


@given(text=st.one_of(LIKELY, ANY, MARKS))
@settings(derandomize=True, max_examples=500, deadline=None)
def test_any_text_with_nfkc(text, twins, beyond) -> None:
    twin, processor = twins[1]
    if not beyond(text):
        assert twin.encode(text, add_special_tokens=False).ids == processor.encode(text)


@pytest.mark.slow
@given(text=st.one_of(LIKELY, ANY, MARKS))
@settings(max_examples=10_000, deadline=None)
def test_ten_thousand_texts(text, twins, real_twins, beyond) -> None:
    for twin, processor in (*twins, *real_twins):
        if not beyond(text):
            assert twin.encode(text, add_special_tokens=False).ids == processor.encode(text)


def test_every_single_character_of_the_basic_plane(twins) -> None:
    twin, processor = twins[1]
    letters = [f"か{chr(code)}a" for code in range(0x20, 0x10000) if not 0xD800 <= code < 0xE000]
    differing = [text for text in letters if twin.encode(text).ids != processor.encode(text)]
    assert differing == []


def test_nothing_of_the_edge_strings_is_left_out(beyond) -> None:
    assert not any(beyond(text) for text in EDGE_STRINGS)
    assert beyond("\ua7f1\u0301")


def test_more_than_a_few_texts_that_cannot_be_compared_are_refused(expanded, tmp_path) -> None:
    proto = read_model(expanded.folder / "tokenizer.model")
    assert write_twin(proto, tmp_path, texts=["the fox"] * 2_000 + ["\ua7f1\u0301"])["left_out"] == 1
    with pytest.raises(RequestError, match=r"could not be compared on 3 of .*; expected at most 0.1%"):
        write_twin(proto, tmp_path, texts=["the fox"] * 2_000 + ["\ua7f1\u0301"] * 3)


def test_transformers_loads_it_with_the_same_ids(expanded, base, tmp_path) -> None:
    from transformers import AutoTokenizer

    for vocabulary, beside_weights in ((expanded, False), (expanded, True), (base, True)):
        folder = tmp_path / f"{vocabulary.id}{beside_weights}"
        shutil.copytree(vocabulary.folder / "hf", folder)
        if beside_weights:
            (folder / "config.json").write_text(json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}))
            shutil.copy(vocabulary.folder / "tokenizer.model", folder)
        loaded = AutoTokenizer.from_pretrained(folder)
        processor = load_tokenizer(vocabulary)
        for text in (*EDGE_STRINGS, "王様は市場で  <s>手紙</s>を売りました。ｶﾞ㋿"):
            assert loaded(text)["input_ids"] == processor.encode(text), text
            assert loaded.encode(text) == processor.encode(text), text
        ids = processor.encode("王様は 市場で sells ½ of it, 🦊.")
        assert loaded.decode(ids) == processor.decode(ids)
        assert (loaded.bos_token_id, loaded.eos_token_id, loaded.unk_token_id) == (1, 2, 0)
        assert len(loaded) == processor.get_piece_size()
        assert loaded.decode([1, *ids, 2], skip_special_tokens=True) == processor.decode(ids)


def test_merge_order_follows_scores_not_ids(base_path) -> None:
    proto = read_model(base_path)
    trained = [piece for piece in proto.pieces[259:] if len(piece.piece) > 1]
    scores = [piece.score for piece in trained]
    for piece, score in zip(trained, reversed(scores), strict=True):
        piece.score = score
    twin = make_twin(proto)
    processor = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
    texts = ["The quiet farmer sells the letter under the river", "  x = carries(fox)", "old kings' markets"]
    assert first_difference(twin, processor, texts) is None
    assert processor.encode(texts[0]) != sentencepiece.SentencePieceProcessor(model_file=str(base_path)).encode(texts[0])


@pytest.mark.parametrize("option", ["add_dummy_prefix", "remove_extra_whitespaces"])
@pytest.mark.parametrize("vocabulary", ["base", "expanded"])
def test_other_whitespace_rules_are_twinned_too(option, vocabulary, request, tmp_path) -> None:
    proto = read_model(request.getfixturevalue(vocabulary).folder / "tokenizer.model")
    setattr(proto.normalizer_spec, option, not getattr(proto.normalizer_spec, option))
    assert write_twin(proto, tmp_path, texts=["  the  fox \n x  ", "日本  語"])["checked"] == len(EDGE_STRINGS) + 2


def test_an_inexact_twin_is_refused_and_the_difference_named(base_path, tmp_path, monkeypatch) -> None:
    merges = twin_module._merges
    monkeypatch.setattr(twin_module, "_merges", lambda proto: merges(proto)[::-1])
    with pytest.raises(RequestError, match=r'not exact: ".+" gives \[\d.* at token \d+; expected \[\d.*\] as SentencePiece'):
        write_twin(read_model(base_path), tmp_path, texts=["the farmer carries the letter"])
