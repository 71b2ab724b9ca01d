"""Build a corpus artefact from a source: text of any usual format -> documents (or pairs), train and held out.

(1) find        source.files, or source.dataset    -> files with labels and fingerprints, a pinned hub dataset, or bundled text
(2) read        each file, line by line            -> documents with ids; what is left out is counted by reason
(3) normalise   none | nfkc                        -> documents
(4) deduplicate documents with one id (only with id_field: line numbers cannot repeat), pairs with both sides equal
(5) split       sha256 of the id                   -> train.jsonl.zst, heldout.jsonl.zst
(6) clean       held-out texts that train has too  -> heldout.jsonl.zst without them (documents; pairs have no duplicates by then)

A repeated id with the same text is dropped ("duplicate"); with another text the document stays, under `<id>#<label>:<line>`, on the
same side of the split. `max_documents` keeps the first so many that are left after (4).

Reads   source.files, relative to paths.data; a hub dataset only when the config allows the network (hub.py)
Writes  <out>/artefacts/corpus/<name>-<hash7>/{train.jsonl.zst, heldout.jsonl.zst, manifest.json}
Source: paper 3.3 (corpora), 5.2 (parallel corpus). # assumed: the paper gives no held-out share; it is the source's choice here.
"""

from __future__ import annotations

import dataclasses
import itertools
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import regex

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import digest_of, sha256_file
from swallow_exp.artefact.manifest import Artefact, build_artefact
from swallow_exp.artefact.paths import artefact_folder
from swallow_exp.artefact.progress import is_interactive, progress_bar, say, track
from swallow_exp.config.checks import check_source
from swallow_exp.config.schema import SourceConfig
from swallow_exp.corpus.document import Document, Pair
from swallow_exp.corpus.hub import HubDataset, hub_dataset, require_network
from swallow_exp.corpus.inputs import MINIATURE_PARTS, MINIATURE_PREFIX, InputFile, find_inputs, miniature_part
from swallow_exp.corpus.lines import Advance, read_lines
from swallow_exp.corpus.pairs import read_pairs_of
from swallow_exp.corpus.read import normaliser, read_documents_of
from swallow_exp.corpus.seen import SeenTexts
from swallow_exp.corpus.write import SPLITS, SplitWriter, drop_repeats_of_train, split_file

CORPUS_FORMAT_VERSION = 1
BYTES_PER_MEGABYTE = 1_000_000
KANA = regex.compile(r"[\p{Hiragana}\p{Katakana}]")

Placed = tuple[str, Document | Pair]
Input = InputFile | HubDataset


@dataclass
class Tally:
    """What happened while reading."""

    dropped: Counter[str] = field(default_factory=Counter)
    renamed_ids: int = 0
    swapped_pairs: int = 0  # Japanese script on the English side only
    opened: list[Input] = field(default_factory=list)


def build_corpus(source: SourceConfig, *, out: Path, data: Path, network: bool = False) -> Artefact:
    """The corpus of `source`, built when it is not there yet. Raises RequestError for anything wrong with the source or its files.

    network: whether a dataset of the hub may be fetched (a corpus that is built already needs none).
    """
    check_source(source)
    part, dataset = miniature_part(source), hub_dataset(source)
    inputs: list[Input] = []
    if part is None:
        inputs = [dataset] if dataset else [*find_inputs(source, data)]
    looked_at = track(inputs, f"corpus {source.name}: look at files", len(inputs))
    made_from = (
        {f"{MINIATURE_PREFIX}{part}": _miniature_fingerprint()} if part else {found.label: found.fingerprint() for found in looked_at}
    )
    request = _request(source)
    digest = digest_of({"request": request, "made_from": made_from})
    return build_artefact(
        artefact_folder(out, "corpus", source.name, digest),
        lambda folder: _write_corpus(source, inputs, folder, network=network),
        kind="corpus",
        digest=digest,
        request=request,
        made_from=made_from,
    )


def read_documents(corpus: Artefact, split: str) -> Iterator[Document]:
    """Stream the documents of `split` (train | heldout) in stored order."""
    assert corpus.counts["kind"] == "documents", f"{corpus.id} holds {corpus.counts['kind']}"
    language = str(corpus.counts["language"])
    return (Document.from_line(line, language) for line in _split_lines(corpus, split))


def read_pairs(corpus: Artefact, split: str) -> Iterator[Pair]:
    """Stream the pairs of `split` (train | heldout) in stored order."""
    assert corpus.counts["kind"] == "pairs", f"{corpus.id} holds {corpus.counts['kind']}"
    return (Pair.from_line(line) for line in _split_lines(corpus, split))


def _split_lines(corpus: Artefact, split: str) -> Iterator[str]:
    assert split in SPLITS, split
    if not corpus.counts[split]["documents"]:
        return
    try:
        for _, line in read_lines(split_file(corpus.folder, split)):
            yield line
    except RequestError as error:
        raise RequestError(
            error.given, expected=error.expected, remedy=f"remove the folder {corpus.folder}; it will be built again"
        ) from error


def _request(source: SourceConfig) -> dict[str, Any]:
    """What decides the corpus, without where its files happen to lie."""
    decisive = ("kind", "language", "id_field", "normalization", "heldout_fraction", "max_documents")
    request = {name: getattr(source, name) for name in decisive}
    if source.kind == "documents":
        request["text_field"] = source.text_field
    return {**request, "corpus_format": CORPUS_FORMAT_VERSION}


def _miniature_fingerprint() -> str:
    """The bundled text is made by code: its files are what it is made from."""
    from swallow_exp.corpus import miniature

    files = sorted(path for folder in miniature.__path__ for path in Path(folder).glob("*.py"))
    return digest_of({path.name: sha256_file(path) for path in files})


def _write_corpus(source: SourceConfig, inputs: list[Input], folder: Path, *, network: bool) -> dict[str, Any]:
    tally = Tally()
    files = [found for found in inputs if isinstance(found, InputFile)]
    for found in inputs:
        if isinstance(found, HubDataset):
            require_network(found, network)
    total = sum(found.path.stat().st_size for found in files) / BYTES_PER_MEGABYTE if files else source.max_documents
    with progress_bar(f"corpus {source.name}", total, unit="MB" if files else source.kind) as advance:
        rows = _rows(source, inputs, tally, advance)
        with SplitWriter(folder, source.heldout_fraction) as writer:
            for unique_id, document in itertools.islice(_distinct(source, rows, tally), source.max_documents):
                writer.add(document, unique_id)
    if source.kind == "documents" and (repeats := drop_repeats_of_train(folder, writer.counts, f"corpus {source.name}: compare")):
        tally.dropped["held-out text that is in train"] = repeats
    counts = {split: dataclasses.asdict(writer.counts[split]) for split in SPLITS}
    num_documents = sum(count["documents"] for count in counts.values())
    _refuse_empty(source, num_documents, tally)
    _refuse_swapped(source, num_documents, tally)
    _say_summary(source, counts, tally)
    read_files = track(tally.opened, f"corpus {source.name}: checksums", len(tally.opened))
    return {
        **counts,
        "dropped": dict(sorted(tally.dropped.items())),
        "renamed_ids": tally.renamed_ids,
        "language": source.language,
        "kind": source.kind,
        "license": source.license,
        "homepage": source.homepage,
        "unicode": unicodedata.unidata_version,
        "inputs": [found.manifest() for found in read_files],
        "sha256": {split_file(folder, split).name: sha256_file(split_file(folder, split)) for split in SPLITS},
    }


def _rows(source: SourceConfig, inputs: list[Input], tally: Tally, advance: Advance) -> Iterator[Placed]:
    """(what makes a repeated id unique, document) in reading order."""
    part = miniature_part(source)
    if part is not None:
        yield from _miniature_rows(source, part, advance)
        return
    read: Callable[..., Iterator[Any]] = read_pairs_of if source.kind == "pairs" else read_documents_of
    for found in inputs:
        tally.opened.append(found)
        told: Advance = (lambda size: advance(size / BYTES_PER_MEGABYTE)) if isinstance(found, InputFile) else advance
        for where, document in read(found, source, tally.dropped, told):
            yield f"{found.label}:{where.number}", document


def _miniature_rows(source: SourceConfig, part: str, advance: Advance) -> Iterator[Placed]:
    from swallow_exp.corpus import miniature

    assert source.max_documents is not None
    kind, language = MINIATURE_PARTS[part]
    count = source.max_documents
    made: Iterable[Document | Pair] = miniature.pairs(count) if kind == "pairs" else miniature.documents(language, count)
    for number, document in enumerate(made, start=1):
        yield f"{part}:{number}", document
        advance(1)


def _distinct(source: SourceConfig, rows: Iterator[Placed], tally: Tally) -> Iterator[Placed]:
    """(unique id, normalised document) without duplicates."""
    normal = normaliser(source.normalization)
    seen_ids, seen_rows = SeenTexts(), SeenTexts()
    ids_may_repeat = source.id_field is not None
    for place, row in rows:
        document: Document | Pair
        if isinstance(row, Pair):
            document = Pair(row.id, normal(row.en).strip(), normal(row.ja).strip())  # NFKC can make whitespace of other characters
            tally.swapped_pairs += bool(KANA.search(document.en)) and not KANA.search(document.ja)
            repeated = not seen_rows.add(document.en, document.ja)
        else:
            document = Document(row.id, normal(row.text), row.language)
            repeated = ids_may_repeat and not seen_rows.add(document.id, document.text)
        if repeated:
            tally.dropped["duplicate"] += 1
        elif ids_may_repeat and not seen_ids.add(document.id):
            tally.renamed_ids += 1
            yield f"{document.id}#{place}", document
        else:
            yield document.id, document


def _reasons(tally: Tally) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in tally.dropped.most_common()) or "nothing"


def _refuse_empty(source: SourceConfig, num_documents: int, tally: Tally) -> None:
    if num_documents == 0:
        raise RequestError(
            f"source {source.name} has no {source.kind} left "
            f"({len(tally.opened)} files read, {sum(tally.dropped.values()):,} rows dropped: {_reasons(tally)})",
            expected=f"at least one of its {source.kind} with text",
            remedy="check files: and the fields of the source",
        )


def _refuse_swapped(source: SourceConfig, num_pairs: int, tally: Tally) -> None:
    if tally.swapped_pairs * 2 > num_pairs:
        raise RequestError(
            f"source {source.name}: {tally.swapped_pairs:,} of {num_pairs:,} pairs have kana on the English side only",
            expected="English first, Japanese second",
            remedy="swap the two columns of the file",
        )


def _say_summary(source: SourceConfig, counts: dict[str, dict[str, int]], tally: Tally) -> None:
    """One line on a terminal; elsewhere the manifest says it, so that a refusal further on stays the only line."""
    if not is_interactive():
        return
    train, heldout = counts["train"]["documents"], counts["heldout"]["documents"]
    line = f"corpus {source.name}: {train:,} {source.kind} to train on, {heldout:,} held out, dropped {_reasons(tally)}"
    if tally.renamed_ids:
        line += f", {tally.renamed_ids:,} repeated ids made unique"
    if source.heldout_fraction > 0 and heldout == 0:
        line += "; nothing is held out: too few documents for heldout_fraction, so no held-out loss for this source"
    say(line)
