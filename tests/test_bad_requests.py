"""Bad input: exit 2, one line that says what was given, what was expected and what to do, and nothing half-written."""

from __future__ import annotations

import gzip
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE_SECONDS, wait_until

from swallow_exp import cli

GOOD_LINE = json.dumps({"text": "The red fox finds a key in the old harbor. " * 4})


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder: own levels over own text, small enough to build in a moment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWALLOW_OUT", str(tmp_path / "out"))
    monkeypatch.setenv("SWALLOW_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "good.jsonl").write_text("".join(GOOD_LINE + "\n" for _ in range(50)), encoding="utf-8")
    levels = tmp_path / "levels"
    write_level(levels, "source/mine", 'name: mine\nlanguage: en\nfiles: ["good.jsonl"]\nheldout_fraction: 0.1\n')
    write_level(levels, "mixture/mine", mixture("mine", 1.0))
    write_level(levels, "vocabulary/mine", "name: mine\nmethod: scratch\nvocab_size: 304\n")
    return tmp_path


def write_level(levels: Path, name: str, text: str) -> None:
    path = levels / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def mixture(source: str, weight: float) -> str:
    return f"name: mine\nweights: {{{source}: {weight}}}\ndefaults:\n  - /source@sources.{source}: {source}\n"


MINE = ["mixture=mine", "vocabulary=mine", "base_model=miniature_random", "--config-dir", "levels"]

OPTIM_MINE = ["show", "optim=mine", "--config-dir", "levels"]
PLAN_MINE = ["plan", "mine", "--config-dir", "levels"]


def sweep(user: Path, line: str) -> None:
    """A question with one wrong line."""
    write_level(user / "levels", "sweeps/mine", f"grids: [{{vocabulary: [base, ja_16k]}}]\n{line}\n")


def data(user: Path, name: str, content: bytes | str) -> None:
    """Put a file into the user's data folder and point the source at it."""
    path = user / "data" / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    write_level(user / "levels", "source/mine", f'name: mine\nlanguage: en\nfiles: ["{name}"]\nheldout_fraction: 0.1\n')


def read_only_out(user: Path) -> None:
    (user / "out").write_text("a file where the folder should be", encoding="utf-8")


# name -> (what the user does to the folder, command, words the line must hold)
CASES: dict[str, tuple[object, list[str], list[str]]] = {
    "unknown verb": (None, ["trian"], ["trian", "train"]),
    "unknown flag": (None, ["show", "--fast"], ["--fast", "--config-dir"]),
    "flag without value": (None, ["show", "--config-dir"], ["--config-dir", "VALUE"]),
    "bare word": (None, ["show", "miniature"], ["miniature", "key=value"]),
    "jobs is no number": (None, ["train", "-m", "seed=0,1", "--jobs", "many"], ["many", "whole number"]),
    "unknown level": (None, ["show", "vocabulary=ja_17k"], ["vocabulary=ja_17k", "ja_16k"]),
    "unknown group": (None, ["show", "vocabluary=base"], ["vocabluary", "vocabulary"]),
    "misspelt key on the command line": (None, ["show", "optim.lr_peek=1"], ["optim.lr_peek", "optim.lr_peak", "command line"]),
    "misspelt key added with plus": (None, ["show", "+optim.zz=1"], ["optim.zz"]),
    "misspelt key in a file": (
        lambda u: write_level(u / "levels", "optim/mine", "name: mine\nlr_peek: 1\n"),
        ["show", "optim=mine", "--config-dir", "levels"],
        ["lr_peek", "optim/mine.yaml", "optim.lr_peak"],
    ),
    "wrong type on the command line": (None, ["show", "optim.lr_peak=high"], ["optim.lr_peak=high", "number"]),
    "wrong type in a file": (
        lambda u: write_level(u / "levels", "optim/mine", "name: mine\nwarmup_steps: soon\n"),
        ["show", "optim=mine", "--config-dir", "levels"],
        ["warmup_steps", "soon", "optim/mine.yaml", "whole number"],
    ),
    "broken YAML": (
        lambda u: write_level(u / "levels", "optim/mine", "name: [mine\nlr_peak: 1\n"),
        ["show", "optim=mine", "--config-dir", "levels"],
        ["optim/mine.yaml", "line 2", "YAML"],
    ),
    "level with a shipped name": (
        lambda u: write_level(u / "levels", "optim/miniature", "name: miniature\n"),
        ["show", "--config-dir", "levels"],
        ["optim/miniature.yaml", "shipped"],
    ),
    "config-dir missing": (None, ["show", "--config-dir", "nowhere"], ["nowhere", "folder"]),
    "override without equals sign value": (None, ["show", "optim.lr_peak"], ["optim.lr_peak", "key=value"]),
    "float where an integer belongs": (None, ["show", "budget.tokens=1e9"], ["budget.tokens", "whole number"]),
    "level name that is no folder name": (None, ["show", "budget.name=a/b"], ["budget.name", "a/b", "letters"]),
    "publish in an unknown mode": (None, ["publish", "nothing", "--mode", "later"], ["nothing"]),
    "negative budget": (None, ["show", "budget.tokens=-5"], ["budget.tokens=-5", "above 0"]),
    "weights do not sum to 1": (
        lambda u: write_level(u / "levels", "mixture/mine", mixture("mine", 0.9)),
        ["show", *MINE],
        ["sum to 0.9", "exactly 1"],
    ),
    "weight of an unknown source": (
        lambda u: write_level(u / "levels", "mixture/mine", "name: mine\nweights: {other: 1.0}\n"),
        ["show", *MINE],
        ["other", "sources"],
    ),
    "parallel without pairs": (None, ["show", *MINE, "parallel=ntp_mixed"], ["ntp_mixed", "parallel_source"]),
    "unknown precision": (None, ["show", "numerics.precision=fp8"], ["fp8", "32-true"]),
    "batch that does not divide": (None, ["show", "strategy.data_parallel=3"], ["16", "3 processes"]),
    "sequences longer than the model": (None, ["show", "optim.sequence_length=4096"], ["4096", "max_position_embeddings=256"]),
    "scratch vocabulary over pretrained weights": (None, ["show", "vocabulary=miniature_en"], ["miniature_en", "randomly initialised"]),
    "sweep that is not there": (None, ["train", "-m", "+sweep=nothing"], ["nothing", "miniature"]),
    "sweep without -m": (None, ["train", "+sweep=miniature"], ["-m"]),
    "-m with nothing to vary": (None, ["train", "-m"], ["-m", "+sweep"]),
    "sweep with an unknown key": (
        lambda u: write_level(u / "levels", "sweeps/mine", "axis: {seed: [0]}\ngrids: [{vocabulary: [base]}]\n"),
        ["train", "-m", "+sweep=mine", "--config-dir", "levels"],
        ["axis", "grids"],
    ),
    "status of an unknown sweep": (None, ["status", "nothing"], ["nothing"]),
    "evaluate an unknown run": (None, ["evaluate", "nothing"], ["nothing", "no run matches"]),
    "report of an unknown sweep": (None, ["report", "nothing"], ["nothing"]),
    "export of an unknown run": (None, ["export", "nothing"], ["nothing"]),
    "gc with a name": (None, ["gc", "nothing"], ["gc", "no names"]),
    "base model not there": (None, ["vocabulary"], ["models/miniature", "swallow demo"]),
    "tokenizer not there": (None, ["vocabulary", "mixture=mine", "base_model=tiny_llama2", "--config-dir", "levels"], ["tokenizer"]),
    "tokenizer is not one": (
        lambda u: (u / "bad.model").write_bytes(b"not a model" * 50),
        ["vocabulary", "mixture=mine", "base_model=tiny_llama2", "base_model.tokenizer=bad.model", "--config-dir", "levels"],
        ["bad.model", "SentencePiece"],
    ),
    "corpus missing": (lambda u: data(u, "x.jsonl", GOOD_LINE) or (u / "data" / "x.jsonl").unlink(), ["corpus", *MINE], ["x.jsonl"]),
    "corpus empty": (lambda u: data(u, "empty.jsonl", ""), ["corpus", *MINE], ["empty.jsonl"]),
    "invalid JSON line": (lambda u: data(u, "bad.jsonl", GOOD_LINE + "\n{oops\n"), ["corpus", *MINE], ["bad.jsonl", "2"]),
    "JSON without the text field": (lambda u: data(u, "bad.jsonl", '{"body": "x"}\n'), ["corpus", *MINE], ["bad.jsonl", "text", "body"]),
    "not UTF-8": (lambda u: data(u, "bad.jsonl", b'{"text": "\xff\xfe"}\n'), ["corpus", *MINE], ["bad.jsonl", "UTF-8"]),
    "truncated gzip": (
        lambda u: data(u, "bad.jsonl.gz", gzip.compress(GOOD_LINE.encode() * 500)[:60]),
        ["corpus", *MINE],
        ["bad.jsonl.gz"],
    ),
    "unknown file kind": (lambda u: data(u, "text.docx", "hello"), ["corpus", *MINE], ["text.docx", "jsonl"]),
    "vocabulary smaller than its characters": (None, ["vocabulary", *MINE, "vocabulary.vocab_size=20"], ["20"]),
    "source shorter than one sequence": (
        lambda u: data(u, "short.jsonl", (json.dumps({"text": "A fox."}) + "\n") * 1 + json.dumps({"text": "A key."}) + "\n"),
        ["mixture", *MINE, "vocabulary.vocab_size=272"],
        ["mine", "sequence"],
    ),
    "too many repetitions": (None, ["mixture", *MINE], ["max_repetition"]),
    "output root is a file": (read_only_out, ["corpus", *MINE], ["out"]),
    "several values without -m": (None, ["show", "vocabulary=base,ja_16k"], ["vocabulary=base,ja_16k", "-m"]),
    "empty level": (None, ["show", "vocabulary="], ["vocabulary=", "ja_16k"]),
    "null where text belongs": (None, ["show", "paths.out=null"], ["paths.out=null", "text"]),
    "text where a list belongs": (None, ["show", "suite.tasks=abc"], ["suite.tasks", "[first,second]"]),
    "unclosed quote": (None, ["show", "paths.out='a"], ["paths.out='a", "quotes"]),
    "group chosen twice": (None, ["show", "+vocabulary=base"], ["vocabulary", "twice"]),
    "unknown interpolation": (None, ["show", "optim.lr_peak=${nope}"], ["${nope}"]),
    "seed below 0": (None, ["show", "seed=-1"], ["seed=-1"]),
    "seed too large": (None, ["show", "seed=99999999999999999999"], ["seed=99999999999999999999"]),
    "seed that is no number in a grid": (None, ["plan", "seed=a,b"], ["seed=a"]),
    "infinite learning rate": (None, ["show", "optim.lr_peak=inf"], ["optim.lr_peak=inf"]),
    "beta of 2": (None, ["show", "optim.beta1=2"], ["optim.beta1=2"]),
    "no threads": (None, ["show", "machine.threads=0"], ["machine.threads=0"]),
    "very long name": (None, ["show", f"budget.name={'a' * 300}"], ["budget.name", "40 letters"]),
    "unknown task": (None, ["show", "suite.tasks=[mini_chioce]"], ["mini_chioce", "mini_choice"]),
    "unknown task in a grid": (None, ["plan", "miniature", "suite.tasks=[heldout_nothing]"], ["heldout_nothing"]),
    "jobs is no plain number": (None, ["train", "-m", "seed=0,1", "--jobs", "²"], ["²", "whole number"]),
    "plan runs no jobs": (None, ["plan", "miniature", "--jobs", "2"], ["--jobs"]),
    "glob that fits no level": (None, ["plan", "vocabulary=glob(nothing*)"], ["glob", "one that fits"]),
    "flag with an empty value": (None, ["status", "--out", ""], ["--out"]),
    "status of a file": (lambda u: (u / "f").write_text("x"), ["status", "--out", "f"], ["f is a file"]),
    "sweep outside its folder": (None, ["plan", "../sweeps/miniature"], ["../sweeps/miniature", "vocabulary_expansion"]),
    "level that is a number": (lambda u: write_level(u / "levels", "optim/mine", "3\n"), OPTIM_MINE, ["optim/mine.yaml", "mapping"]),
    "level that is a list": (lambda u: write_level(u / "levels", "optim/mine", "- a\n"), OPTIM_MINE, ["optim/mine.yaml", "mapping"]),
    "empty level file": (lambda u: write_level(u / "levels", "optim/mine", ""), OPTIM_MINE, ["optim.name is not set"]),
    "level in Latin-1": (
        lambda u: (write_level(u / "levels", "optim/mine", ""), (u / "levels/optim/mine.yaml").write_bytes(b"# caf\xe9\n")),
        OPTIM_MINE,
        ["optim/mine.yaml", "UTF-8"],
    ),
    "level that names itself": (
        lambda u: write_level(u / "levels", "optim/mine", "defaults: [mine]\nname: mine\n"),
        OPTIM_MINE,
        ["circle"],
    ),
    "second train.yaml": (lambda u: write_level(u / "levels", "train", "seed: 1\n"), OPTIM_MINE, ["train.yaml", "shipped"]),
    "source named like a path": (
        lambda u: write_level(u / "levels", "source/mine", 'name: ../mine\nlanguage: en\nfiles: ["good.jsonl"]\n'),
        ["corpus", *MINE],
        ["../mine", "letters"],
    ),
    "weights as a list": (
        lambda u: write_level(u / "levels", "mixture/mine", "name: mine\nweights: [1.0]\n"),
        ["show", *MINE],
        ["mixture/mine.yaml", "name: value"],
    ),
    "home of nobody": (
        lambda u: write_level(u / "levels", "source/mine", 'name: mine\nlanguage: en\nfiles: ["~nobody-here/x.jsonl"]\n'),
        ["corpus", *MINE],
        ["~nobody-here", "home"],
    ),
    "output root is a link to nothing": (lambda u: (u / "out").symlink_to("nowhere/x"), ["corpus", *MINE], ["out", "leads nowhere"]),
    "sweep in Latin-1": (
        lambda u: (write_level(u / "levels", "sweeps/mine", ""), (u / "levels/sweeps/mine.yaml").write_bytes(b"# caf\xe9\n")),
        PLAN_MINE,
        ["sweeps/mine.yaml", "YAML"],
    ),
    "sweep with a circle": (lambda u: sweep(u, "fixed: &a {optim: *a}"), PLAN_MINE, ["sweeps/mine.yaml"]),
    "sweep whose grids are no list": (lambda u: write_level(u / "levels", "sweeps/mine", "grids: 5\n"), PLAN_MINE, ["grids: 5"]),
    "sweep without fixed levels": (lambda u: sweep(u, "fixed: [a]"), PLAN_MINE, ["fixed", "{group: level}"]),
    "sweep with one seed": (lambda u: sweep(u, "seeds: 3"), PLAN_MINE, ["seeds: 3", "list of whole numbers"]),
    "sweep with half a seed": (lambda u: sweep(u, "seeds: [0.5]"), PLAN_MINE, ["seeds", "whole numbers"]),
    "sweep with a misspelt exclusion": (lambda u: sweep(u, "exclude: [{vocab: base}]"), PLAN_MINE, ["vocab", "vocabulary"]),
    "sweep with an exclusion of nothing": (lambda u: sweep(u, "exclude: [{vocabulary: bsae}]"), PLAN_MINE, ["bsae", "base"]),
    "sweep with exclusions as a mapping": (lambda u: sweep(u, "exclude: {vocabulary: base}"), PLAN_MINE, ["exclude", "list"]),
    "sweep with an unknown baseline": (lambda u: sweep(u, "baseline: {vocabulary: nope}"), PLAN_MINE, ["nope", "ja_16k"]),
    "sweep with overrides as text": (lambda u: sweep(u, "overrides: seed=1"), PLAN_MINE, ["overrides", "list"]),
    "beginning of a key": (None, ["show", "optim.lr=3"], ["optim.lr", "optim.lr_peak", "optim.lr_final"]),
    "middle of a key": (None, ["show", "optim.steps=3"], ["optim.warmup_steps"]),
    "unknown key of a group": (None, ["show", "optim.zz=3"], ["optim.zz", "lr_peak", "warmup_steps"]),
    "unknown key of no group": (None, ["show", "foo=3"], ["foo", "base_model", "optim.lr_peak", "swallow show GROUP=?"]),
    "field without its group": (None, ["show", "lr_peak=3"], ["did you mean optim.lr_peak?"]),
    "levels of no group": (None, ["show", "vocab=?"], ["vocab=?", "vocabulary"]),
    "word YAML reads as truth": (
        lambda u: write_level(u / "levels", "optim/mine", "# mine\nname: on\nlr_peak: 1e-3\n"),
        OPTIM_MINE,
        ["optim/mine.yaml, line 2", "name: on", "True", 'name: "on"'],
    ),
    "Norwegian text": (
        lambda u: write_level(u / "levels", "source/mine", 'name: mine\nlanguage: no\nfiles: ["good.jsonl"]\n'),
        ["show", *MINE],
        ["source/mine.yaml, line 2", "language: no", "False", 'language: "no"'],
    ),
    "source named by a word YAML reads as truth": (
        lambda u: write_level(u / "levels", "mixture/mine", "name: mine\nweights: {no: 1.0}\n"),
        ["show", *MINE],
        ["mixture/mine.yaml, line 2", "no", "quotes"],
    ),
    "sweep with levels YAML reads as truth": (
        lambda u: write_level(u / "levels", "sweeps/mine", "grids: [{vocabulary: [yes, no]}]\n"),
        PLAN_MINE,
        ["True", "quotes"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_request_is_one_line_and_exit_2(case: str, user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrange, command, expected_words = CASES[case]
    if callable(arrange):
        arrange(user)
    with pytest.raises(SystemExit) as stopped:
        cli.main(command)
    printed = capsys.readouterr()
    assert stopped.value.code == 2, printed.err
    line = printed.err.strip().splitlines()[-1]
    assert line.startswith("swallow: ")
    assert "Traceback" not in printed.err
    refusals = [line for line in printed.err.splitlines() if line.startswith("swallow: ")]
    assert len(refusals) == 1, printed.err  # progress lines of stages that came before may stand above it
    assert "; expected " in line
    for word in expected_words:
        assert word in line, line
    if (user / "out").is_dir():
        assert not list((user / "out").rglob("*.partial-*")), "something half-written was left"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_folder(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (user / "out").mkdir()
    (user / "out").chmod(stat.S_IREAD | stat.S_IEXEC)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["corpus", *MINE])
    assert stopped.value.code == 2
    assert "permission denied" in capsys.readouterr().err


def test_full_disk(user: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    real = Path.mkdir

    def full(self: Path, *args: object, **kwargs: object) -> None:
        if "artefacts" in self.parts:
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        real(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["corpus", *MINE])
    assert stopped.value.code == 2
    assert "no space left" in capsys.readouterr().err


def test_sigterm_ends_a_light_verb_with_a_word(user: Path) -> None:
    """A build that is stopped says how to go on and leaves nothing half-written."""
    (user / "data" / "good.jsonl").write_text("".join(GOOD_LINE + "\n" for _ in range(400_000)), encoding="utf-8")
    process = subprocess.Popen([sys.executable, "-m", "swallow_exp", "corpus", *MINE], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: list((user / "out").rglob("*.partial-*")), process, pause=0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 75
    assert errors == "swallow: stopped; what is finished is kept, the same command continues\n"
    assert not list((user / "out").rglob("*.partial-*"))
