"""Words that YAML reads as something else never reach a text field changed; every level describes itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from swallow_exp import cli
from swallow_exp.artefact.errors import RequestError
from swallow_exp.config.compose import compose_config
from swallow_exp.config.levels import check_words, describe_level, levels_page, shipped_folder
from swallow_exp.config.schema import SourceConfig, field_type

CHANGED = ["no", "on", "Yes", "off", "12:30", "1e3", "1E-3", "83e2010", "1_000", "0123", "0x1f", "1.10", ".5", ".inf", ".nan"]
KEPT = ["y", "2024-01-01", "2024-01-01T10:00:00", "0o17", "123", "-5", "1.5", '"no"', "'12:30'", "null", "nan", "e3", "ja"]


def source(folder: Path, language: str, more: str = "") -> Path:
    path = folder / "source" / "mine.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"name: mine\nlanguage: {language}\nfiles: [a.txt]\n{more}", encoding="utf-8")
    (folder / "mixture").mkdir(exist_ok=True)
    (folder / "mixture" / "mine.yaml").write_text(
        "name: mine\nweights: {mine: 1.0}\ndefaults: [{/source@sources.mine: mine}]\n", encoding="utf-8"
    )
    return path


@pytest.mark.parametrize("word", CHANGED)
def test_a_word_that_would_change_is_refused_where_text_belongs(word: str, tmp_path: Path) -> None:
    path = source(tmp_path, word)
    with pytest.raises(RequestError) as refused:
        compose_config(["mixture=mine"], [tmp_path])
    assert f"{path}, line 2: language: {word} without quotes" in str(refused.value)
    assert f'write language: "{word}"' in str(refused.value)


@pytest.mark.parametrize("word", KEPT)
def test_a_word_that_stays_is_taken(word: str, tmp_path: Path) -> None:
    source(tmp_path, word, "license: null\n")
    if word == "null":
        check_words(tmp_path / "source" / "mine.yaml")
        return
    language = compose_config(["mixture=mine"], [tmp_path]).config.mixture.sources["mine"].language
    assert language == word.strip("\"'")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("files: [a.txt, 12:30]", "files: 12:30"),
        ("on: 3", "on"),
        ("defaults: [no]", "defaults: no"),
        ("defaults: [{/source@sources.x: off}]", "defaults./source@sources.x: off"),
    ],
)
def test_lists_keys_and_names_of_levels_are_text_too(text: str, where: str, tmp_path: Path) -> None:
    path = tmp_path / "source" / "mine.yaml"
    path.parent.mkdir()
    path.write_text(f"name: mine\n{text}\n", encoding="utf-8")
    with pytest.raises(RequestError, match="without quotes") as refused:
        check_words(path)
    assert where in str(refused.value)


def test_a_file_that_was_corrected_is_read_again(tmp_path: Path) -> None:
    source(tmp_path, "no")
    with pytest.raises(RequestError):
        compose_config(["mixture=mine"], [tmp_path])
    source(tmp_path, '"no"')
    assert compose_config(["mixture=mine"], [tmp_path]).config.mixture.sources["mine"].language == "no"


def test_numbers_may_be_written_as_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "optim"
    folder.mkdir()
    (folder / "mine.yaml").write_text(
        "name: mine\nlr_peak: 1e-3\nlr_final_ratio: .1\nsequence_length: 6_4\nglobal_batch_sequences: 16\n", encoding="utf-8"
    )
    optim = compose_config(["optim=mine"], [tmp_path]).config.optim
    assert (optim.lr_peak, optim.lr_final_ratio, optim.sequence_length) == (1e-3, 0.1, 64)


def test_a_level_for_the_whole_config_is_checked_too(tmp_path: Path) -> None:
    folder = tmp_path / "experiment"
    folder.mkdir()
    (folder / "mine.yaml").write_text("# @package _global_\noptim:\n  name: 1e3\n  lr_peak: 1e-3\n", encoding="utf-8")
    with pytest.raises(RequestError, match=r"line 3: optim\.name: 1e3 without quotes"):
        compose_config(["experiment=mine"], [tmp_path])


@pytest.mark.parametrize("word", ["1e3", "1_000", "true", "no", "12:30", "0123"])
def test_the_command_line_gives_text_as_it_was_typed(word: str) -> None:
    assert compose_config([f"mixture.sources.miniature_english.license={word}"]).config.mixture.sources["miniature_english"].license == word


def test_types_of_fields_are_found_through_groups_and_mappings() -> None:
    assert field_type("optim.lr_peak") is float and field_type("optim.lr_final") is float
    assert field_type("mixture.sources.x.language") is str and field_type("mixture.sources.x") is SourceConfig
    assert field_type("suite.tasks") == list[str] and field_type("optim.nothing") is None and field_type("nothing.at.all") is None


SHIPPED = sorted(shipped_folder("conf").glob("*/*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}={path.stem}")
def test_a_shipped_level_describes_itself_and_holds_no_such_word(path: Path) -> None:
    check_words(path)
    assert describe_level(path).endswith((".", "?")) and "=" not in describe_level(path).split()[0]


def test_levels_are_listed_with_what_they_say_and_your_own_are_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "budget").mkdir()
    shutil.copy(shipped_folder("conf") / "budget" / "smoke.yaml", tmp_path / "budget" / "mine.yaml")
    (tmp_path / "budget" / "bare.yaml").write_text("name: bare\n", encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["show", "budget=?", "--config-dir", str(tmp_path)])
    printed = capsys.readouterr()
    assert stopped.value.code == 0 and not printed.err
    assert printed.out.strip() == levels_page("budget", [tmp_path])
    lines = {line.split()[0]: line for line in printed.out.splitlines()[1:]}
    assert "Forty steps of the miniature recipe" in lines["smoke"] and "yours" not in lines["smoke"]
    assert f"yours, {tmp_path}/budget/mine.yaml: Forty steps" in lines["mine"]
    assert cli.run_verb(["show", "budget", "--config-dir", str(tmp_path)]) == 0 and capsys.readouterr().out == printed.out
    assert lines["bare"].endswith(f"yours, {tmp_path}/budget/bare.yaml")


def test_a_warmup_as_long_as_the_run_is_a_remark() -> None:
    assert compose_config([]).remarks == []
    (remark,) = compose_config(["budget=smoke", "optim.warmup_steps=40"]).remarks
    assert "optim.warmup_steps=40 of 40 steps" in remark


def test_show_and_train_say_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from swallow_exp.sweep import runs

    monkeypatch.setattr(runs, "carry_out", lambda composed, train_only: 0)
    words = ["budget=smoke", "optim.warmup_steps=40", f"paths.out={tmp_path}"]
    assert cli.run_verb(["show", *words]) == 0 and "learning rate never reaches its peak" in capsys.readouterr().out
    assert cli.run_verb(["train", *words]) == 0 and "learning rate never reaches its peak" in capsys.readouterr().err
    assert cli.run_verb(["train", "-m", "--plan-only", "seed=0,1", *words]) == 0
    assert capsys.readouterr().err.count("learning rate never reaches its peak") == 1
    assert cli.run_verb(["plan", *words]) == 0 and "learning rate never reaches its peak" in capsys.readouterr().out
