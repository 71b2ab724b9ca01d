"""What a language model is asked, in token ids: windows whose last tokens are scored, and budgets of answers.

Reads/Writes  nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """Ids of at most max_length + 1 tokens; the last `num_targets` are scored."""

    ids: tuple[int, ...]
    num_targets: int


@dataclass(frozen=True)
class Budget:
    """When an answer is long enough, in tokens of the model, in UTF-8 bytes or in characters of text; whether it may be empty."""

    max_new_tokens: int
    max_new_bytes: int | None = None
    max_new_characters: int | None = None
    empty_allowed: bool = False


@dataclass(frozen=True)
class UncutLength:
    """What a generated answer took, before a stop string or a budget cut it: tokens without the end token, characters of their text."""

    tokens: int
    characters: int


def scoring_windows(context: Sequence[int], target: Sequence[int], *, bos_id: int | None, max_length: int) -> tuple[list[Window], bool]:
    """Windows that score every target token once, and whether the context had to be shortened.

    A context that does not fit beside the target loses its start but keeps <s>. A target that does not fit is scored in pieces of half the
    model's length; each later piece sees <s> and as much of what came before as fits. `bos_id` None: there is no <s> to keep.
    """
    assert context and target
    prefix = [] if bos_id is None else [bos_id]
    half, size = max_length // 2, max_length + 1
    room = size - min(len(target), half)
    truncated = len(context) > room
    kept = [*prefix, *context[len(context) - room + len(prefix) :]] if truncated else list(context)
    first = size - len(kept)
    windows = [Window((*kept, *target[:first]), min(first, len(target)))]
    everything = [*kept, *target]
    for start in range(first, len(target), half):
        piece = target[start : start + half]
        position = len(kept) + start
        before = everything[max(0, position - (size - len(piece) - len(prefix))) : position]
        windows.append(Window((*prefix, *before, *piece), len(piece)))
    return windows, truncated
