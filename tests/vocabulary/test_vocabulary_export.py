"""The Hugging Face twin gives SentencePiece's ids: on edge strings, on any text, and loaded the way users load it."""

import json
import shutil

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from swallow_exp.artefact.errors import RequestError
from swallow_exp.vocabulary import export
from swallow_exp.vocabulary.export import EDGE_STRINGS, first_difference, make_twin, write_twin
from swallow_exp.vocabulary.model_file import read_model
from swallow_exp.vocabulary.tokenizer import load_tokenizer

LIKELY = st.text(alphabet="the fox  \n\t日本語ガｶﾞか王様市場で…①１ＡーをコンピューターTheé<s></s>▁_🦊\u3099", max_size=40)
ANY = st.text(max_size=20)


def twin_of(vocabulary) -> Tokenizer:
    twin = Tokenizer.from_file(str(vocabulary.folder / "hf" / "tokenizer.json"))
    twin.encode_special_tokens = True
    return twin


@pytest.fixture(scope="module")
def twins(base, expanded):
    return [(twin_of(each), load_tokenizer(each)) for each in (base, expanded)]


def test_edge_strings(twins) -> None:
    for twin, processor in twins:
        assert first_difference(twin, processor, EDGE_STRINGS) is None


@given(text=st.one_of(LIKELY, ANY))
@settings(derandomize=True, max_examples=500, deadline=None)
def test_any_text_with_the_identity_normaliser(text, twins) -> None:
    twin, processor = twins[0]
    assert twin.encode(text, add_special_tokens=False).ids == processor.encode(text)


@given(text=st.one_of(LIKELY, ANY))
@settings(derandomize=True, max_examples=500, deadline=None)
def test_any_text_with_nfkc_unless_marks_are_out_of_order(text, twins, expanded) -> None:
    twin, processor = twins[1]
    comparable = export._comparable(read_model(expanded.folder / "tokenizer.model"))
    if comparable(text):
        assert twin.encode(text, add_special_tokens=False).ids == processor.encode(text)


def test_every_single_character_of_the_basic_plane(twins) -> None:
    twin, processor = twins[1]
    letters = [f"か{chr(code)}a" for code in range(0x20, 0x10000) if not 0xD800 <= code < 0xE000]
    differing = [text for text in letters if twin.encode(text).ids != processor.encode(text)]
    assert differing == []


def test_only_disordered_marks_are_left_out(expanded) -> None:
    comparable = export._comparable(read_model(expanded.folder / "tokenizer.model"))
    assert all(comparable(text) for text in EDGE_STRINGS)
    assert not comparable("ب\u0651\u064e")  # shadda typed before fatha


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
def test_other_whitespace_rules_are_twinned_too(option, base_path, tmp_path) -> None:
    proto = read_model(base_path)
    setattr(proto.normalizer_spec, option, not getattr(proto.normalizer_spec, option))
    assert write_twin(proto, tmp_path, texts=["  the  fox \n x  ", "日本  語"])["checked"] == len(EDGE_STRINGS) + 2


def test_an_inexact_twin_is_refused_and_the_difference_named(base_path, tmp_path, monkeypatch) -> None:
    merges = export._merges
    monkeypatch.setattr(export, "_merges", lambda proto: merges(proto)[::-1])
    with pytest.raises(RequestError, match=r'not exact: ".+" gives \[\d.* at token \d+; expected \[\d.*\] as SentencePiece'):
        write_twin(read_model(base_path), tmp_path, texts=["the farmer carries the letter"])
