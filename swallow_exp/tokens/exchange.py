"""Token shards from and for other trainers: Megatron-LM's .bin/.idx, datatrove's .ds.

export   a tokens artefact -> the other format's files; the ids are the same bytes
import   the other format's files + their tokenizer -> a tokens artefact like one that was built here

Beside what it exports, this project writes two files of its own: <name>.loss (Megatron has no place for loss flags; datatrove's
own companion has the same bytes) and <name>.swallow.json, the shard's meta.json. An import reads them where they are: then the
tokenizer's digest must be the one recorded. An import refuses ids that are no pieces of the tokenizer, files that are cut short, and
files that are not of the format. Documents keep their order (their maker may have shuffled them) unless a seed is given; the bytes of
text are counted from the pieces, as the tokenizer normalised it.

Writes  the files named; <out>/artefacts/tokens/<name>-<hash7>/
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import numpy.typing

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import HashedFile, digest_of, make_folder, read_json, remove_folder, user_disk, write_json_atomic
from swallow_exp.artefact.files import sha256_file as sha256
from swallow_exp.artefact.manifest import Artefact, build_artefact, find_artefact
from swallow_exp.artefact.paths import artefact_folder, user_path
from swallow_exp.artefact.progress import progress_bar, track
from swallow_exp.artefact.units import format_bytes
from swallow_exp.tokens import datatrove, megatron
from swallow_exp.tokens.shard import (
    LOSS_NAME,
    OFFSETS_NAME,
    TOKENS_NAME,
    Ends,
    open_shard,
    shuffled_order,
    token_dtype,
    write_meta,
    write_shuffled,
)
from swallow_exp.vocabulary.model_file import BOS_ID, BYTE, CONTROL, EOS_ID, UNKNOWN, WORD_MARK, model_digest, read_model
from swallow_exp.vocabulary.tokenizer import model_path

FORMATS = ("megatron", "datatrove")
STRETCH = 1 << 22  # tokens in memory at once
OUR_FACTS = ".swallow.json"

Ids = numpy.typing.NDArray[Any]


@dataclass(frozen=True)
class Foreign:
    """The files of one dataset in another format. `index` holds the document ends."""

    tokens: Path
    index: Path
    loss: Path
    facts: Path

    @classmethod
    def of(cls, name: Path, kind: str) -> Foreign:
        """The files that belong to `name` (a prefix, or the main file itself)."""
        if kind not in FORMATS:
            raise RequestError(f"--format {kind}", expected=f"one of {', '.join(FORMATS)}", remedy="write --format megatron")
        if kind == "megatron":
            tokens, index = megatron.megatron_files(name)
            return cls(tokens, index, tokens.with_suffix(".loss"), tokens.with_suffix(OUR_FACTS))
        tokens = datatrove.datatrove_file(name)
        index, loss = (datatrove.companion(tokens, ending) for ending in ("index", "loss"))
        return cls(tokens, index, loss, tokens.with_name(tokens.name + OUR_FACTS))


def find_tokens(out: Path, given: str) -> Artefact:
    """A tokens artefact by its folder, or by its id (or an unambiguous beginning of it) under `out`."""
    direct = find_artefact(user_path(given))
    if direct is not None and direct.manifest.get("kind") == "tokens":
        return direct
    folders = sorted((out / "artefacts" / "tokens").glob("*"))
    found = [artefact for folder in folders if (artefact := find_artefact(folder)) is not None]
    matches = [artefact for artefact in found if artefact.id.startswith(given)]
    exact = [artefact for artefact in matches if artefact.id == given]
    if len(exact or matches) != 1:
        shown = ", ".join(artefact.id for artefact in matches or found) or "none yet"
        raise RequestError(
            f"{len(matches)} token shards match '{given}'", expected=f"one of {shown}", remedy="give its folder, or check --out"
        )
    return (exact or matches)[0]


def export_shard(tokens: Artefact | Path, name: Path, *, kind: str) -> list[Path]:
    """Write a shard in the format `kind` under `name`; the files it made. Raises RequestError when one of them is there already."""
    files, shard = Foreign.of(name, kind), open_shard(tokens)
    folder = tokens.folder if isinstance(tokens, Artefact) else tokens
    copies = {files.tokens: folder / TOKENS_NAME, **({files.loss: folder / LOSS_NAME} if shard.loss is not None else {})}
    offsets = numpy.asarray(shard.offsets, dtype=numpy.int64)
    itemsize = shard.tokens.dtype.itemsize
    small = {files.index: megatron.index_bytes(offsets, shard.tokens.dtype) if kind == "megatron" else datatrove.index_bytes(offsets)}
    if kind == "datatrove":
        metadata = datatrove.metadata_bytes(f"sha256:{shard.tokenizer_digest}", tokens=shard.num_tokens, itemsize=itemsize)
        small[datatrove.companion(files.tokens, "metadata")] = metadata
    targets = [*copies, *small, files.facts]
    there = [path for path in targets if path.exists()]
    if there:
        raise RequestError(f"{there[0]} is there already", expected="a new name", remedy="choose another, or remove the file")
    make_folder(files.tokens.parent)
    partial = files.tokens.parent / f".{files.tokens.name}.partial-{uuid.uuid4().hex[:8]}"
    partial.mkdir()
    try:
        with user_disk(files.tokens):
            for target, source in track(copies.items(), f"export {files.tokens.name}", len(copies)):
                shutil.copyfile(source, partial / target.name)
            for target, data in small.items():
                (partial / target.name).write_bytes(data)
            write_json_atomic(partial / files.facts.name, dict(shard.meta))
            for target in targets:
                (partial / target.name).rename(target)
    finally:
        remove_folder(partial)
    return targets


def import_shard(
    name: Path, *, kind: str, tokenizer: Path, out: Path, called: str | None = None, shuffle_seed: int | None = None
) -> Artefact:
    """The tokens artefact of a dataset in the format `kind`, made when missing.

    tokenizer     the SentencePiece model whose ids the dataset holds (or a folder with tokenizer.model)
    called        the artefact's name; default: the dataset's own
    shuffle_seed  shuffle the documents as a shard built here; None: keep their order
    Raises RequestError: files missing, cut short or of another format, ids beyond the tokenizer's, another tokenizer than recorded.
    """
    files = Foreign.of(name, kind)
    for path in (files.tokens, files.index):
        if not path.is_file():
            raise RequestError(f"{path} is no file", expected=f"the files of a {kind} dataset", remedy="check the name")
    proto = read_model(model_path(tokenizer))
    digest_of_tokenizer = model_digest(proto)
    dtype, ends = megatron.read_index(files.index) if kind == "megatron" else datatrove.read_index(files.tokens)
    _check_sizes(files, dtype, ends)
    facts = _recorded_facts(files, digest_of_tokenizer, tokenizer)
    hashed = [path for path in (files.tokens, files.index, files.loss) if path.is_file()]
    made_from = {path.name: sha256(path) for path in track(hashed, f"import {files.tokens.name}: checksums", len(hashed))}
    made_from["tokenizer"] = digest_of_tokenizer
    if facts:
        made_from[files.facts.name] = digest_of(facts)
    request = {"imported_from": kind, "seed": shuffle_seed}
    digest = digest_of({"request": request, "made_from": made_from})
    folder = artefact_folder(out, "tokens", called or files.tokens.name.split(".")[0], digest)
    checksums: dict[str, str] = {}

    def build(partial: Path) -> dict[str, Any]:
        copied = _copy(files, partial / "copy" if shuffle_seed is not None else partial, dtype, ends, proto)
        checksums.update(copied.checksums)
        if shuffle_seed is not None:
            order = shuffled_order(len(copied.ends), seed=shuffle_seed)
            unshuffled = partial / "copy"
            checksums.update(write_shuffled(unshuffled, partial, offsets=copied.ends, order=order, dtype=copied.dtype))
            remove_folder(unshuffled)
        counts: dict[str, Any] = {
            "documents": len(copied.ends),
            "tokens": int(copied.ends[-1]),
            "trained_tokens": copied.trained_tokens,
            "dtype": copied.dtype.name,
            "text_bytes": facts.get("text_bytes", copied.text_bytes),
            "inexact_borders": facts.get("inexact_borders", 0),
            "empty_documents_left_out": len(ends) - len(copied.ends),
        }
        seed = facts.get("shuffle_seed") if shuffle_seed is None else shuffle_seed
        special = {"bos": copied.bos, "eos": copied.eos, "shuffle_seed": seed}
        identity = {"tokenizer_digest": digest_of_tokenizer, "vocab_size": len(proto.pieces)}
        write_meta(partial, {**counts, **special, **identity, "dtype": copied.dtype.str})
        return counts

    return build_artefact(folder, build, kind="tokens", digest=digest, request=request, made_from=made_from, checksums=checksums)


def _check_sizes(files: Foreign, dtype: numpy.dtype[Any], ends: Ends) -> None:
    tokens = int(ends[-1]) if len(ends) else 0
    if not tokens:
        raise RequestError(f"{files.index} names no token", expected="at least one document", remedy="check the name")
    for path, size in ((files.tokens, tokens * dtype.itemsize), (files.loss, tokens)):
        if path.is_file() and path.stat().st_size != size:
            raise RequestError(
                f"{path} has {path.stat().st_size:,} bytes where {files.index.name} makes it {size:,}",
                expected="files that fit together",
                remedy="copy or make the files again",
            )


def _recorded_facts(files: Foreign, digest: str, tokenizer: Path) -> Mapping[str, Any]:
    """What this project wrote beside the dataset when it exported it; nothing for a dataset from elsewhere."""
    facts = read_json(files.facts)
    if not isinstance(facts, dict):
        return {}
    if facts.get("tokenizer_digest") != digest:
        raise RequestError(
            f"tokenizer {tokenizer} has digest {digest[:12]} and {files.facts.name} names {str(facts.get('tokenizer_digest'))[:12]}",
            expected="the tokenizer the ids were made with",
            remedy="give that one with --tokenizer",
        )
    return facts


@dataclass(frozen=True)
class _Copied:
    ends: Ends
    dtype: numpy.dtype[Any]
    trained_tokens: int
    text_bytes: int
    bos: int | None
    eos: int | None
    checksums: Mapping[str, str]


def _copy(files: Foreign, folder: Path, dtype: numpy.dtype[Any], ends: Ends, proto: Any) -> _Copied:
    """Copy ids and flags into `folder`, in our type; look at every id on the way."""
    make_folder(folder)
    ends = ends[numpy.diff(ends, prepend=0) > 0]
    ours = token_dtype(len(proto.pieces))
    piece_bytes, text_bytes = _piece_bytes(proto), 0
    foreign = numpy.memmap(files.tokens, dtype=dtype, mode="r")
    with HashedFile(folder / TOKENS_NAME) as target:
        for first, ids in _stretches(foreign, f"import {files.tokens.name}"):
            _check_ids(files.tokens, ids, first, len(proto.pieces))
            target.write(ids.astype(ours).tobytes())
            text_bytes += int(piece_bytes[ids].sum())
    checksums = {TOKENS_NAME: target.sha256}
    trained = len(foreign)
    if files.loss.is_file():
        trained, checksums[LOSS_NAME] = _copy_loss(files.loss, folder / LOSS_NAME)
        if trained == len(foreign):  # every token is a target: that is what no file says
            (folder / LOSS_NAME).unlink()
            del checksums[LOSS_NAME]
    numpy.save(folder / OFFSETS_NAME, ends.astype("<i8"))
    starts = numpy.concatenate([numpy.zeros(1, dtype=numpy.int64), ends[:-1]])
    framed = {special: bool((foreign[places] == special).all()) for special, places in ((BOS_ID, starts), (EOS_ID, ends - 1))}
    first_pieces = foreign[numpy.minimum(starts + int(framed[BOS_ID]), len(foreign) - 1)]
    marked = numpy.array([piece.piece.startswith(WORD_MARK) for piece in proto.pieces])
    prefixes = int(marked[first_pieces].sum()) if proto.normalizer_spec.add_dummy_prefix else 0
    return _Copied(
        ends=ends,
        dtype=ours,
        trained_tokens=trained,
        text_bytes=text_bytes - prefixes,  # the space in front of a text is the tokenizer's
        bos=BOS_ID if framed[BOS_ID] else None,
        eos=EOS_ID if framed[EOS_ID] else None,
        checksums=checksums,
    )


def _stretches(ids: Ids, label: str) -> Iterator[tuple[int, Ids]]:
    with progress_bar(label, len(ids), unit="tokens") as advance:
        for first in range(0, len(ids), STRETCH):
            stretch = numpy.asarray(ids[first : first + STRETCH])
            yield first, stretch
            advance(len(stretch))


def _check_ids(path: Path, ids: Ids, first: int, vocab_size: int) -> None:
    wrong = (ids < 0) | (ids >= vocab_size)
    if wrong.any():
        place = int(wrong.argmax())
        raise RequestError(
            f"{path} holds id {int(ids[place])} at token {first + place:,}",
            expected=f"ids below {vocab_size:,}, the size of the tokenizer",
            remedy="give the tokenizer the ids were made with",
        )


def _copy_loss(source: Path, target: Path) -> tuple[int, str]:
    trained = 0
    with HashedFile(target) as handle:
        for first, flags in _stretches(numpy.memmap(source, dtype=numpy.uint8, mode="r"), f"import {source.name}"):
            if int(flags.max()) > 1:
                raise RequestError(
                    f"{source} holds {int(flags.max())} near token {first:,}", expected="0 or 1 for each token", remedy="check the file"
                )
            trained += int(flags.sum())
            handle.write(flags.tobytes())
    return trained, handle.sha256


def _piece_bytes(proto: Any) -> numpy.typing.NDArray[numpy.int64]:
    """UTF-8 bytes of text each piece stands for."""
    sizes = []
    for piece in proto.pieces:
        special = piece.type in (CONTROL, UNKNOWN)
        sizes.append(0 if special else 1 if piece.type == BYTE else len(piece.piece.replace(WORD_MARK, " ").encode("utf-8")))
    return numpy.array(sizes, dtype=numpy.int64)


def shard_summary(tokens: Artefact) -> str:
    """Two lines for a person: where it is and what it holds."""
    shard = open_shard(tokens)
    frames = {"<s>": shard.meta.get("bos"), "</s>": shard.meta.get("eos")}
    lacking = [name for name, special in frames.items() if special is None]
    framed = f"; not every document has its {' and '.join(lacking)}" if lacking else ""
    return (
        f"{tokens.folder}\n{shard.num_documents:,} documents, {shard.num_tokens:,} tokens, {shard.trained_tokens:,} of them targets, "
        f"{format_bytes(shard.text_bytes)} of text{framed}"
    )


def convert(direction: str, name: str, flags: Mapping[str, str], *, out: Path, shuffle_seed: int | None) -> str:
    """`swallow convert-tokens`: carry it out, and say what was made."""
    needed = {"import": ["--format", "--tokenizer"], "export": ["--format", "--to"]}.get(direction)
    if needed is None:
        raise RequestError(f"swallow convert-tokens {direction}", expected="import or export", remedy="see `swallow --help`")
    missing = [flag for flag in needed if flag not in flags]
    if missing:
        shown = " ".join(f"{flag} VALUE" for flag in needed)
        raise RequestError(f"convert-tokens {direction} without {missing[0]}", expected=shown, remedy=f"add {missing[0]}")
    kind, called = flags["--format"], flags.get("--name")
    if direction == "export":
        return "\n".join(str(path) for path in export_shard(find_tokens(out, name), user_path(flags["--to"]), kind=kind))
    if called is not None and (Path(called).name != called or called.startswith(".")):
        raise RequestError(f"--name {called}", expected="a name without folders", remedy="write --name my_shard")
    tokenizer = user_path(flags["--tokenizer"])
    return shard_summary(import_shard(user_path(name), kind=kind, tokenizer=tokenizer, out=out, called=called, shuffle_seed=shuffle_seed))
