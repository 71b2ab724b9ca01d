"""Steps, sequences, tokens: the only arithmetic between them.

sequence   `sequence_length` target tokens (positions)
step       `global_batch_sequences` sequences, one optimizer update
"""

from __future__ import annotations


def steps_to_reach(tokens: int, tokens_per_step: int) -> int:
    """First step at or past `tokens` (20B is not a whole number of 4,194,304-token steps)."""
    assert tokens >= 0 and tokens_per_step > 0
    return -(-tokens // tokens_per_step)


def token_marks(budget_tokens: int, every_tokens: int, num_final: int = 0, final_every_tokens: int | None = None) -> list[int]:
    """Marks 0, every, 2*every, ... and the budget itself; `num_final` more just before it. Token 0 is the model before any training."""
    assert budget_tokens > 0 and every_tokens > 0
    marks = {*range(0, budget_tokens, every_tokens), budget_tokens, *final_marks(budget_tokens, num_final, final_every_tokens)}
    return sorted(marks)


def final_marks(budget_tokens: int, num_final: int, every_tokens: int | None) -> list[int]:
    """The last marks before the budget, `every_tokens` apart: how much scores move between them is noise, not training."""
    if num_final == 0 or every_tokens is None:
        return []
    marks = (budget_tokens - number * every_tokens for number in range(num_final, 0, -1))
    return [mark for mark in marks if mark > 0]


def format_count(value: float) -> str:
    """12,345 -> '12.3 K'; 104,857,600,000 -> '104.9 B'."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if abs(value) >= 0.99995 * size:  # 999,999 is 1.0 M, not 1000.0 K
            return f"{value / size:.1f} {unit}"
    return f"{value:g}"


def format_bytes(value: float) -> str:
    """80,861,000,000 -> '80.9 GB' (decimal units, as disks are sold)."""
    return format_count(value).replace(" B", " G") + ("B" if value >= 1e3 else " B")
