"""Tokens and characters, text by text: of held-out documents under each vocabulary, and of what models generate.

(1) held out   one file a (vocabulary, corpus): a property of both, of no run and no checkpoint    -> FertilityRecord
(2) generated  two columns of items.parquet; results of versions without them have none             -> GenerationRecord

Counts of single documents, so that an interval over documents can be had: fertility.json beside a vocabulary has only their sums.
They lie outside the artefacts, because an artefact never changes once its manifest is written; missing ones can be added to a study
that is finished.

Reads   runs/<run_id>/inputs.json, fertility/<vocabulary>/<corpus>.parquet, items.parquet
Writes  fertility/<vocabulary>/<corpus>.parquet
Source  paper 1 and 5.1 (56.2%, 78%)
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from swallow_exp.artefact.files import read_json, write_bytes_atomic
from swallow_exp.artefact.paths import RunPaths, fertility_file
from swallow_exp.record.schema import EvaluationRecord, FertilityRecord, GenerationRecord
from swallow_exp.record.store import ITEMS_NAME

# paper 1: "improved Japanese text generation efficiency up to 78%, due to a 56.2% token reduction in the Swallow Corpus"
PAPER_REDUCTION, PAPER_GAIN = 0.562, 0.78
# differs from paper 1: the two can only both hold if 56.2% is tokens after / tokens before (1 / 0.562 = 1.78); see analysis/efficiency
PAPER_TOKEN_RATIO = 0.562
COLUMNS = ("text", "document_id", "characters", "bytes", "tokens", "base_tokens")
FORMAT_VERSION = "1"


def write_fertility(path: Path, columns: Mapping[str, Sequence[Any]], facts: Mapping[str, str]) -> None:
    """Write the counts of one corpus under one vocabulary.

    columns  COLUMNS, equally long, one row a document; base_tokens: None where there is no base
    facts    vocabulary_digest, corpus_digest, tokenizer (digest), is_base (yes | no): what `read_fertility` checks and returns
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = [pa.string(), pa.string(), *[pa.int64()] * 4]
    table = pa.table({name: pa.array(columns[name], type=kind) for name, kind in zip(COLUMNS, types, strict=True)})
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({**facts, "format_version": FORMAT_VERSION}), buffer, compression="zstd")
    write_bytes_atomic(path, buffer.getvalue())  # several cells may count the same at once: each has a temporary name of its own


def has_fertility(path: Path, facts: Mapping[str, str]) -> bool:
    """Whether the file is there and is of this vocabulary and this corpus."""
    return _facts_of(path, facts) is not None


def _facts_of(path: Path, expected: Mapping[str, str]) -> dict[str, str] | None:
    """Facts of a file that agree with all expected ones; None when it is missing, torn or of something else."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        stored = pq.read_schema(path).metadata or {}
    except (FileNotFoundError, NotADirectoryError, pa.ArrowInvalid):
        return None
    facts = {key.decode(): value.decode() for key, value in stored.items()}
    return facts if all(facts.get(name) == value for name, value in {**expected, "format_version": FORMAT_VERSION}.items()) else None


def read_fertility(out: Path, run_id: str) -> list[FertilityRecord]:
    """Held-out counts of every source of a run under its vocabulary, in the order of inputs.json; those that are missing are absent."""
    inputs = read_json(RunPaths.of(out, run_id).inputs)
    if not isinstance(inputs, dict) or not isinstance(inputs.get("vocabulary"), dict):
        return []
    return read_counts(out, inputs["vocabulary"], inputs.get("corpora", {}))


def read_counts(out: Path, vocabulary: Mapping[str, str], corpora: Mapping[str, Mapping[str, str]]) -> list[FertilityRecord]:
    """Held-out counts of each source under one vocabulary; both as references of inputs.json have them: folder and digest."""
    return [record for name, corpus in corpora.items() for record in _read_corpus(out, vocabulary, name, corpus)]


def _read_corpus(out: Path, vocabulary: Mapping[str, str], source: str, corpus: Mapping[str, str]) -> list[FertilityRecord]:
    """One record for documents, one a language for pairs."""
    import pyarrow.parquet as pq

    vocabulary_id, corpus_id = Path(vocabulary["folder"]).name, Path(corpus["folder"]).name
    path = fertility_file(out, vocabulary_id, corpus_id)
    facts = _facts_of(path, {"vocabulary_digest": vocabulary["digest"], "corpus_digest": corpus["digest"]})
    if facts is None:
        return []
    columns = pq.read_table(path).to_pydict()
    side_N = np.array(columns["text"], dtype=object)
    records = []
    for side in dict.fromkeys(columns["text"]):
        chosen = np.flatnonzero(side_N == side)

        def counts(name: str, chosen: npt.NDArray[np.int64] = chosen) -> npt.NDArray[np.int64]:
            return np.array([columns[name][i] for i in chosen], dtype=np.int64)

        records.append(
            FertilityRecord(
                vocabulary=vocabulary_id,
                tokenizer=facts["tokenizer"],
                is_base=facts["is_base"] == "yes",
                corpus=corpus_id,
                text=f"{source}_{side}" if side else source,
                document_ids=tuple(columns["document_id"][i] for i in chosen),
                characters_N=counts("characters"),
                bytes_N=counts("bytes"),
                tokens_N=counts("tokens"),
                base_tokens_N=None if columns["base_tokens"][chosen[0]] is None else counts("base_tokens"),
            )
        )
    return records


def read_generated(out: Path, record: EvaluationRecord) -> GenerationRecord | None:
    """Answers behind one evaluation record; None when nothing was generated, or by a version that did not count, or items are gone."""
    import pyarrow.parquet as pq

    path = RunPaths.of(out, record.run_id).evaluation(record.trained_tokens, record.folder or record.task) / ITEMS_NAME
    wanted = ["item_id", "cluster", "prediction", "generated_characters", "generated_tokens"]
    try:
        if not set(wanted) <= set(pq.read_schema(path).names):
            return None
        table = pq.read_table(path, columns=wanted)
    except FileNotFoundError:
        return None
    if table.column("generated_tokens").null_count:
        return None
    columns = table.to_pydict()
    return GenerationRecord(
        run_id=record.run_id,
        trained_tokens=record.trained_tokens,
        task=record.task,
        profile=record.profile,
        prompt_digest=record.prompt_digest,
        item_ids=tuple(columns["item_id"]),
        clusters=tuple(columns["cluster"]),
        characters_N=np.array(columns["generated_characters"], dtype=np.int64),
        tokens_N=np.array(columns["generated_tokens"], dtype=np.int64),
        answers=tuple(text or "" for text in columns["prediction"]),
    )
