"""Turn shares and a token budget into an integer plan: how many sequences of each source, in which order.

(1) available   whole sequences in each shard                      -> (tokens - 1) // sequence_length
(2) parallel    the whole parallel corpus, `epochs` times          -> its sequences, its trained tokens
(3) quota       what the budget leaves, split by the mixture       -> sequences per source, summing exactly (quotas.py)
(4) stages      mixed: one; two_staged: the pairs to their end, then the mixture
(5) order       every prefix of a stage less than one sequence from each source's share (order.py)
(6) steps       cut into optimizer steps; the last one is the first at or past the budget, in the count the budget names

The end is cut by whole steps: when masked pairs are mixed in, the very last step can turn out not to be needed, and the sequences it
would have held (less than one step's, pairs among them) are not trained on. Everywhere else every sequence comes once an epoch.

Reads   token shards        Writes  artefacts/mixture/<name>-<hash7>/{plan.json, source.npy, index.npy, steps.npy}
Source  Swallow paper 3.2 (90/5/5), 5.2.1 and Table 8 (order and format of the parallel corpus), App. B (ratios)
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import digest_of, write_json_atomic
from swallow_exp.artefact.manifest import Artefact, build_artefact
from swallow_exp.artefact.paths import artefact_folder
from swallow_exp.artefact.progress import progress_bar
from swallow_exp.artefact.units import format_count
from swallow_exp.config import Config
from swallow_exp.mixture.order import interleave, prefix_deviation
from swallow_exp.mixture.quotas import asked_text, mixed_sources, part_of, solve_quotas
from swallow_exp.tokens.shard import TokenShard, open_shard

PLAN_NAME = "plan.json"
STEP_COLUMNS = ("trained_tokens", "positions", "text_bytes")  # of steps.npy
BLOCK_SEQUENCES = 1 << 19
IntArray = npt.NDArray[np.int64]
Advance = Callable[[float], None]


@dataclass(frozen=True)
class SourcePlan:
    """What one source gives. `trained_tokens` counts loss-bearing targets, `positions` all targets."""

    name: str
    stage: str
    group: str | None
    asked: str
    weight: float | None  # asked share of the positions that are not parallel; None when it was not asked as a share
    share: float | None  # planned share of them; None for the parallel corpus
    off_sequences: float | None  # planned minus asked, in sequences; None without an asked share
    planned_sequences: int
    available_sequences: int
    positions: int
    trained_tokens: int
    text_bytes: int
    repetition: float


@dataclass(frozen=True)
class Source:
    """What a plan needs to know of a shard.

    available         whole sequences
    trained           loss-bearing targets of each sequence, (available,); None when every target is one
    bytes_per_token   of text
    """

    name: str
    available: int
    trained: IntArray | None
    bytes_per_token: float

    def trained_tokens(self, sequence_length: int) -> int:
        """Loss-bearing targets of all its sequences."""
        return self.available * sequence_length if self.trained is None else int(self.trained.sum())


@dataclass(frozen=True)
class Draft:
    """A plan before it is written: source number and sequence number of every position in the stream, one stage after the other.

    stages   name -> how many sequences, and the largest deviation of a prefix from a share, in sequences
    """

    sources: list[Source]
    stages: dict[str, tuple[int, float]]
    order: npt.NDArray[np.int16]
    indices: npt.NDArray[np.uint32]


def read_source(name: str, shard: TokenShard, sequence_length: int, advance: Advance = lambda amount: None) -> Source:
    """Count a shard's whole sequences and the loss-bearing targets of each."""
    available = max(0, (len(shard.tokens) - 1) // sequence_length)
    trained = None
    if shard.loss is not None:
        trained = np.empty(available, dtype=np.int64)
        block = max(1, (1 << 24) // sequence_length)
        for first in range(0, available, block):
            last = min(first + block, available)
            flags = np.asarray(shard.loss[1 + first * sequence_length : 1 + last * sequence_length])
            trained[first:last] = flags.reshape(-1, sequence_length).sum(axis=1)
            advance(last - first)
    return Source(name, available, trained, shard.text_bytes / max(len(shard.tokens), 1))


def source_order(name: str, available: int, planned: int, seed: int) -> npt.NDArray[np.uint32]:
    """Which sequence of the source comes at its j-th turn: a new seeded permutation each epoch. (planned,).

    Depends on (seed, name, epoch) only, so cells that share a tokenizer see each source in the same order.
    """
    order = np.empty(planned, dtype=np.uint32)
    for epoch in range(-(-planned // available) if planned else 0):
        generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(name.encode()), epoch])))
        permutation = np.arange(available, dtype=np.uint32)  # what Generator.permutation(available) gives, in half the memory
        generator.shuffle(permutation)
        mine = order[epoch * available : (epoch + 1) * available]
        mine[:] = permutation[: len(mine)]
    return order


def draft_plan(config: Config, sources: Mapping[str, Source], advance: Advance = lambda amount: None) -> Draft:
    """Quotas, stages and order. Raises RequestError when a source is too small, repeats too often, or the pairs exceed the budget."""
    length, batch = config.optim.sequence_length, config.optim.global_batch_sequences
    pairs = config.mixture.parallel_source if config.parallel.format is not None else None
    parallel = config.parallel.epochs * sources[pairs].available if pairs else 0
    spent = _parallel_budget(config, sources[pairs]) if pairs else 0
    rest = -(-(config.budget.tokens - spent) // length)
    rest += -(parallel + rest) % batch
    available = {name: source.available for name, source in sources.items()}
    quotas = solve_quotas(config.mixture, available=available, total=rest, sequence_length=length)
    names = [*quotas, *([pairs] if pairs else [])]
    counts = [*quotas.values(), *([parallel] if pairs else [])]
    total = parallel + rest
    order = np.empty(total, dtype=np.int16)
    staged = parallel if pairs and config.parallel.order == "two_staged" else 0
    order[:staged] = len(names) - 1
    mixed = counts[:-1] if staged else counts
    order[staged:] = interleave(mixed)
    deviation = prefix_deviation(order[staged:], mixed)
    assert deviation < 1, deviation
    indices = np.empty(total, dtype=np.uint32)
    for k, (name, planned) in enumerate(zip(names, counts, strict=True)):
        indices[order == k] = source_order(name, available[name], planned, config.seed)
        advance(planned)
    stages = {**({"parallel": (staged, 0.0)} if staged else {}), "mixture": (total - staged, deviation)}
    return Draft([sources[name] for name in names], stages, order, indices)


def _parallel_budget(config: Config, pairs: Source) -> int:
    """What the pairs take of the budget, in the count it limits."""
    length, counts = config.optim.sequence_length, config.budget.counts
    if pairs.available == 0:
        raise RequestError(
            f"parallel source {pairs.name} has less than one sequence of {length} tokens",
            expected="at least one whole sequence",
            remedy="give it more pairs or choose parallel=none",
        )
    once = pairs.available * length if counts == "positions" else pairs.trained_tokens(length)
    spent = config.parallel.epochs * once
    if spent >= config.budget.tokens:
        raise RequestError(
            f"parallel={config.parallel.name}: the pairs alone have {format_count(spent)} {counts.replace('_', ' ')}",
            expected=f"fewer than budget.tokens={config.budget.tokens}",
            remedy="raise the budget, lower parallel.epochs, or cap the pairs with max_documents",
        )
    return spent


def _steps(config: Config, draft: Draft, advance: Advance) -> IntArray:
    """Cumulative STEP_COLUMNS after 0, 1, ... steps, up to the first at or past the budget. (steps + 1, 3)."""
    length, batch = config.optim.sequence_length, config.optim.global_batch_sequences
    whole = len(draft.order) // batch
    bytes_of = np.array([source.bytes_per_token for source in draft.sources]) * length
    after = np.zeros((whole + 1, 3), dtype=np.int64)
    text = np.empty(whole, dtype=np.float64)
    block = max(1, BLOCK_SEQUENCES // batch)
    for first in range(0, whole, block):
        last = min(first + block, whole)
        span = slice(first * batch, last * batch)
        order = draft.order[span]
        trained = np.full(len(order), length, dtype=np.int64)
        for k, source in enumerate(draft.sources):
            if source.trained is not None:
                mine = order == k
                trained[mine] = source.trained[draft.indices[span][mine]]
        after[1 + first : 1 + last, 0] = trained.reshape(-1, batch).sum(axis=1)
        text[first:last] = bytes_of[order].reshape(-1, batch).sum(axis=1)
        advance(len(order))
    after[1:, 0] = after[1:, 0].cumsum()
    after[1:, 1] = np.arange(1, whole + 1) * batch * length
    after[1:, 2] = np.round(text.cumsum())
    last = int(np.searchsorted(after[:, STEP_COLUMNS.index(config.budget.counts)], config.budget.tokens))
    assert last <= whole, (last, whole)
    return after[: last + 1]


def _source_plans(config: Config, draft: Draft, num_sequences: int) -> list[SourcePlan]:
    length, order = config.optim.sequence_length, draft.order[:num_sequences]
    counts = [int(np.count_nonzero(order == k)) for k in range(len(draft.sources))]
    pairs = config.mixture.parallel_source if config.parallel.format is not None else None
    documents = sum(count for count, source in zip(counts, draft.sources, strict=True) if source.name != pairs)
    plans = []
    for k, (source, count) in enumerate(zip(draft.sources, counts, strict=True)):
        group, part = part_of(config.mixture, source.name)
        is_pairs = source.name == pairs
        trained = count * length if source.trained is None else int(source.trained[draft.indices[:num_sequences][order == k]].sum())
        weight = part.share if part is not None and not is_pairs else None
        plans.append(
            SourcePlan(
                name=source.name,
                stage="parallel" if is_pairs and "parallel" in draft.stages else "mixture",
                group=group,
                asked=f"in full, {config.parallel.epochs}x" if is_pairs or part is None else asked_text(part),
                weight=weight,
                share=None if is_pairs else count / documents,
                off_sequences=None if weight is None else round(count - weight * documents, 6),
                planned_sequences=count,
                available_sequences=source.available,
                positions=count * length,
                trained_tokens=trained,
                text_bytes=round(source.bytes_per_token * count * length),
                repetition=count / source.available,
            )
        )
    return plans


def _stage_facts(draft: Draft, sources: list[SourcePlan]) -> list[dict[str, Any]]:
    """Each stage with its sequences and tokens, in the order of the stream."""
    facts = []
    for name, (_, deviation) in draft.stages.items():
        mine = [source for source in sources if source.stage == name]
        totals = {key: sum(getattr(source, key) for source in mine) for key in ("positions", "trained_tokens", "text_bytes")}
        sequences = sum(source.planned_sequences for source in mine)
        facts.append({"name": name, "sequences": sequences, **totals, "largest_prefix_deviation": deviation})
    return facts


def _request(config: Config) -> dict[str, Any]:
    """What decides the plan, beside the shards. Forms and counts that were added later are named only when they are used."""
    optim, parallel, mixture = config.optim, config.parallel, config.mixture
    request = {
        "name": mixture.name,
        "weights": dict(mixture.weights),
        "max_repetition": mixture.max_repetition,
        "parallel": {"format": parallel.format, "order": parallel.order, "epochs": parallel.epochs} if parallel.format else None,
        "budget_tokens": config.budget.tokens,
        "sequence_length": optim.sequence_length,
        "global_batch_sequences": optim.global_batch_sequences,
        "seed": config.seed,
    }
    if mixture.groups:
        request["groups"] = {key: asdict(group) for key, group in mixture.groups.items()}
    if config.budget.counts != STEP_COLUMNS[0]:
        request["budget_counts"] = config.budget.counts
    return request


def planned_sources(config: Config) -> list[str]:
    """Sources whose shards the plan needs: those that get something, and the pairs when a parallel level uses them."""
    names = mixed_sources(config.mixture)
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
        length = config.optim.sequence_length
        opened = {name: open_shard(shards[name]) for name in made_from}
        masked = sum(len(shard.tokens) // length for shard in opened.values() if shard.loss is not None)
        expected = 2 * -(-config.budget.tokens // length) + masked
        with progress_bar("plan", expected, unit="sequences") as advance:
            draft = draft_plan(config, {name: read_source(name, shard, length, advance) for name, shard in opened.items()}, advance)
            steps = _steps(config, draft, advance)
        num_sequences = (len(steps) - 1) * config.optim.global_batch_sequences
        sources = _source_plans(config, draft, num_sequences)
        np.save(partial / "source.npy", draft.order[:num_sequences])
        np.save(partial / "index.npy", draft.indices[:num_sequences])
        np.save(partial / "steps.npy", steps)
        totals = {name: int(value) for name, value in zip(STEP_COLUMNS, steps[-1], strict=True)}
        counts = {"steps": len(steps) - 1, "sequences": num_sequences, **totals}
        facts = {"stages": _stage_facts(draft, sources), "sources": [asdict(source) for source in sources]}
        write_json_atomic(partial / PLAN_NAME, {**request, **counts, **facts})
        return counts

    return build_artefact(folder, build, kind="mixture", digest=digest, request=request, made_from=made_from)
