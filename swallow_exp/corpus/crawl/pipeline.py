"""Five stages of datatrove pipelines, on this machine or on Slurm; a task that is finished is never done again.

filter       archives                 -> work/pages/<rank>.jsonl.zst      read, rapid Japanese check, main text, language, rules, lists
signatures   work/pages               -> work/signatures/                 MinHash of every page
buckets      work/signatures          -> work/pairs/                      one task a bucket: pages with equal signatures
cluster      work/pairs               -> work/removed/                    one task: all but one page of every cluster
deduplicate  work/pages, work/removed -> work/kept/<rank>.jsonl.zst

On Slurm the stages are array jobs that wait for each other; the same command once more, when they are done, finishes the crawl.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from datatrove.executor import LocalPipelineExecutor, SlurmPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from loguru import logger

from swallow_exp.artefact.errors import RequestError, RunFailed
from swallow_exp.artefact.files import read_json, write_json_atomic
from swallow_exp.artefact.progress import progress_bar
from swallow_exp.corpus.crawl.job import Crawl
from swallow_exp.corpus.crawl.rules import (
    expression_fault,
    expression_pattern,
    host_fault,
    language_fault,
    looks_japanese,
    quality_fault,
)
from swallow_exp.corpus.crawl.steps import ExtractText, ReadPages, Sieve, Signatures, fault_before_extraction, fault_of_text, fault_of_url

STAGES = ("filter", "signatures", "buckets", "cluster", "deduplicate")
EXTRACTION_SECONDS = 10.0
LOOK_SECONDS = 0.5
NO_LIMIT = -1
SUBMITTED = "submitted.json"


@dataclass(frozen=True)
class SlurmOptions:
    """What the array jobs ask of Slurm."""

    partition: str
    time: str
    memory_gb: int = 4
    setup: str = ""  # shell line before the work, such as the activation of an environment


class QuietExecutor(LocalPipelineExecutor):  # type: ignore[misc]
    """datatrove's local executor, whose tasks log into their files and only errors to the terminal."""

    def _run_for_rank(self, rank: int, local_rank: int = 0, node_rank: int = -1) -> Any:
        logger.disable("datatrove.executor.local")  # in the worker: how many tasks are done is shown by our own bar
        return super()._run_for_rank(rank, local_rank + 1, node_rank)


def pipelines(crawl: Crawl) -> dict[str, tuple[list[Any], int]]:
    """Stage -> (steps, number of tasks)."""
    config = MinhashConfig(n_grams=crawl.duplicates.ngram, num_buckets=crawl.duplicates.buckets, hashes_per_bucket=crawl.duplicates.hashes)
    folders = {name: str(crawl.work / name) for name in ("pages", "signatures", "pairs", "removed", "kept")}
    pages = partial(JsonlReader, folders["pages"], compression="zstd", add_file_path=False)
    return {
        "filter": ([*_filter_steps(crawl), _writer(folders["pages"])], crawl.tasks),
        "signatures": ([pages(), Signatures(folders["signatures"], config)], crawl.tasks),
        "buckets": ([MinhashDedupBuckets(folders["signatures"], folders["pairs"], config=config)], crawl.duplicates.buckets),
        "cluster": ([MinhashDedupCluster(folders["pairs"], folders["removed"], config=config)], 1),
        "deduplicate": ([pages(), MinhashDedupFilter(folders["removed"]), _writer(folders["kept"])], crawl.tasks),
    }


def run_locally(crawl: Crawl, workers: int) -> None:
    """Every stage, `workers` tasks at a time. Raises RunFailed with the place of the log."""
    for stage, (steps, tasks) in pipelines(crawl).items():
        if stage != "filter" and not has_pages(crawl):
            return
        logs = crawl.work / "logs" / stage
        executor = QuietExecutor(steps, tasks=tasks, workers=min(workers, tasks), logging_dir=str(logs))
        logger.disable("datatrove.executor")
        try:
            with _watched(f"crawl: {stage}", logs / "completions", tasks):
                executor.run()
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise RunFailed(f"stage {stage} failed ({reason}); see {logs / 'logs'}; the same command continues") from error
        finally:
            logger.enable("datatrove.executor")


def on_slurm(crawl: Crawl, options: SlurmOptions, workers: int) -> list[Any]:
    """The stages as executors that depend on each other; `run()` of the last submits them all."""
    executors: list[Any] = []
    activation = f"source {sys.prefix}/bin/activate" if sys.prefix != sys.base_prefix else ""
    for stage, (steps, tasks) in pipelines(crawl).items():
        executor = SlurmPipelineExecutor(
            steps,
            tasks=tasks,
            workers=workers,
            time=options.time,
            partition=options.partition,
            mem_per_cpu_gb=options.memory_gb,
            job_name=f"crawl-{stage}",
            qos=None,
            env_command=options.setup or activation,
            logging_dir=str(crawl.work / "logs" / stage),
            depends=executors[-1] if executors else None,
        )
        executors.append(executor)
    return executors


def submit(crawl: Crawl, executors: Sequence[Any]) -> None:
    """Hand the stages to Slurm, each waiting for the one before; their job ids are kept in work/."""
    executors[-1].run()
    jobs = {executor.job_name: str(executor.job_id) for executor in executors if executor.job_id != -1}
    write_json_atomic(crawl.work / SUBMITTED, jobs)


def refuse_twice(crawl: Crawl) -> None:
    """Raises RequestError while jobs of an earlier submission are queued or running: two would write the same files."""
    jobs = read_json(crawl.work / SUBMITTED)
    if not jobs or shutil.which("squeue") is None:
        return
    command = ["squeue", "--noheader", "--format=%i", "--jobs", ",".join(jobs.values())]
    queued = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()  # it fails for jobs long gone
    if queued:
        raise RequestError(
            f"crawl {crawl.out} has jobs in the queue ({', '.join(queued[:3])})",
            expected="the jobs of the first submission to be over",
            remedy="wait for them, or scancel them, then run the same command",
        )


def unfinished(crawl: Crawl) -> dict[str, int]:
    """Stage -> tasks that are not finished; nothing when all are, or when no page was left to go on with."""
    left = {}
    for stage, tasks in (("filter", crawl.tasks), ("signatures", crawl.tasks), ("buckets", crawl.duplicates.buckets), ("cluster", 1)):
        left[stage] = tasks - _completed(crawl.work / "logs" / stage / "completions")
    left["deduplicate"] = crawl.tasks - _completed(crawl.work / "logs" / "deduplicate" / "completions")
    if left["filter"] == 0 and not has_pages(crawl):
        return {}
    return {stage: count for stage, count in left.items() if count > 0}


def has_pages(crawl: Crawl) -> bool:
    """True when at least one page passed the filter stage."""
    return any((crawl.work / "pages").glob("*.jsonl.zst"))


def _filter_steps(crawl: Crawl) -> list[Any]:
    rules, pattern = crawl.rules, expression_pattern(crawl.expressions)
    return [
        ReadPages([str(path) for path in crawl.archives]),
        Sieve("hosts", partial(fault_of_url, fault=host_fault, hosts=crawl.hosts)),
        Sieve("rapid Japanese check", partial(fault_before_extraction, looks_japanese=looks_japanese)),
        ExtractText(EXTRACTION_SECONDS),
        Sieve("language", partial(fault_of_text, fault=language_fault, rules=rules)),
        Sieve("quality", partial(fault_of_text, fault=quality_fault, rules=rules)),
        Sieve("expressions", partial(fault_of_text, fault=expression_fault, pattern=pattern, rules=rules)),
    ]


def _writer(folder: str) -> Any:
    return JsonlWriter(folder, output_filename="${rank}.jsonl.zst", compression="zstd", adapter=_row)


def _row(writer: Any, document: Any) -> dict[str, Any]:
    metadata = {name: document.metadata[name] for name in ("url", "date") if name in document.metadata}
    return {"id": document.id, **metadata, "text": document.text}


def _completed(marks: Path) -> int:
    return sum(1 for _ in marks.glob("[0-9]*")) if marks.is_dir() else 0


@contextlib.contextmanager
def _watched(label: str, marks: Path, tasks: int) -> Iterator[None]:
    """A bar that counts the marks of finished tasks while the stage runs."""
    done = threading.Event()
    with progress_bar(label, tasks, unit="tasks") as advance:

        def look() -> None:
            seen = 0
            while not done.wait(LOOK_SECONDS):
                now = _completed(marks)
                advance(now - seen)
                seen = now

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()


def scripts(executors: Sequence[Any]) -> dict[str, str]:
    """Job name -> the script that would be submitted for its unfinished tasks, without the dependency (given to sbatch)."""
    shown = {}
    for executor in executors:
        count = len(executor.get_incomplete_ranks())
        if count:
            pickled = executor.logging_dir.resolve_paths("executor.pik")
            arguments = executor.get_sbatch_args(min(count, executor.max_array_size))
            shown[executor.job_name] = executor.get_launch_file_contents(arguments, f"srun  -l -n 1 launch_pickled_pipeline {pickled}")
    return shown
