"""Lines of words -> a SentencePiece BPE model, and a tokenizer trained from scratch with the same means.

(1) train     SentencePiece BPE on one text file                  -> ModelProto
(2) clean     drop paths and thread counts from its trainer spec  -> the same bytes on every machine
(3) explain   SentencePiece's own failures                        -> one-line user errors

The pieces do not depend on the number of threads.
Source  paper E.1 ("BPE algorithm implemented in SentencePiece"), Llama 2's tokenizer for byte fallback, digits and special ids
"""

from __future__ import annotations

import io
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.progress import is_interactive, progress_bar
from swallow_exp.vocabulary.model_file import BOS_ID, EOS_ID, UNKNOWN_ID, ModelProto

MAX_LINE_BYTES = 100_000  # lines are cut well below; SentencePiece silently skips longer ones
MAX_THREADS = 16

COMMON_OPTIONS: dict[str, Any] = {
    "model_type": "bpe",
    "byte_fallback": True,
    "split_digits": True,
    "split_by_unicode_script": True,
    "split_by_number": True,
    "split_by_whitespace": True,
    "max_sentencepiece_length": 16,
    "add_dummy_prefix": True,
    "unk_id": UNKNOWN_ID,
    "bos_id": BOS_ID,
    "eos_id": EOS_ID,
    "pad_id": -1,
    "max_sentence_length": MAX_LINE_BYTES,
}
# assumed: the paper does not give its coverage; 0.9999 keeps about 4,000 Japanese characters on 57 M words
EXPAND_OPTIONS = {"character_coverage": 0.9999, "remove_extra_whitespaces": True, "hard_vocab_limit": False}
# As in Llama 2's own tokenizer: nothing of the text is lost, runs of spaces may become pieces.
SCRATCH_OPTIONS = {"character_coverage": 0.99995, "remove_extra_whitespaces": False, "allow_whitespace_only_pieces": True}


def _explain(error: RuntimeError, *, vocab_size: int) -> RequestError:
    """SentencePiece's message -> what was given, what was expected, what to do."""
    message = str(error)
    if found := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return RequestError(
            f"vocabulary.vocab_size={vocab_size} is too small for the single characters, the bytes and the controls",
            expected=f"at least {int(found[1]):,}",
            remedy="raise vocabulary.vocab_size",
        )
    if found := re.search(r"Vocabulary size too high .*<= (\d+)", message):
        return RequestError(
            f"vocabulary.vocab_size={vocab_size} is more than this text gives",
            expected=f"at most {int(found[1]):,}",
            remedy="lower vocabulary.vocab_size, or train on more text",
        )
    if "insert_id" in message or "vocab_size" in message:
        return RequestError(
            f"vocabulary.vocab_size={vocab_size}",
            expected="room for 256 bytes, 3 controls and every single character",
            remedy="raise vocabulary.vocab_size",
        )
    return RequestError(
        f"SentencePiece could not train {vocab_size} pieces: {message.strip()}",
        expected="text with words",
        remedy="look at the training text",
    )


def _follow(log: BinaryIO, advance: Callable[[float], None]) -> None:
    """Read SentencePiece's log to its end; every hundredth merge says how many there are."""
    done = 0
    for line in log:
        if found := re.search(rb"merges=(\d+)", line):
            advance(int(found[1]) - done)
            done = int(found[1])


@contextmanager
def _watched(vocab_size: int) -> Iterator[dict[str, Any]]:
    """Trainer options for a progress bar driven by SentencePiece's log; a silent trainer when nobody watches."""
    if not is_interactive():
        yield {"minloglevel": 2}
        return
    # The log goes to the process's stderr: while it trains that is our pipe, and the bar draws on a copy of the terminal.
    log, pipe = os.pipe()
    with (
        os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8") as screen,
        progress_bar("train", vocab_size, unit="pieces", screen=screen) as advance,
        os.fdopen(log, "rb") as lines,
    ):
        reader = threading.Thread(target=_follow, args=(lines, advance))
        reader.start()
        try:
            with os.fdopen(pipe, "wb") as stream:
                yield {"minloglevel": 0, "logstream": stream}
        finally:
            reader.join()


def train_pieces(text: Path, *, vocab_size: int, normalization: str, scratch: bool = False, required_characters: str = "") -> ModelProto:
    """Train on the lines of `text`.

    scratch: a whole tokenizer, as Llama 2's; otherwise candidates for expansion, possibly fewer than asked.
    Raises RequestError when `vocab_size` cannot be reached or does not hold the single characters.
    """
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    model = io.BytesIO()
    options = COMMON_OPTIONS | (SCRATCH_OPTIONS if scratch else EXPAND_OPTIONS)
    try:
        with _watched(vocab_size) as watching:
            sentencepiece.SentencePieceTrainer.train(
                input=[str(text)],  # a list is quoted: a plain string would be split at commas
                model_writer=model,
                vocab_size=vocab_size,
                normalization_rule_name="nfkc" if normalization == "nfkc" else "identity",
                required_chars="".join(dict.fromkeys(required_characters)),
                num_threads=min(MAX_THREADS, os.cpu_count() or 1),
                **options,
                **watching,
            )
    except RuntimeError as error:
        raise _explain(error, vocab_size=vocab_size) from error
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model.getvalue())
    for field in ("input", "model_prefix", "num_threads"):
        proto.trainer_spec.ClearField(field)
    return proto
