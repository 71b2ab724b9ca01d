"""Shards go to Megatron-LM's and datatrove's files and come back; what is damaged or of another tokenizer is refused."""

import importlib.util
import os
import struct
from pathlib import Path

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.manifest import Artefact
from swallow_exp.tokens import datatrove, megatron
from swallow_exp.tokens.build_shards import build_tokens
from swallow_exp.tokens.check_shard import check_shard
from swallow_exp.tokens.exchange import FORMATS, Foreign, convert, export_shard, find_tokens, import_shard
from swallow_exp.tokens.shard import open_shard
from swallow_exp.vocabulary.tokenizer import model_path

PAYLOAD = ("tokens.bin", "offsets.npy", "loss.bin")


def payload(tokens: Artefact) -> dict[str, bytes]:
    return {name: (tokens.folder / name).read_bytes() for name in PAYLOAD if (tokens.folder / name).exists()}


@pytest.fixture(scope="module")
def masked(pairs, expanded, instructed, world) -> Artefact:
    return build_tokens(pairs, expanded, out=world, parallel=instructed)


@pytest.fixture(scope="module")
def plain(japanese, expanded, world) -> Artefact:
    return build_tokens(japanese, expanded, out=world)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("which", ["plain", "masked"])
def test_there_and_back_is_the_same_shard(kind, which, request, expanded, tmp_path) -> None:
    tokens = request.getfixturevalue(which)
    files = export_shard(tokens, tmp_path / "away" / "x", kind=kind)
    assert all(path.is_file() for path in files) and not list((tmp_path / "away").glob(".*"))
    back = import_shard(tmp_path / "away" / "x", kind=kind, tokenizer=expanded.folder, out=tmp_path)
    assert payload(back) == payload(tokens)
    mine, theirs = open_shard(tokens), open_shard(back)
    assert dict(mine.meta) == {name: theirs.meta[name] for name in mine.meta}
    assert (back.manifest["kind"], back.manifest["made_from"]["tokenizer"]) == ("tokens", mine.tokenizer_digest)
    assert check_shard(back) == []
    assert import_shard(tmp_path / "away" / "x", kind=kind, tokenizer=expanded.folder, out=tmp_path).folder == back.folder


@pytest.mark.parametrize("kind", FORMATS)
def test_without_our_notes_the_facts_are_counted(kind, plain, masked, expanded, tmp_path) -> None:
    """A dataset from elsewhere: the tokens and flags say documents, targets and bytes of text."""
    for number, tokens in enumerate((plain, masked)):
        name = tmp_path / f"x{number}"
        export_shard(tokens, name, kind=kind)
        Foreign.of(name, kind).facts.unlink()
        back = import_shard(name, kind=kind, tokenizer=model_path(expanded), out=tmp_path, called="elsewhere")
        assert back.id.startswith("elsewhere-")
        same = ("documents", "tokens", "trained_tokens", "text_bytes")
        assert {name: back.counts[name] for name in same} == {name: tokens.counts[name] for name in same}
        assert open_shard(back).meta["shuffle_seed"] is None


def test_a_seed_shuffles_as_a_build_does(plain, expanded, tmp_path) -> None:
    export_shard(plain, tmp_path / "x", kind="megatron")
    kept, moved = (
        import_shard(tmp_path / "x", kind="megatron", tokenizer=expanded.folder, out=tmp_path, shuffle_seed=s) for s in (None, 4)
    )
    assert kept.digest != moved.digest

    def documents(tokens):
        shard = open_shard(tokens)
        return [shard.tokens[shard.span(number)].tolist() for number in range(shard.num_documents)]

    assert documents(kept) != documents(moved) and sorted(documents(kept)) == sorted(documents(moved))
    assert open_shard(moved).meta["shuffle_seed"] == 4
    assert sorted(path.name for path in moved.folder.iterdir()) == ["manifest.json", "meta.json", "offsets.npy", "tokens.bin"]


documents = st.lists(st.lists(st.integers(3, 331), max_size=6), min_size=1, max_size=10)


@given(documents=documents, code=st.sampled_from([3, 4, 5, 8]), data=st.data())
@settings(derandomize=True, max_examples=40, deadline=None)
def test_any_megatron_dataset_keeps_every_document_once(documents, code, data, expanded, tmp_path_factory) -> None:
    """Other id types, several sequences to a document, documents without tokens."""
    folder = tmp_path_factory.mktemp("theirs")
    dtype = numpy.dtype(megatron.DTYPE_OF_CODE[code])
    lengths, indices = [], [0]
    for document in documents:
        cut = data.draw(st.integers(0, len(document)))
        lengths += [cut, len(document) - cut]
        indices.append(len(lengths))
    numpy.array([token for document in documents for token in document], dtype=dtype).tofile(folder / "x.bin")
    pointers = (numpy.cumsum(lengths) - lengths) * dtype.itemsize
    head = struct.pack("<9sQBQQ", b"MMIDIDX\0\0", 1, code, len(lengths), len(indices))
    columns = ((lengths, "<i4"), (pointers, "<i8"), (indices, "<i8"))
    (folder / "x.idx").write_bytes(head + b"".join(numpy.array(column).astype(kind).tobytes() for column, kind in columns))
    filled = [document for document in documents if document]
    if not filled:
        with pytest.raises(RequestError, match="names no token"):
            import_shard(folder / "x", kind="megatron", tokenizer=expanded.folder, out=folder)
        return
    shard = open_shard(import_shard(folder / "x.bin", kind="megatron", tokenizer=expanded.folder, out=folder))
    assert [shard.tokens[shard.span(number)].tolist() for number in range(shard.num_documents)] == filled
    assert shard.tokens.dtype == numpy.uint16 and (shard.meta["bos"], shard.meta["eos"]) == (None, None)
    assert check_shard(Path(shard.tokens.filename).parent) == []


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def _overwrite(path: Path, place: int, data: bytes) -> None:
    whole = bytearray(path.read_bytes())
    whole[place : place + len(data)] = data
    path.write_bytes(whole)


REFUSED = {
    "megatron": {
        "cut ids": (lambda f: _cut(f.tokens), "makes it"),
        "cut index": (lambda f: _cut(f.index), "where its header makes it"),
        "wrong magic": (lambda f: _overwrite(f.index, 0, b"MMIDIDY"), "does not start as an index of Megatron does"),
        "other version": (lambda f: _overwrite(f.index, 9, b"\x02"), "is of version 2"),
        "floating point": (lambda f: _overwrite(f.index, 17, b"\x06"), "type code 6"),
        "other order": (lambda f: _overwrite(f.index, 34, b"\x7f"), "do not lie one after the other"),
        "empty index": (lambda f: f.index.write_bytes(b""), "does not start as"),
        "no index": (lambda f: f.index.unlink(), "is no file"),
        "cut flags": (lambda f: _cut(f.loss), "makes it"),
        "other flags": (lambda f: _overwrite(f.loss, 5, b"\x07"), "holds 7"),
        "ids too large": (lambda f: _overwrite(f.tokens, 40, b"\xff\xff"), "holds id 65535 at token 20"),
    },
    "datatrove": {
        "cut ids": (lambda f: _cut(f.tokens), "tokens of 2 or 4 bytes"),
        "cut index": (lambda f: _cut(f.index), "no multiple of 8"),
        "falling index": (lambda f: _overwrite(f.index, 1, b"\xff"), "rising document ends"),
        "other metadata": (lambda f: datatrove.companion(f.tokens, "metadata").write_text("gpt2|4\n12\n12T"), "does not say 2 bytes an id"),
        "no index": (lambda f: f.index.unlink(), "is no file"),
        "cut flags": (lambda f: _cut(f.loss), "makes it"),
        "ids too large": (lambda f: _overwrite(f.tokens, 40, b"\xff\xff"), "holds id 65535 at token 20"),
    },
}


@pytest.mark.parametrize(("kind", "damage"), [(kind, damage) for kind, damages in REFUSED.items() for damage in damages])
def test_damage_is_refused_by_name(kind, damage, masked, expanded, tmp_path) -> None:
    export_shard(masked, tmp_path / "x", kind=kind)
    files, (spoil, message) = Foreign.of(tmp_path / "x", kind), REFUSED[kind][damage]
    spoil(files)
    with pytest.raises(RequestError, match=message) as caught:
        import_shard(tmp_path / "x", kind=kind, tokenizer=expanded.folder, out=tmp_path / "out")
    assert "x." in caught.value.given and len(str(caught.value).splitlines()) == 1
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.mark.parametrize("kind", FORMATS)
def test_another_tokenizer_is_refused(kind, plain, base, tmp_path) -> None:
    export_shard(plain, tmp_path / "x", kind=kind)
    with pytest.raises(RequestError, match=r"has digest \w{12} and x.*\.swallow\.json names .* the tokenizer the ids were made with"):
        import_shard(tmp_path / "x", kind=kind, tokenizer=base.folder, out=tmp_path)


def test_nothing_is_overwritten(plain, tmp_path) -> None:
    (tmp_path / "x.idx").write_text("mine")
    with pytest.raises(RequestError, match=r"x.idx is there already"):
        export_shard(plain, tmp_path / "x", kind="megatron")
    assert [path.name for path in tmp_path.iterdir()] == ["x.idx"]


def test_the_verb(plain, expanded, world, tmp_path, swallow) -> None:
    exported = swallow("convert-tokens", "export", plain.id, "--format", "datatrove", "--to", str(tmp_path / "x"), "--out", str(world))
    assert exported.returncode == 0 and [Path(line).name for line in exported.stdout.split()] == [
        "x.ds",
        "x.ds.index",
        "x.ds.metadata",
        "x.ds.swallow.json",
    ]
    words = ("--format", "datatrove", "--tokenizer", str(model_path(expanded)), "--name", "mine")
    imported = swallow("convert-tokens", "import", str(tmp_path / "x.ds"), *words)
    assert imported.returncode == 0 and f"{plain.counts['tokens']:,} tokens" in imported.stdout
    assert find_tokens(tmp_path / "out", "mine").counts["tokens"] == plain.counts["tokens"]
    verified = swallow("verify")
    assert (verified.returncode, verified.stdout.splitlines()[-1][:11]) == (0, "1 artefacts")


@pytest.mark.parametrize(
    ("direction", "flags", "message"),
    [
        ("sideways", {}, "expected import or export"),
        ("import", {"--format": "megatron"}, "without --tokenizer"),
        ("export", {"--to": "x"}, "without --format"),
        ("import", {"--format": "arrow", "--tokenizer": "t"}, "--format arrow; expected one of megatron, datatrove"),
        ("import", {"--format": "megatron", "--tokenizer": "t", "--name": "../x"}, "expected a name without folders"),
        ("import", {"--format": "megatron", "--tokenizer": "t"}, "x.bin is no file"),
        ("export", {"--format": "megatron", "--to": "y"}, "0 token shards match 'x'; expected one of none yet"),
    ],
)
def test_wrong_requests(direction, flags, message, tmp_path) -> None:
    with pytest.raises(RequestError, match=message):
        convert(direction, "x", flags, out=tmp_path, shuffle_seed=None)


# The real libraries. They are no dependencies: install megatron-core or datatrove beside this project to run these.


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(importlib.util.find_spec("megatron") is None, reason="megatron-core is not installed")
@pytest.mark.parametrize("dtype", [numpy.uint16, numpy.int32])
def test_megatron_core_reads_ours_and_we_read_theirs(dtype, masked, expanded, tmp_path) -> None:
    import torch
    from megatron.core.datasets.indexed_dataset import IndexedDataset, IndexedDatasetBuilder

    shard = open_shard(masked)
    export_shard(masked, tmp_path / "ours", kind="megatron")
    theirs = IndexedDataset(str(tmp_path / "ours"))
    assert len(theirs) == shard.num_documents and len(theirs.document_indices) == shard.num_documents + 1
    mine = [shard.tokens[shard.span(number)].tolist() for number in range(shard.num_documents)]
    assert [theirs[number].tolist() for number in range(len(theirs))] == mine
    builder = IndexedDatasetBuilder(str(tmp_path / "theirs.bin"), dtype=dtype)
    for document in mine:
        builder.add_document(torch.tensor(document), [len(document) // 2, len(document) - len(document) // 2])
    builder.finalize(str(tmp_path / "theirs.idx"))
    back = open_shard(import_shard(tmp_path / "theirs", kind="megatron", tokenizer=expanded.folder, out=tmp_path))
    assert [back.tokens[back.span(number)].tolist() for number in range(back.num_documents)] == mine
    assert back.loss is None and back.text_bytes == shard.text_bytes


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(importlib.util.find_spec("datatrove") is None, reason="datatrove is not installed")
def test_datatrove_reads_ours_and_we_read_theirs(masked, expanded, tmp_path) -> None:
    from datatrove.pipeline.tokens.merger import load_doc_ends
    from datatrove.pipeline.tokens.tokenizer import TokenizedFile
    from datatrove.utils.dataset import DatatroveFileDataset

    shard = open_shard(masked)
    export_shard(masked, tmp_path / "ours", kind="datatrove")
    file = tmp_path / "ours.ds"
    assert load_doc_ends((tmp_path / "ours.ds.index").open("rb")).tolist() == shard.offsets.tolist()
    window = DatatroveFileDataset(str(file), seq_len=31, token_size=2)
    assert len(window) == shard.num_tokens // 32
    assert window[3]["input_ids"].tolist() == shard.tokens[96:128].tolist()
    theirs = TokenizedFile(str(tmp_path), "theirs.ds", save_loss_metadata=True, save_final_metadata=True, tokenizer_name_or_path="t")
    mine = [shard.tokens[shard.span(number)].tolist() for number in range(shard.num_documents)]
    for number, document in enumerate(mine):
        theirs.write(document, shard.loss[shard.span(number)].astype(bool))
    theirs.close()
    for ending in ("", ".index", ".loss"):
        assert (tmp_path / f"ours.ds{ending}").read_bytes() == (tmp_path / f"theirs.ds{ending}").read_bytes()
    back = import_shard(tmp_path / "theirs", kind="datatrove", tokenizer=expanded.folder, out=tmp_path)
    assert payload(back) == payload(masked) and back.counts["text_bytes"] == shard.text_bytes
