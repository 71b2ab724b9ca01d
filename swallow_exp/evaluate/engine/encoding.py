"""Text <-> token ids of an exported checkpoint, exactly as its training documents `<s> doc </s>` were encoded.

(1) context       text        -> [bos] + ids (or ids alone); trailing white space is left to the continuation, whose first piece carries it
(2) continuation  text, join  -> ids, encoded apart from the context: never empty, whatever the vocabulary merges
(3) decode        ids         -> text without control tokens

A piece that starts a word carries the space before it, so ids(a + " " + b) == ids(a) + ids(b); the constructor checks that.

Reads  tokenizer.json and config.json of a Hugging Face folder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import read_json, sha256_file

_BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")
_WORD_MARK = "\u2581"
_SENTINEL = "\n"  # never merges with what follows: encodes the start of a text as if it were its middle


class TextEncoder:
    """The tokenizer of one export with the ids of its begin and end tokens."""

    def __init__(self, tokenizer: Any, *, bos_id: int, eos_ids: tuple[int, ...]) -> None:
        """Wrap a `tokenizers.Tokenizer`. Raises RequestError when words do not carry the space before them."""
        self.tokenizer = tokenizer
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.tokenizer.encode_special_tokens = True  # "<s>" inside a text is text, as in SentencePiece
        self.bos_id, self.eos_ids = bos_id, eos_ids
        self.size: int = tokenizer.get_vocab_size(with_added_tokens=True)
        if self.encode("a b") != self.encode("a") + self.encode("b"):
            raise RequestError(
                "a tokenizer whose pieces do not carry the space before a word",
                expected="a SentencePiece tokenizer (Llama 2 and its expansions)",
                remedy="evaluate this model with another harness",
            )

    def encode(self, text: str) -> list[int]:
        """Ids of `text` at the start of a document, without control tokens."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def context(self, text: str, *, bos: bool = True) -> list[int]:
        """Exactly one begin token (none without `bos`), then the text without trailing spaces. No text: the begin token in any case."""
        if not text.strip(" "):
            return [self.bos_id]  # a model cannot read nothing
        return [*([self.bos_id] if bos else []), *self.encode(text.rstrip(" "))]

    def continuation(self, text: str) -> list[int]:
        """Ids of `text` after something else; a leading space is the word mark of its first piece. Never empty."""
        if text.startswith(" "):
            ids = self.encode(text[1:])
        else:
            before = self.encode(_SENTINEL)
            ids = self.encode(_SENTINEL + text)
            assert ids[: len(before)] == before, f"the tokenizer merges a line break with {text!r}"
            ids = ids[len(before) :]
        assert ids, f"nothing to score in {text!r}"
        return ids

    def pieces(self, text: str) -> tuple[str, ...]:
        """The pieces of `text` as they are spelt in the vocabulary, without control tokens."""
        return tuple(self.tokenizer.encode(text, add_special_tokens=False).tokens)

    def pair(self, context: str, continuation: str, *, bos: bool = True) -> tuple[list[int], list[int]]:
        """Ids of both sides of a join; spaces at the end of the context move to the continuation."""
        kept = context.rstrip(" ")
        if not kept:
            return [self.bos_id], self.encode(continuation.removeprefix(" "))
        return self.context(kept, bos=bos), self.continuation(context[len(kept) :] + continuation)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated ids, without control tokens and without the space of the first piece."""
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    @cached_property
    def _piece_texts(self) -> tuple[str, ...]:
        """Text of each id; bytes above 127 and control tokens as they are spelt."""
        texts = []
        for index in range(self.size):
            piece = self.tokenizer.id_to_token(index) or ""
            byte = _BYTE_PIECE.fullmatch(piece)
            texts.append(chr(int(byte.group(1), 16)) if byte else piece.replace(_WORD_MARK, " "))
        return tuple(texts)

    @cached_property
    def piece_bytes(self) -> tuple[int, ...]:
        """UTF-8 bytes each id adds to a text; 0 for control tokens."""
        control = {index for index, token in self.tokenizer.get_added_tokens_decoder().items() if token.special}
        sizes = []
        for index, text in enumerate(self._piece_texts):
            is_byte = _BYTE_PIECE.fullmatch(self.tokenizer.id_to_token(index) or "")
            sizes.append(0 if index in control else 1 if is_byte else len(text.encode("utf-8")))
        return tuple(sizes)

    @cached_property
    def piece_characters(self) -> tuple[int, ...]:
        """Characters each id begins: a byte piece begins one unless it continues a character; 0 for control tokens."""
        counts = []
        for index, size in enumerate(self.piece_bytes):
            byte = _BYTE_PIECE.fullmatch(self.tokenizer.id_to_token(index) or "")
            begins = byte is None or not 0x80 <= int(byte.group(1), 16) < 0xC0
            counts.append(0 if size == 0 or not begins else 1 if byte else len(self._piece_texts[index]))
        return tuple(counts)

    @lru_cache(maxsize=16)  # noqa: B019 - encoders are few and live as long as the process
    def ids_with(self, strings: tuple[str, ...]) -> tuple[int, ...]:
        """Ids whose own text holds one of the strings: greedy decoding may stop there."""
        return tuple(i for i, text in enumerate(self._piece_texts) if any(string in text for string in strings))


_encoders: dict[tuple[str, int, tuple[int, ...]], TextEncoder] = {}


def load_encoder(export: Path) -> TextEncoder:
    """The encoder of an exported checkpoint; one object for equal tokenizers. Raises RequestError when files are missing."""
    from tokenizers import Tokenizer

    path, config = export / "tokenizer.json", read_json(export / "config.json")
    if not path.exists() or not isinstance(config, dict):
        raise RequestError(
            f"{export} as a checkpoint",
            expected="a Hugging Face folder with config.json and tokenizer.json",
            remedy="export the checkpoint again",
        )
    eos = config["eos_token_id"]
    eos_ids = tuple(eos) if isinstance(eos, list) else (int(eos),)
    key = (sha256_file(path), int(config["bos_token_id"]), eos_ids)
    if key not in _encoders:
        _encoders[key] = TextEncoder(Tokenizer.from_file(str(path)), bos_id=key[1], eos_ids=eos_ids)
    return _encoders[key]
