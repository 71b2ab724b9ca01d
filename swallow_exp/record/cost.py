"""What a run has cost: device-hours, compute and time, from what it wrote while it ran. Measured, never estimated; unknown is None.

(1) rows       train rows of the outbox, in the order they were written   -> FLOPs and device-seconds of each stretch between two
(2) stalls     checkpoint rows                                            -> seconds in which training stood still
(3) questions  result.json of every task                                  -> seconds of evaluation; results taken over cost nothing

A stretch took (model FLOPs in it) / (FLOP/s of one device in it): device-seconds, whatever the number of devices. Work that was done
again after an interruption is counted again, as it was paid for again; what was computed between the last row and the interruption is
nowhere on record. Energy and carbon are not here: nothing measures them.

Reads   runs/<run_id>/{events.jsonl, provenance.json}, evaluations/*/*/result.json
Source  paper Appendix D.3, D.4 (TFLOPS per GPU, FLOPs of a training)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.record.efficiency import efficiency_of
from swallow_exp.record.events import read_events
from swallow_exp.record.store import RESULT_NAME, read_result

TERA = 1e12


@dataclass(frozen=True)
class RunCost:
    """Cost of one run. None: nothing on record says it."""

    run_id: str
    device: str | None  # as the driver names it; None without a driver (a CPU, mostly)
    num_devices: int | None  # in the last stretch
    device_hours: float | None  # of training, without checkpoints
    flops: float | None  # the model's, without what was done again
    tokens_per_second: float | None  # of all devices, median
    tflops_per_device: float | None  # median
    mfu: float | None  # median, a share of 1
    peak_memory_bytes: float | None  # of the first process
    stall_seconds: float | None  # training stood still for checkpoints
    evaluation_seconds: float | None  # of every result asked here
    num_reused: int = 0  # results taken over from a run with the same weights


def read_cost(run: RunPaths) -> RunCost:
    """Everything the files of one run say about its cost."""
    events = list(read_events(run.events))
    train = [row for row in events if row.get("kind") == "train"]
    stretches = list(stretches_of(train))
    speed = efficiency_of(train, model=run.run_id)
    stalls = [float(row["checkpoint_stall_seconds"]) for row in events if row.get("checkpoint_stall_seconds") is not None]
    memory = [float(row["peak_memory_bytes"]) for row in train if row.get("peak_memory_bytes")]
    flops = [float(row["flops"]) for row in train if row.get("flops")]
    results = list(_results(run))
    asked = [float(result["seconds"]) for result in results if "reused_from" not in result and "seconds" in result]
    return RunCost(
        run_id=run.run_id,
        device=_device_of(run),
        num_devices=_num_devices(train, stretches),
        device_hours=sum(seconds for _, seconds in stretches) / 3600 if stretches else None,
        flops=max(flops, default=None),
        tokens_per_second=speed.tokens_per_second,
        tflops_per_device=speed.tflops_per_device,
        mfu=speed.execution_efficiency,
        peak_memory_bytes=max(memory, default=None),
        stall_seconds=sum(stalls) if stalls else None,
        evaluation_seconds=sum(asked) if asked else None,
        num_reused=sum("reused_from" in result for result in results),
    )


def stretches_of(rows: Iterable[Mapping[str, Any]]) -> Iterable[tuple[Mapping[str, Any], float]]:
    """(row, device-seconds since the row before) of every train row that has FLOPs and a rate.

    After an interruption the outbox goes back: such a row starts from the last row before it in tokens, not in the file.
    """
    ends: list[float] = [0.0]
    for row in rows:
        flops, rate = row.get("flops"), row.get("tflops_per_device")
        if not flops:
            continue
        start = ends[-1] if ends[-1] < flops else max(end for end in ends if end < flops)
        ends.append(float(flops))
        if rate:
            yield row, (float(flops) - start) / (float(rate) * TERA)


def _num_devices(train: Sequence[Mapping[str, Any]], stretches: list[tuple[Mapping[str, Any], float]]) -> int | None:
    """Device-seconds / seconds, where seconds are tokens / tokens per second: the median over the stretches at the end."""
    before = {id(row): previous for previous, row in pairwise(train)}
    counts = []
    for row, device_seconds in stretches[-50:]:
        tokens = float(row["trained_tokens"]) - float(before.get(id(row), {}).get("trained_tokens", 0))
        speed = row.get("tokens_per_second")
        if speed and tokens > 0:
            counts.append(device_seconds / (tokens / float(speed)))
    return round(median(counts)) if counts else None


def _results(run: RunPaths) -> list[dict[str, Any]]:
    folders = (path.parent for path in sorted((run.folder / "evaluations").glob(f"tokens_*/*/{RESULT_NAME}")))
    return [result for folder in folders if (result := read_result(folder)) is not None]


def _device_of(run: RunPaths) -> str | None:
    """The name of the devices, when they all have one name."""
    facts = read_json(run.provenance)
    devices = facts.get("cuda_devices") if isinstance(facts, dict) else None
    names = {str(device.get("name")) for device in devices or () if isinstance(device, dict)}
    return names.pop() if len(names) == 1 else None
