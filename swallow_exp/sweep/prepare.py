"""Build everything a run is made from, once, in the order of the pipeline; and write its inputs.json.

(1) corpora      every source of the mixture                       -> documents, held-out split
(2) vocabulary   base, expanded or scratch                         -> tokenizer; tokens of held-out documents (fertility/)
(3) tokens       shards of the sources the plan needs
(4) plan         sequences of every source, in order
(5) weights      start weights with a row for every piece          (imports torch; only when missing)

Reads   the config        Writes  artefacts/*, runs/<run_id>/{identity,config,inputs,provenance,status}
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import make_folder, write_json_atomic, write_text_atomic
from swallow_exp.artefact.manifest import Artefact, find_artefact
from swallow_exp.artefact.paths import DEFAULT_OUT, RunPaths, user_path
from swallow_exp.artefact.progress import say
from swallow_exp.config import Composed, Config
from swallow_exp.corpus.build_corpus import build_corpus
from swallow_exp.evaluate.suite import check_task_names
from swallow_exp.mixture.build_plan import build_plan, planned_sources
from swallow_exp.mixture.changes import digests_of, name_changes
from swallow_exp.record.identity import identity_of, run_id_of
from swallow_exp.record.inputs import read_inputs
from swallow_exp.record.provenance import gather_provenance
from swallow_exp.record.status import read_status, write_status
from swallow_exp.tokens.build_shards import build_tokens
from swallow_exp.tokens.shard import open_shard
from swallow_exp.train.screen import format_duration
from swallow_exp.vocabulary.build_vocabulary import build_vocabulary
from swallow_exp.vocabulary.heldout import record_fertility
from swallow_exp.vocabulary.tokenizer import tokenizer_digest

STAGES = ("corpus", "vocabulary", "tokens", "mixture", "weights")
TOKENIZER_NAME = "tokenizer.model"
AWAIT_SECONDS = 1.0
TOLD_SECONDS = 2.0  # an artefact that is there already is found faster


@dataclass(frozen=True)
class Built:
    """Artefacts of one run; stages that were not asked for are absent."""

    corpora: Mapping[str, Artefact]
    vocabulary: Artefact | None = None
    tokens: Mapping[str, Artefact] | None = None
    plan: Artefact | None = None
    weights: Artefact | None = None


def base_tokenizer(config: Config) -> Path | None:
    """The base model's SentencePiece file: as configured, or tokenizer.model beside its weights; None if there is none."""
    model = config.base_model
    if model.tokenizer is not None:
        return user_path(model.tokenizer)
    if model.path is None:
        return None
    if model.name == "miniature" and not user_path(model.path).is_dir():
        raise RequestError(
            f"base_model.path={model.path} is not a folder",
            expected="the miniature base model",
            remedy="run `swallow demo` first: it trains this model",
        )
    from swallow_exp.model.source import locate_model

    folder = locate_model(model, network=config.paths.network)
    return folder / TOKENIZER_NAME


def build_stages(config: Config, *, upto: str, tell: Callable[[str], None] = lambda line: None) -> Built:
    """Build the stages up to and including `upto` (one of STAGES); what is finished already is only looked up.

    `tell` gets a line for each artefact that took longer than a moment.
    """
    assert upto in STAGES, upto
    wanted = STAGES[: STAGES.index(upto) + 1]
    out, data = output_root(config), user_path(config.paths.data)
    tokenizer = base_tokenizer(config) if "vocabulary" in wanted else None
    network = config.paths.network
    corpora = {}
    for name, source in config.mixture.sources.items():
        with _timed(f"corpus {name}", tell):
            corpora[name] = build_corpus(source, out=out, data=data, network=network)
    if "vocabulary" not in wanted:
        return Built(corpora)
    documents = {name: corpus for name, corpus in corpora.items() if config.mixture.sources[name].kind == "documents"}
    with _timed(f"vocabulary {config.vocabulary.name}", tell):
        vocabulary = build_vocabulary(config.vocabulary, base_tokenizer=tokenizer, corpora=documents, out=out)
        record_fertility(vocabulary, base_tokenizer=tokenizer, corpora=corpora, out=out)
    if "tokens" not in wanted:
        return Built(corpora, vocabulary)
    tokens = {}
    for name in planned_sources(config):
        parallel = config.parallel if config.mixture.sources[name].kind == "pairs" else None
        with _timed(f"tokens of {name}, vocabulary {config.vocabulary.name}", tell):
            tokens[name] = build_tokens(
                corpora[name],
                vocabulary,
                out=out,
                parallel=parallel,
                encoder=config.machine.encoder,
                processes=config.machine.processes,
            )
        open_shard(tokens[name], tokenizer=tokenizer_digest(vocabulary))  # refuses a shard that was damaged or put there since
    if "mixture" not in wanted:
        return Built(corpora, vocabulary, tokens)
    with _timed(f"plan of {config.mixture.name}, vocabulary {config.vocabulary.name}, parallel {config.parallel.name}", tell):
        plan = build_plan(config, tokens, out=out)
    if "weights" not in wanted:
        return Built(corpora, vocabulary, tokens, plan)
    from swallow_exp.model.weights import build_weights  # torch

    weights = build_weights(config, vocabulary, base_tokenizer=tokenizer, out=out)
    return Built(corpora, vocabulary, tokens, plan, weights)


@contextlib.contextmanager
def _timed(what: str, tell: Callable[[str], None]) -> Iterator[None]:
    started = time.monotonic()
    yield
    seconds = time.monotonic() - started
    if seconds >= TOLD_SECONDS:
        tell(f"{what}: built in {format_duration(seconds)}")


def output_root(config: Config) -> Path:
    """The one output root of a config."""
    return user_path(config.paths.out or DEFAULT_OUT)  # SWALLOW_OUT= is as if it were not set


def run_paths(composed: Composed) -> RunPaths:
    """Where this config's run lies; computed from the config alone."""
    return RunPaths.of(output_root(composed.config), run_id_of(identity_of(composed.plain)))


def reference_of(artefact: Artefact, out: Path) -> dict[str, str]:
    """An artefact as inputs.json names it."""
    return {"folder": str(artefact.folder.relative_to(out)), "digest": artefact.digest}


def inputs_of(built: Built, out: Path) -> dict[str, Any]:
    """inputs.json: which artefacts the run is made from."""
    assert built.vocabulary and built.tokens is not None and built.plan and built.weights
    return {
        "weights": reference_of(built.weights, out),
        "vocabulary": reference_of(built.vocabulary, out),
        "mixture": reference_of(built.plan, out),
        "tokens": {name: reference_of(artefact, out) for name, artefact in built.tokens.items()},
        "corpora": {name: reference_of(artefact, out) for name, artefact in built.corpora.items()},
    }


def check_inputs(run: RunPaths, inputs: Mapping[str, Any]) -> None:
    """Refuse to continue a run whose text, tokenizer, plan or start weights changed under the same config; name what differs."""
    earlier = read_inputs(run)
    if earlier is None:
        return
    changes = name_changes(run.out, digests_of(earlier), digests_of(inputs))
    if changes:
        raise RequestError(
            f"run {run.run_id} was made from other inputs: {changes}",
            expected="the same text, tokenizer, mixture and start weights as when the run began",
            remedy="restore them, give the changed level another name:, or remove the run folder",
        )


def prepare_run(composed: Composed) -> RunPaths:
    """Build what is missing and write the run folder, ready for the training worker. Safe to repeat."""
    check_task_names(composed.config)
    run = run_paths(composed)
    out = output_root(composed.config)
    make_folder(out)
    inputs = inputs_of(build_stages(composed.config, upto="weights"), out)
    check_inputs(run, inputs)
    make_folder(run.folder)
    if read_inputs(run) is None:
        write_json_atomic(run.inputs, inputs)
    write_text_atomic(run.config, config_text(composed.plain))
    if read_status(run.status)["state"] != "trained":  # it says how the run was made, not who looked at it last
        write_json_atomic(run.provenance, gather_provenance(repository=Path(__file__).resolve().parents[2], inputs=inputs))
    if read_status(run.status)["state"] == "planned":
        write_status(run.status, "planned", attempts=0)
    write_json_atomic(run.identity, identity_of(composed.plain))
    return run


def config_text(plain: Mapping[str, Any]) -> str:
    """The text of config.yaml."""
    import yaml

    return str(yaml.safe_dump(plain, allow_unicode=True, sort_keys=False))


def await_run(composed: Composed) -> RunPaths:
    """What the other nodes of a run do while the first prepares it on the disk they share."""
    run, told = run_paths(composed), False
    while not _is_prepared(run, composed):
        if not told:
            say(f"{run.run_id}: waiting for the first node to prepare {run.folder}")
            told = True
        time.sleep(AWAIT_SECONDS)
    return run


def _is_prepared(run: RunPaths, composed: Composed) -> bool:
    inputs = read_inputs(run)
    same = run.config.is_file() and run.config.read_text(encoding="utf-8") == config_text(composed.plain)
    return inputs is not None and same and find_artefact(run.out / inputs["weights"]["folder"]) is not None
