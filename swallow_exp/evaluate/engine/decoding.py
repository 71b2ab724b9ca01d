"""Greedy decoding of a batch: what each row has written and whether it goes on, and keys and values that grow without being copied.

Shapes: B rows, V ids, H heads, L tokens of a row with padding, D width of a head.
Reads/Writes  nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from swallow_exp.evaluate.engine.encoding import TextEncoder
from swallow_exp.evaluate.engine.windows import Budget

GROWTH = 64  # places added at once: enough that copying is rare, few enough that short answers cost no memory


class GreedyDecoder:
    """Answers of B rows while they are written. `rows` are those that the model still computes, `going` those of them that go on."""

    def __init__(
        self, encoder: TextEncoder, num_rows: int, num_ids: int, *, until: tuple[str, ...], budget: Budget, device: torch.device
    ) -> None:
        """Nothing written yet."""
        self.ids: list[list[int]] = [[] for _ in range(num_rows)]
        self._eos_ids = encoder.eos_ids
        in_characters = budget.max_new_characters is not None
        self._sizes = torch.tensor(encoder.piece_characters if in_characters else encoder.piece_bytes, device=device)
        # a character budget ends with the first character beyond it and the space of the first piece, which decoding drops
        self._limit = budget.max_new_bytes if budget.max_new_characters is None else budget.max_new_characters + 2
        self._ends = torch.zeros(num_ids, dtype=torch.bool, device=device)
        self._ends[[i for i in encoder.eos_ids if i < num_ids]] = True
        self._stops = self._ends.clone()
        self._stops[[i for i in encoder.ids_with(until) if i < num_ids]] = True
        self._empty_allowed = budget.empty_allowed
        self._begun = False
        self._rows = list(range(num_rows))
        self._written_B = torch.zeros(num_rows, dtype=torch.long, device=device)
        self._going_B = torch.ones(num_rows, dtype=torch.bool, device=device)
        self.going = list(range(num_rows))  # places in the batch

    def take(self, logits_BV: torch.Tensor) -> torch.Tensor:
        """Append the most likely token to each row that goes on; returns the tokens, B."""
        if not self._begun and not self._empty_allowed:
            logits_BV = logits_BV.masked_fill(self._ends, float("-inf"))
        self._begun = True
        next_B = logits_BV.argmax(dim=1)
        tokens = next_B.tolist()
        for place in self.going:
            if tokens[place] not in self._eos_ids:
                self.ids[self._rows[place]].append(tokens[place])
        self._written_B += self._sizes[next_B]
        self._going_B &= ~self._stops[next_B]
        if self._limit is not None:
            self._going_B &= self._written_B < self._limit
        self.going = [place for place, going in enumerate(self._going_B.tolist()) if going]
        return next_B

    def keep(self, places: Sequence[int]) -> None:
        """From now on the batch has only these places."""
        chosen = torch.tensor(places, device=self._going_B.device)
        self._rows = [self._rows[place] for place in places]
        self._written_B, self._going_B = self._written_B[chosen], self._going_B[chosen]
        self.going = list(range(len(places)))


class _RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of one layer, with free places behind them: appending a token copies nothing else. Both B x H x L x D."""

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Append; returns views of everything."""
        before = self.get_seq_length()
        after = before + key_states.shape[2]
        if after > self._all_keys.shape[2]:
            self._grow(after + GROWTH)
        self._all_keys[:, :, before:after], self._all_values[:, :, before:after] = key_states, value_states
        self._show(after)
        return self.keys, self.values

    def add_rows(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """More rows of as many places as those before."""
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
            self._all_keys, self._all_values = keys, values
        else:
            self._all_keys, self._all_values = torch.cat([self._all_keys, keys]), torch.cat([self._all_values, values])
        self._show(keys.shape[2])

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Only these rows."""
        length = self.get_seq_length()
        self._all_keys, self._all_values = self._all_keys[indices], self._all_values[indices]
        self._show(length)

    def _grow(self, capacity: int) -> None:
        batch, heads, _, width = self._all_keys.shape
        length = self.get_seq_length()
        for name in ("_all_keys", "_all_values"):
            old = getattr(self, name)
            new = old.new_empty(batch, heads, capacity, old.shape[3] if name == "_all_values" else width)
            new[:, :, :length] = old[:, :, :length]
            setattr(self, name, new)
        self._show(length)

    def _show(self, length: int) -> None:
        self.keys, self.values = self._all_keys[:, :, :length], self._all_values[:, :, :length]


class RoomyCache(DynamicCache):  # type: ignore[misc]
    """A cache that starts as rows gathered from another one."""

    def __init__(self) -> None:
        """No rows."""
        super().__init__()
        self.layer_class_to_replicate = _RoomyLayer

    def add_rows(self, source: Any, places_BL: torch.Tensor) -> None:
        """More rows, each of the tokens of a source of one row that stand at the given places."""
        num_rows, length = places_BL.shape
        while len(self.layers) < len(source.layers):
            self.layers.append(_RoomyLayer())
        for layer, given in zip(self.layers, source.layers, strict=True):
            gathered = [
                table[0].index_select(1, places_BL.flatten()).unflatten(1, (num_rows, length)).transpose(0, 1)
                for table in (given.keys, given.values)
            ]
            layer.add_rows(*gathered)
