"""Lines: only line feeds end them, and progress adds up to the file."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from swallow_exp.artefact.errors import RequestError
from swallow_exp.corpus import lines
from swallow_exp.corpus.lines import read_lines

LINE = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\n\r\0\ufeff"), min_size=1, max_size=30)
COMPRESS = {".txt": bytes, ".txt.gz": gzip.compress, ".txt.zst": zstandard.compress}


@settings(deadline=None)
@given(st.lists(LINE, min_size=1), st.sampled_from(sorted(COMPRESS)), st.booleans())
def test_any_lines_come_back(tmp_path_factory: pytest.TempPathFactory, rows: list[str], suffix: str, ended: bool) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    content = "x" + "\n".join(rows) + "\n" * ended  # the x: not taken for one of the binary formats
    path.write_bytes(COMPRESS[suffix](content.encode()))
    advanced: list[float] = []
    found = list(read_lines(path, advanced.append))
    assert [text for _, text in found] == ["x" + rows[0], *rows[1:]]
    assert [where.number for where, _ in found] == list(range(1, len(rows) + 1))
    assert sum(advanced) == path.stat().st_size


@pytest.mark.parametrize("suffix", sorted(COMPRESS))
def test_progress_is_told_on_the_way(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(COMPRESS[suffix]("".join(f"line {number * 7919}\n" for number in range(200_000)).encode()))
    advanced: list[float] = []
    assert sum(1 for _ in read_lines(path, advanced.append)) == 200_000
    assert sum(advanced) == path.stat().st_size
    assert max(advanced) < path.stat().st_size / 2


def test_a_line_without_end_is_refused_before_it_fills_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 1 << 20)
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(zstandard.compress(b"short\n" + b"x" * (3 << 20)))
    with pytest.raises(RequestError, match=r"a\.jsonl\.zst:2 is longer than 1 MiB"):
        list(read_lines(path))


@pytest.mark.parametrize("suffix", [".txt.gz", ".txt.zst"])
def test_every_truncation_is_noticed(tmp_path: Path, suffix: str) -> None:
    whole = COMPRESS[suffix]("".join(f"行 {number}\n" for number in range(40)).encode())
    path = tmp_path / f"a{suffix}"
    for size in range(1, len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(RequestError, match=f"a{suffix}"):
            list(read_lines(path))


def test_a_file_made_with_a_long_window(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=28, enable_ldm=True, source_size=1 << 29)
    path = tmp_path / "a.txt.zst"
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    path.write_bytes(compressor.compress("日本\n".encode() * 1_000) + compressor.flush())
    assert sum(1 for _ in read_lines(path)) == 1_000
