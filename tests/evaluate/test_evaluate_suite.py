"""Names become tasks; held-out tasks follow the sources of the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config.schema import SuiteConfig
from swallow_exp.corpus.build_corpus import read_documents, read_pairs
from swallow_exp.corpus.miniature import items
from swallow_exp.evaluate.suite import BUILDERS, build_tasks, known_tasks
from swallow_exp.evaluate.tasks import heldout as heldout_module
from swallow_exp.evaluate.tasks.heldout import HeldoutSource


@pytest.fixture(scope="module")
def sources(corpora: tuple[Path, dict[str, Any]]) -> list[HeldoutSource]:
    built = corpora[1]
    return [HeldoutSource(name, "pairs" if name.endswith("pairs") else "documents", corpus) for name, corpus in built.items()]


def test_every_shipped_suite_names_known_tasks() -> None:
    import yaml

    from swallow_exp.config.levels import shipped_folder

    suites = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in (shipped_folder("conf") / "suite").glob("*.yaml")]
    assert len(suites) >= 3
    assert {name for suite in suites for name in suite["tasks"]} <= set(known_tasks())


@pytest.mark.parametrize("name", BUILDERS)
def test_miniature_tasks_have_enough_items_and_room_for_the_answer(name: str) -> None:
    (task,) = build_tasks([name], sources=[])
    assert task.name == name and len(task.all_items) >= 150
    for item in task.all_items:
        if task.max_new_bytes is not None:
            assert 1.5 * len(item.target.encode()) <= task.max_new_bytes
        else:
            assert item.target in item.choices and len(set(item.choices)) == 4
    (first,) = build_tasks([name], sources=[], limit=5)
    assert first.prompts == task.prompts[:5] and first.prompt_digest != task.prompt_digest


def test_translation_prompts_are_the_start_of_the_parallel_documents() -> None:
    source = items("translation_ja_en")[0]["prompt"]
    plain, instructed = build_tasks(["mini_ja_en", "mini_ja_en_instructed"], sources=[])
    assert plain.prompts[0] == source and plain.separator == " "
    assert instructed.prompts[0] == f"次の日本語を英語に翻訳してください。 {source}"
    (own,) = build_tasks(["mini_en_ja_instructed"], sources=[], suite=SuiteConfig(instruction_en_ja="Translate:"))
    assert own.prompts[0].startswith("Translate: The ")


def test_heldout_is_one_task_a_document_source_and_two_for_pairs(sources: list[HeldoutSource]) -> None:
    tasks = {task.name: task for task in build_tasks(["heldout"], sources=sources)}
    assert list(tasks) == [
        "heldout_miniature_english",
        "heldout_miniature_japanese",
        "heldout_miniature_pairs_en_ja",
        "heldout_miniature_pairs_ja_en",
    ]
    english = next(s for s in sources if s.name == "miniature_english")
    expected = [document.text for document in read_documents(english.corpus, "heldout")]
    assert [item.target for item in tasks["heldout_miniature_english"].all_items] == expected
    pairs = next(s for s in sources if s.kind == "pairs")
    expected_pairs = [(pair.ja, pair.en) for pair in read_pairs(pairs.corpus, "heldout")]
    assert [(item.prompt, item.target) for item in tasks["heldout_miniature_pairs_ja_en"].all_items] == expected_pairs


def test_heldout_documents_are_cut_and_limited(sources: list[HeldoutSource], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heldout_module, "MAX_CHARACTERS", 7)
    (task,) = build_tasks(["heldout_miniature_english"], sources=sources, limit=3)
    assert len(task.all_items) == 3
    assert {len(item.target) for item in task.all_items} == {7}
    assert str(2_000) in task.version and "</s>" in task.version


def test_nothing_held_out_is_said_and_left_out(tmp_path: Path, sources: list[HeldoutSource], capsys: pytest.CaptureFixture[str]) -> None:
    from swallow_exp.config.schema import SourceConfig
    from swallow_exp.corpus.build_corpus import build_corpus

    config = SourceConfig(name="all", language="en", files=["miniature:english"], max_documents=20, heldout_fraction=0.0)
    empty = HeldoutSource("all", "documents", build_corpus(config, out=tmp_path, data=tmp_path))
    capsys.readouterr()
    assert build_tasks(["heldout"], sources=[empty]) == []
    assert "heldout_all" in capsys.readouterr().err


def test_prompt_digests_of_the_first_results_still_hold(sources: list[HeldoutSource]) -> None:
    golden = json.loads((Path(__file__).parent.parent / "data" / "evaluation" / "prompt_digests.json").read_text(encoding="utf-8"))
    found = {
        f"{task.name}:{limit}": task.prompt_digest
        for limit in (None, 6)
        for task in build_tasks([*BUILDERS, "heldout"], sources=sources, limit=limit)
    }
    assert found == golden


def test_each_task_once_and_unknown_ones_refused(sources: list[HeldoutSource]) -> None:
    assert [t.name for t in build_tasks(["mini_choice", "mini_choice"], sources=[])] == ["mini_choice"]
    with pytest.raises(RequestError, match="mini_arithmetic"):
        build_tasks(["squad"], sources=sources)
