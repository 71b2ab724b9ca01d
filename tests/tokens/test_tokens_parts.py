"""A build that is killed, or meets a full disk, goes on from its last finished part and ends with the same bytes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from patience import PATIENCE_SECONDS

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import sha256_file
from swallow_exp.artefact.manifest import Artefact, work_folder
from swallow_exp.corpus.build_corpus import read_documents
from swallow_exp.tokens import blocks, parts
from swallow_exp.tokens.build_shards import build_tokens
from swallow_exp.tokens.shard import open_shard
from swallow_exp.vocabulary.tokenizer import load_tokenizer

PAYLOAD = ("tokens.bin", "offsets.npy", "loss.bin", "meta.json")


def payload(tokens: Artefact) -> dict[str, bytes]:
    return {name: (tokens.folder / name).read_bytes() for name in PAYLOAD if (tokens.folder / name).exists()}


@pytest.fixture
def small(monkeypatch) -> None:
    monkeypatch.setattr(blocks, "BATCH_CHARACTERS", 200)
    monkeypatch.setattr(parts, "PART_BLOCKS", 2)


class Stop(Exception):
    pass


def stop_after(monkeypatch, count: int) -> list[int]:
    """The build dies at its `count`-th block; the returned list grows by the documents of every block that was encoded."""
    seen: list[int] = []
    encoded = blocks.encoded_blocks

    def encode(*args, **options):
        for number, block in enumerate(encoded(*args, **options), start=1):
            if number == count:
                raise Stop
            seen.append(len(block.lengths))
            yield block

    monkeypatch.setattr("swallow_exp.tokens.build_shards.encoded_blocks", encode)
    return seen


@pytest.mark.parametrize("kind", ["documents", "pairs"])
def test_finished_parts_are_not_encoded_again(kind, japanese, pairs, expanded, instructed, world, tmp_path, monkeypatch, small) -> None:
    corpus, parallel = (japanese, None) if kind == "documents" else (pairs, instructed)
    whole = build_tokens(corpus, expanded, out=world, parallel=parallel)
    first = stop_after(monkeypatch, 6)
    with pytest.raises(Stop):
        build_tokens(corpus, expanded, out=tmp_path, parallel=parallel)
    second = stop_after(monkeypatch, 0)
    again = build_tokens(corpus, expanded, out=tmp_path, parallel=parallel)
    assert len(first) == 5  # two parts of two blocks, and one block of the third
    assert sum(second) == whole.counts["documents"] - sum(first[:4])
    assert payload(again) == payload(whole) and again.counts == whole.counts
    assert [path.name for path in again.folder.parent.iterdir() if path.is_dir()] == [again.id]


def _tear_last_line(folder: Path) -> None:
    data = (folder / "parts.jsonl").read_bytes()
    (folder / "parts.jsonl").write_bytes(data[:-9])


def _flip_a_token(folder: Path) -> None:
    data = bytearray((folder / "tokens.bin").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "tokens.bin").write_bytes(data)


def _cut_tokens(folder: Path) -> None:
    os.truncate(folder / "tokens.bin", (folder / "tokens.bin").stat().st_size // 2)


def _lose_lengths(folder: Path) -> None:
    (folder / "lengths.bin").unlink()


def _another_request(folder: Path) -> None:
    text = (folder / "parts.jsonl").read_text()
    request, rest = text.split("\n", 1)
    (folder / "parts.jsonl").write_text(json.dumps({**json.loads(request), "sentencepiece": "0.0.1"}) + "\n" + rest)


def _garbage(folder: Path) -> None:
    (folder / "parts.jsonl").write_bytes(b'\xff\n[]\n{"documents": "many"}\n')


DAMAGES = {
    _tear_last_line: (1, 99),
    _flip_a_token: (1, 99),
    _cut_tokens: (1, 99),
    _lose_lengths: (0, 0),
    _another_request: (0, 0),
    _garbage: (0, 0),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_parts_are_made_again(damage, japanese, expanded, world, tmp_path, monkeypatch, small) -> None:
    whole = build_tokens(japanese, expanded, out=world)
    stop_after(monkeypatch, 11)
    with pytest.raises(Stop):
        build_tokens(japanese, expanded, out=tmp_path)
    [work] = (tmp_path / "artefacts" / "tokens").glob("*.work")
    finished = len((work / "parts.jsonl").read_bytes().splitlines()) - 1
    assert finished == 5
    damage(work)
    kept: list[int] = []
    good = parts.PartsWriter._good_parts

    def note(self):
        found = good(self)
        kept.append(len(found))
        return found

    monkeypatch.setattr(parts.PartsWriter, "_good_parts", note)
    stop_after(monkeypatch, 0)
    assert payload(build_tokens(japanese, expanded, out=tmp_path)) == payload(whole)
    least, most = DAMAGES[damage]
    assert least <= kept[0] <= min(most, finished - 1)


def test_checksums_made_while_writing_are_those_of_the_files(pairs, expanded, instructed, tmp_path, small) -> None:
    tokens = build_tokens(pairs, expanded, out=tmp_path, parallel=instructed)
    assert sorted(tokens.manifest["sha256"]) == sorted(PAYLOAD)
    assert tokens.manifest["sha256"] == {name: sha256_file(tokens.folder / name) for name in PAYLOAD}


def test_a_corpus_with_other_documents_than_its_manifest_says_is_refused(english, base, tmp_path) -> None:
    counts = {**english.counts, "train": {**english.counts["train"], "documents": 999}}
    with pytest.raises(RequestError, match=r"gives \d+ documents where its manifest says 999.*it will be built again"):
        build_tokens(Artefact(english.folder, {**english.manifest, "counts": counts}), base, out=tmp_path)


@given(characters=st.integers(1, 3_000), blocks_a_part=st.integers(1, 40), killed_at=st.integers(1, 60))
@settings(derandomize=True, max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_part_size_and_any_death_give_the_same_shard(
    characters, blocks_a_part, killed_at, japanese, expanded, world, tmp_path_factory
) -> None:
    whole = build_tokens(japanese, expanded, out=world)
    texts = [document.text for document in read_documents(japanese, "train")]
    out = tmp_path_factory.mktemp("parts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BATCH_CHARACTERS", characters)
        patch.setattr(parts, "PART_BLOCKS", blocks_a_part)
        stop_after(patch, killed_at)
        try:
            build_tokens(japanese, expanded, out=out)
        except Stop:
            patch.setattr(blocks, "BATCH_CHARACTERS", 3_001 - characters)  # the next builder may cut its parts elsewhere
    again = build_tokens(japanese, expanded, out=out)
    assert payload(again) == payload(whole)
    shard, processor = open_shard(again), load_tokenizer(expanded)
    documents = [shard.tokens[shard.span(number)].tolist() for number in range(shard.num_documents)]
    assert all(ids[0] == 1 and ids[-1] == 2 for ids in documents)
    assert sorted(processor.decode(ids[1:-1]) for ids in documents) == sorted(texts)  # every document exactly once


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_workers_and_part_sizes_change_no_byte(processes, pairs, expanded, instructed, world, tmp_path, monkeypatch) -> None:
    whole = build_tokens(pairs, expanded, out=world, parallel=instructed)
    monkeypatch.setattr(blocks, "BATCH_CHARACTERS", 700)
    monkeypatch.setattr(parts, "PART_BLOCKS", processes)
    again = build_tokens(pairs, expanded, out=tmp_path, parallel=instructed, processes=processes)
    assert payload(again) == payload(whole)
    shard = open_shard(again)
    assert int(numpy.sum(shard.loss)) == again.counts["trained_tokens"]


BUILDER = """
import sys, time
from pathlib import Path
from swallow_exp.artefact.manifest import find_artefact
from swallow_exp.tokens import blocks, build_shards, parts

blocks.BATCH_CHARACTERS, parts.PART_BLOCKS = 100, 2
encoded = build_shards.encoded_blocks

def slowly(*args, **options):
    for count, block in enumerate(encoded(*args, **options)):
        time.sleep(float(sys.argv[4]) if count < int(sys.argv[5]) else 600)
        yield block

build_shards.encoded_blocks = slowly
corpus, vocabulary = (find_artefact(Path(folder)) for folder in sys.argv[1:3])
print(build_shards.build_tokens(corpus, vocabulary, out=Path(sys.argv[3])).folder)
"""


def start_builder(corpus: Artefact, vocabulary: Artefact, out: Path, seconds: float, most: int) -> subprocess.Popen[str]:
    words = [str(corpus.folder), str(vocabulary.folder), str(out), str(seconds), str(most)]
    return subprocess.Popen([sys.executable, "-c", BUILDER, *words], stdout=subprocess.PIPE, text=True)


def test_killed_twice_and_finished(japanese, expanded, world, tmp_path) -> None:
    whole = build_tokens(japanese, expanded, out=world)
    work = work_folder(tmp_path / "artefacts" / "tokens" / whole.id)
    dice, finished = random.Random(os.urandom(8)), 0
    for _ in range(2):
        # at most 5 and 10 of the 13 parts there are: a builder that has finished cannot be killed
        more = 1 + dice.randrange(1, 5)
        builder = start_builder(japanese, expanded, tmp_path, 0.05, most=2 * more + 2)
        lines, wanted, deadline = 0, finished + more, time.monotonic() + PATIENCE_SECONDS
        while lines < wanted + 1 and time.monotonic() < deadline and builder.poll() is None:
            lines = (work / "parts.jsonl").read_bytes().count(b"\n") if (work / "parts.jsonl").exists() else 0
            time.sleep(dice.random() / 50)
        builder.send_signal(signal.SIGKILL)
        builder.communicate()
        assert builder.returncode == -signal.SIGKILL
        assert not (tmp_path / "artefacts" / "tokens" / whole.id).exists()
        before, finished = finished, (work / "parts.jsonl").read_bytes().count(b"\n") - 1
        assert finished > before  # the second builder kept the parts of the first
    builder = start_builder(japanese, expanded, tmp_path, 0, most=1000)
    folder = Path(builder.communicate()[0].strip())
    assert builder.returncode == 0 and folder.name == whole.id
    assert {name: (folder / name).read_bytes() for name in payload(whole)} == payload(whole)
    assert {path.name for path in folder.parent.iterdir()} == {whole.id, f"{whole.id}.lock"}


FULL = """
import resource, signal, sys
from pathlib import Path
from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.manifest import find_artefact
from swallow_exp.tokens import blocks, build_shards, parts

blocks.BATCH_CHARACTERS, parts.PART_BLOCKS = 100, 2
corpus, vocabulary = (find_artefact(Path(folder)) for folder in sys.argv[1:3])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.RLIM_INFINITY))
try:
    build_shards.build_tokens(corpus, vocabulary, out=Path(sys.argv[3]))
except RequestError as error:
    print(error)
    sys.exit(2)
"""


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_disk_without_room_is_one_line_and_later_the_same_bytes(share, japanese, expanded, world, tmp_path) -> None:
    whole = build_tokens(japanese, expanded, out=world)
    limit = int(share * (whole.folder / "tokens.bin").stat().st_size)
    words = [str(japanese.folder), str(expanded.folder), str(tmp_path), str(limit)]
    full = subprocess.run([sys.executable, "-c", FULL, *words], capture_output=True, text=True, check=False)
    assert (full.returncode, full.stderr) == (2, "")
    assert full.stdout.count("\n") == 1 and "files may not grow further here; expected a writable folder with space" in full.stdout
    assert not (tmp_path / "artefacts" / "tokens" / whole.id).exists()
    assert not list(tmp_path.rglob("*.partial-*"))
    assert payload(build_tokens(japanese, expanded, out=tmp_path)) == payload(whole)
