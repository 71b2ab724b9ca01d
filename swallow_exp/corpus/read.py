"""Read documents: JSON lines, parquet, plain text or a dataset of the hub, one at a time.

.jsonl    one object a line; `text_field`, and `id_field` when given
.parquet  one row a document; the same fields; a null text is dropped and counted (parquet's way to say "no text")
hub       one row a document, as parquet (hub.py)
.txt      one line is one document (a whole file as one document would have to be held in memory)

Blank lines and texts of whitespace only are dropped and counted; anything else that is no text is a RequestError with file and line.
Without `id_field` a document's id is `<label>:<line>`.

Normalisation (NFKC, or none) is a choice of its own, so that its effect can be told apart. In the paper (3.2) NFKC belongs to
vocabulary expansion.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config.schema import SourceConfig
from swallow_exp.corpus.document import Document
from swallow_exp.corpus.hub import HubDataset
from swallow_exp.corpus.inputs import InputFile
from swallow_exp.corpus.lines import Advance, Where, ignore_progress, read_lines
from swallow_exp.corpus.records import id_of, text_of

NORMALIZATIONS: dict[str, Callable[[str], str]] = {"none": str, "nfkc": partial(unicodedata.normalize, "NFKC")}


def normaliser(name: str) -> Callable[[str], str]:
    """The function for `none` or `nfkc`. Raises RequestError for any other name."""
    if name not in NORMALIZATIONS:
        raise RequestError(f"normalization={name}", expected=f"one of {', '.join(NORMALIZATIONS)}", remedy="correct it in the source file")
    return NORMALIZATIONS[name]


def read_documents_of(
    found: InputFile | HubDataset, source: SourceConfig, dropped: Counter[str], advance: Advance = ignore_progress
) -> Iterator[tuple[Where, Document]]:
    """Yield (where, document) for every document of the file; what is left out is counted in `dropped` by reason."""
    if isinstance(found, InputFile) and found.format == ".txt":
        yield from _plain_text(found, source, dropped, advance)
        return
    fields = [source.text_field] if source.id_field is None else [source.text_field, source.id_field]
    for where, record in found.records(fields, advance):
        if record is None:
            dropped["blank line"] += 1
        elif record[source.text_field] is None and found.nulls:
            dropped["null text"] += 1
        else:
            text = text_of(where, record, source.text_field)
            document_id = automatic_id(found, where) if source.id_field is None else id_of(where, record, source.id_field)
            if text.strip():
                yield where, Document(document_id, text, source.language)
            else:
                dropped["empty text"] += 1


def automatic_id(found: InputFile | HubDataset, where: Where) -> str:
    """The id of a document or pair that has none: where it stands."""
    return f"{found.label}:{where.number}"


def _plain_text(found: InputFile, source: SourceConfig, dropped: Counter[str], advance: Advance) -> Iterator[tuple[Where, Document]]:
    if source.id_field is not None:
        raise RequestError(
            f"{found.path} with id_field: {source.id_field}", expected="no id_field for plain text", remedy="set id_field: null"
        )
    for where, line in read_lines(found.path, advance):
        if line.strip():
            yield where, Document(automatic_id(found, where), line, source.language)
        else:
            dropped["blank line"] += 1
