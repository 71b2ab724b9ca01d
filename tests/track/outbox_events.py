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
