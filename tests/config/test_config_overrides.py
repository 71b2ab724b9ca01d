"""Values that Hydra's grammar has no letters for reach the config as they were typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swallow_exp.config.compose import compose_config
from swallow_exp.config.overrides import parse_overrides, read_overrides, set_value

PLACES = ["/data/日本語", "/data/a b", "/data/a=b", "/data/it's", "C:\\data\\", "/data/#1", "/data/(x)", "~/out"]


@pytest.mark.parametrize("place", PLACES)
def test_a_path_may_hold_any_letter(place: str) -> None:
    assert compose_config([f"paths.out={place}"]).config.paths.out == place


@pytest.mark.parametrize("place", [*PLACES, "/data/a,b", "[x]", "'quoted'", "null", "1"])
def test_a_path_set_by_a_program_is_taken_literally(place: str) -> None:
    assert compose_config([set_value("paths.out", place)]).config.paths.out == place


@given(st.text(st.characters(min_codepoint=32, max_codepoint=0x3100), max_size=12))
def test_quoting_changes_nothing(text: str) -> None:
    (parsed,) = parse_overrides([set_value("paths.out", text)])
    assert str(parsed.value().text if hasattr(parsed.value(), "text") else parsed.value()) == text


def test_what_hydra_can_read_is_left_as_it_is() -> None:
    words = ["vocabulary=base,ja_16k", "optim.lr_peak=1e-3", "suite.tasks=[a,b]", "+experiment=swallow_7b", "~optim", "seed=range(0,3)"]
    assert read_overrides(words) == words


@pytest.mark.parametrize("name", ["レベル", "a,b", "it's", "a#b", "[x]", "a b"])
def test_a_folder_of_levels_may_have_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name / "budget"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("name: mine\ntokens: 4096\ncheckpoint_every_tokens: 2048\n", encoding="utf-8")
    assert compose_config(["budget=mine"], [tmp_path / name]).config.budget.tokens == 4096
