"""The files of a shard: what is written is what is read, and damage is seen."""

import json

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swallow_exp.artefact.errors import RequestError
from swallow_exp.tokens.shard import open_shard, token_dtype, write_meta, write_shuffled


def write(folder, documents, *, flags=None, order=None, vocab_size=1_000):
    dtype = token_dtype(vocab_size)
    (folder / "unshuffled").mkdir()
    ids = numpy.concatenate([numpy.array(document) for document in documents])
    ids.astype(dtype).tofile(folder / "unshuffled" / "tokens.bin")
    if flags is not None:
        numpy.concatenate(flags).astype(numpy.uint8).tofile(folder / "unshuffled" / "loss.bin")
    order = numpy.arange(len(documents)) if order is None else numpy.array(order)
    offsets = numpy.cumsum([len(document) for document in documents])
    write_shuffled(folder / "unshuffled", folder, offsets=offsets, order=order, dtype=dtype)
    trained = len(ids) if flags is None else sum(map(sum, flags))
    counts = {"documents": len(documents), "tokens": len(ids), "trained_tokens": trained}
    write_meta(folder, {**counts, "dtype": dtype.str, "text_bytes": 9, "tokenizer_digest": "d"})
    return open_shard(folder)


@pytest.mark.parametrize(("vocab_size", "dtype", "largest"), [(65_536, "<u2", 65_535), (65_537, "<u4", 65_536)])
def test_ids_fit_their_type(vocab_size: int, dtype: str, largest: int, tmp_path) -> None:
    shard = write(tmp_path, [[1, largest, 2]], vocab_size=vocab_size)
    assert shard.tokens.dtype == numpy.dtype(dtype)
    assert shard.tokens.tolist() == [1, largest, 2]
    assert (tmp_path / "tokens.bin").read_bytes() == numpy.array([1, largest, 2], dtype=dtype).tobytes()


documents = st.lists(st.lists(st.integers(0, 999), min_size=1, max_size=9), min_size=1, max_size=12)


@given(documents=documents, data=st.data())
@settings(derandomize=True, max_examples=60, deadline=None)
def test_round_trip_in_any_order(documents, data, tmp_path_factory) -> None:
    order = data.draw(st.permutations(range(len(documents))))
    flags = [[(token + place) % 2 for place, token in enumerate(document)] for document in documents]
    shard = write(tmp_path_factory.mktemp("shard"), documents, flags=flags, order=order)
    assert [shard.tokens[shard.span(place)].tolist() for place in range(shard.num_documents)] == [documents[number] for number in order]
    expected = [flags[number] for number in order]
    if shard.loss is None:
        assert all(all(each) for each in expected)
    else:
        assert [shard.loss[shard.span(place)].tolist() for place in range(shard.num_documents)] == expected
    assert shard.offsets.dtype == numpy.int64
    assert shard.offsets[-1] == shard.num_tokens
    assert shard.trained_tokens == sum(map(sum, flags))


def _truncate(folder) -> None:
    data = (folder / "tokens.bin").read_bytes()
    (folder / "tokens.bin").write_bytes(data[:-1])


def _other_version(folder) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "format_version": 99}))


def _tear_meta(folder) -> None:
    (folder / "meta.json").write_text('{"format_ver')


def _lose_offsets(folder) -> None:
    (folder / "offsets.npy").unlink()


def _empty_offsets(folder) -> None:
    (folder / "offsets.npy").write_bytes(b"")


def _lose_loss(folder) -> None:
    (folder / "loss.bin").unlink()


@pytest.mark.parametrize("damage", [_truncate, _other_version, _tear_meta, _lose_offsets, _empty_offsets, _lose_loss])
def test_damage_is_seen(damage, tmp_path) -> None:
    write(tmp_path, [[1, 5, 2], [1, 2]], flags=[[0, 1, 1], [0, 1]])
    damage(tmp_path)
    with pytest.raises(RequestError, match="damaged or of another version"):
        open_shard(tmp_path)
