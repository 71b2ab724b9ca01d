"""What building token shards costs: MB of text a second, ours beside the bare libraries and datatrove's pipeline, in one run.

Usage: python benchmarks/shards.py [FILE_OR_FOLDER ...] [--tokenizer tokenizer.model] [--megabytes 64] [--rounds 3] [--json FILE]

ours        `build_tokens`: reads the corpus (.jsonl.zst), encodes, shuffles, hashes and writes the shard; start-up included
bare        encode loops over texts in memory, start-up left out: SentencePiece to lists of ids (what `encode` gives) and to NumPy
            arrays (its fastest form), kitoken; "1 thread", "2 processes" (each has half the texts), "2 threads" (one process)
datatrove   JsonlReader -> DocumentTokenizer (shuffled) with the tokenizer's Hugging Face form, as many tasks as processes, on a
            tenth of the text (it is slower); absent: said by name

.jsonl files ({"text": ...}) are read as they are, repeated until there are --megabytes; without files, text of the miniature world and
a tokenizer trained on it. Every measurement is a process of its own. The contenders take turns, round by round; a figure is the median
of its rounds, a ratio the median over rounds of ours / bare. MB are 10^6 bytes of UTF-8.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from swallow_exp.artefact.manifest import Artefact
from swallow_exp.config import SourceConfig, VocabularyConfig
from swallow_exp.corpus.build_corpus import build_corpus, read_documents

BATCH = 1 << 19  # characters handed to a library at once, as our own builder does
DATATROVE_SHARE = 10
MINIATURE_DOCUMENTS = 20_000


def texts_of(corpus: Artefact) -> list[str]:
    return [document.text for document in read_documents(corpus, "train")]


def _batches(texts: list[str]) -> list[list[str]]:
    from swallow_exp.artefact.workers import in_batches

    return list(in_batches(texts, len, BATCH))


def _loop(library: str, model: Path, threads: int) -> Callable[[list[str]], Any]:
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    if library == "sentencepiece":
        return lambda texts: processor.encode(texts, num_threads=threads)
    if library == "sentencepiece numpy":
        return lambda texts: processor.encode_as_numpy(texts, num_threads=threads)
    import kitoken

    fast = kitoken.Kitoken.from_sentencepiece(processor.serialized_model_proto())
    return lambda texts: [fast.encode(text, False) for text in texts]


def _bare_worker(library: str, model: Path, corpus: Artefact, share: slice, threads: int, start: Any, queue: Any) -> None:
    batches = _batches(texts_of(corpus)[share])
    encode = _loop(library, model, threads)
    encode(batches[0][:2])
    start.wait()
    began = time.monotonic()
    for batch in batches:
        encode(batch)
    queue.put((began, time.monotonic()))


def bare(library: str, vocabulary: Artefact, corpus: Artefact, *, processes: int, threads: int) -> float:
    """Seconds to encode all texts of the corpus, which each process has in memory."""
    context = multiprocessing.get_context("spawn")
    start, queue = context.Barrier(processes), context.Queue()
    model = vocabulary.folder / "tokenizer.model"
    arguments = [(library, model, corpus, slice(number, None, processes), threads, start, queue) for number in range(processes)]
    workers = [context.Process(target=_bare_worker, args=each) for each in arguments]
    for worker in workers:
        worker.start()
    spans = [queue.get(timeout=600) for _ in workers]
    for worker in workers:
        worker.join()
    return max(end for _, end in spans) - min(began for began, _ in spans)


def _ours_worker(encoder: str, vocabulary: Artefact, corpus: Artefact, processes: int, threads: int, queue: Any) -> None:
    from swallow_exp.tokens import blocks
    from swallow_exp.tokens.build_shards import build_tokens

    blocks.MAX_THREADS = threads
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        build_tokens(corpus, vocabulary, out=Path(folder), encoder=encoder, processes=processes)
        queue.put(time.monotonic() - began)


def ours(encoder: str, vocabulary: Artefact, corpus: Artefact, *, processes: int, threads: int) -> float:
    """Seconds of the whole stage."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    worker = context.Process(target=_ours_worker, args=(encoder, vocabulary, corpus, processes, threads, queue))
    worker.start()
    seconds: float = queue.get(timeout=600)
    worker.join()
    return seconds


def _datatrove_worker(tokenizer: str, source: str, target: str, processes: int, queue: Any) -> None:
    os.environ["RAYON_NUM_THREADS"] = "1"  # a task is one thread, as a process of ours is
    os.environ["LOGURU_LEVEL"] = "ERROR"
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.tokens import DocumentTokenizer

    steps = [JsonlReader(source), DocumentTokenizer(target, tokenizer, eos_token="</s>", seed=0)]
    executor = LocalPipelineExecutor(steps, tasks=processes, workers=processes, logging_dir=f"{target}/log", start_method="spawn")
    began = time.monotonic()
    executor.run()
    queue.put(time.monotonic() - began)


def datatrove(vocabulary: Artefact, corpus: Artefact, *, processes: int) -> float:
    """Seconds that datatrove would need for the whole corpus, from a tenth of it."""
    texts = texts_of(corpus)[::DATATROVE_SHARE]
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in", Path(folder) / "out"
        source.mkdir()
        for number in range(processes):
            rows = (json.dumps({"text": text, "id": "x"}, ensure_ascii=False) + "\n" for text in texts[number::processes])
            (source / f"{number}.jsonl").write_text("".join(rows), encoding="utf-8")
        tokenizer = str(vocabulary.folder / "hf" / "tokenizer.json")
        arguments = (tokenizer, str(source), str(target), processes, queue)
        worker = context.Process(target=_datatrove_worker, args=arguments)
        worker.start()
        seconds: float = queue.get(timeout=600)
        worker.join()
    share = sum(len(text.encode()) for text in texts) / corpus.counts["train"]["bytes"]
    return seconds / share


def has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def contenders(vocabulary: Artefact, corpus: Artefact, *, processes: Sequence[int]) -> dict[str, Callable[[], float]]:
    """Name -> what to measure, in the order of a round."""
    work: dict[str, Callable[[], float]] = {}

    def add(name: str, function: Callable[..., float], *arguments: Any, **options: int) -> None:
        work[name] = lambda: function(*arguments, **options)

    for count in processes:
        ways = [(f"{count} processes", count, 1), (f"{count} threads", 1, count)] if count > 1 else [("1 thread", 1, 1)]
        for way, workers, threads in ways:
            for library in ("sentencepiece", "sentencepiece numpy"):
                add(f"bare {library}, {way}", bare, library, vocabulary, corpus, processes=workers, threads=threads)
            add(f"ours, sentencepiece, {way}", ours, "sentencepiece", vocabulary, corpus, processes=workers, threads=threads)
            if has("kitoken") and threads == 1:
                add(f"bare kitoken, {way}", bare, "kitoken", vocabulary, corpus, processes=workers, threads=1)
                add(f"ours, kitoken, {way}", ours, "kitoken", vocabulary, corpus, processes=workers, threads=1)
        if has("datatrove"):
            add(f"datatrove, {ways[0][0]}", datatrove, vocabulary, corpus, processes=count)
    return work


def beside(name: str) -> list[str]:
    """The bare rows that a row of ours is divided by."""
    encoder, way = name.removeprefix("ours, ").split(", ")
    return [f"bare {encoder}, {way}", *([f"bare sentencepiece numpy, {way}"] if encoder == "sentencepiece" else [])]


def measure_building(
    corpus: Artefact, vocabulary: Artefact, *, processes: Sequence[int] = (1, 2), rounds: int = 3
) -> dict[str, dict[str, Any]]:
    """Name -> {"mb_per_second", "seconds", "ratios": {bare row: ours / bare}} of every contender that is installed."""
    work = contenders(vocabulary, corpus, processes=processes)
    megabytes = corpus.counts["train"]["bytes"] / 1e6
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, function in work.items():
            seconds[name].append(function())
    rows: dict[str, dict[str, Any]] = {}
    for name, each in seconds.items():
        median = statistics.median(each)
        rows[name] = {"mb_per_second": megabytes / median, "seconds": median, "ratios": {}}
        for other in beside(name) if name.startswith("ours") else []:
            rows[name]["ratios"][other] = statistics.median(theirs / mine for mine, theirs in zip(each, seconds[other], strict=True))
    return rows


def _rows(paths: Sequence[Path]) -> Iterator[str]:
    files = [file for path in paths for file in (sorted(path.glob("**/*.jsonl")) if path.is_dir() else [path])]
    for file in files:
        with file.open(encoding="utf-8") as handle:
            yield from (json.loads(line)["text"] for line in handle if line.strip())


def text_corpus(paths: Sequence[Path], *, megabytes: float, out: Path) -> Artefact:
    """A corpus of the files' texts, repeated until there are `megabytes`; of the miniature world when there are no files."""
    if not paths:
        source = SourceConfig(name="text", language="ja", files=["miniature:japanese"], max_documents=MINIATURE_DOCUMENTS)
        paths = [out / "miniature.jsonl"]
        made = (document.text for document in read_documents(build_corpus(source, out=out, data=out), "train"))
        paths[0].write_text("".join(json.dumps({"text": text}) + "\n" for text in made), encoding="utf-8")
    data, size = out / "text.jsonl", 0
    with data.open("w", encoding="utf-8") as handle:
        while size < megabytes * 1e6:
            before = size
            for text in _rows(paths):
                handle.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
                size += len(text.encode())
                if size >= megabytes * 1e6:
                    break
            assert size > before, f"no text in {paths}"
    return build_corpus(SourceConfig(name="text", language="ja", files=[str(data)], heldout_fraction=0.0), out=out, data=out)


def text_vocabulary(tokenizer: Path | None, corpus: Artefact, *, out: Path) -> Artefact:
    """The given tokenizer as it is, or a small one of the corpus."""
    from swallow_exp.vocabulary.build_vocabulary import build_vocabulary

    scratch = VocabularyConfig(name="scratch", method="scratch", vocab_size=2_000, language="ja")
    config = scratch if tokenizer is None else VocabularyConfig(name="given", method="base")
    return build_vocabulary(config, base_tokenizer=tokenizer, corpora={"text": corpus}, out=out)


def report(rows: dict[str, dict[str, Any]]) -> None:
    print(f"{'':<42} {'MB/s':>8} {'seconds':>8}   ours / bare")
    for name, row in rows.items():
        ratios = ", ".join(f"{ratio:.2f} of {other}" for other, ratio in row["ratios"].items())
        print(f"{name:<42} {row['mb_per_second']:>8.1f} {row['seconds']:>8.2f}   {ratios}")
    for package in ("kitoken", "datatrove"):
        if not has(package):
            print(f"{package}: not installed, not measured (pip install {package})")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--megabytes", type=float, default=64.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        corpus = text_corpus(options.paths, megabytes=options.megabytes, out=out)
        vocabulary = text_vocabulary(options.tokenizer, corpus, out=out)
        rows = measure_building(corpus, vocabulary, processes=options.processes, rounds=options.rounds)
    report(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
