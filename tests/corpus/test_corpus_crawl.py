"""A crawl from archives to documents: the funnel, going on after a stop, another request in one folder, and Slurm's jobs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from archive_pages import article, write_archives
from patience import PATIENCE_SECONDS, wait_until

from swallow_exp.artefact.errors import RequestError
from swallow_exp.config.schema import SourceConfig
from swallow_exp.corpus.build_corpus import build_corpus, read_documents
from swallow_exp.corpus.crawl.__main__ import PACKAGES, run
from swallow_exp.corpus.lines import read_lines

TASKS = 3


def crawl(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    archives = [str(path) for path in sorted((folder / "in").glob("*.gz"))]
    command = [sys.executable, "-m", "swallow_exp.corpus.crawl", *archives, "--out", str(folder / "out"), *words]
    env = {**os.environ, **environment}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for package in PACKAGES:
        pytest.importorskip(package, reason="the extra `crawl` is not installed")
    (tmp_path / "in").mkdir()
    write_archives(tmp_path / "in")
    (tmp_path / "hosts.txt").write_text("# one a line\nbad.example\n")
    (tmp_path / "words.txt").write_text("禁句\n")
    return tmp_path


LISTS = ("--unwanted-hosts", "hosts.txt", "--unwanted-expressions", "words.txt")
FUNNEL = {
    "pages": (62, 57, {"no page": 1, "status is not 200": 1, "no HTML": 1, "unknown charset": 1, "broken record": 1}),
    "hosts": (57, 55, {"unwanted host": 2}),
    "rapid Japanese check": (55, 48, {"neither tag nor title": 7}),
    "main text": (48, 48, {}),
    "language": (48, 44, {"no kana": 3, "few Japanese letters": 1}),
    "quality": (44, 36, {"too short": 5, "no kuten": 2, "repeated lines": 1}),
    "expressions": (36, 35, {"unwanted expressions": 1}),
    "near-duplicates": (35, 29, {"near-duplicate": 6}),
}


def documents(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for path in sorted((folder / "out").glob("*.jsonl.zst")) for _, line in read_lines(path)]


def test_a_crawl_whole_and_killed_in_the_middle(folder: Path) -> None:
    killed = subprocess.Popen(
        [sys.executable, "-m", "swallow_exp.corpus.crawl", *map(str, sorted((folder / "in").iterdir())), "--out", "out", *LISTS],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    marks = folder / "out" / "work" / "logs" / "filter" / "completions"
    wait_until(lambda: marks.is_dir() and any(marks.iterdir()), killed, pause=0.01)
    os.killpg(killed.pid, 9)
    killed.wait()
    finished = {mark.name: mark.stat().st_mtime_ns for mark in marks.iterdir()}
    assert finished and not (folder / "out" / "manifest.json").exists()
    again = crawl(folder, *LISTS, "--workers", "2")
    assert again.returncode == 0, again.stderr
    assert {name: (marks / name).stat().st_mtime_ns for name in finished} == finished, "finished tasks are not done again"
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    assert {entry["step"]: (entry["in"], entry["out"], entry["dropped"]) for entry in manifest["funnel"]} == FUNNEL
    found = {document["url"]: document["text"] for document in documents(folder)}
    assert len(found) == 29 == sum(entry["documents"] for entry in manifest["files"])
    for host, seed in (("sjis", 200), ("euc", 201), ("jis", 202), ("wrong", 203)):
        assert all(paragraph in found[f"http://{host}.example/"] for paragraph in article(seed)), host
    stamp = (folder / "out" / "manifest.json").stat().st_mtime_ns
    third = crawl(folder, *LISTS)
    assert third.returncode == 0 and third.stdout == again.stdout
    assert (folder / "out" / "manifest.json").stat().st_mtime_ns == stamp
    other = crawl(folder, "--rule", "min_characters=200")
    assert other.returncode == 2 and "other rules, hosts, expressions" in other.stderr and other.stderr.count("\n") == 1
    source = SourceConfig(name="crawl", language="ja", files=["out/*.jsonl.zst"], id_field="id", heldout_fraction=0.2)
    corpus = build_corpus(source, out=folder / "built", data=folder)
    assert sum(1 for split in ("train", "heldout") for _ in read_documents(corpus, split)) == 29


FAKE_SBATCH = """#!/bin/sh
for script; do :; done
cp "$script" "$FAKE/$(ls $FAKE | wc -l).sh"; echo "$*" >> "$FAKE/calls.txt"
echo "Submitted batch job $((1000 + $(wc -l < $FAKE/calls.txt)))"
"""


def test_slurm_jobs_are_what_the_stages_need(folder: Path) -> None:
    slurm = ("--executor", "slurm", "--partition", "cpu", "--time", "01:00:00", "--memory-gb", "3", *LISTS)
    shown = crawl(folder, *slurm, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert [line for line in shown.stdout.splitlines() if line.startswith("# ")] == [
        "# crawl-filter",
        *(f"# crawl-{stage}, after the one above" for stage in ("signatures", "buckets", "cluster", "deduplicate")),
    ]
    assert shown.stdout.count("#SBATCH --partition=cpu") == shown.stdout.count("#SBATCH --mem-per-cpu=3G") == 5
    assert [shown.stdout.count(f"#SBATCH --array=0-{last}\n") for last in (TASKS - 1, 19, 0)] == [3, 1, 1]
    assert not (folder / "out" / "manifest.json").exists()
    (folder / "bin").mkdir()
    (folder / "fake").mkdir()
    (folder / "bin" / "sbatch").write_text(FAKE_SBATCH)
    (folder / "bin" / "sbatch").chmod(0o755)
    submitted = crawl(folder, *slurm, PATH=f"{folder / 'bin'}:{os.environ['PATH']}", FAKE=str(folder / "fake"))
    assert submitted.returncode == 0, submitted.stderr
    calls = (folder / "fake" / "calls.txt").read_text().splitlines()
    stages = [call for call in calls if "RUN_OFFSET" in call]
    assert len(stages) == 5 and "dependency" not in stages[0]
    waits = [int(call.split("afterok:")[1].split()[0]) for call in stages[1:]]
    assert waits == [1000 + calls.index(call) + 1 for call in stages[:-1]], "each waits for the one before"
    (folder / "bin" / "squeue").write_text("#!/bin/sh\necho 1003_2\n")
    (folder / "bin" / "squeue").chmod(0o755)
    twice = crawl(folder, *slurm, PATH=f"{folder / 'bin'}:{os.environ['PATH']}", FAKE=str(folder / "fake"))
    assert twice.returncode == 2 and "jobs in the queue (1003_2)" in twice.stderr
    (folder / "out" / "work" / "submitted.json").unlink()
    assert "no sbatch here" in crawl(folder, *slurm, PATH=os.path.dirname(sys.executable)).stderr.replace("there is ", "")


def test_what_is_refused_without_the_packages_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swallow_exp.corpus.crawl.__main__.PACKAGES", ("a_package_nobody_has",))
    with pytest.raises(RequestError, match=r"a_package_nobody_has.*swallow_exp\[crawl\]"):
        run([str(tmp_path / "a.warc.gz"), "--out", str(tmp_path / "out")])
    monkeypatch.setattr("swallow_exp.corpus.crawl.__main__.PACKAGES", ())
    (tmp_path / "a.txt").write_text("x")
    for words, shown in (
        ([], "the following arguments are required"),
        ([str(tmp_path / "a.txt"), "--out", "o"], "is no web archive"),
        ([str(tmp_path / "a.warc.gz"), "--out", "o"], "is not there"),
        ([str(tmp_path / "a.warc.gz"), "--out", "o", "--rule", "min_length=3"], "--rule min_length=3"),
        ([str(tmp_path / "a.warc.gz"), "--out", "o", "--executor", "slurm"], "--partition"),
        ([str(tmp_path / "a.warc.gz"), "--out", "o", "--workers", "0"], "--workers 0"),
    ):
        with pytest.raises(RequestError, match=shown) as caught:
            run(words)
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.txt"]
