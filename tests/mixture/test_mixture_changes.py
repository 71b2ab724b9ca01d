"""A run continued under other inputs is refused, and the refusal names what differs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_shards import config_of, make_shard

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import digest_of, remove_folder, write_json_atomic
from swallow_exp.artefact.manifest import Artefact, find_artefact
from swallow_exp.artefact.paths import RunPaths, artefact_folder
from swallow_exp.config import Config
from swallow_exp.mixture.build_plan import build_plan
from swallow_exp.mixture.changes import digests_of, find_digests, inputs_digest, name_changes
from swallow_exp.sweep.prepare import check_inputs
from swallow_exp.train.fit import state_to_resume

Inputs = dict[str, dict[str, str]]


def plain_artefact(out: Path, kind: str, request: dict[str, object], made_from: dict[str, str]) -> Artefact:
    digest = digest_of([kind, request, made_from])
    folder = artefact_folder(out, kind, "made", digest)
    write_json_atomic(folder / "manifest.json", {"digest": digest, "request": request, "made_from": made_from, "counts": {}})
    found = find_artefact(folder)
    assert found is not None
    return found


def tokens_artefact(out: Path, name: str, num_tokens: int, *, corpus: str, tokenizer: str) -> Artefact:
    """A shard with the manifest `build_tokens` would give it."""
    digest = digest_of([name, num_tokens, corpus, tokenizer])
    folder = artefact_folder(out, "tokens", name, digest)
    if not folder.is_dir():
        shard = make_shard(folder.parent, folder.name, num_tokens, first_id=0, tokenizer=tokenizer)
        made_from = {"corpus": corpus, "tokenizer": tokenizer}
        manifest = {"digest": digest, "request": {"seed": 0}, "made_from": made_from, "counts": shard.counts}
        write_json_atomic(folder / "manifest.json", manifest)
    found = find_artefact(folder)
    assert found is not None
    return found


def inputs_of(out: Path, config: Config, *, english: int = 401, corpus: str = "c1", tokenizer: str = "t1", init: str = "mean") -> Inputs:
    shards = {
        "miniature_japanese": tokens_artefact(out, "ja", 1601, corpus="j", tokenizer=tokenizer),
        "miniature_english": tokens_artefact(out, "en", english, corpus=corpus, tokenizer=tokenizer),
    }
    roles = {
        "weights": plain_artefact(out, "weights", {"init": init}, {"tokenizer": tokenizer}),
        "vocabulary": plain_artefact(out, "vocabulary", {"vocab_size": 300}, {"base": tokenizer}),
        "mixture": build_plan(config, shards, out=out),
    }
    return {role: {"folder": str(artefact.folder.relative_to(out)), "digest": artefact.digest} for role, artefact in roles.items()}


CASES = [
    (
        ["mixture.weights={miniature_japanese: 0.8, miniature_english: 0.2}"],
        {},
        ["mixture weight miniature_japanese 0.9 -> 0.8", "0.1 -> 0.2"],
    ),
    ([], {"english": 481, "corpus": "c2"}, ["tokens of source miniature_english 401 -> 481 (the text changed)"]),
    ([], {"corpus": "c2"}, ["tokens of source miniature_english 401 -> 401 (the text changed)"]),
    ([], {"tokenizer": "t2"}, ["vocabulary made from another base", "miniature_japanese 1,601 -> 1,601 (the tokenizer changed)"]),
    ([], {"init": "zeros"}, ["weights init mean -> zeros"]),
    (["budget.tokens=1000"], {}, ["budget tokens 2,000 -> 1,000"]),
    (["budget.counts=positions"], {}, ["budget counts absent -> positions"]),
    (["seed=1"], {}, ["seed 0 -> 1"]),
]


@pytest.mark.parametrize(("words", "changed", "said"), CASES)
def test_what_changed_is_named(words: list[str], changed: dict[str, object], said: list[str], tmp_path: Path) -> None:
    earlier = inputs_of(tmp_path, config_of())
    config = config_of(*[word for word in words if word != "weights"])
    if words == ["weights"]:
        config.mixture.weights = {"miniature_japanese": 0.8, "miniature_english": 0.2}
    now = inputs_of(tmp_path, config, **changed)  # type: ignore[arg-type]
    line = name_changes(tmp_path, digests_of(earlier), digests_of(now))
    for each in said:
        assert each in line, line
    assert name_changes(tmp_path, digests_of(now), digests_of(now)) == ""
    assert find_digests(tmp_path, inputs_digest(earlier), digests_of(now)) == digests_of(earlier)


def saved_state(run: RunPaths, inputs: Inputs) -> None:
    mark = {"step": 3, "trained_tokens": 100, "inputs_digest": inputs_digest(inputs), "files": {}}
    write_json_atomic(run.checkpoint_state(100) / "complete.json", mark)


def test_both_doors_refuse_and_name_it(tmp_path: Path) -> None:
    earlier, run = inputs_of(tmp_path, config_of()), RunPaths.of(tmp_path, "some_run")
    write_json_atomic(run.inputs, {**earlier, "tokens": {}, "corpora": {}})
    saved_state(run, earlier)
    now = inputs_of(tmp_path, config_of(), english=481, corpus="c2")
    check_inputs(run, earlier)
    assert state_to_resume(run, earlier) is not None
    with pytest.raises(RequestError, match=r"tokens of source miniature_english 401 -> 481 \(the text changed\)"):
        check_inputs(run, now)
    with pytest.raises(RequestError, match=r"tokens of source miniature_english 401 -> 481 \(the text changed\)"):
        state_to_resume(run, now)


def test_what_is_gone_is_said_to_be_gone(tmp_path: Path) -> None:
    earlier = inputs_of(tmp_path, config_of())
    run = RunPaths.of(tmp_path, "some_run")
    saved_state(run, earlier)
    now = inputs_of(tmp_path, config_of(), english=481, corpus="c2")
    remove_folder(artefact_folder(tmp_path, "tokens", "en", digest_of(["en", 401, "c1", "t1"])))
    assert "miniature_english about 400 -> 481" in name_changes(tmp_path, digests_of(earlier), digests_of(now))
    remove_folder(tmp_path / earlier["mixture"]["folder"])
    assert "no longer there to compare" in name_changes(tmp_path, digests_of(earlier), digests_of(now))
    with pytest.raises(RequestError, match="no longer there to compare"):
        state_to_resume(run, now)


def test_many_changes_stay_one_line(tmp_path: Path) -> None:
    asked = {f"field_{number}": number for number in range(20)}
    first = plain_artefact(tmp_path, "weights", asked, {})
    second = plain_artefact(tmp_path, "weights", {key: value + 1 for key, value in asked.items()}, {})
    same = {"vocabulary": "v", "mixture": "m"}
    line = name_changes(tmp_path, {"weights": first.digest, **same}, {"weights": second.digest, **same})
    assert line.endswith("and 14 more") and np.char.count(line, ";") == 6
