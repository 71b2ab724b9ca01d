"""Ids are those of the training documents `<s> doc </s>`, with exactly one begin token, and answers are never empty."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from swallow_exp.artefact.errors import RequestError
from swallow_exp.evaluate.engine.encoding import TextEncoder, load_encoder

BOS = 1


@pytest.fixture(scope="module")
def encoder(random_export: Path) -> TextEncoder:
    return load_encoder(random_export)


@pytest.fixture(scope="module")
def processor(tokenizer_folder: Path) -> Any:
    import sentencepiece

    return sentencepiece.SentencePieceProcessor(model_file=str(tokenizer_folder / "tokenizer.model"))


TEXTS = ("The monk carries the red flower.", "僧が城で赤い花を運ぶ。", "健の家はどこですか。駅です。", "a  b", "𠮷野家\nx")


@pytest.mark.parametrize("text", TEXTS)
def test_context_is_one_begin_token_and_the_training_ids(encoder: TextEncoder, processor: Any, text: str) -> None:
    assert encoder.context(text) == [BOS, *processor.encode(text)]


@pytest.mark.parametrize("text", TEXTS)
def test_trailing_spaces_are_left_to_the_answer(encoder: TextEncoder, text: str) -> None:
    assert encoder.context(text + " ") == encoder.context(text)


@pytest.mark.parametrize("source", TEXTS)
@pytest.mark.parametrize("target", TEXTS)
def test_pair_joined_by_a_space_has_the_ids_of_the_document(encoder: TextEncoder, processor: Any, source: str, target: str) -> None:
    context, continuation = encoder.pair(source, f" {target}")
    assert context + continuation == [BOS, *processor.encode(f"{source} {target}")]
    assert encoder.pair(f"{source} ", target) == (context, continuation)


def test_pair_without_a_space_never_loses_the_answer(encoder: TextEncoder) -> None:
    # cut a sentence at every place: also inside pieces, where tok(context + answer)[len(tok(context)):] would be empty or partial
    sentence = "僧が城で花を運ぶ。 The monk carries"
    whole = encoder.encode(sentence)
    merged = 0
    for cut in range(1, len(sentence)):
        context, answer = encoder.pair(sentence[:cut], sentence[cut:])
        assert encoder.decode(context + answer) == sentence
        assert answer
        merged += len(whole) <= len(context) - 1
    assert merged, "no cut of this sentence falls where the naive rule would leave nothing; choose another sentence"


def test_answer_in_the_middle_has_no_word_mark(encoder: TextEncoder) -> None:
    assert encoder.decode(encoder.continuation("駅です。")) == "駅です。"
    assert encoder.tokenizer.id_to_token(encoder.continuation("駅です。")[0])[0] != "\u2581"
    assert encoder.tokenizer.id_to_token(encoder.continuation(" 駅です。")[0])[0] == "\u2581"


def test_begin_token_written_in_a_text_is_text(encoder: TextEncoder, processor: Any) -> None:
    assert encoder.context("<s>a</s>") == [BOS, *processor.encode("<s>a</s>")]
    assert encoder.context("<s>a</s>").count(BOS) == 1


def test_empty_context_is_the_begin_token(encoder: TextEncoder) -> None:
    assert encoder.context("") == [BOS]
    assert encoder.pair("", "a b") == ([BOS], encoder.encode("a b"))


@pytest.mark.parametrize("text", ["The monk carries a flower in the castle.", "僧が城で赤い花を運ぶ。", "𠮷é"])
def test_piece_bytes_add_up_to_the_text(encoder: TextEncoder, text: str) -> None:
    ids = encoder.encode(text)
    assert sum(encoder.piece_bytes[i] for i in ids) == len(text.encode()) + 1  # and the word mark in front
    assert encoder.piece_bytes[BOS] == encoder.piece_bytes[2] == 0


def test_ids_with_a_line_break(encoder: TextEncoder) -> None:
    (newline,) = encoder.ids_with(("\n",))
    assert encoder.tokenizer.id_to_token(newline) == "<0x0A>"
    assert all("。" in encoder.tokenizer.id_to_token(i) for i in encoder.ids_with(("。",)))


def test_equal_tokenizers_are_loaded_once(random_export: Path, knowing_export: Path) -> None:
    assert load_encoder(random_export) is load_encoder(knowing_export)


def test_other_kinds_of_tokenizer_are_refused() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1, "b": 2, "Ġb": 3}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    with pytest.raises(RequestError, match="SentencePiece"):
        TextEncoder(tokenizer, bos_id=1, eos_ids=(2,))


def test_a_folder_that_is_no_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"tokenizer\.json"):
        load_encoder(tmp_path)
