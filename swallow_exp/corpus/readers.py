"""Readers of the formats datasets come in. Every error names the file and the place in it.

jsonl, tsv, lines   (place, row) with place "FILE, line N"
json                the document; xml: its root; parquet: (place, row) with place "FILE, row N"
text_of             a text inside a row, or a RequestError that says where it should have been

Reads  the files it is given. Writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from swallow_exp.artefact.errors import RequestError

REMEDY = "get the pinned version of the file again, or correct it"


def malformed(place: str, what: str, *, expected: str) -> RequestError:
    """The error for something in a data file that cannot be read as it should."""
    return RequestError(f"{place}: {what}", expected=expected, remedy=REMEDY)


def read_text(path: Path) -> str:
    """The whole file as UTF-8 text (a byte order mark is dropped)."""
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise malformed(f"{path}, line {line}", "not UTF-8 text", expected="UTF-8") from error


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """(place, line) of every line, without its end; only line feeds end lines."""
    lines = read_text(path).split("\n")
    if lines and not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, start=1):
        yield f"{path}, line {number}", line.removesuffix("\r")


def read_jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, object) of every line that is not empty."""
    for place, line in read_lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise malformed(place, "not JSON", expected="one JSON object a line") from error
        if not isinstance(row, dict):
            raise malformed(place, f"a JSON {type(row).__name__}", expected="one JSON object a line")
        yield place, row


def read_json(path: Path) -> Any:
    """The JSON document of a file."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise malformed(f"{path}, line {error.lineno}", f"not JSON ({error.msg})", expected="one JSON document") from error
    except RecursionError as error:
        raise malformed(str(path), "nested too deeply", expected="one JSON document") from error


def read_tsv(path: Path, columns: Sequence[str] = ()) -> Iterator[tuple[str, dict[str, str]]]:
    """(place, row by column name). The first line names the columns unless `columns` does. No quoting: a tab always divides."""
    names = list(columns)
    for place, line in read_lines(path):
        cells = line.split("\t")
        if not names:
            names = cells
            continue
        if not line:
            continue
        if len(cells) != len(names):
            raise malformed(place, f"{len(cells)} columns", expected=f"{len(names)} columns ({', '.join(names)})")
        yield place, dict(zip(names, cells, strict=True))


def read_xml(path: Path) -> ElementTree.Element:
    """The root element of an XML file."""
    try:
        return ElementTree.fromstring(path.read_bytes())
    except ElementTree.ParseError as error:
        raise malformed(f"{path}, line {error.position[0]}", "not XML", expected="one XML document") from error


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, row) of every row. `columns`: only these are read ("answer.value": a part of one); None: all of them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path)
        missing = sorted({column.split(".")[0] for column in columns or ()} - set(table.schema_arrow.names))
        if missing:
            raise malformed(str(path), f"no column {', '.join(missing)}", expected=f"the columns {', '.join(columns or ())}")
        rows = table.read(columns=None if columns is None else list(columns)).to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise malformed(str(path), "not parquet", expected="a parquet file") from error
    for number, row in enumerate(rows, start=1):
        yield f"{path}, row {number}", row


def value_of(row: Any, *keys: str | int, place: str) -> Any:
    """row[keys[0]][keys[1]]...; raises RequestError that names the place and the whole way."""
    found = row
    for key in keys:
        try:
            found = found[key]
        except (KeyError, IndexError, TypeError) as error:
            way = ".".join(map(str, keys))
            shown = f", which has {', '.join(map(str, found))}" if isinstance(found, Mapping) else ""
            raise malformed(place, f"nothing under '{way}'{shown}", expected=f"a value under '{way}'") from error
    return found


def text_of(row: Any, *keys: str | int, place: str) -> str:
    """A text inside a row. Raises RequestError when there is none, or something else."""
    found = value_of(row, *keys, place=place)
    if not isinstance(found, str):
        raise malformed(place, f"a {type(found).__name__} under '{'.'.join(map(str, keys))}'", expected="a text")
    return found


def list_of(row: Any, *keys: str | int, place: str) -> list[Any]:
    """A list inside a row. Raises RequestError when there is none, or something else."""
    found = value_of(row, *keys, place=place)
    if not isinstance(found, list):
        raise malformed(place, f"a {type(found).__name__} under '{'.'.join(map(str, keys))}'", expected="a list")
    return found
