"""The whole pipeline as a user runs it: own text, own levels outside the repository, commands in processes of their own.

One sweep of three cells is run once; every test looks at what it left behind.
"""

from __future__ import annotations

import gzip
import itertools
import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.checkpoint.index import read_checkpoints, resolve_export
from swallow_exp.corpus.miniature import documents, pairs
from swallow_exp.record.events import read_events
from swallow_exp.record.store import read_curve, read_evaluations, read_sweep

LEVELS = Path(__file__).resolve().parent / "data" / "levels"


@dataclass
class World:
    """A user's folder after the sweep."""

    folder: Path
    first: subprocess.CompletedProcess[str]

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return command(self.folder, *words)

    def cells(self) -> dict[str, RunPaths]:
        sweep = read_sweep(self.out, "my_question")
        assert sweep is not None
        return {cell["label"]: RunPaths.of(self.out, cell["run_id"]) for cell in sweep["cells"]}


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "SWALLOW_OUT": str(folder / "out"), "SWALLOW_DATA": str(folder / "text")}
    line = [sys.executable, "-m", "swallow_exp", *words]
    return subprocess.run(line, cwd=folder, env=env, capture_output=True, text=True, timeout=500, check=False)


def write_text(folder: Path) -> None:
    """Small files in three of the formats a user may have."""
    folder.mkdir()
    english, japanese = (list(itertools.islice(documents(language, 700), 700)) for language in ("en", "ja"))
    (folder / "english.jsonl").write_text("".join(json.dumps({"text": d.text}) + "\n" for d in english), encoding="utf-8")
    with gzip.open(folder / "japanese.jsonl.gz", "wt", encoding="utf-8") as handle:
        handle.writelines(json.dumps({"text": d.text}, ensure_ascii=False) + "\n" for d in japanese)
    (folder / "pairs.tsv").write_text("".join(f"a.com\tb.jp\t0.8\t{p.en}\t{p.ja}\n" for p in pairs(100)), encoding="utf-8")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("user")
    write_text(folder / "text")
    scratch = command(
        folder, "vocabulary", "base_model=miniature_random", "vocabulary=my_base", "mixture=my_text", "--config-dir", str(LEVELS)
    )
    assert scratch.returncode == 0, scratch.stderr
    (tokenizer,) = (folder / "out" / "artefacts" / "vocabulary").glob("my_base-*/tokenizer.model")
    (folder / "text" / "tokenizer.model").write_bytes(tokenizer.read_bytes())
    first = command(folder, "train", "-m", "+sweep=my_question", "--config-dir", str(LEVELS))
    logs = "".join(path.read_text(encoding="utf-8") for path in (folder / "out" / "logs").glob("*.log"))
    assert first.returncode == 0, first.stderr + logs
    return World(folder, first)


def test_every_cell_is_trained_with_checkpoints_at_its_marks(world: World) -> None:
    assert "3 cells done" in world.first.stdout
    for run in world.cells().values():
        records = read_checkpoints(run)
        assert [record.mark_tokens for record in records] == [0, 8_000, 16_000]
        for record in records:
            assert record.trained_tokens >= record.mark_tokens
            assert (resolve_export(run, record) / "model.safetensors").exists()
        curve = read_curve(world.out, run.run_id)
        assert curve[-1].trained_tokens == records[-1].trained_tokens
        assert curve[-1].loss < curve[0].loss < 1.2 * math.log(800)


def test_every_checkpoint_is_evaluated_token_0_included(world: World) -> None:
    for run in world.cells().values():
        scores = list(read_evaluations(world.out, run.run_id))
        tasks = {score.task for score in scores}
        assert {
            "mini_choice",
            "mini_ja_en",
            "heldout_my_japanese",
            "heldout_my_english",
            "heldout_my_pairs_en_ja",
            "heldout_my_pairs_ja_en",
        } <= tasks
        marks = {record.trained_tokens for record in read_checkpoints(run)}
        assert {score.trained_tokens for score in scores} == marks
        outbox = {(row["trained_tokens"], row["task"], row["metric"]) for row in read_events(run.events, "evaluation")}
        assert outbox == {(score.trained_tokens, score.task, score.metric) for score in scores}


def test_training_lowers_bits_per_byte_of_heldout_text(world: World) -> None:
    for run in world.cells().values():
        bits = [s.score for s in read_evaluations(world.out, run.run_id) if s.task == "heldout_my_japanese"]
        assert len(bits) == 3 and bits[-1] < bits[0]


def test_expansion_shortens_japanese_and_leaves_english_alone(world: World) -> None:
    (folder,) = (world.out / "artefacts" / "vocabulary").glob("my_expansion-*/manifest.json")
    fertility = read_json(folder)["counts"]["fertility"]
    assert fertility["my_japanese"]["token_ratio"] < 0.8
    assert fertility["my_english"]["token_ratio"] == pytest.approx(1.0)


def test_instruction_cell_trains_on_targets_only(world: World) -> None:
    run = world.cells()["base ti_mixed"]
    rows = list(read_events(run.events, "train"))
    assert rows[-1]["trained_tokens"] < rows[-1]["positions"]
    plain = list(read_events(world.cells()["base none"].events, "train"))
    assert plain[-1]["trained_tokens"] == plain[-1]["positions"]


def test_token_0_of_cells_with_one_start_is_evaluated_once(world: World) -> None:
    cells = world.cells()
    digests = {label: read_checkpoints(run)[0].digest for label, run in cells.items()}
    assert digests["base none"] == digests["base ti_mixed"] != digests["my_expansion none"]
    reused = [
        path for run in cells.values() for path in run.folder.glob("evaluations/tokens_0/*/result.json") if "reused_from" in read_json(path)
    ]
    assert reused


def test_the_same_command_again_does_nothing_twice(world: World) -> None:
    def written() -> dict[Path, int]:
        made = [*world.out.rglob("*.safetensors"), *(run.provenance for run in world.cells().values())]
        return {path: path.stat().st_mtime_ns for path in made}

    before = written()
    again = world.run("train", "-m", "+sweep=my_question", "--config-dir", str(LEVELS))
    assert again.returncode == 0, again.stderr
    assert written() == before
    assert all(read_json(run.status)["attempts"] == 1 for run in world.cells().values())


def test_report_has_table_figures_and_claims(world: World) -> None:
    done = world.run("report", "my_question")
    assert done.returncode == 0, done.stderr
    folder = world.out / "reports" / "my_question"
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "<svg" in page and "my_expansion" in page and "inconclusive" in page
    assert read_json(folder / "claims.json")
    assert list((folder / "tables").glob("*.tex")) and list((folder / "figures").glob("*.pdf"))


def test_status_plan_why_and_show(world: World) -> None:
    rows = json.loads(world.run("status", "my_question", "--json").stdout)
    assert [row["state"] for row in rows] == ["trained"] * 3
    assert all(row["checkpoints"] == 3 and row["results"] == 3 * 6 for row in rows)
    grid = world.run("plan", "my_question", "--config-dir", str(LEVELS))
    assert grid.returncode == 0 and "0 tokens to train" in grid.stdout
    first, _, third = (row["run_id"] for row in rows)
    why = world.run("why", first, third).stdout
    assert "parallel.format" in why and "vocabulary" not in why


def test_publish_sends_every_row_offline_once(world: World) -> None:
    pytest.importorskip("wandb")
    run = world.cells()["base none"]
    events = [row for row in read_events(run.events) if row["kind"] in ("train", "evaluation") or "bytes" in row]
    sent = world.run("publish", run.run_id)
    assert sent.returncode == 0, sent.stderr
    assert f"{len(events)} rows sent (wandb offline)" in sent.stdout
    assert "0 rows sent" in world.run("publish", run.run_id).stdout


def test_export_gives_a_folder_that_transformers_reads(world: World) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = world.cells()["my_expansion none"]
    target = world.folder / "given_away"
    done = world.run("export", run.run_id, "--to", str(target), "--tokens", "8000")
    assert done.returncode == 0, done.stderr
    model, tokenizer = AutoModelForCausalLM.from_pretrained(target), AutoTokenizer.from_pretrained(target)
    ids = torch.tensor([[1, *tokenizer("猫が港にいる。")["input_ids"]]])
    assert model(input_ids=ids).logits.shape == (1, ids.shape[1], len(tokenizer))
    assert world.run("export", run.run_id, "--to", str(target)).returncode == 2  # another checkpoint is there


def test_changed_text_under_the_same_config_is_refused(world: World) -> None:
    text = world.folder / "text" / "english.jsonl"
    kept = text.read_bytes()
    text.write_bytes(kept + b'{"text": "The fox finds a new key in the castle."}\n')
    try:
        words = ["base_model=my_llama", "mixture=my_text", "budget=my_budget", "optim=my_recipe", "suite=my_suite", "vocabulary=base"]
        refused = world.run("train", *words, "--config-dir", str(LEVELS))
    finally:
        text.write_bytes(kept)
    assert refused.returncode == 2, refused.stderr
    assert "was made from" in refused.stderr
