"""`swallow verify`: an untouched output root has no problem, and every kind of damage is one line that names the file."""

import json
import os
import shutil
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import save_file

from swallow_exp.artefact.files import sha256_file, write_json_atomic
from swallow_exp.artefact.manifest import Artefact, build_artefact, find_artefact
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.checkpoint.index import CheckpointRecord, write_checkpoints
from swallow_exp.config import ParallelConfig, SourceConfig, VocabularyConfig, compose_config
from swallow_exp.corpus.build_corpus import build_corpus
from swallow_exp.inspect.verify import verify, verify_and_print
from swallow_exp.model.folder import weights_digest
from swallow_exp.record.identity import identity_of
from swallow_exp.record.status import write_status
from swallow_exp.sweep.prepare import run_paths
from swallow_exp.tokens.build_shards import build_tokens
from swallow_exp.vocabulary.build_vocabulary import build_vocabulary

RUN_WORDS = ["experiment=miniature_base"]


def _weights(folder: Path, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"w": numpy.random.default_rng(seed).random((5, 3), dtype=numpy.float32)}, folder / "model.safetensors")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """An output root with every kind of artefact and one trained run, made by the stages themselves where they are cheap."""
    out = tmp_path_factory.mktemp("verify") / "out"
    pairs = SourceConfig(name="pairs", kind="pairs", language="en-ja", files=["miniature:pairs"], max_documents=60, heldout_fraction=0.1)
    english = SourceConfig(name="english", language="en", files=["miniature:english"], max_documents=200, heldout_fraction=0.1)
    corpora = {source.name: build_corpus(source, out=out, data=out) for source in (pairs, english)}
    scratch = VocabularyConfig(name="scratch", method="scratch", vocab_size=424, language="en")
    vocabulary = build_vocabulary(scratch, base_tokenizer=None, corpora={"english": corpora["english"]}, out=out)
    ti = ParallelConfig(name="ti", format="translation_instruction", order="mixed", instruction_ja_en="to en", instruction_en_ja="to ja")
    tokens = {
        "english": build_tokens(corpora["english"], vocabulary, out=out),
        "pairs": build_tokens(corpora["pairs"], vocabulary, out=out, parallel=ti),
    }

    def plan(folder: Path) -> dict[str, int]:
        (folder / "plan.json").write_text("{}")
        return {"steps": 1}

    def start(folder: Path) -> dict[str, str]:
        _weights(folder, 0)
        return {"weights_sha256": weights_digest(folder)}

    made_from = {name: artefact.digest for name, artefact in tokens.items()}
    mixture = _artefact(out, "mixture", plan, made_from)
    weights = _artefact(out, "weights", start, {"tokenizer": str(vocabulary.counts["tokenizer_digest"])})
    _run(out, {"weights": weights, "vocabulary": vocabulary, "mixture": mixture, "tokens": tokens, "corpora": corpora})
    return out


def _artefact(out: Path, kind: str, build, made_from: dict[str, str]) -> Artefact:
    from swallow_exp.artefact.files import digest_of

    digest = digest_of({"request": {}, "made_from": made_from})
    return build_artefact(out / "artefacts" / kind / f"x-{digest[:7]}", build, kind=kind, digest=digest, request={}, made_from=made_from)


def _run(out: Path, built: dict) -> RunPaths:
    composed = compose_config([*RUN_WORDS, f"paths.out={out}"])
    run = run_paths(composed)
    write_json_atomic(run.identity, identity_of(composed.plain))

    def reference(artefact: Artefact) -> dict[str, str]:
        return {"folder": artefact.folder.relative_to(out).as_posix(), "digest": artefact.digest}

    inputs = {
        role: reference(made) if isinstance(made, Artefact) else {name: reference(each) for name, each in made.items()}
        for role, made in built.items()
    }
    write_json_atomic(run.inputs, inputs)
    write_status(run.status, "trained", attempts=1)
    export = run.checkpoint_export(640)
    _weights(export, 1)
    state = run.checkpoint_state(640)
    state.mkdir(parents=True)
    (state / "__0_0.distcp").write_bytes(b"weights and moments")
    files = {"__0_0.distcp": {"bytes": 19, "sha256": sha256_file(state / "__0_0.distcp")}}
    write_json_atomic(state / "complete.json", {"step": 5, "trained_tokens": 640, "inputs_digest": "d", "files": files})
    start, end = str(built["weights"].counts["weights_sha256"]), weights_digest(export)
    records = [
        CheckpointRecord(0, 0, 0, f"out:{reference(built['weights'])['folder']}", start, resumable=False, seconds=0.0),
        CheckpointRecord(600, 640, 5, export.relative_to(run.folder).as_posix(), end, resumable=True, seconds=1.0),
    ]
    write_checkpoints(run, records)
    write_json_atomic(run.evaluation(640, "task") / "result.json", {"metrics": [], "checkpoint_digest": end})
    return run


@pytest.fixture
def out(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "out"))


def test_an_untouched_root_has_no_problem(out, swallow) -> None:
    found = verify(out)
    assert (found.problems, found.notes) == ([], [])
    assert (found.artefacts, found.runs, found.checkpoints) == (7, 1, 2)
    assert found.hashed_bytes >= sum(sum(find_artefact(path.parent).manifest["files"].values()) for path in out.rglob("manifest.json"))
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    done = swallow("verify", SWALLOW_OUT=str(out))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1 and "7 artefacts" in done.stdout and done.stdout.endswith("2 checkpoints: no problems\n")
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before  # nothing is changed


def only(out: Path, pattern: str) -> Path:
    [path] = out.glob(pattern)
    return path


def _flip(path: Path, place: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def _edit(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _resign(folder: Path) -> None:
    """Make the manifest say that the folder's files are as they should be: what is left to find is in the files themselves."""
    from swallow_exp.artefact.files import sha256_file

    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = {name: (folder / name).stat().st_size for name in manifest["files"]}
    manifest["sha256"] = {name: sha256_file(folder / name) for name in manifest["files"]}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _swap_tokenizer(out: Path) -> None:
    path = only(out, "artefacts/vocabulary/*/tokenizer.model")
    from swallow_exp.vocabulary.model_file import read_model

    proto = read_model(path)
    proto.pieces[300].score -= 1
    path.write_bytes(proto.SerializeToString())
    _resign(path.parent)


def _shard_with(out: Path, name: str, change) -> None:
    path = only(out, f"artefacts/tokens/pairs-*-ti-*/{name}")
    change(path)
    _resign(path.parent)


def _overwrite(dtype: str, place: int, value: int):
    def change(path: Path) -> None:
        data = numpy.fromfile(path, dtype=dtype) if path.suffix == ".bin" else numpy.load(path)
        data[place] = value
        if path.suffix == ".bin":
            data.tofile(path)
        else:
            numpy.save(path, data)

    return change


def _remove_shard(out: Path) -> None:
    shutil.rmtree(only(out, "artefacts/tokens/pairs-*-ti-*/manifest.json").parent)


def _rename(out: Path) -> None:
    only(out, "artefacts/corpus/english-*/manifest.json").parent.rename(out / "artefacts" / "corpus" / "english-0000000")


def _other_digest(out: Path) -> None:
    manifest = only(out, "artefacts/tokens/english-*/manifest.json")
    _edit(manifest, request={"template": None, "seed": 5})


DAMAGES = {
    "flipped byte": (lambda out: _flip(only(out, "artefacts/tokens/english-*/tokens.bin")), "tokens.bin: sha256 .* the manifest says"),
    "flipped text": (lambda out: _flip(only(out, "artefacts/corpus/english-*/train.jsonl.zst")), "train.jsonl.zst: sha256"),
    "cut shard": (lambda out: os.truncate(only(out, "artefacts/tokens/english-*/tokens.bin"), 100), "100 bytes where the manifest says"),
    "lost file": (lambda out: only(out, "artefacts/tokens/english-*/offsets.npy").unlink(), "offsets.npy: missing; remove the folder"),
    "changed request": (_other_digest, "manifest.json: its digest is not that of its request"),
    "torn manifest": (lambda out: only(out, "artefacts/mixture/*/manifest.json").write_text("{"), "no whole manifest.json"),
    "renamed": (lambda out: _rename(out), "the folder's name does not end in its digest"),
    "swapped tokenizer": (_swap_tokenizer, "its tokenizer.model is not the one its manifest names"),
    "id too large": (lambda out: _shard_with(out, "tokens.bin", _overwrite("<u2", 3, 424)), "1 tokens are no ids of a vocabulary of 424"),
    "no <s>": (lambda out: _shard_with(out, "tokens.bin", _overwrite("<u2", 0, 9)), "1 documents do not start with token 1"),
    "no </s>": (lambda out: _shard_with(out, "tokens.bin", _overwrite("<u2", -1, 9)), "1 documents do not end with token 2"),
    "falling ends": (lambda out: _shard_with(out, "offsets.npy", _overwrite("", 1, 0)), "end where they start, or before"),
    "flag": (lambda out: _shard_with(out, "loss.bin", _overwrite("u1", 0, 1)), r"loss.bin marks [\d,]+ tokens where meta.json says"),
    "no flag": (lambda out: _shard_with(out, "loss.bin", _overwrite("u1", 0, 7)), "1 flags of loss.bin are neither 0 nor 1"),
    "other tokenizer": (lambda out: _shard_with(out, "meta.json", lambda p: _edit(p, tokenizer_digest="0" * 64)), "another tokenizer"),
    "other counts": (lambda out: _shard_with(out, "meta.json", lambda p: _edit(p, text_bytes=3)), "differ in text_bytes"),
    "lost shard": (_remove_shard, "the shard of its source pairs .* is not here"),
    "identity": (lambda out: _edit(only(out, "runs/*/identity.json"), seed=77), "identity.json: it is the identity of"),
    "torn inputs": (lambda out: only(out, "runs/*/inputs.json").write_text("{"), "inputs.json: missing or torn, in a trained run"),
    "flipped weight": (lambda out: _flip(only(out, "runs/*/checkpoints/tokens_640/export/*")), "export: weights .* checkpoints.json says"),
    "cut weights": (
        lambda out: os.truncate(only(out, "runs/*/checkpoints/tokens_640/export/*"), 70),
        "export: weights unreadable",
    ),
    "lost export": (lambda out: shutil.rmtree(only(out, "runs/*/checkpoints/tokens_640/export")), "the export at 640 tokens is not at"),
    "torn index": (lambda out: only(out, "runs/*/checkpoints.json").write_text("{"), "checkpoints.json: torn"),
    "changed state": (
        lambda out: only(out, "runs/*/checkpoints/tokens_640/state/__0_0.distcp").write_bytes(b"weights amd moments"),
        "has changed since it was written",
    ),
    "torn state": (
        lambda out: only(out, "runs/*/checkpoints/tokens_640/state/__0_0.distcp").write_bytes(b"weights"),
        "has 7 bytes instead of 19",
    ),
    "lost state": (lambda out: shutil.rmtree(only(out, "runs/*/checkpoints/tokens_640/state")), "no whole state at 640 tokens"),
    "torn result": (lambda out: only(out, "runs/*/evaluations/*/task/result.json").write_text("{"), "result.json: torn; remove it"),
    "foreign result": (
        lambda out: _edit(only(out, "runs/*/evaluations/*/task/result.json"), checkpoint_digest="e" * 64),
        "a result of other weights",
    ),
    "other artefact": (lambda out: _relink(out), "english .* is another one now"),
}


def _relink(out: Path) -> None:
    inputs = only(out, "runs/*/inputs.json")
    tokens = json.loads(inputs.read_text())["tokens"]
    _edit(inputs, tokens={**tokens, "english": {**tokens["english"], "digest": "f" * 64}})


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_is_named(damage, out, capsys) -> None:
    spoil, message = DAMAGES[damage]
    spoil(out)
    assert verify_and_print(out, as_json=False) == 1
    lines = capsys.readouterr().out.splitlines()
    problems = [line for line in lines[:-1] if not line.startswith("note: ")]
    import re

    assert [line for line in problems if re.search(message, line)], lines
    assert all("; " in line for line in problems)
    assert len(problems) <= 3  # what follows from the first is not a list of its own


def test_json_is_for_programs(out, capsys) -> None:
    _flip(only(out, "artefacts/tokens/english-*/tokens.bin"))
    assert verify_and_print(out, as_json=True) == 1
    [problem] = json.loads(capsys.readouterr().out)["problems"]
    assert sorted(problem) == ["remedy", "what", "where"] and problem["where"].endswith("tokens.bin")


def test_a_file_without_a_checksum_is_a_problem(out, capsys) -> None:
    manifest = only(out, "artefacts/tokens/english-*/manifest.json")
    kept = json.loads(manifest.read_text())
    kept["sha256"].pop("tokens.bin")
    manifest.write_text(json.dumps(kept))
    assert verify_and_print(out, as_json=False) == 1
    assert "where the manifest says nothing" in capsys.readouterr().out


def test_unfinished_builds_are_notes(out, capsys) -> None:
    for name in ("x-1234567.partial-00", "x-1234567.work"):
        (out / "artefacts" / "tokens" / name).mkdir()
    assert verify_and_print(out, as_json=False) == 0
    assert capsys.readouterr().out.count("an unfinished build; the same command continues it") == 2


@pytest.mark.parametrize(
    ("words", "message"), [(["--fast"], "unknown flag --fast"), (["x"], "no names"), (["--out", "nowhere"], "holds no artefacts")]
)
def test_wrong_requests_exit_2(words, message, swallow) -> None:
    done = swallow("verify", *words)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1
