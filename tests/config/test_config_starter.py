"""`swallow init`: the README's levels and question, ready for a user's own files, or nothing at all."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from swallow_exp import cli
from swallow_exp.artefact.errors import RequestError
from swallow_exp.config.levels import check_own_levels, describe_level
from swallow_exp.config.starter import FILES, QUESTION, TEXT, write_starter
from swallow_exp.sweep.grid import expand_sweep

README = Path(__file__).resolve().parents[2] / "README.md"


@pytest.mark.parametrize("name", ["my", "私の 文", "it's", "a,b=c"])
def test_every_cell_of_the_question_composes(name: str, tmp_path: Path) -> None:
    text = write_starter(tmp_path / name)
    assert text == tmp_path / name / TEXT and (text / "ja").is_dir()
    cells = expand_sweep([f"+sweep={QUESTION}"], [tmp_path / name]).cells
    assert list(dict.fromkeys(cell.label for cell in cells)) == ["base none", "base ntp_mixed", "ja_16k none", "ja_16k ntp_mixed"]
    for cell in cells:
        config = cell.composed.config
        assert config.paths.data == str(text) and config.base_model.tokenizer == f"{text}/tokenizer.model"
        assert set(config.mixture.sources) == {"ja_docs", "en_docs", "my_pairs"}
        for source in config.mixture.sources.values():  # each pattern points into a folder that is there
            assert (text / source.files[0]).parent.is_dir()


def test_the_text_may_lie_elsewhere_and_be_named_later(tmp_path: Path) -> None:
    elsewhere = tmp_path / "data"
    assert write_starter(tmp_path / "my", elsewhere) == elsewhere
    assert not (tmp_path / "my" / TEXT).exists() and not elsewhere.exists()
    words = [f"+sweep={QUESTION}", "budget=smoke"]
    assert {cell.composed.config.paths.data for cell in expand_sweep(words, [tmp_path / "my"]).cells} == {str(elsewhere)}
    later = expand_sweep([*words, f"paths.data={tmp_path}/later"], [tmp_path / "my"]).cells
    assert {cell.composed.config.paths.data for cell in later} == {f"{tmp_path}/later"}


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("full", "file"):
        with pytest.raises(RequestError, match="a new folder, or an empty one"):
            write_starter(tmp_path / name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "full", "mine.txt"]
    (tmp_path / "empty").mkdir()
    write_starter(tmp_path / "empty")


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.write_text

    def full(self: Path, *args: str, **kwargs: str) -> int:
        if self.name == f"{QUESTION}.yaml":
            raise OSError(28, "No space left on device", str(self))
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(RequestError, match="no space left"):
        write_starter(tmp_path / "my")
    assert not list(tmp_path.iterdir())


def test_init_shows_the_first_run_and_says_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run_verb(["init", "my"]) == 0
    page = capsys.readouterr().out
    assert "run      my_model-base-mine-none-miniature-s0-" in page
    commands = re.findall(r"^  swallow (\S+) (.*?)(?:    .*)?$", page, flags=re.MULTILINE)
    assert [verb for verb, _ in commands] == ["plan", "train", "train", "report"]
    assert "budget=smoke mixture.sources.my_pairs.max_documents=100" in commands[1][1]
    plan_only = [*"train --plan-only".split(), *commands[1][1].split()]
    with pytest.raises(RequestError, match="source ja_docs: no file matches"):  # nothing lies there yet
        cli.run_verb(plan_only)
    for number, name in enumerate(("ja/a.jsonl", "en/a.jsonl")):
        write_lines(tmp_path / "my" / "text" / name, [json.dumps({"text": f"text {number}"})])
    write_lines(tmp_path / "my" / "text" / "pairs" / "a.tsv", ["one\t一", "two\t二"])
    assert cli.run_verb(["plan", *commands[0][1].split()]) == 0
    assert cli.run_verb(plan_only) == 0
    assert capsys.readouterr().out.count("-smoke-s") == 12


def write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_levels_describe_themselves_and_are_the_readmes(tmp_path: Path) -> None:
    write_starter(tmp_path / "my")
    check_own_levels(tmp_path / "my")
    for name in FILES:
        assert describe_level(tmp_path / "my" / name).endswith(".")
    shown = {}
    for block in re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL):
        name = re.match(r"# my/(\S+)", block)
        assert name, block
        shown[name[1]] = yaml.safe_load(block)
    written = {name: yaml.safe_load((tmp_path / "my" / name).read_text(encoding="utf-8")) for name in shown}
    assert len(shown) >= 3
    for question in (shown[f"sweeps/{QUESTION}.yaml"], written[f"sweeps/{QUESTION}.yaml"]):
        question.pop("overrides")  # where the files lie
        question.pop("seeds", None)
    assert written == shown
