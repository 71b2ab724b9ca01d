"""The door for safetensors files: whatever stands there, it is read whole or refused in one line that names it."""

from __future__ import annotations

import json
import math
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from swallow_exp.artefact.errors import RequestError
from swallow_exp.model.folder import WEIGHTS_INDEX_NAME, WEIGHTS_NAME, read_model_config, stored_tensors, weight_files
from swallow_exp.model.headers import MAX_HEADER_BYTES, read_header

GOOD = {"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}, "b": {"dtype": "F32", "shape": [2, 1], "data_offsets": [4, 12]}}


def container(header: Any, body: bytes = b"\0" * 12, *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body


def changed(**facts: Any) -> dict[str, Any]:
    return {**GOOD, "b": {**GOOD["b"], **facts}}


BROKEN = {
    "empty": b"",
    "seven bytes": b"1234567",
    "no header": b"\0" * 8,
    "cut in the header": container(GOOD)[:40],
    "cut in the tensors": container(GOOD)[:-1],
    "bytes behind the end": container(GOOD) + b"x",
    "length 2**63": container(GOOD, length=1 << 63),
    "length 2**64 - 1": container(GOOD, length=(1 << 64) - 1),
    "length 10 GB": container(GOOD, length=10**10),
    "no JSON": container(b"{" + b"x" * 40),
    "no UTF-8": container(b'{"\xff\xfe": 1}'),
    "a list": container([1, 2]),
    "a number": container(3),
    "null": container(None),
    "nested deep": container(b"[" * 100_000 + b"]" * 100_000),
    "a number of 5,000 digits": container(b'{"a": ' + b"9" * 5_000 + b"}"),
    "no facts": container({"a": 3}),
    "offsets as text": container(changed(data_offsets="4,12")),
    "offsets of text": container(changed(data_offsets=["4", "12"])),
    "three offsets": container(changed(data_offsets=[4, 8, 12])),
    "offsets with a fraction": container(changed(data_offsets=[4.0, 12.0])),
    "truth values as offsets": container({"a": {"dtype": "U8", "shape": [1], "data_offsets": [False, True]}}, b"1"),
    "a shape of text": container(changed(shape="2,1")),
    "a negative shape": container(changed(shape=[-2, -1])),
    "a shape of null": container(changed(shape=[2, None])),
    "an unknown dtype": container(changed(dtype="F33")),
    "a dtype that is a list": container(changed(dtype=["F32"])),
    "another shape": container(changed(shape=[3, 1])),
    "overlapping": container(changed(data_offsets=[0, 8]), b"\0" * 8),
    "a hole": container(changed(data_offsets=[5, 13]), b"\0" * 13),
    "behind the end": container(changed(data_offsets=[4, 1 << 40], shape=[(1 << 38) - 1, 1])),
    "a pickle": pickle.dumps({"a": list(range(1_000))}),
    "a zip": b"PK\3\4" + b"\0" * 100,
}


def refused(file: Path) -> str:
    with pytest.raises(RequestError) as error:
        read_header(file)
    text = str(error.value)
    assert str(file) in text and "\n" not in text and "expected a whole safetensors file; " in text
    return text


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_what_is_no_safetensors_file_is_one_line(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / WEIGHTS_NAME
    file.write_bytes(data)
    refused(file)
    with pytest.raises(RequestError):
        stored_tensors(tmp_path)


def test_a_name_with_control_characters_is_shown_as_text(tmp_path: Path) -> None:
    file = tmp_path / WEIGHTS_NAME
    file.write_bytes(container({"a\x1b[31m\n": 3}))
    assert r"'a\x1b[31m\n'" in refused(file)


def test_no_more_than_a_header_is_read(tmp_path: Path) -> None:
    file = tmp_path / WEIGHTS_NAME
    with file.open("wb") as handle:
        handle.write((MAX_HEADER_BYTES + 1).to_bytes(8, "little"))
        handle.truncate(2 * MAX_HEADER_BYTES)  # a file with a hole: it takes no room
    assert "has no whole header" in refused(file)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=64) | st.builds(lambda h, b: container(h, b), st.binary(max_size=64), st.binary(max_size=8)))
def test_any_bytes_are_read_or_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / WEIGHTS_NAME).write_bytes(data)
    _read_or_refused(tmp_path / WEIGHTS_NAME)


numbers = st.integers(-2, 14) | st.floats(allow_nan=True) | st.booleans() | st.none() | st.text(max_size=3) | st.integers(1 << 62, 1 << 70)
shapes: Any = st.recursive(numbers, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3))
entries = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["U8", "F32", "BF16", "X"]) | shapes,
        "shape": st.lists(numbers, max_size=3) | shapes,
        "data_offsets": st.lists(numbers, min_size=2, max_size=2) | shapes,
    },
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["a", "b", "__metadata__"]), entries | shapes) | shapes, st.integers(0, 16))
def test_any_json_is_read_or_refused(tmp_path: Path, header: Any, size: int) -> None:
    (tmp_path / WEIGHTS_NAME).write_bytes(container(header, b"\0" * size))
    _read_or_refused(tmp_path / WEIGHTS_NAME)


def _read_or_refused(file: Path) -> None:
    """What this door lets through lies inside the file, one tensor after the other."""
    try:
        tensors = read_header(file)
    except RequestError as error:
        assert str(file) in str(error) and "\n" not in str(error)
        return
    spans = sorted((tensor.start, tensor.end) for tensor in tensors.values())
    assert all(start <= end for start, end in spans) and max((end for _, end in spans), default=0) <= file.stat().st_size
    assert all(first[1] == second[0] for first, second in pairwise(spans))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.text(min_size=1, max_size=8), st.lists(st.integers(0, 4), max_size=3), max_size=4),
    st.sampled_from([np.float32, np.float16, np.int64, np.uint8, np.bool_]),
)
def test_every_file_of_the_library_is_read(tmp_path: Path, given_shapes: dict[str, list[int]], kind: Any) -> None:
    file = tmp_path / WEIGHTS_NAME
    save_file({name: np.ones(shape, dtype=kind) for name, shape in given_shapes.items()}, file)
    tensors = read_header(file)
    assert {name: list(tensor.shape) for name, tensor in tensors.items()} == given_shapes
    assert all(tensor.end - tensor.start == math.prod(tensor.shape) * np.dtype(kind).itemsize for tensor in tensors.values())


def test_this_door_lets_nothing_through_that_the_library_refuses(tmp_path: Path) -> None:
    file = tmp_path / WEIGHTS_NAME
    generator = np.random.default_rng(0)
    whole, opened = bytearray(container(GOOD)), 0
    for _ in range(400):
        data = bytearray(whole)
        data[generator.integers(len(data) - 12)] ^= 1 << int(generator.integers(8))
        file.write_bytes(data)
        try:
            read_header(file)
        except RequestError:
            continue
        opened += 1
        try:
            load_file(file)
        except (SafetensorError, OSError) as error:  # pragma: no cover - shown when it happens
            pytest.fail(f"{bytes(data)!r}: {error}")
    assert opened > 5  # another letter in a name is another name


NO_INDEX: list[Any] = [
    None, [], 3, {}, {"weight_map": None}, {"weight_map": []}, {"weight_map": {}}, {"weight_map": {"a": None}}, {"weight_map": {"a": 3}},
    {"weight_map": {"a": "/etc/passwd"}}, {"weight_map": {"a": "../x.safetensors"}}, {"weight_map": {"a": "x/y.safetensors"}},
    {"weight_map": {"a": ".."}}, {"weight_map": {"a": ""}}, {"weight_map": {"a": "a\0.safetensors"}}, {"weight_map": {"a": ["x"]}},
]  # fmt: skip


@pytest.mark.parametrize("index", NO_INDEX, ids=map(repr, NO_INDEX))
def test_an_index_names_files_beside_it_and_nothing_else(tmp_path: Path, index: Any) -> None:
    (tmp_path / "x.safetensors").write_bytes(container(GOOD))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / WEIGHTS_NAME).write_bytes(container(GOOD))
    (tmp_path / "model" / WEIGHTS_INDEX_NAME).write_text(json.dumps(index))
    with pytest.raises(RequestError, match=r"model\.safetensors\.index\.json is no index of weights.*; expected weight_map: "):
        weight_files(tmp_path / "model")


def test_a_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("x.safetensors", "y.safetensors"):
        (tmp_path / name).write_bytes(container(GOOD))
    (tmp_path / WEIGHTS_INDEX_NAME).write_text(json.dumps({"weight_map": {"a": "x.safetensors", "b": "y.safetensors"}}))
    with pytest.raises(RequestError, match=r"y\.safetensors: 'a' is in x\.safetensors too"):
        stored_tensors(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_size", "64"), ("hidden_size", 0), ("num_hidden_layers", 2.5), ("vocab_size", -1), ("num_attention_heads", [4]),
        ("max_position_embeddings", True), ("rms_norm_eps", "small"), ("rope_theta", float("nan")), ("rope_parameters", "default"),
        ("rope_scaling", [1]), ("initializer_range", {}),
    ],
)  # fmt: skip
def test_a_number_of_a_config_that_is_none_is_named(tmp_path: Path, key: str, value: Any) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", key: value}))
    with pytest.raises(RequestError, match=f"config.json says {key}="):
        read_model_config(tmp_path)
