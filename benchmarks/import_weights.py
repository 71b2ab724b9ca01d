"""Load a 7B-shaped Hugging Face folder into processes that share it: how much memory each of them ever holds.

    python benchmarks/import_weights.py FOLDER [--layers 32] [--processes 2] [--precision bf16-master]

(1) make    random bfloat16 weights of Llama 2 7B's shape in files of about 1 GB (kept in FOLDER, made once)
(2) load    model.load_model.load_model in every process, under FSDP2
(3) report  peak anonymous memory (RssAnon, sampled) above what the process had before, beside the size of its shard

Anonymous memory is what a process owns; pages of the mapped files are the system's, shared and given back when memory is short.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

LLAMA2_7B = {
    "vocab_size": 32_000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "max_position_embeddings": 4096,
}
FILE_BYTES = 10**9
GB = 1e9


def make_folder(folder: Path, layers: int) -> int:
    """Write the weights unless they are there; bytes of all of them."""
    import torch
    from safetensors.torch import save_file
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(**LLAMA2_7B, num_hidden_layers=layers, architectures=["LlamaForCausalLM"], dtype="bfloat16")
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in LlamaForCausalLM(config).state_dict().items()}
    total = sum(shape.numel() for shape in shapes.values()) * 2
    index = folder / "model.safetensors.index.json"
    if index.exists() and json.loads(index.read_text())["metadata"]["total_size"] == total:
        return total
    folder.mkdir(parents=True, exist_ok=True)
    noise = torch.randn(1 << 20, generator=torch.Generator().manual_seed(0)).mul_(0.02).bfloat16()
    files: dict[str, str] = {}
    pending: dict[str, torch.Tensor] = {}

    def write() -> None:
        name = f"model-{len(set(files.values())):05d}.safetensors"
        save_file(pending, str(folder / name), metadata={"format": "pt"})
        files.update(dict.fromkeys(pending, name))
        pending.clear()

    for name, shape in shapes.items():
        repeats = -(-shape.numel() // len(noise))
        pending[name] = noise.repeat(repeats)[: shape.numel()].reshape(shape)
        if sum(tensor.numel() for tensor in pending.values()) * 2 > FILE_BYTES:
            write()
    if pending:
        write()
    config.save_pretrained(str(folder))
    index.write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": files}))
    return total


def anonymous_bytes() -> int:
    """RssAnon of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


class Peak:
    """Most anonymous memory, sampled every few milliseconds."""

    def __init__(self) -> None:
        self.most = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._ended.wait(0.005):
            self.most = max(self.most, anonymous_bytes())

    def end(self) -> int:
        self._ended.set()
        self._thread.join()
        return max(self.most, anonymous_bytes())


def load_one(folder: Path, rank: int, processes: int, store: str, precision: str) -> None:
    import torch
    from torch.distributed.device_mesh import init_device_mesh

    from swallow_exp.model.load_model import load_model

    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", store=torch.distributed.FileStore(store, processes), rank=rank, world_size=processes)
    mesh = init_device_mesh("cpu", (processes,))
    import transformers.models.llama.modeling_llama  # noqa: F401  its memory is not the model's

    before = anonymous_bytes()
    peak, started = Peak(), time.perf_counter()
    model = load_model(folder, mesh=mesh, device=torch.device("cpu"), attention="sdpa", precision=precision)
    seconds, most, after = time.perf_counter() - started, peak.end(), anonymous_bytes()
    shard = 0
    for parameter in model.parameters():
        local = parameter.to_local() if hasattr(parameter, "to_local") else parameter
        shard += local.numel() * local.element_size()
    facts = {"shard": shard, "peak": most - before, "after": after - before, "seconds": seconds, "before": before}
    print(json.dumps({"rank": rank, **facts}), flush=True)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--precision", default="bf16-master", choices=("32-true", "bf16-mixed", "bf16-master"))
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--store", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.rank is not None:
        load_one(given.folder, given.rank, given.processes, given.store, given.precision)
        return
    total = make_folder(given.folder, given.layers)
    print(f"{given.layers} layers of Llama 2 7B, {total / GB:.2f} GB of bfloat16 weights, {given.processes} processes, {given.precision}")
    store = given.folder / f".store-{os.getpid()}"
    command = [sys.executable, __file__, str(given.folder), "--processes", str(given.processes), "--precision", given.precision]
    workers = [
        subprocess.Popen([*command, "--store", str(store), "--rank", str(rank)], stdout=subprocess.PIPE, text=True)
        for rank in range(given.processes)
    ]
    for worker in workers:
        text, _ = worker.communicate()
        if worker.returncode:
            raise SystemExit(f"a process ended with {worker.returncode}")
        facts = json.loads(text.strip().splitlines()[-1])
        print(
            f"process {facts['rank']}: shard {facts['shard'] / GB:.2f} GB; anonymous memory at most {facts['peak'] / GB:.2f} GB, "
            f"{facts['after'] / GB:.2f} GB when loaded (over {facts['before'] / GB:.2f} GB before); {facts['seconds']:.1f} s"
        )
    store.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
