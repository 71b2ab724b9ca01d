"""A causal language model that computes what its inputs share once: likelihoods of windows, greedy answers to contexts.

(1) plan      windows or contexts            -> packs in a fixed order (prefixes.py), whatever order and batch they came in
(2) stem      tokens before a pack           -> keys and values, kept while the packs that hang on it last
(3) pack      subtrees as one row of tokens  -> logits where they are wanted; a tree mask keeps the branches apart
(4) score     logits                         -> sum of log-probabilities of the targets, float32
(5) generate  keys and values of each row    -> left-padded batch, greedy; rows that have ended leave the batch

A part of the packs may be computed elsewhere (crew.py): packs, and so every bit of the results, are the same for any number of parts.

Shapes: B rows, Q tokens of a pass, P of its stem, L of a row with padding, V ids, H heads, D width of a head.
Reads/Writes  nothing; random number generators are not touched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from transformers import DynamicCache

from swallow_exp.artefact.errors import RequestError, RunFailed
from swallow_exp.evaluate.engine.decoding import GreedyDecoder, RoomyCache
from swallow_exp.evaluate.engine.encoding import TextEncoder
from swallow_exp.evaluate.engine.prefixes import Limits, Pack, PackedTree, PrefixNode, build_forest, lay_out, plan_packs
from swallow_exp.evaluate.engine.windows import Budget, Window

MAX_LOGITS = 1 << 27  # float32 logits held at once: 0.5 GiB
# assumed: attention inside a pack costs tokens^2, everything else tokens x width: twice the width keeps the first the smaller
MIN_PACK, MAX_PACK = 256, 8192

Score = tuple[float, bool]  # log-likelihood, whether it is the greedy choice
Result = TypeVar("Result")
Work = TypeVar("Work", Pack, list[Pack])


@dataclass(frozen=True)
class Passed:
    """What one forward pass left: logits of the wanted places, and the keys and values of stem and pack."""

    logits_KV: torch.Tensor
    layout: PackedTree
    cache: Any
    stem_tokens: int


class TorchEngine:
    """A model on its device. `score` and `generate` do everything; `*_part` the share of one of several equal engines."""

    def __init__(self, model: Any, encoder: TextEncoder, *, batch_size: int, max_length: int) -> None:
        """Wrap `model`, which the caller has put in eval mode. Raises RequestError for attention that is not the same in all layers."""
        self.model, self.encoder, self.batch_size = model, encoder, batch_size
        self.num_ids = min(encoder.size, int(model.config.vocab_size))  # rows beyond the tokenizer are padding, never text
        width = int(model.config.hidden_size)
        self.max_tokens = min(max(MIN_PACK, min(2 * width, MAX_PACK)), batch_size * max_length)
        self.span = _attention_span(model.config)
        self.progress: Callable[[float], None] = lambda share: (
            None
        )  # told what share of a question has been answered since it was told last
        self._cache: Any = None
        self._stem: tuple[PrefixNode, ...] = ()

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        device: torch.device = self.model.device
        return device

    def score(self, windows: Sequence[Window]) -> list[Score]:
        """Log-likelihood of each window's targets (natural log) and whether all of them are the greedy choice."""
        return merge(len(windows), [self.score_part(windows, 0, 1)])

    def generate(self, contexts: Sequence[Sequence[int]], *, until: tuple[str, ...], budget: Budget) -> list[list[int]]:
        """Greedy ids after each context, without the end token."""
        return merge(len(contexts), [self.generate_part(contexts, 0, 1, until=until, budget=budget)])

    @torch.inference_mode()
    def score_part(self, windows: Sequence[Window], part: int, parts: int) -> dict[int, Score]:
        """Index of a window -> score, for one share of the windows; equal windows are computed once."""
        first: dict[Window, int] = {}
        same = [first.setdefault(window, index) for index, window in enumerate(windows)]
        asked = sorted(first.values())
        sequences = [windows[index].ids[:-1] for index in asked]
        targets = [windows[index].num_targets for index in asked]
        limits = Limits(self.max_tokens, max(1, MAX_LOGITS // self.num_ids), len(sequences))
        packs = plan_packs(build_forest(sequences, targets, targets), limits) if asked else []
        found: dict[int, Score] = {}
        mine = list(_share(packs, [pack.tokens for pack in packs], part, parts))
        whole = sum(pack.tokens for pack in mine)
        for pack in mine:
            passed = self._pass(pack, sequences, targets)
            members = list(passed.layout.paths)
            ids = [token for member in members for token in windows[asked[member]].ids[-targets[member] :]]
            targets_K = torch.tensor(ids, device=self.device)
            chosen_K = passed.logits_KV.gather(1, targets_K.unsqueeze(1)).squeeze(1)
            totals_K = (chosen_K - passed.logits_KV.logsumexp(dim=1)).double().cpu()
            greedy_K = (passed.logits_KV.amax(dim=1) <= chosen_K).cpu()
            sizes = [targets[member] for member in members]
            for member, total, greedy in zip(members, torch.split(totals_K, sizes), torch.split(greedy_K, sizes), strict=True):
                found[asked[member]] = (float(total.sum()), bool(greedy.all()))
            self.progress(pack.tokens / whole)
        _refuse_nan([total for total, _ in found.values()])
        self._forget()
        return {index: found[leader] for index, leader in enumerate(same) if leader in found}

    @torch.inference_mode()
    def generate_part(
        self, contexts: Sequence[Sequence[int]], part: int, parts: int, *, until: tuple[str, ...], budget: Budget
    ) -> dict[int, list[int]]:
        """Index of a context -> greedy ids, for one share of the contexts.

        A row ends at an end token, at a piece that holds a stop, or at the budget.
        """
        ones = [1] * len(contexts)
        packs = (
            plan_packs(build_forest(contexts, ones, ones), Limits(self.max_tokens, self.batch_size, self.batch_size)) if contexts else []
        )
        found: dict[int, list[int]] = {}
        batches = list(_in_batches(packs, self.batch_size))
        mine = list(_share(batches, [sum(pack.rows for pack in batch) for batch in batches], part, parts))
        for batch in mine:
            logits_BV, rows, cache, lengths = self._read_batch(batch, contexts)
            found.update(zip(rows, self._answer(logits_BV, cache, lengths, until=until, budget=budget), strict=True))
            self.progress(1 / len(mine))
        self._forget()
        return found

    def _pass(self, pack: Pack, sequences: Sequence[Sequence[int]], kept: Sequence[int]) -> Passed:
        """One forward pass over a pack; logits of the last `kept` places of each of its sequences, in the layout's order of sequences."""
        self._enter(pack.stem, sequences)
        layout = lay_out(pack, sequences)
        wanted: list[int] = []
        for member, path in layout.paths.items():
            end = layout.runs[path[-1]][1]
            wanted.extend(range(end - kept[member], end))
        mask = _tree_mask(layout, pack.stem_tokens, self.span)
        logits = self._forward(layout.ids, layout.positions, mask, torch.tensor(wanted, device=self.device))
        return Passed(logits[..., : self.num_ids].float(), layout, self._cache, pack.stem_tokens)

    def _enter(self, stem: tuple[PrefixNode, ...], sequences: Sequence[Sequence[int]]) -> None:
        """Make the cache hold exactly the stem: keep what it begins with, drop the rest, compute what is missing."""
        same = 0
        while same < min(len(stem), len(self._stem)) and stem[same] is self._stem[same]:
            same += 1
        length = stem[same - 1].end if same else 0
        if length:
            surplus = self._cache.get_seq_length() - length
            if surplus:
                self._cache.crop(-surplus)
        else:
            self._cache = DynamicCache()
        for node in stem[same:]:
            ids = sequences[node.example][length : node.end]
            run = PackedTree(list(ids), list(range(length, node.end)), [(0, len(ids), -1)], {})
            self._forward(run.ids, run.positions, _tree_mask(run, length, self.span), torch.tensor([len(ids) - 1], device=self.device))
            length = node.end
        self._stem = stem

    def _forward(self, ids: Sequence[int], positions: Sequence[int], mask: torch.Tensor | None, wanted: torch.Tensor) -> torch.Tensor:
        output = self.model(
            torch.tensor([ids], device=self.device),
            attention_mask=None if mask is None else mask.to(self.device),
            position_ids=torch.tensor([positions], device=self.device),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=wanted,
        )
        logits: torch.Tensor = output.logits[0]
        return logits

    def _forget(self) -> None:
        """Free the cache: the nodes of another plan mean other tokens."""
        self._cache, self._stem = None, ()

    def _read_batch(self, batch: Sequence[Pack], contexts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, list[int], Any, list[int]]:
        """Read the contexts of some packs: logits after each, which context each row is, keys and values, tokens of each row."""
        rows: list[int] = []
        logits: list[torch.Tensor] = []
        longest = max(pack.longest for pack in batch)
        cache = RoomyCache()
        ones = [1] * len(contexts)
        for pack in batch:
            passed = self._pass(pack, contexts, ones)
            stem = list(range(passed.stem_tokens))
            paths = {
                member: [*stem, *(passed.stem_tokens + place for place in passed.layout.places(member))] for member in passed.layout.paths
            }
            # what stands in the padding is never looked at
            places_BL = torch.tensor([[0] * (longest - len(path)) + path for path in paths.values()], device=self.device)
            cache.add_rows(passed.cache, places_BL)
            rows.extend(paths)
            logits.append(passed.logits_KV)
        return torch.cat(logits), rows, cache, [len(contexts[row]) for row in rows]

    def _answer(
        self, logits_BV: torch.Tensor, cache: Any, lengths: list[int], *, until: tuple[str, ...], budget: Budget
    ) -> list[list[int]]:
        """Greedy answers, one token a row and step; `cache` holds `lengths` tokens of each row behind its padding."""
        _refuse_nan(logits_BV.sum(dim=1).tolist())
        answers = GreedyDecoder(self.encoder, len(lengths), self.num_ids, until=until, budget=budget, device=self.device)
        longest = max(lengths)
        positions = torch.tensor(lengths, device=self.device).unsqueeze(1)
        seen = torch.arange(longest, device=self.device) >= longest - positions
        for step in range(budget.max_new_tokens):
            next_B = answers.take(logits_BV)
            going = answers.going
            if not going or step + 1 == budget.max_new_tokens:
                break
            if 2 * len(going) <= len(next_B):
                kept = torch.tensor(going, device=self.device)
                answers.keep(going)
                cache.batch_select_indices(kept)
                next_B, positions, seen = next_B[kept], positions[kept], seen[kept]
            seen = torch.cat([seen, seen.new_ones(len(seen), 1)], dim=1)
            mask = seen
            if self.span is not None:  # a place's distance from the last one is the distance of the tokens
                mask = seen & (torch.arange(seen.shape[1], 0, -1, device=self.device) <= self.span)
            output = self.model(
                next_B.unsqueeze(1), attention_mask=mask[:, None, None, :], position_ids=positions, past_key_values=cache, use_cache=True
            )
            logits_BV, positions = output.logits[:, -1, : self.num_ids].float(), positions + 1
        return answers.ids


def merge(count: int, parts: Sequence[dict[int, Result]]) -> list[Result]:
    """Results of all parts in the order of what was asked. Asserts that none is missing."""
    everything = {index: result for part in parts for index, result in part.items()}
    assert len(everything) == count, (len(everything), count)
    return [everything[index] for index in range(count)]


def _share(work: Sequence[Work], weights: Sequence[int], part: int, parts: int) -> Iterator[Work]:
    """The part's piece of the work: consecutive, because neighbours have stems in common; about as heavy as the others."""
    total, done = sum(weights), 0
    for piece, weight in zip(work, weights, strict=True):
        if (2 * done + weight) * parts // (2 * total) == part:  # where the middle of the piece lies
            yield piece
        done += weight


def _in_batches(packs: Sequence[Pack], num_rows: int) -> Iterator[list[Pack]]:
    """Consecutive packs that together have at most `num_rows` rows."""
    batch: list[Pack] = []
    for pack in packs:
        if batch and sum(one.rows for one in batch) + pack.rows > num_rows:
            yield batch
            batch = []
        batch.append(pack)
    if batch:
        yield batch


def _tree_mask(layout: PackedTree, stem_tokens: int, span: int | None) -> torch.Tensor | None:
    """1 x 1 x Q x (P + Q), True where a token sees another: the stem, its own branch up to itself. None: the plain causal mask."""
    size = len(layout.ids)
    if layout.is_chain and not stem_tokens and (span is None or size <= span):
        return None
    mask = torch.zeros(size, stem_tokens + size, dtype=torch.bool)
    mask[:, :stem_tokens] = True
    for first, end, before in layout.runs:
        if before >= 0:
            mask[first:end, stem_tokens:] = mask[before, stem_tokens:]
        mask[first:end, stem_tokens + first : stem_tokens + end] = torch.ones(end - first, end - first, dtype=torch.bool).tril()
    if span is not None:
        positions = torch.tensor([*range(stem_tokens), *layout.positions])
        mask &= positions[stem_tokens:, None] - positions[None, :] < span
    return mask[None, None]


def _attention_span(config: Any) -> int | None:
    """How many tokens back a token sees, itself included; None: all that the model can read."""
    kinds = set(getattr(config, "layer_types", None) or ())
    span = getattr(config, "sliding_window", None)
    if (
        span is None
        or span >= config.max_position_embeddings
        or kinds == {"full_attention"}
        or getattr(config, "use_sliding_window", True) is False
    ):
        return None
    if len(kinds) > 1:
        raise RequestError(
            f"a model whose layers see differently far ({', '.join(sorted(kinds))})",
            expected="layers that all see everything, or all the same distance",
            remedy="evaluate this model with another harness",
        )
    return int(span)


def _refuse_nan(numbers: Sequence[float]) -> None:
    """A diverged model has no scores; picking the first of four NaNs would look like one."""
    if not all(map(math.isfinite, numbers)):
        raise RunFailed("the model's outputs are not finite numbers; its training diverged, or its weights are damaged")
