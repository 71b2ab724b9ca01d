"""Events as the trainer and the evaluator write them."""

from typing import Any


def train_events(first: int, last: int) -> list[dict[str, Any]]:
    """Training rows of the steps first..last-1, with numbers that do not survive rounding."""
    return [
        {
            "kind": "train",
            "trained_tokens": 4096 * step,
            "step": step,
            "loss": 10.0 / (step + 3),
            "learning_rate": 1e-4 / 3,
            "grad_norm": 1.0 / (step + 7),
            "tokens_per_second": 1234.5678 + step,
            "text_bytes": 17001 * step,
            "flops": 1.5e15 * step,
            "positions": 4100 * step,
        }
        for step in range(first, last)
    ]


def evaluation_event(trained_tokens: int, score: float, profile: str = "both") -> dict[str, Any]:
    """One evaluation row."""
    return {
        "kind": "evaluation",
        "trained_tokens": trained_tokens,
        "suite": "mini",
        "task": "mini_choice",
        "metric": "accuracy",
        "profile": profile,
        "score": score,
        "num_items": 150,
        "checkpoint_digest": "ab",
    }


# `python -c` with OUT and RUN_ID: publishes online and dies of SIGKILL before the 41st row
KILLED_PUBLISHER = """
import os, signal, sys
from pathlib import Path
from swallow_exp.track import publish, wandb_sink
from swallow_exp.track.sinks import Destination
wandb = wandb_sink.import_wandb()
log = wandb.Run.log
def log_or_die(self, values, step, commit):
    if step == 40:
        os.kill(os.getpid(), signal.SIGKILL)
    log(self, values, step=step, commit=commit)
wandb.Run.log = log_or_die
publish.publish_run(Path(sys.argv[1]), sys.argv[2], Destination("wandb", "online", "ablation"))
"""
