"""Every verb describes itself: its flags, two examples; a mistyped verb or flag is answered with the one that was meant."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

from swallow_exp import cli
from swallow_exp.artefact.errors import RequestError
from swallow_exp.cli.parser import FLAGS, parse_verb


def printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    assert stopped.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("verb", cli.VERBS)
def test_a_verb_describes_itself_its_flags_and_two_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = printed([verb, "--help"], capsys)
    assert page == printed(["help", verb], capsys)
    assert cli.VERBS[verb].summary[1:] in page
    described = set(re.findall(r"^  (-[\w-]+)", page, flags=re.MULTILINE))
    assert described == {*cli.VERBS[verb].flags, "-h"}
    examples = re.findall(r"^  swallow (.*)$", page, flags=re.MULTILINE)
    assert len(examples) == 2
    for example in examples:
        first, *rest = shlex.split(example)
        assert first == verb
        parse_verb(verb, cli.VERBS[verb], rest)  # its flags are flags of the verb


def test_every_flag_belongs_to_a_verb() -> None:
    assert set(FLAGS) == {flag for verb in cli.VERBS.values() for flag in verb.flags}


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["trian"], "did you mean `swallow train`?"),
        (["evalute", "x"], "did you mean `swallow evaluate`?"),
        (["show", "--config_dir", "x"], "did you mean --config-dir?"),
        (["train", "-m", "--plan-onyl"], "did you mean --plan-only?"),
        (["train", "-m", "--plan"], "did you mean --plan-only?"),  # no abbreviations
        (["xyzzy"], "one of demo"),
    ],
)
def test_a_mistyped_word_is_answered_with_the_one_that_was_meant(words: list[str], meant: str) -> None:
    with pytest.raises(RequestError) as refused:
        cli.run_verb(words)
    assert meant in str(refused.value) and "\n" not in str(refused.value)


def test_words_and_flags_stand_in_any_order() -> None:
    train = cli.VERBS["train"]
    words = ["seed=0,1", "--config-dir", "a", "-m", "+sweep=x", "--jobs=2", "~optim", "--config-dir=b", "name"]
    arguments = parse_verb("train", train, words)
    assert arguments.overrides == ["seed=0,1", "+sweep=x", "~optim"] and arguments.names == ["name"]
    assert [path.name for path in arguments.config_dir] == ["a", "b"]
    assert (arguments.multirun, arguments.jobs, arguments.launcher, arguments.json) == (True, 2, None, False)
    assert parse_verb("train", train, ["--multirun"]).multirun


def test_help_is_there_before_anything_heavy_is() -> None:
    program = (
        "import sys\nfrom swallow_exp import cli\ncli.overview()\nfrom swallow_exp.cli.parser import verb_parser\n"
        "[verb_parser(name, verb).format_help() for name, verb in cli.VERBS.items()]\n"
        "heavy = {'torch', 'hydra', 'omegaconf', 'yaml', 'numpy', 'pandas', 'transformers'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
