"""The vocabulary artefact: the base stays as it is, the same request gives the same bytes, bad requests are refused in one line."""

import dataclasses
import json

import pytest
import regex
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from swallow_exp.artefact.errors import RequestError
from swallow_exp.vocabulary.build_vocabulary import build_vocabulary
from swallow_exp.vocabulary.model_file import nfkc_charsmap, read_model
from swallow_exp.vocabulary.tokenizer import added_piece_segments, load_tokenizer, tokenizer_digest

JAPANESE = regex.compile(r"[\p{Hiragana}\p{Katakana}\p{Han}ー]+")
FREE_OF_JAPANESE = st.text(alphabet=st.one_of(st.sampled_from("the quiet fox.  \n(x)=123"), st.sampled_from("éжλ🦊한…½ﬁ")), max_size=60)


def pieces(vocabulary):
    return read_model(vocabulary.folder / "tokenizer.model").pieces


def test_scratch_is_as_asked(base) -> None:
    proto = read_model(base.folder / "tokenizer.model")
    surfaces = [piece.piece for piece in proto.pieces]
    assert len(surfaces) == base.counts["size"] == base.counts["base_size"] == 400
    assert base.counts["added"] == 0
    assert set("日本のが人、。") <= set(surfaces)
    assert not [surface for surface in surfaces if regex.search(r"\d.", surface) and not surface.startswith("<0x")]  # digits stand alone
    assert proto.normalizer_spec.name == "identity"
    assert [piece.type for piece in proto.pieces[:3]] == [2, 3, 3]
    processor = load_tokenizer(base)
    assert (processor.unk_id(), processor.bos_id(), processor.eos_id()) == (0, 1, 2)
    text = "  two  spaces,\ttabs and 絵文字 🦊\n"
    assert processor.decode(processor.encode(text)) == text


def test_the_base_is_the_untouched_start_of_the_expansion(base, expanded) -> None:
    before, after = pieces(base), pieces(expanded)
    assert list(after[: len(before)]) == list(before)
    assert expanded.counts["size"] == len(after) == len(before) + expanded.counts["added"]
    assert expanded.counts["size"] % 8 == 0
    assert expanded.counts["added"] >= 40


def test_added_pieces_are_japanese_only_and_in_score_order(base, expanded) -> None:
    added = pieces(expanded)[base.counts["size"] :]
    assert all(JAPANESE.fullmatch(piece.piece) for piece in added)
    assert not any("▁" in piece.piece for piece in added)
    scores = [piece.score for piece in added]
    assert scores == sorted(scores, reverse=True)
    assert len({piece.piece for piece in pieces(expanded)}) == expanded.counts["size"]


def test_every_added_piece_can_be_merged_together(expanded) -> None:
    surfaces = {piece.piece for piece in pieces(expanded)}
    for piece in pieces(expanded)[expanded.counts["base_size"] :]:
        word = piece.piece
        assert set(word) <= surfaces
        assert len(word) == 1 or any(word[:cut] in surfaces and word[cut:] in surfaces for cut in range(1, len(word)))


def test_nfkc_is_in_the_tokenizer_itself(base, expanded) -> None:
    after = load_tokenizer(expanded)
    assert after.encode("ｶﾞＡ①") == after.encode("ガA1")
    assert load_tokenizer(base).encode("①") != load_tokenizer(base).encode("1")
    assert read_model(expanded.folder / "tokenizer.model").normalizer_spec.precompiled_charsmap == nfkc_charsmap()


@given(text=FREE_OF_JAPANESE)
@settings(derandomize=True, max_examples=300, deadline=None)
def test_text_without_japanese_keeps_its_ids(text, base, expanded) -> None:
    normal = sentencepiece.SentencePieceNormalizer(
        rule_name="nfkc", add_dummy_prefix=False, escape_whitespaces=False, remove_extra_whitespaces=False
    ).normalize(text)
    assert load_tokenizer(expanded).encode(text) == load_tokenizer(base).encode(normal)


def test_only_the_order_of_scores_matters(base, expanded) -> None:
    shifted = read_model(expanded.folder / "tokenizer.model")
    for row, piece in enumerate(shifted.pieces[base.counts["size"] :]):
        piece.score = -1e6 - row
    other = sentencepiece.SentencePieceProcessor(model_proto=shifted.SerializeToString())
    text = "王様は市場でコンピューターを売りました。The old king sells 12 letters. 船乗りが"
    assert other.encode(text) == load_tokenizer(expanded).encode(text)


def test_funnel_adds_up(expanded) -> None:
    funnel = dict(expanded.counts["funnel"])
    left_out = ("control_or_byte", "empty_after_strip", "other_script", "in_base", "duplicate_after_strip", "cut_to_multiple")
    assert funnel["trained"] - sum(funnel[name] for name in left_out) == funnel["added"] == expanded.counts["added"]
    assert funnel["asked"] == 400


def test_fertility_is_reported_both_ways(expanded) -> None:
    fertility = json.loads((expanded.folder / "fertility.json").read_text(encoding="utf-8"))
    assert fertility == expanded.counts["fertility"]
    assert set(fertility) == {"english", "japanese", "pairs_en", "pairs_ja"}
    japanese, english = fertility["japanese"], fertility["english"]
    assert japanese["token_ratio"] == pytest.approx(japanese["tokens"] / japanese["base_tokens"])
    assert japanese["reduction"] == pytest.approx(1 - japanese["token_ratio"])
    assert japanese["token_ratio"] < 0.5
    assert japanese["byte_fallback_share"] < japanese["base_byte_fallback_share"]
    assert 0 < japanese["added_pieces_used_share"] <= 1
    assert english["token_ratio"] == 1.0 and english["added_token_share"] == 0.0


def test_building_twice_gives_the_same_bytes(expand_config, base_path, corpora, expanded, tmp_path) -> None:
    relabelled = dataclasses.replace(expand_config, name="other", processes=2, init="zeros")
    again = build_vocabulary(relabelled, base_tokenizer=base_path, corpora=dict(reversed(corpora.items())), out=tmp_path)
    assert again.digest == expanded.digest
    for name in ("tokenizer.model", "hf/tokenizer.json", "hf/tokenizer_config.json", "fertility.json"):
        assert (again.folder / name).read_bytes() == (expanded.folder / name).read_bytes()


def test_the_digest_follows_what_changes_ids(base, expanded, base_path, corpora, tmp_path) -> None:
    assert tokenizer_digest(expanded) == expanded.counts["tokenizer_digest"] != tokenizer_digest(base)
    proto = read_model(base_path)
    proto.trainer_spec.model_prefix = "elsewhere"
    (tmp_path / "renamed.model").write_bytes(proto.SerializeToString())
    assert tokenizer_digest(tmp_path / "renamed.model") == tokenizer_digest(base)
    proto.pieces[300].score -= 0.5
    (tmp_path / "rescored.model").write_bytes(proto.SerializeToString())
    assert tokenizer_digest(tmp_path / "rescored.model") != tokenizer_digest(base)


def test_method_base_copies_and_nfkc_is_an_axis_of_its_own(expand_config, base_path, corpora, tmp_path) -> None:
    config = dataclasses.replace(expand_config, name="base", method="base", vocab_size=None, normalization="none")
    plain = build_vocabulary(config, base_tokenizer=base_path, corpora=corpora, out=tmp_path)
    assert (plain.folder / "tokenizer.model").read_bytes() == base_path.read_bytes()
    nfkc = build_vocabulary(dataclasses.replace(config, normalization="nfkc"), base_tokenizer=base_path, corpora=corpora, out=tmp_path)
    assert list(pieces(nfkc)) == list(pieces(plain))
    assert load_tokenizer(nfkc).encode("Ａ") == load_tokenizer(plain).encode("A") != load_tokenizer(plain).encode("Ａ")
    assert plain.counts["fertility"]["japanese"]["token_ratio"] == 1.0


def test_a_sample_of_the_text_is_whole_documents_and_repeatable(expand_config, base_path, corpora, tmp_path) -> None:
    config = dataclasses.replace(expand_config, max_training_bytes=15_000)
    sampled = build_vocabulary(config, base_tokenizer=base_path, corpora=corpora, out=tmp_path)
    documents = sampled.counts["training_text"]["documents"]
    mean_bytes = corpora["japanese"].counts["train"]["bytes"] / corpora["japanese"].counts["train"]["documents"]
    assert abs(documents * mean_bytes - 15_000) < 3 * mean_bytes
    again = build_vocabulary(config, base_tokenizer=base_path, corpora=corpora, out=tmp_path / "again")
    assert again.counts["tokenizer_digest"] == sampled.counts["tokenizer_digest"]


def test_added_piece_segments_have_no_dummy_prefix(base, base_path, expanded) -> None:
    segments = added_piece_segments(expanded, base_path)
    before, after = load_tokenizer(base), load_tokenizer(expanded)
    assert len(segments) == expanded.counts["added"]
    mark = before.piece_to_id("▁")
    for row, segment in enumerate(segments):
        surface = after.id_to_piece(base.counts["size"] + row)
        assert before.encode(surface) == [mark, *segment]
        assert before.decode(segment) == surface
    assert added_piece_segments(base, base_path) == []


def test_segments_refuse_another_base(expanded, base_path, tmp_path) -> None:
    proto = read_model(base_path)
    proto.pieces[300].piece = "zzzz"
    (tmp_path / "other.model").write_bytes(proto.SerializeToString())
    with pytest.raises(RequestError, match="no expansion of"):
        added_piece_segments(expanded, tmp_path / "other.model")


def _changed(base_path, tmp_path, change):
    proto = read_model(base_path)
    change(proto)
    path = tmp_path / "changed.model"
    path.write_bytes(proto.SerializeToString())
    return path


def _no_bytes(proto) -> None:
    proto.trainer_spec.byte_fallback = False
    for piece in proto.pieces:
        piece.type = 1 if piece.type == 6 else piece.type


def _unigram(proto) -> None:
    proto.trainer_spec.model_type = 1


def _user_defined(proto) -> None:
    proto.pieces[300].type = 4


@pytest.mark.parametrize(
    ("change", "message"), [(_no_bytes, "no byte fallback"), (_unigram, "is not BPE"), (_user_defined, "user-defined")]
)
def test_other_kinds_of_tokenizers_are_refused(change, message, expand_config, base_path, corpora, tmp_path) -> None:
    with pytest.raises(RequestError, match=message):
        build_vocabulary(expand_config, base_tokenizer=_changed(base_path, tmp_path, change), corpora=corpora, out=tmp_path / "out")
    assert not (tmp_path / "out" / "artefacts").exists()


@pytest.mark.parametrize("content", [b"", b"\x00\xffnot a model", b'{"model": {"type": "BPE"}}', "half", "third"])
def test_files_that_are_no_model_are_refused(content, expand_config, base_path, corpora, tmp_path) -> None:
    whole = base_path.read_bytes()
    path = tmp_path / "broken.model"
    path.write_bytes({"half": whole[: len(whole) // 2], "third": whole[: len(whole) // 3]}.get(content, content))
    with pytest.raises(RequestError, match=r"broken.model is not a SentencePiece model"):
        build_vocabulary(expand_config, base_tokenizer=path, corpora=corpora, out=tmp_path / "out")


def test_a_model_cut_anywhere_is_refused(base_path, tmp_path) -> None:
    whole = base_path.read_bytes()
    for length in range(1, len(whole) - 1, 97):
        (tmp_path / "cut.model").write_bytes(whole[:length])
        with pytest.raises(RequestError):
            read_model(tmp_path / "cut.model")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": None}, "has no vocab_size"),
        ({"vocab_size": 270}, r"vocab_size=270 is too small for the single characters.*at least \d+"),
        ({"vocab_size": 1}, "vocab_size=1"),
        ({"language": "de"}, r"no document of language de.*english \(en\), japanese \(ja\)"),
        ({"scripts": ["Cyrillic"]}, "no trained piece is left"),
        ({"scripts": ["Kanji"]}, "Kanji"),
        ({"method": "scratch", "vocab_size": 401}, "multiple_of=8"),
        ({"method": "scratch", "vocab_size": 40_000}, r"vocab_size=40000 is more than this text gives; expected at most \d"),
        ({"method": "scratch", "vocab_size": None}, "has no vocab_size"),
    ],
)
def test_requests_that_cannot_be(changes, message, expand_config, base_path, corpora, tmp_path) -> None:
    config = dataclasses.replace(expand_config, **changes)
    with pytest.raises(RequestError, match=message) as caught:
        build_vocabulary(config, base_tokenizer=base_path, corpora=corpora, out=tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.partial*"))


@pytest.mark.parametrize("path", [None, "missing.model", "."])
def test_a_missing_base_is_named(path, expand_config, corpora, tmp_path) -> None:
    given = None if path is None else tmp_path / path
    with pytest.raises(RequestError, match=r"no base tokenizer was given" if path is None else "is not a file"):
        build_vocabulary(expand_config, base_tokenizer=given, corpora=corpora, out=tmp_path)


def test_pairs_alone_are_no_training_text(expand_config, base_path, corpora, tmp_path) -> None:
    with pytest.raises(RequestError, match=r"no document of language ja.*none"):
        build_vocabulary(expand_config, base_tokenizer=base_path, corpora={"pairs": corpora["pairs"]}, out=tmp_path)
