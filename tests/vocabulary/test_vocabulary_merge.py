"""Merging trained pieces into a base: what is added, what is not, and why."""

import pytest
from sentencepiece import sentencepiece_model_pb2 as spm_pb

from swallow_exp.artefact.errors import RequestError
from swallow_exp.vocabulary.merge import choose_pieces, cut_pieces, expand_base, script_pattern

JAPANESE = {"scripts": ["Hiragana", "Katakana", "Han"], "extra_characters": "ー"}


def model(*pieces: tuple[str, float]) -> spm_pb.ModelProto:
    proto = spm_pb.ModelProto()
    for name, kind in (("<unk>", 2), ("<s>", 3), ("</s>", 3), *((f"<0x{byte:02X}>", 6) for byte in range(256))):
        piece = proto.pieces.add()
        piece.piece, piece.type = name, kind
    for surface, score in pieces:
        piece = proto.pieces.add()
        piece.piece, piece.score, piece.type = surface, score, 1
    proto.trainer_spec.model_type = 2
    proto.trainer_spec.byte_fallback = True
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.remove_extra_whitespaces = False
    return proto


BASE = model(("▁the", -0.0), ("▁", -1.0), ("a", -2.0), ("日", -3.0))
TRAINED = model(
    ("▁日本", -0.0), ("▁お", -1.0), ("本", -2.0), ("日本", -3.0), ("the", -4.0), ("▁", -5.0), ("お", -6.0), ("ー", -7.0),
    ("日", -8.0), ("日a", -9.0),
)  # fmt: skip


def test_the_funnel_accounts_for_every_trained_piece() -> None:
    chosen, funnel = choose_pieces(TRAINED, [piece.piece for piece in BASE.pieces], **JAPANESE)
    assert chosen == {"日本": 0.0, "お": -1.0, "本": -2.0, "ー": -7.0}
    assert list(chosen) == ["日本", "お", "本", "ー"]
    assert funnel == {
        "trained": 269,
        "control_or_byte": 259,
        "empty_after_strip": 1,
        "other_script": 2,
        "in_base": 1,
        "duplicate_after_strip": 2,
    }
    assert funnel["trained"] - sum(count for name, count in funnel.items() if name != "trained") == len(chosen)


def test_the_long_vowel_mark_needs_to_be_named() -> None:
    chosen, _ = choose_pieces(TRAINED, [], scripts=JAPANESE["scripts"], extra_characters="")
    assert "ー" not in chosen


def test_no_scripts_means_any() -> None:
    chosen, funnel = choose_pieces(TRAINED, [], scripts=[], extra_characters="")
    assert {"the", "日a"} <= set(chosen)
    assert funnel["other_script"] == 0


def test_an_unknown_script_is_named() -> None:
    with pytest.raises(RequestError, match="Hiragna"):
        script_pattern(["Hiragna"], "")


def test_extra_characters_are_characters_not_a_pattern() -> None:
    pattern = script_pattern(["Han"], "]-^")
    assert pattern.fullmatch("日]-^")
    assert not pattern.fullmatch("a")


def test_cutting_spares_what_other_pieces_are_made_of() -> None:
    chosen = {"AB": 0.0, "ABC": -1.0, "XY": -2.0, "A": -3.0, "B": -4.0, "C": -5.0, "X": -6.0, "Y": -7.0, "Z": -8.0}
    assert list(cut_pieces(chosen, 1, have=[])) == ["AB", "ABC", "XY", "A", "B", "C", "X", "Y"]  # Z: nobody needs it
    assert list(cut_pieces(chosen, 2, have=[])) == ["AB", "ABC", "A", "B", "C", "X", "Y"]  # then XY, the worst that is no part
    assert list(cut_pieces(chosen, 6, have=[])) == ["AB", "A", "B"]  # C only once ABC is gone


def test_multiple_of_and_scores_as_they_are() -> None:
    expanded, funnel = expand_base(BASE, TRAINED, multiple_of=2, normalization="none", **JAPANESE)
    assert len(BASE.pieces) == 263
    assert [(p.piece, p.score, p.type) for p in expanded.pieces[263:]] == [("日本", 0.0, 1), ("お", -1.0, 1), ("本", -2.0, 1)]
    assert (funnel["cut_to_multiple"], funnel["added"]) == (1, 3)  # ー goes: worst rank
    assert expanded.trainer_spec.vocab_size == 266
    assert expanded.pieces[:263] == BASE.pieces[:263]
    assert expanded.normalizer_spec == BASE.normalizer_spec


def test_the_base_is_not_changed_in_place() -> None:
    before = BASE.SerializeToString()
    expand_base(BASE, TRAINED, multiple_of=1, normalization="nfkc", **JAPANESE)
    assert BASE.SerializeToString() == before


def test_nothing_left_names_the_counts() -> None:
    with pytest.raises(RequestError, match=r"trained 269.*other_script 9.*added 0.*Cyrillic"):
        expand_base(BASE, TRAINED, scripts=["Cyrillic"], extra_characters="", multiple_of=8, normalization="none")
