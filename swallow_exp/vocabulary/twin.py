"""SentencePiece model -> its exact Hugging Face twin (tokenizer.json, tokenizer_config.json), refused when it is not exact.

(1) merges     every split of a piece into two pieces, ordered by the piece's score (not by its id)
(2) normalise  NFKC as SentencePiece does it (nfkc.py), then the word mark in front and for each space
(3) config     PreTrainedTokenizerFast: the Llama classes would drop NFKC and reorder the merges; no <s> added by itself;
               "<s>" written in a text stays text
(4) check      ids equal to SentencePiece's on edge strings and on held-out text, through the written file

With NFKC the check leaves out, and counts, the texts that hold one of 36 letter sequences newer than the NFKC of `tokenizers`
(nfkc.py); more than one in a thousand of them and the twin is refused.

Writes  tokenizer.json, tokenizer_config.json
Source  paper 3.3 (NFKC as string preprocessing)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import write_json_atomic
from swallow_exp.vocabulary.model_file import BOS_ID, EOS_ID, NORMAL, UNKNOWN_ID, WORD_MARK, ModelProto, nfkc_charsmap
from swallow_exp.vocabulary.nfkc import beyond_twin, nfkc_steps
from swallow_exp.vocabulary.tokenizer import first_difference_of_ids

TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
MAX_LEFT_OUT = 0.001  # of the checked texts

EDGE_STRINGS = (
    "", " ", "  ", "\n", "\r\n", "\t", "\x00", "日本語", " 日本語", "日本語 ", "日本語\n英語", "\n\n日本", "a\u3000b", "\u3000全角",
    "Ｈｅｌｌｏ", "１００円", "ｶﾞ", "ﾊﾟﾋﾟﾌﾟ", "か\u3099", "ゔ", "…‥", "①②㈱", "½ ™ Å \u2126 ﷺ", "e\u0301", "𠮷野家", "👨‍👩‍👧‍👦", "🇯🇵",
    "か\u3099\u309a", "a\u0302\u0323", "a\u0323\u0302", "\u0628\u0651\u064e", "ﬁ\u0301", "㋿\u0301", "ㄱㅏㄱ", "\u0301", "日\n\u3099",
    "한글", "ᄒ\u1161ᆫ", "\u200b", "▁", "日▁本", "▁▁ a", "<s>日本</s>", "</s>", "<unk>", " <s> ", "<0xE5>", "㍻", "㋿", "ーー", "々〇",
    "  two  spaces  日本  語", "def f(x):\n    return  x\n", "trailing   ", "3.14159 and 2024年", "日本語" * 50,
)  # fmt: skip


def _merges(proto: ModelProto) -> list[tuple[str, str]]:
    ids = {piece.piece: index for index, piece in enumerate(proto.pieces)}
    ranked: list[tuple[float, int, int, str, str]] = []
    for piece in proto.pieces:
        if piece.type != NORMAL:
            continue
        for cut in range(1, len(piece.piece)):
            left, right = piece.piece[:cut], piece.piece[cut:]
            if left in ids and right in ids:
                ranked.append((-piece.score, ids[left], ids[right], left, right))
    return [(left, right) for *_, left, right in sorted(ranked)]


def _is_nfkc(proto: ModelProto) -> bool:
    return bool(proto.normalizer_spec.precompiled_charsmap == nfkc_charsmap())


def _normalizer(proto: ModelProto) -> Any:
    from tokenizers import Regex, normalizers

    spec = proto.normalizer_spec
    steps: list[Any] = []
    if _is_nfkc(proto):
        steps += nfkc_steps(spec.precompiled_charsmap, marks_are_spaces=not spec.remove_extra_whitespaces)
    elif spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(spec.precompiled_charsmap))  # exact for some tables; the check decides
    if spec.remove_extra_whitespaces:
        steps += [normalizers.Replace(Regex(r"\A +| +\z"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    if spec.add_dummy_prefix:
        steps.append(normalizers.Prepend(WORD_MARK))
    steps.append(normalizers.Replace(" ", WORD_MARK))
    if spec.remove_extra_whitespaces:
        steps.append(normalizers.Replace(Regex(rf"{WORD_MARK}+\z"), ""))  # marks written in the text at its end are whitespace, too
    return normalizers.Sequence(steps)


def make_twin(proto: ModelProto) -> Any:
    """A tokenizers.Tokenizer with the ids of the SentencePiece model; it knows <unk>, <s>, </s> as special tokens and adds none."""
    from tokenizers import AddedToken, Tokenizer, decoders
    from tokenizers.models import BPE

    vocab = {piece.piece: index for index, piece in enumerate(proto.pieces)}
    unknown = proto.pieces[UNKNOWN_ID].piece
    twin = Tokenizer(BPE(vocab=vocab, merges=_merges(proto), unk_token=unknown, fuse_unk=True, byte_fallback=True))
    twin.normalizer = _normalizer(proto)
    steps = [decoders.Replace(WORD_MARK, " "), decoders.ByteFallback(), decoders.Fuse()]
    if proto.normalizer_spec.add_dummy_prefix:
        steps.append(decoders.Strip(" ", 1, 0))
    twin.decoder = decoders.Sequence(steps)
    special = [proto.pieces[index].piece for index in (UNKNOWN_ID, BOS_ID, EOS_ID)]
    twin.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return twin


def first_difference(twin: Any, processor: Any, texts: Iterable[str]) -> tuple[str, list[int], list[int]] | None:
    """(text, SentencePiece ids, twin ids) of the first text on which they differ, or None."""
    for text in texts:
        expected, given = processor.encode(text), twin.encode(text, add_special_tokens=False).ids
        if expected != given:
            return text, expected, given
    return None


def _inexact(text: str, expected: list[int], given: list[int]) -> RequestError:
    shown, start = first_difference_of_ids(text, expected, given)
    return RequestError(
        f"the Hugging Face form of this tokenizer is not exact: {shown} gives {given[start : start + 6]} at token {start}",
        expected=f"{expected[start : start + 6]} as SentencePiece gives",
        remedy="choose a base tokenizer with SentencePiece BPE, byte fallback and an identity or NFKC normaliser",
    )


def write_twin(proto: ModelProto, folder: Path, *, texts: Iterable[str]) -> dict[str, int]:
    """Write the twin into `folder` and check the written file on edge strings and `texts`; returns {"checked", "left_out"} texts.

    Raises RequestError that names the first difference.
    """
    import sentencepiece
    from tokenizers import Tokenizer

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / TOKENIZER_FILE
    make_twin(proto).save(str(path))
    names = {role: proto.pieces[index].piece for role, index in (("unk", UNKNOWN_ID), ("bos", BOS_ID), ("eos", EOS_ID))}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{f"{role}_token": name for role, name in names.items()},
        "add_bos_token": False,
        "add_eos_token": False,
        "split_special_tokens": True,  # "<s>" inside a text is text, as SentencePiece reads it
        "clean_up_tokenization_spaces": False,
        "model_max_length": 10**30,
    }
    write_json_atomic(folder / TOKENIZER_CONFIG_FILE, config)
    twin = Tokenizer.from_file(str(path))
    twin.encode_special_tokens = True  # what split_special_tokens sets
    processor = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
    beyond = beyond_twin() if _is_nfkc(proto) else lambda text: False
    counts = {"checked": 0, "left_out": 0}

    def counted() -> Iterator[str]:
        for text in chain(EDGE_STRINGS, texts):
            fit = not beyond(text)
            counts["checked" if fit else "left_out"] += 1
            if fit:
                yield text

    difference = first_difference(twin, processor, counted())
    if difference is not None:
        raise _inexact(*difference)
    if counts["left_out"] > MAX_LEFT_OUT * sum(counts.values()):
        raise RequestError(
            f"the Hugging Face form of this tokenizer could not be compared on {counts['left_out']:,} of {sum(counts.values()):,} texts",
            expected=f"at most {MAX_LEFT_OUT:.1%} with letters its NFKC does not know",
            remedy="set vocabulary.normalization=none, or normalise the source itself",
        )
    return counts
