"""Re-hash and cross-check everything under an output root; change nothing.

(1) artefacts     every file against the sizes and sha256s of its manifest; the manifest's digest against its own request
(2) shards        counts, document ends, <s> and </s>, ids below the vocabulary's size, loss flags (tokens/check_shard.py)
(3) links         what each artefact was made from, and that shards and vocabulary name the same tokenizer
(4) runs          run_id = hash of identity.json; inputs.json -> artefacts with these digests; one tokenizer in all of them
(5) checkpoints   every exported model against the digest in checkpoints.json; the state a run would continue from

A problem is something that may make numbers wrong or a command fail. A note is something to know: what is unfinished, or was
removed but is not needed any more.

Reads  <out>/artefacts/*, <out>/runs/*
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from swallow_exp.artefact.check import (
    REBUILD,
    Advance,
    Problem,
    bytes_to_hash,
    check_files,
)
from swallow_exp.artefact.errors import EXIT_DONE, EXIT_FAILED, UNEXPECTED_SHAPE, RequestError, SwallowError
from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.manifest import PARTIAL_MARK, WORK_SUFFIX, Artefact, find_artefact
from swallow_exp.artefact.paths import ARTEFACT_KINDS, RunPaths, runs_folder
from swallow_exp.artefact.progress import progress_bar
from swallow_exp.artefact.units import format_bytes
from swallow_exp.checkpoint.check_states import check_states
from swallow_exp.checkpoint.index import CheckpointRecord, is_own, read_checkpoints, resolve_export
from swallow_exp.checkpoint.state import find_states
from swallow_exp.model.folder import weights_digest
from swallow_exp.record.identity import read_identity, run_id_of
from swallow_exp.record.inputs import read_inputs
from swallow_exp.record.status import read_status
from swallow_exp.record.store import RESULT_NAME, read_result
from swallow_exp.tokens.check_shard import check_shard
from swallow_exp.tokens.shard import META_NAME

RESTORE = "restore it, or run the command that made it again"
BYTES_PER_MEGABYTE = 1e6


@dataclass
class Findings:
    """What verification found."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    artefacts: int = 0
    files: int = 0
    hashed_bytes: int = 0
    runs: int = 0
    checkpoints: int = 0

    def wrong(self, where: str, what: str, remedy: str) -> None:
        """One more problem."""
        self.problems.append(Problem(where, what, remedy))


def verify(out: Path) -> Findings:
    """Check everything under `out`. Raises RequestError when there is no such output root."""
    if not any((out / name).is_dir() for name in ("artefacts", "runs")):
        raise RequestError(f"{out} holds no artefacts and no runs", expected="an output root", remedy="check --out and SWALLOW_OUT")
    findings = Findings()
    artefacts = list(_artefacts(out, findings))
    runs = [RunPaths.of(out, path.name) for path in sorted(runs_folder(out).glob("*")) if path.is_dir()]
    total = sum(bytes_to_hash(artefact) for artefact in artefacts) + sum(_export_bytes(run) for run in runs)
    with progress_bar("verify", total / BYTES_PER_MEGABYTE, unit="MB") as bar:

        def advance(size: float) -> None:
            findings.hashed_bytes += int(size)
            bar(size / BYTES_PER_MEGABYTE)

        for artefact in artefacts:
            with _named(_place(artefact.folder, out), findings):
                _check_artefact(artefact, out, findings, advance)
        with _named("artefacts", findings):
            _check_links(artefacts, out, findings)
        by_folder = {artefact.folder.relative_to(out).as_posix(): artefact for artefact in artefacts}
        for run in runs:
            with _named(_place(run.folder, out), findings):
                _check_run(run, by_folder, findings, advance)
    return findings


@contextmanager
def _named(where: str, findings: Findings) -> Iterator[None]:
    """What no check below has foreseen is a problem of this place, and the others are looked at all the same."""
    try:
        yield
    except (SwallowError, OSError, *UNEXPECTED_SHAPE) as error:
        findings.wrong(where, f"cannot be read: {repr(error).splitlines()[0][:200]}", RESTORE)


def _place(path: Path, out: Path) -> str:
    return path.relative_to(out).as_posix()


def _artefacts(out: Path, findings: Findings) -> Iterator[Artefact]:
    for kind in ARTEFACT_KINDS:
        for folder in sorted((out / "artefacts" / kind).glob("*")):
            if not folder.is_dir():
                continue
            artefact = find_artefact(folder)
            if artefact is not None:
                yield artefact
            elif PARTIAL_MARK in folder.name or folder.name.endswith(WORK_SUFFIX):
                findings.notes.append(f"{_place(folder, out)}: an unfinished build; the same command continues it, or remove the folder")
            else:
                findings.wrong(_place(folder, out), "no whole manifest.json: nothing trusts this folder", REBUILD)


def _check_artefact(artefact: Artefact, out: Path, findings: Findings, advance: Advance) -> None:
    where = _place(artefact.folder, out)
    findings.artefacts += 1
    findings.files += len(artefact.manifest.get("files", {}))
    damaged = check_files(artefact, where=where, advance=advance)
    findings.problems += damaged
    if not (artefact.folder / META_NAME).is_file() or damaged:
        return
    for what in check_shard(artefact):
        findings.wrong(where, what, REBUILD)


def _weights_digest(folder: Path) -> str:
    """The digest of a model folder's weights, or why they cannot be read."""
    try:
        return weights_digest(folder)
    except (RequestError, AssertionError, ValueError, KeyError, OSError) as error:
        return f"unreadable ({error})"


def _tokenizer_of(artefact: Artefact) -> str | None:
    """Digest of the tokenizer a vocabulary holds or a shard was made with, from the files themselves."""
    if artefact.manifest.get("kind") == "vocabulary":
        from swallow_exp.vocabulary.tokenizer import tokenizer_digest

        try:
            return tokenizer_digest(artefact)
        except RequestError:
            return None
    meta = read_json(artefact.folder / META_NAME)
    return str(meta["tokenizer_digest"]) if isinstance(meta, dict) and "tokenizer_digest" in meta else None


def _check_links(artefacts: list[Artefact], out: Path, findings: Findings) -> None:
    """What each artefact says it was made from is there, and is what it says."""
    digests = {artefact.digest for artefact in artefacts}
    tokenizers = dict(_check_vocabularies(artefacts, out, findings))
    for artefact in artefacts:
        where, made_from = _place(artefact.folder, out), artefact.manifest.get("made_from", {})
        if artefact.manifest.get("kind") == "tokens":
            _check_shard_links(artefact, where, digests, tokenizers, findings)
        if artefact.manifest.get("kind") == "mixture":
            for source in (name for name, digest in made_from.items() if digest not in digests):
                findings.wrong(where, f"the shard of its source {source} ({made_from[source][:7]}) is not here", RESTORE)


def _check_vocabularies(artefacts: list[Artefact], out: Path, findings: Findings) -> Iterator[tuple[str, int]]:
    """(digest, pieces) of every tokenizer that is what its manifest says."""
    for artefact in artefacts:
        if artefact.manifest.get("kind") == "vocabulary":
            found = _tokenizer_of(artefact)
            if found != artefact.counts.get("tokenizer_digest"):
                findings.wrong(_place(artefact.folder, out), "its tokenizer.model is not the one its manifest names", REBUILD)
            elif found is not None:
                yield found, int(artefact.counts["size"])


def _check_shard_links(shard: Artefact, where: str, digests: set[str], tokenizers: Mapping[str, int], findings: Findings) -> None:
    made_from = shard.manifest.get("made_from", {})
    tokenizer = str(made_from.get("tokenizer"))
    if tokenizer not in tokenizers:
        findings.notes.append(f"{where}: no vocabulary here has its tokenizer ({tokenizer[:12]})")
    else:
        size = tokenizers[tokenizer]
        stated = (read_json(shard.folder / META_NAME) or {}).get("vocab_size", size)
        if stated != size:
            findings.wrong(where, f"made for a vocabulary of {stated:,} pieces; the one with its digest has {size:,}", REBUILD)
    if "corpus" in made_from and made_from["corpus"] not in digests:
        findings.notes.append(f"{where}: its corpus ({made_from['corpus'][:7]}) is not here any more")


def _check_run(run: RunPaths, artefacts: Mapping[str, Artefact], findings: Findings, advance: Advance) -> None:
    where = _place(run.folder, run.out)
    findings.runs += 1
    identity = read_identity(run.identity)
    if identity is None and run.identity.exists():
        findings.wrong(f"{where}/{run.identity.name}", "torn, or of another shape", "the run's `swallow train` command writes it again")
    elif identity is None:
        findings.notes.append(f"{where}: no identity.json; its `swallow train` command writes it")
    elif run_id_of(identity) != run.run_id:
        findings.wrong(
            f"{where}/{run.identity.name}", f"it is the identity of {run_id_of(identity)}", "restore the file, or remove the run"
        )
    trained = read_status(run.status)["state"] == "trained"
    inputs = read_inputs(run)
    if inputs is None and trained:
        findings.wrong(f"{where}/{run.inputs.name}", "missing or torn, in a trained run", RESTORE)
    if inputs is not None:
        _check_inputs(run, inputs, artefacts, findings, trained=trained)
    _check_checkpoints(run, findings, advance)


def _references(inputs: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, str]]]:
    for role in ("weights", "vocabulary", "mixture"):
        yield role, inputs[role]
    for role in ("tokens", "corpora"):
        for name, reference in inputs[role].items():
            yield f"{role} {name}", reference


def _check_inputs(
    run: RunPaths, inputs: Mapping[str, Any], artefacts: Mapping[str, Artefact], findings: Findings, *, trained: bool
) -> None:
    where = f"{_place(run.folder, run.out)}/{run.inputs.name}"
    found: dict[str, Artefact] = {}
    for role, reference in _references(inputs):
        artefact = artefacts.get(reference["folder"])
        if artefact is None and trained:
            findings.notes.append(f"{where}: {role} {reference['folder']} is not here any more")
        elif artefact is None:
            findings.wrong(where, f"{role} {reference['folder']} is not here", "the run's `swallow train` command builds it again")
        elif artefact.digest != reference["digest"]:
            findings.wrong(where, f"{role} {reference['folder']} is another one now (digest {artefact.digest[:12]})", RESTORE)
        else:
            found[role] = artefact
    expected = _tokenizer_of(found["vocabulary"]) if "vocabulary" in found else None
    for role, artefact in found.items():
        if role.startswith("tokens ") and expected is not None and _tokenizer_of(artefact) != expected:
            findings.wrong(where, f"{role} {artefact.id} was made with another tokenizer than the run's vocabulary", REBUILD)


def _export_bytes(run: RunPaths) -> int:
    try:
        folders = [resolve_export(run, record) for record in read_checkpoints(run) if is_own(record)]
    except SwallowError:
        return 0  # named when the run is looked at
    return sum(path.stat().st_size for folder in folders for path in folder.glob("*.safetensors"))


def _check_checkpoints(run: RunPaths, findings: Findings, advance: Advance) -> None:
    where = f"{_place(run.folder, run.out)}/{run.checkpoint_index.name}"
    records = read_checkpoints(run)
    if run.checkpoint_index.exists() and not records:
        findings.wrong(where, "torn, or of another version", "the run's `swallow train` command writes it again")
    if read_status(run.status)["state"] != "running":  # a save under way has a temporary name
        for problem in check_states(run):
            findings.wrong(_place(run.folder, run.out), problem, "training continues from an earlier state")
    states = {state.trained_tokens for state in find_states(run)}
    for record in records:
        findings.checkpoints += 1
        if not record.export:
            continue  # given up on purpose: `swallow gc` says so
        try:
            export = resolve_export(run, record)
        except RequestError as error:
            findings.wrong(where, error.given, error.remedy)
            continue
        remedy = "the run's `swallow train` command exports it again" if record.resumable else "restore it from a copy, or remove the run"
        if not export.is_dir():
            findings.wrong(where, f"the export at {record.trained_tokens:,} tokens is not at {export}", remedy)
            continue
        if is_own(record):  # start weights are an artefact: hashed already
            found = _weights_digest(export)
            if found != record.digest:
                shown = found if found.startswith("unreadable") else found[:12]
                findings.wrong(_place(export, run.out), f"weights {shown} where checkpoints.json says {record.digest[:12]}", remedy)
            advance(sum(path.stat().st_size for path in export.glob("*.safetensors")))
        _check_results(run, record, findings)
        if record.resumable and record.trained_tokens not in states:
            findings.wrong(where, f"no whole state at {record.trained_tokens:,} tokens", "training would continue from an earlier one")


def _check_results(run: RunPaths, record: CheckpointRecord, findings: Findings) -> None:
    """Results at a checkpoint are whole and of these weights."""
    for path in sorted(run.evaluation(record.trained_tokens, "*").parent.glob(f"*/{RESULT_NAME}")):
        result, where = read_result(path.parent), _place(path, run.out)
        if result is None:
            findings.wrong(where, "torn", f"remove it; `swallow evaluate {run.run_id}` makes it again")
        elif result.get("weights_digest", result.get("checkpoint_digest", record.digest)) != record.digest:
            findings.wrong(where, "a result of other weights than this checkpoint's", "remove it; `swallow evaluate` makes it again")


def verify_and_print(out: Path, *, as_json: bool) -> int:
    """Print what was found, one line each; the exit code."""
    found = verify(out)
    if as_json:
        checked = {name: getattr(found, name) for name in ("artefacts", "files", "hashed_bytes", "runs", "checkpoints")}
        print(json.dumps({"problems": [asdict(problem) for problem in found.problems], "notes": found.notes, "checked": checked}, indent=1))
    else:
        for problem in found.problems:
            print(problem)
        for note in found.notes:
            print(f"note: {note}")
        print(
            f"{found.artefacts} artefacts ({found.files} files, {format_bytes(found.hashed_bytes)} hashed), {found.runs} runs, "
            f"{found.checkpoints} checkpoints: {len(found.problems) or 'no'} problem{'' if len(found.problems) == 1 else 's'}"
        )
    return EXIT_FAILED if found.problems else EXIT_DONE
