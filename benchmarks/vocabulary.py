"""What making a vocabulary and using it costs: MB/s of each step, ours beside the bare libraries, in one run.

Usage: python benchmarks/vocabulary.py --base llama2_tokenizer.model --japanese ja.jsonl [...] --english en.jsonl [...]
       [--megabytes 16] [--rounds 3] [--json FILE]

Steps       segmentation (MeCab), BPE training, merging, encoding
Encoding    Japanese with the expanded tokenizer, English with the base one, on 1 and on 2 processes:
            bare SentencePiece, bare `tokenizers` (encode_batch_fast), bare kitoken when installed: texts in memory -> lists of ids;
            ours end to end: `build_tokens`, which reads the corpus, encodes, shuffles and writes the shard.
Every measurement is a process of its own; peak RSS is that of it and its workers together, looked at every 20 ms. The contenders
take turns, round by round, and the figure of each is the median of its rounds: other work on the machine hits all alike. A ratio is
the median over rounds of bare seconds / our seconds. MB are 10^6 bytes of UTF-8 of the text as the corpus has it. Start-up
(imports, loading the model, starting workers) is left out for the bare libraries; ours includes it, so that
its ratio grows with --megabytes. SentencePiece and `tokenizers` use two threads for "2", kitoken and MeCab two processes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from swallow_exp.artefact.manifest import Artefact
from swallow_exp.config import SourceConfig, VocabularyConfig
from swallow_exp.corpus.build_corpus import build_corpus, read_documents
from swallow_exp.vocabulary.build_vocabulary import build_vocabulary

Measured = dict[str, float]


def _measure(queue: Any, work: Callable[..., float], arguments: tuple[Any, ...]) -> None:
    queue.put(work(*arguments))


def _resident_kib(pid: int) -> int:
    """RSS of a process and its children; 0 where it has ended meanwhile."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    own = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")), 0)
    return own + sum(_resident_kib(int(child)) for child in children)


def measure(work: Callable[..., float], *arguments: Any) -> Measured:
    """Seconds that `work` says it took and the peak RSS in MiB of a fresh process and its workers together."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_measure, args=(queue, work, arguments))
    process.start()
    assert process.pid is not None
    peak = 0
    while process.is_alive():
        peak = max(peak, _resident_kib(process.pid))
        time.sleep(0.02)
    process.join()
    assert process.exitcode == 0, work.__name__
    return {"seconds": queue.get(timeout=60), "peak_rss_mib": peak / 1024}


def texts_of(corpus: Artefact) -> list[str]:
    return [document.text for document in read_documents(corpus, "train")]


def segment(corpus: Artefact, processes: int) -> float:
    from swallow_exp.vocabulary.segment import segment_texts

    texts = texts_of(corpus)
    started = time.perf_counter()
    for _ in segment_texts(texts, method="mecab", normalization="nfkc", processes=processes):
        pass
    return time.perf_counter() - started


def bare_mecab(corpus: Artefact) -> float:
    import shlex

    import fugashi

    from swallow_exp.vocabulary.segment import cut_line, find_dictionary

    lines = [part for text in texts_of(corpus) for line in text.split("\n") for part in cut_line(line)]
    folder = shlex.quote(str(find_dictionary().folder))
    tagger = fugashi.GenericTagger(f"-r {folder}/mecabrc -d {folder} -Owakati")
    started = time.perf_counter()
    for line in lines:
        tagger.parse(line)
    return time.perf_counter() - started


def train(lines: Path, vocab_size: int, bare: bool) -> float:
    import io

    import sentencepiece

    from swallow_exp.vocabulary import train as module

    started = time.perf_counter()
    if not bare:
        module.train_pieces(lines, vocab_size=vocab_size, normalization="nfkc")
        return time.perf_counter() - started
    sentencepiece.SentencePieceTrainer.train(
        input=[str(lines)],
        model_writer=io.BytesIO(),
        vocab_size=vocab_size,
        normalization_rule_name="nfkc",
        num_threads=os.cpu_count(),
        minloglevel=2,
        **{**module.COMMON_OPTIONS, **module.EXPAND_OPTIONS},
    )
    return time.perf_counter() - started


def merge(base: Path, trained: Path) -> float:
    from swallow_exp.vocabulary.merge import expand_base
    from swallow_exp.vocabulary.model_file import read_model

    started = time.perf_counter()
    expand_base(
        read_model(base),
        read_model(trained),
        scripts=["Hiragana", "Katakana", "Han"],
        extra_characters="ー",
        multiple_of=8,
        normalization="nfkc",
    )
    return time.perf_counter() - started


_encode: list[Callable[[list[str]], Any]] = []


def _load(library: str, vocabulary: Path, threads: int) -> Callable[[list[str]], Any]:
    model = str(vocabulary / "tokenizer.model")
    if library == "sentencepiece":
        import sentencepiece

        processor = sentencepiece.SentencePieceProcessor(model_file=model)
        return lambda texts: processor.encode(texts, num_threads=threads)
    if library == "tokenizers":
        os.environ["RAYON_NUM_THREADS"] = str(threads)
        from tokenizers import Tokenizer

        twin = Tokenizer.from_file(str(vocabulary / "hf" / "tokenizer.json"))
        twin.encode_special_tokens = True
        return lambda texts: [encoding.ids for encoding in twin.encode_batch_fast(texts, add_special_tokens=False)]
    import kitoken

    fast = kitoken.Kitoken.from_sentencepiece_file(model)
    return lambda texts: [fast.encode(text, False) for text in texts]


def _start(library: str, vocabulary: Path) -> None:
    _encode.append(_load(library, vocabulary, 1))


def _one(texts: list[str]) -> int:
    return sum(map(len, _encode[0](texts)))


def bare_encode(library: str, vocabulary: Path, corpus: Artefact, processes: int) -> float:
    """In-memory texts to lists of ids. SentencePiece and `tokenizers` use threads of their own; kitoken needs processes."""
    texts = texts_of(corpus)
    if library != "kitoken" or processes == 1:
        encode = _load(library, vocabulary, processes)
        encode(texts[:2])
        started = time.perf_counter()
        for first in range(0, len(texts), 64):
            encode(texts[first : first + 64])
        return time.perf_counter() - started
    with multiprocessing.get_context("spawn").Pool(processes, _start, (library, vocabulary)) as pool:
        pool.map(_one, [texts[:1]] * processes, chunksize=1)
        started = time.perf_counter()
        pool.map(_one, [texts[first : first + 16] for first in range(0, len(texts), 16)], chunksize=1)
        return time.perf_counter() - started


def ours(encoder: str, vocabulary: Artefact, corpus: Artefact, processes: int) -> float:
    """The whole stage: corpus file in, shard out."""
    from swallow_exp.tokens import blocks
    from swallow_exp.tokens.build_shards import build_tokens

    _load(encoder, vocabulary.folder, 1)
    if encoder == "sentencepiece":  # it has threads of its own, as the bare library beside it: no worker processes
        blocks.MAX_THREADS, processes = processes, 1
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        build_tokens(corpus, vocabulary, out=Path(folder), encoder=encoder, processes=processes)
        return time.perf_counter() - started


def has_kitoken() -> bool:
    try:
        import kitoken  # noqa: F401
    except ImportError:
        return False
    return True


def make_corpus(name: str, language: str, files: list[str], megabytes: float, out: Path) -> Artefact:
    """The first `megabytes` of the files' texts."""
    data = out / f"{name}.jsonl"
    left = megabytes * 1e6
    with data.open("w", encoding="utf-8") as handle:
        while left > 0:
            before = left
            for line in (line for path in files for line in Path(path).open(encoding="utf-8")):
                if left <= 0:
                    break
                text = json.loads(line)["text"]
                left -= len(text.encode("utf-8"))
                handle.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
            assert left < before, f"no text in {files}"
    return build_corpus(SourceConfig(name=name, language=language, files=[str(data)], heldout_fraction=0.01), out=out, data=out)


def contenders(corpora: dict[str, Artefact], vocabularies: dict[str, Artefact]) -> dict[str, tuple[Any, ...]]:
    """Name -> what to measure, in the order of a round."""
    work: dict[str, tuple[Any, ...]] = {
        "segment, bare MeCab, 1": (bare_mecab, corpora["ja"]),
        "segment, ours, 1": (segment, corpora["ja"], 1),
        "segment, ours, 2": (segment, corpora["ja"], 2),
    }
    libraries = ["sentencepiece", "tokenizers", *(["kitoken"] if has_kitoken() else [])]
    for language in ("ja", "en"):
        for processes in (1, 2):
            for library in libraries:
                arguments = (library, vocabularies[language].folder, corpora[language], processes)
                work[f"encode {language}, bare {library}, {processes}"] = (bare_encode, *arguments)
                if library != "tokenizers":
                    end_to_end = (library, vocabularies[language], corpora[language], processes)
                    work[f"encode {language}, ours with {library}, {processes}"] = (ours, *end_to_end)
    return work


def report(rows: dict[str, Measured]) -> None:
    print(f"{'':<44} {'seconds':>8} {'MB/s':>7} {'ratio to bare':>14} {'peak MiB':>9}")
    for name, row in rows.items():
        ratio = f"{row['ratio']:.2f}" if "ratio" in row else ""
        speed = f"{row['mb_per_second']:.1f}" if "mb_per_second" in row else ""
        print(f"{name:<44} {row['seconds']:>8.2f} {speed:>7} {ratio:>14} {row['peak_rss_mib']:>9.0f}")


def bare_of(name: str) -> str | None:
    """The bare library a row of ours stands beside."""
    if name.startswith("segment, ours"):
        return "segment, bare MeCab, 1"
    if "ours with" in name:
        return name.replace("ours with", "bare")
    return "train, bare SentencePiece" if name == "train, ours" else None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--japanese", nargs="+", required=True)
    parser.add_argument("--english", nargs="+", required=True)
    parser.add_argument("--megabytes", type=float, default=16.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        corpora = {
            "ja": make_corpus("ja", "ja", options.japanese, options.megabytes, out),
            "en": make_corpus("en", "en", options.english, options.megabytes / 2, out),
        }
        expand = VocabularyConfig(
            name="ja_16k",
            method="expand",
            vocab_size=16_000,
            language="ja",
            segmenter="mecab",
            normalization="nfkc",
            scripts=["Hiragana", "Katakana", "Han"],
            extra_characters="ー",
        )
        base = replace(expand, name="base", method="base", normalization="none")
        vocabularies = {
            language: build_vocabulary(config, base_tokenizer=options.base, corpora=corpora, out=out)
            for language, config in (("ja", expand), ("en", base))
        }
        rows = run_rounds(corpora, vocabularies, base=options.base, rounds=options.rounds, out=out)
    report(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def run_rounds(
    corpora: dict[str, Artefact], vocabularies: dict[str, Artefact], *, base: Path, rounds: int, out: Path
) -> dict[str, Measured]:
    from swallow_exp.vocabulary.sample import write_training_text
    from swallow_exp.vocabulary.train import train_pieces

    lines, trained = out / "lines.txt", out / "trained.model"
    config = VocabularyConfig(name="lines", language="ja", segmenter="mecab", normalization="nfkc", processes=2)
    write_training_text({"ja": corpora["ja"]}, lines, config=config)
    trained.write_bytes(train_pieces(lines, vocab_size=16_000, normalization="nfkc").SerializeToString())
    work = {
        "train, bare SentencePiece": (train, lines, 16_000, True),
        "train, ours": (train, lines, 16_000, False),
        "merge, ours": (merge, base, trained),
        **contenders(corpora, vocabularies),
    }
    megabytes = {language: corpus.counts["train"]["bytes"] / 1e6 for language, corpus in corpora.items()}
    found: dict[str, list[Measured]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, (function, *arguments) in work.items():
            found[name].append(measure(function, *arguments))
    rows: dict[str, Measured] = {}
    for name, each in found.items():
        seconds = statistics.median(row["seconds"] for row in each)
        rows[name] = {"seconds": seconds, "peak_rss_mib": max(row["peak_rss_mib"] for row in each)}
        if name != "merge, ours":
            rows[name]["mb_per_second"] = megabytes["en" if "encode en" in name else "ja"] / seconds
    for name, row in rows.items():
        bare = bare_of(name)
        if bare is not None:
            paired = zip(found[name], found[bare], strict=True)
            row["ratio"] = statistics.median(theirs["seconds"] / mine["seconds"] for mine, theirs in paired)
    return rows


if __name__ == "__main__":
    main()
