"""Read, check, change and write the SentencePiece model file itself (a protobuf: pieces, trainer spec, normaliser spec).

Reads   tokenizer.model files of any origin: never trusted, refused in one line when they are not what this project can expand.
Source  paper 3.3 and E.1 (NFKC inside the tokenizer, scores as they are)
"""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError

UNKNOWN_ID, BOS_ID, EOS_ID = 0, 1, 2
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6  # ModelProto.SentencePiece.Type
BPE_MODEL = 2  # TrainerSpec.ModelType
NUM_BYTES = 256
WORD_MARK = "▁"  # SentencePiece writes a space as U+2581

ModelProto = Any  # generated protobuf class: it has no types of its own


def parse_model(data: bytes, *, name: str) -> ModelProto:
    """ModelProto of a whole SentencePiece model. Raises RequestError for anything else; `name` says whose bytes they are."""
    import sentencepiece
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    wrong = RequestError(
        f"tokenizer {name} is not a SentencePiece model, or only a part of one",
        expected="a whole tokenizer.model as SentencePiece writes it",
        remedy="fetch the file again, or set base_model.tokenizer to the model's SentencePiece file",
    )
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise wrong from error
    if not (len(proto.pieces) and proto.HasField("trainer_spec") and proto.HasField("normalizer_spec")):
        raise wrong  # a file cut between two pieces still parses
    try:
        sentencepiece.SentencePieceProcessor(model_proto=data)
    except RuntimeError as error:
        raise wrong from error
    return proto


def read_model(path: Path | None) -> ModelProto:
    """ModelProto in the file `path`. Raises RequestError when there is none."""
    if path is None or not path.is_file():
        raise RequestError(
            "no base tokenizer was given" if path is None else f"tokenizer {path} is not a file",
            expected="a SentencePiece model (tokenizer.model)",
            remedy="set base_model.tokenizer to it, or put tokenizer.model beside the weights",
        )
    return parse_model(path.read_bytes(), name=str(path))


def check_base(proto: ModelProto, *, name: str) -> None:
    """Refuse tokenizers this method does not hold for: not BPE, no byte fallback, other special ids, user-defined pieces."""
    types = [piece.type for piece in proto.pieces]
    special = (types[:3] == [UNKNOWN, CONTROL, CONTROL]) and (proto.trainer_spec.bos_id, proto.trainer_spec.eos_id) == (BOS_ID, EOS_ID)
    complaints = {
        "is not BPE": proto.trainer_spec.model_type != BPE_MODEL,
        "has no byte fallback": not proto.trainer_spec.byte_fallback or types.count(BYTE) != NUM_BYTES,
        "does not have <unk>, <s>, </s> as its ids 0, 1, 2": not special,
        "has user-defined pieces": USER_DEFINED in types,
    }
    for complaint, found in complaints.items():
        if found:
            raise RequestError(
                f"tokenizer {name} {complaint}",
                expected="a SentencePiece BPE model with byte fallback and Llama's special ids",
                remedy="choose another base_model.tokenizer",
            )


def nfkc_charsmap() -> bytes:
    """SentencePiece's compiled NFKC table: does not depend on the Unicode tables of this Python."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    normalizer = sentencepiece.SentencePieceNormalizer(rule_name="nfkc")
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(normalizer.serialized_model_proto())
    return bytes(proto.normalizer_spec.precompiled_charsmap)


def set_nfkc(proto: ModelProto) -> None:
    """Make NFKC a part of the tokenizer itself; whitespace handling stays the base's (paper 3.3)."""
    proto.normalizer_spec.name = "nfkc"
    proto.normalizer_spec.precompiled_charsmap = nfkc_charsmap()
    proto.normalizer_spec.ClearField("normalization_rule_tsv")


def model_digest(proto: ModelProto) -> str:
    """Hex sha256 over everything that can change an id (pieces, scores, types, normaliser, model kind) and nothing else."""
    trainer, normalizer = proto.trainer_spec, proto.normalizer_spec
    digest = hashlib.sha256()
    for piece in proto.pieces:
        surface = piece.piece.encode("utf-8")
        digest.update(struct.pack("<IfI", len(surface), piece.score, piece.type) + surface)
    flags = (
        trainer.model_type,
        trainer.byte_fallback,
        trainer.treat_whitespace_as_suffix,
        normalizer.add_dummy_prefix,
        normalizer.remove_extra_whitespaces,
        normalizer.escape_whitespaces,
    )
    digest.update(repr(tuple(int(flag) for flag in flags)).encode())
    digest.update(normalizer.precompiled_charsmap)
    return digest.hexdigest()


def copy_model(proto: ModelProto) -> ModelProto:
    """A ModelProto of its own."""
    copy = type(proto)()
    copy.CopyFrom(proto)
    return copy


def without_dummy_prefix(proto: ModelProto) -> ModelProto:
    """A copy that encodes exactly the text it is given: no word mark put in front, no whitespace removed."""
    copy = copy_model(proto)
    copy.normalizer_spec.add_dummy_prefix = False
    copy.normalizer_spec.remove_extra_whitespaces = False
    return copy
