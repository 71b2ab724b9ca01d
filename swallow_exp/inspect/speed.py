"""How fast a cell will train: as stated, as measured here before, or as the paper measured; and from which of them a number is.

(1) stated     --tokens-per-second or --mfu
(2) measured   the last rows of finished runs of the same base model on the same device under this output root
(3) Table 7    the paper's efficiency of the nearest size, times the device's peak

assumed: Table 7's TFLOPS count recomputed activations, 3.5 where model FLOPs are 3 (the factor of the authors' Megatron-LM for
selective recomputation); read so, its MFU is 37, 39 and 43%, and hours are the longer ones of the two readings. If the paper counted
keys and values of 70B at full width too (model/flops.py), the hours of 70B are some 14% more.

Reads   runs/*/{identity,status,provenance}.json, events.jsonl, evaluations
Source  paper Table 7
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.paths import RunPaths
from swallow_exp.config.schema import MachineConfig
from swallow_exp.model.devices import TERA, peak_flops
from swallow_exp.record.efficiency import PAPER_TABLE7
from swallow_exp.record.events import last_events
from swallow_exp.record.status import read_status
from swallow_exp.record.store import RESULT_NAME, list_run_ids, read_result

RECOMPUTED_IN_TABLE7 = 3.5 / 3.0
TABLE7_PARAMETERS = {"7B": 6.7e9, "13B": 13.0e9, "70B": 69.0e9}
MOST_RUNS = 5  # of one model and device that are looked at
CPU = "cpu"


@dataclass(frozen=True)
class StatedSpeed:
    """What the command line says: at most one of the two rates, and a price."""

    mfu: float | None = None
    tokens_per_second: float | None = None  # of one GPU
    price_per_gpu_hour: float | None = None


@dataclass(frozen=True)
class Speed:
    """Model FLOP/s of one device while it trains; None when nobody knows."""

    flops_per_second: float | None
    basis: str


@dataclass
class Measured:
    """What finished runs of one base model on one device did."""

    tflops: list[float] = field(default_factory=list)
    evaluation_seconds: dict[str, list[float]] = field(default_factory=dict)  # task -> of one checkpoint


def read_measured(out: Path, base_models: set[str]) -> dict[tuple[str, str], Measured]:
    """(base model, device) -> what its trained runs under `out` measured, a few runs of each."""
    found: dict[tuple[str, str], Measured] = {}
    for run_id in list_run_ids(out) if base_models else []:
        run = RunPaths.of(out, run_id)
        if not any(run_id.startswith(f"{name}-") for name in base_models) or read_status(run.status)["state"] != "trained":
            continue
        identity = read_json(run.identity)
        name = (
            str(identity["base_model"].get("name")) if isinstance(identity, dict) and isinstance(identity.get("base_model"), dict) else ""
        )
        measured = found.setdefault((name, _device_of(run)), Measured())
        if name not in base_models or len(measured.tflops) >= MOST_RUNS:
            continue
        rates = [float(row["tflops_per_device"]) for row in last_events(run.events, "train") if row.get("tflops_per_device")]
        if rates:
            measured.tflops.append(median(rates))
        for task, seconds in _evaluation_seconds(run).items():
            measured.evaluation_seconds.setdefault(task, []).append(seconds)
    return found


def _device_of(run: RunPaths) -> str:
    provenance = read_json(run.provenance)
    devices = provenance.get("cuda_devices") if isinstance(provenance, dict) else None
    return str(devices[0].get("name")) if isinstance(devices, list) and devices and isinstance(devices[0], dict) else CPU


def _evaluation_seconds(run: RunPaths) -> dict[str, float]:
    """Seconds of each task at the last evaluated checkpoint, where they were asked (not taken over from another run)."""
    marks = [folder for folder in (run.folder / "evaluations").glob("tokens_*") if folder.name.removeprefix("tokens_").isdigit()]
    if not marks:
        return {}
    last = max(marks, key=lambda folder: int(folder.name.removeprefix("tokens_")))
    results = [read_result(path.parent) for path in last.glob(f"*/{RESULT_NAME}")]
    found: dict[str, float] = {}
    for result in results:
        if result is not None and "reused_from" not in result and isinstance(result.get("seconds"), float | int):
            found[str(result["task"])] = found.get(str(result["task"]), 0.0) + float(result["seconds"])
    return found


def speed_of(
    machine: MachineConfig,
    *,
    base_model: str,
    parameters: int,
    flops_per_token: float,
    stated: StatedSpeed,
    measured: Mapping[tuple[str, str], Measured],
) -> Speed:
    """The best-founded speed there is. Raises RequestError for an MFU of a device without a known peak."""
    peak = peak_flops(machine.device) if machine.device else None
    if stated.tokens_per_second is not None:
        return Speed(stated.tokens_per_second * flops_per_token, f"{stated.tokens_per_second:g} tokens/s a GPU, as stated")
    if stated.mfu is not None:
        if peak is None:
            raise RequestError(
                f"--mfu {stated.mfu:g} with machine={machine.name}, whose peak is unknown",
                expected="machine.device named as in model/devices.py",
                remedy="give --tokens-per-second, or machine.device",
            )
        return Speed(stated.mfu * peak, f"{stated.mfu:.0%} MFU, as stated")
    mine = measured.get((base_model, CPU if machine.accelerator == "cpu" else machine.device or ""))
    if mine is not None and mine.tflops:
        rate = median(mine.tflops)
        return Speed(rate * TERA, f"{rate:.3g} TFLOPS a device, measured by {len(mine.tflops)} finished runs of {base_model}")
    if peak is None:
        return Speed(None, f"no speed is known for {base_model} on machine={machine.name}: give --tokens-per-second")
    return _as_table7(machine, base_model, parameters, peak)


def _as_table7(machine: MachineConfig, base_model: str, parameters: int, peak: float) -> Speed:
    nearest = min(PAPER_TABLE7, key=lambda row: abs(TABLE7_PARAMETERS[row.model] - parameters))
    assert nearest.tflops_per_device is not None and nearest.execution_efficiency is not None
    mfu = nearest.execution_efficiency / RECOMPUTED_IN_TABLE7
    return Speed(
        mfu * peak,
        f"{base_model} on {machine.device}: {mfu:.1%} MFU, from Table 7's {nearest.tflops_per_device:g} TFLOPS/GPU of {nearest.model} "
        "(A100 40GB; assumed to count recomputation, 3.5 for 3)",
    )
