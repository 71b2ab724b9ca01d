"""Turn weights and a token budget into an integer plan: how many sequences of each source, in which order.

(1) available   whole sequences in each shard                      -> (tokens - 1) // sequence_length
(2) parallel    the whole parallel corpus, `epochs` times          -> its sequences, its trained tokens
(3) quota       weight x the rest of the budget, largest remainder -> sequences per source, summing exactly
(4) repetition  planned / available                                -> refused above max_repetition
(5) order       mixed: every prefix within half a sequence per source of its share; two_staged: the pairs first, to their end
(6) steps       cut into optimizer steps; the last one is the first at or past the budget

Reads   token shards        Writes  artefacts/mixture/<name>-<hash7>/{plan.json, source.npy, index.npy, steps.npy}
Source  Swallow paper 3.2 (90/5/5), 5.2.1 and Table 8 (order and format of the parallel corpus), App. B (ratios)
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import digest_of, write_json_atomic
from swallow_exp.artefact.manifest import Artefact, build_artefact
from swallow_exp.artefact.paths import artefact_folder
from swallow_exp.artefact.units import format_count
from swallow_exp.config import Config
from swallow_exp.tokens.shard import TokenShard, open_shard

PLAN_NAME = "plan.json"
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SourcePlan:
    """What one source gives. `trained_tokens` counts loss-bearing targets, `positions` all targets."""

    name: str
    weight: float | None  # share of the budget that is not parallel; None for the parallel corpus
    planned_sequences: int
    available_sequences: int
    positions: int
    trained_tokens: int
    text_bytes: int
    repetition: float


def largest_remainder(weights: Sequence[float], total: int) -> list[int]:
    """Split `total` into integers proportional to weights, summing exactly; ties go to the earlier weight."""
    exact = [weight * total for weight in weights]
    granted = [int(value) for value in exact]
    by_remainder = sorted(range(len(weights)), key=lambda k: (granted[k] - exact[k], k))
    for k in by_remainder[: total - sum(granted)]:
        granted[k] += 1
    return granted


def interleave(quotas: Sequence[int]) -> npt.NDArray[np.int16]:
    """Low-discrepancy order of source numbers, (sum(quotas),): the j-th turn of a source falls at (j + 1/2) / quota.

    In every prefix each of k sources is within k / 2 turns of its share.
    """
    positions = np.concatenate([(np.arange(quota) + 0.5) / max(quota, 1) for quota in quotas])
    sources = np.concatenate([np.full(quota, k, dtype=np.int16) for k, quota in enumerate(quotas)])
    return sources[np.argsort(positions, kind="stable")]


def source_order(name: str, available: int, planned: int, seed: int) -> npt.NDArray[np.uint32]:
    """Which sequence of the source comes at its j-th turn: a new seeded permutation each epoch. (planned,).

    Depends on (seed, name, epoch) only, so cells that share a tokenizer see each source in the same order.
    """
    epochs = -(-planned // available) if planned else 0
    parts = []
    for epoch in range(epochs):
        generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(name.encode()), epoch])))
        parts.append(generator.permutation(available).astype(np.uint32))
    return np.concatenate(parts)[:planned] if parts else np.empty(0, dtype=np.uint32)


def trained_per_sequence(shard: TokenShard, sequence_length: int, available: int) -> IntArray:
    """Loss-bearing targets of each sequence of a shard. (available,)."""
    if shard.loss is None:
        return np.full(available, sequence_length, dtype=np.int64)
    flags = np.asarray(shard.loss[1 : 1 + available * sequence_length])
    return np.asarray(flags.reshape(available, sequence_length).sum(axis=1), dtype=np.int64)


@dataclass(frozen=True)
class _Draft:
    """A plan before it is written: source number and sequence number of every position in the stream."""

    names: list[str]
    sources: npt.NDArray[np.int16]
    indices: npt.NDArray[np.uint32]
    trained: list[IntArray]  # per source, per sequence of its shard
    bytes_per_token: list[float]
    available: list[int]


def _quotas(config: Config, available: Mapping[str, int], parallel_sequences: int, parallel_trained: int) -> dict[str, int]:
    """Sequences of each document source; fills what the pairs leave of the budget, up to a whole last step."""
    length, batch = config.optim.sequence_length, config.optim.global_batch_sequences
    rest = -(-(config.budget.tokens - parallel_trained) // length)
    rest += -(parallel_sequences + rest) % batch
    names = [name for name, weight in config.mixture.weights.items() if weight > 0]
    granted = dict(zip(names, largest_remainder([config.mixture.weights[n] for n in names], rest), strict=True))
    for name, planned in granted.items():
        if available[name] == 0:
            raise RequestError(
                f"source {name} has less than one sequence of {length} tokens",
                expected="at least one whole sequence",
                remedy="give it more text or shorten optim.sequence_length",
            )
        repetition = planned / available[name]
        if repetition > config.mixture.max_repetition:
            raise RequestError(
                f"mixture={config.mixture.name}: {name} is asked for {format_count(planned * length)} tokens "
                f"but has {format_count(available[name] * length)} ({repetition:.1f} repetitions)",
                expected=f"at most max_repetition={config.mixture.max_repetition:g}",
                remedy="add text, lower its weight or the budget, or raise mixture.max_repetition",
            )
    return granted


def _draft(config: Config, shards: Mapping[str, TokenShard]) -> _Draft:
    length = config.optim.sequence_length
    available = {name: max(0, (len(shard.tokens) - 1) // length) for name, shard in shards.items()}
    trained = {name: trained_per_sequence(shard, length, available[name]) for name, shard in shards.items()}
    pairs = config.mixture.parallel_source if config.parallel.format is not None else None
    parallel_sequences = config.parallel.epochs * available[pairs] if pairs else 0
    parallel_trained = config.parallel.epochs * int(trained[pairs].sum()) if pairs else 0
    if pairs and parallel_sequences == 0:
        raise RequestError(
            f"parallel source {pairs} has less than one sequence of {length} tokens",
            expected="at least one whole sequence",
            remedy="give it more pairs or choose parallel=none",
        )
    if parallel_trained >= config.budget.tokens:
        raise RequestError(
            f"parallel={config.parallel.name}: the pairs alone have {format_count(parallel_trained)} trained tokens",
            expected=f"fewer than budget.tokens={config.budget.tokens}",
            remedy="raise the budget, lower parallel.epochs, or cap the pairs with max_documents",
        )
    quotas = _quotas(config, available, parallel_sequences, parallel_trained)
    names = [*quotas, *([pairs] if pairs else [])]
    counts = [*quotas.values(), *([parallel_sequences] if pairs else [])]
    if pairs and config.parallel.order == "two_staged":
        staged = np.full(parallel_sequences, len(names) - 1, dtype=np.int16)
        sources = np.concatenate([staged, interleave(counts[:-1])])
    else:
        sources = interleave(counts)
    indices = np.empty(len(sources), dtype=np.uint32)
    for k, name in enumerate(names):
        indices[sources == k] = source_order(name, available[name], counts[k], config.seed)
    return _Draft(
        names=names,
        sources=sources,
        indices=indices,
        trained=[trained[name] for name in names],
        bytes_per_token=[shards[name].text_bytes / len(shards[name].tokens) for name in names],
        available=[available[name] for name in names],
    )


def _steps(config: Config, draft: _Draft) -> IntArray:
    """Cumulative (trained_tokens, positions, text_bytes) after 0, 1, ... steps, up to the first at or past the budget."""
    length, batch = config.optim.sequence_length, config.optim.global_batch_sequences
    trained = np.zeros(len(draft.sources), dtype=np.int64)
    text = np.zeros(len(draft.sources), dtype=np.float64)
    for k, per_sequence in enumerate(draft.trained):
        mine = draft.sources == k
        trained[mine] = per_sequence[draft.indices[mine]]
        text[mine] = draft.bytes_per_token[k] * length
    whole = len(draft.sources) // batch
    after = np.zeros((whole + 1, 3), dtype=np.int64)
    after[1:, 0] = trained[: whole * batch].reshape(whole, batch).sum(axis=1).cumsum()
    after[1:, 1] = np.arange(1, whole + 1) * batch * length
    after[1:, 2] = np.round(text[: whole * batch].reshape(whole, batch).sum(axis=1).cumsum())
    last = int(np.searchsorted(after[:, 0], config.budget.tokens))
    assert last <= whole, (last, whole)
    return after[: last + 1]


def _summary(config: Config, draft: _Draft, num_sequences: int) -> list[SourcePlan]:
    length = config.optim.sequence_length
    plans = []
    for k, name in enumerate(draft.names):
        mine = draft.indices[:num_sequences][draft.sources[:num_sequences] == k]
        plans.append(
            SourcePlan(
                name=name,
                weight=config.mixture.weights.get(name),
                planned_sequences=len(mine),
                available_sequences=draft.available[k],
                positions=len(mine) * length,
                trained_tokens=int(draft.trained[k][mine].sum()),
                text_bytes=round(draft.bytes_per_token[k] * len(mine) * length),
                repetition=len(mine) / draft.available[k],
            )
        )
    return plans


def _request(config: Config) -> dict[str, Any]:
    optim, parallel = config.optim, config.parallel
    return {
        "name": config.mixture.name,
        "weights": dict(config.mixture.weights),
        "max_repetition": config.mixture.max_repetition,
        "parallel": {"format": parallel.format, "order": parallel.order, "epochs": parallel.epochs} if parallel.format else None,
        "budget_tokens": config.budget.tokens,
        "sequence_length": optim.sequence_length,
        "global_batch_sequences": optim.global_batch_sequences,
        "seed": config.seed,
    }


def planned_sources(config: Config) -> list[str]:
    """Sources whose shards the plan needs: those with a weight, and the pairs when a parallel level uses them."""
    names = [name for name, weight in config.mixture.weights.items() if weight > 0]
    if config.parallel.format is not None and config.mixture.parallel_source is not None:
        names.append(config.mixture.parallel_source)
    return names


def build_plan(config: Config, shards: Mapping[str, Artefact], *, out: Path) -> Artefact:
    """The plan artefact of one run. `shards` maps every name of `planned_sources` to its tokens artefact.

    Raises RequestError when a source is too small, repeats too often, or the pairs alone exceed the budget.
    """
    request = _request(config)
    made_from = {name: shards[name].digest for name in planned_sources(config)}
    digest = digest_of({"request": request, "made_from": made_from})
    folder = artefact_folder(out, "mixture", f"{config.mixture.name}-{config.parallel.name}", digest)

    def build(partial: Path) -> Mapping[str, Any]:
        draft = _draft(config, {name: open_shard(shards[name]) for name in made_from})
        steps = _steps(config, draft)
        num_sequences = (len(steps) - 1) * config.optim.global_batch_sequences
        sources = _summary(config, draft, num_sequences)
        np.save(partial / "source.npy", draft.sources[:num_sequences])
        np.save(partial / "index.npy", draft.indices[:num_sequences])
        np.save(partial / "steps.npy", steps)
        counts = {
            "steps": len(steps) - 1,
            "sequences": num_sequences,
            "trained_tokens": int(steps[-1, 0]),
            "positions": int(steps[-1, 1]),
            "text_bytes": int(steps[-1, 2]),
        }
        write_json_atomic(partial / PLAN_NAME, {**request, **counts, "sources": [asdict(source) for source in sources]})
        return counts

    return build_artefact(folder, build, kind="mixture", digest=digest, request=request, made_from=made_from)
