"""Integer plans: exact quotas, every prefix near its share, steps that reach the budget, streams that are pure functions."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_shards import B, T, config_of, make_shard, open_plan

from swallow_exp.artefact.errors import RequestError
from swallow_exp.artefact.files import read_json
from swallow_exp.artefact.manifest import Artefact, find_artefact
from swallow_exp.config import GroupConfig, PartConfig
from swallow_exp.mixture.build_plan import PLAN_NAME, build_plan, source_order
from swallow_exp.mixture.quotas import largest_remainder


@pytest.fixture
def shards(tmp_path: Path) -> dict[str, Artefact]:
    flags = (np.arange(801) % 3 == 0).astype(np.uint8)
    return {
        "miniature_japanese": make_shard(tmp_path, "ja", 1601, first_id=0),
        "miniature_english": make_shard(tmp_path, "en", 401, first_id=10_000),
        "miniature_pairs": make_shard(tmp_path, "pairs", 801, first_id=20_000, flags=flags),
    }


weights_lists = st.lists(st.integers(1, 1000), min_size=1, max_size=6)


@given(weights_lists, st.integers(0, 10_000))
def test_quotas_sum_exactly_and_are_within_one(raw: list[int], total: int) -> None:
    weights = [weight / sum(raw) for weight in raw]
    granted = largest_remainder(weights, total)
    assert sum(granted) == total
    assert all(abs(given_ - weight * total) < 1 + 1e-6 for given_, weight in zip(granted, weights, strict=True))


@given(st.integers(1, 50), st.integers(0, 200), st.integers(0, 5))
def test_each_epoch_of_a_source_is_a_permutation(available: int, planned: int, seed: int) -> None:
    order = source_order("wiki", available, planned, seed)
    assert len(order) == planned
    for epoch in range(planned // available):
        assert sorted(order[epoch * available : (epoch + 1) * available]) == list(range(available))


def test_order_of_a_source_does_not_depend_on_its_share() -> None:
    """Cells that share a tokenizer see each source in the same order, so their differences are paired."""
    assert (source_order("wiki", 40, 30, 0) == source_order("wiki", 40, 70, 0)[:30]).all()
    assert (source_order("wiki", 40, 30, 0) != source_order("crawl", 40, 30, 0)).any()


@pytest.mark.parametrize("parallel", ["none", "ntp_mixed", "ntp_two_staged", "ti_mixed", "ti_two_staged"])
def test_the_last_step_is_the_first_at_or_past_the_budget(parallel: str, shards: dict[str, Artefact], tmp_path: Path) -> None:
    if parallel.startswith("ntp"):
        pairs = shards["miniature_pairs"]
        shards["miniature_pairs"] = make_shard(tmp_path, "plain", 801, first_id=20_000)
        assert pairs.digest != "x"
    config = config_of(f"parallel={parallel}")
    plan, stream = open_plan(config, shards, tmp_path / "out")
    totals = [stream.progress(step).trained_tokens for step in range(stream.num_steps + 1)]
    assert totals[-1] >= 2000 > totals[-2]
    assert len(stream) == stream.num_steps * B
    counted = np.cumsum([int(stream[i].loss.sum()) for i in range(len(stream))])
    assert [0, *counted[B - 1 :: B]] == totals
    assert plan.counts["positions"] == len(stream) * T
    if parallel != "none":
        sources = np.load(plan.folder / "source.npy")
        first_pairs = np.flatnonzero(sources == 2)
        if parallel.endswith("two_staged"):
            assert (first_pairs == np.arange(len(first_pairs))).all()
            assert len(first_pairs) == 100
        else:
            assert first_pairs.mean() == pytest.approx(len(sources) / 2, rel=0.1)


def test_windows_are_cut_where_the_docstring_says(shards: dict[str, Artefact], tmp_path: Path) -> None:
    config = config_of("parallel=ti_mixed")
    _, stream = open_plan(config, shards, tmp_path / "out")
    seen = set()
    for i in range(len(stream)):
        sequence = stream[i]
        assert sequence.tokens.shape == (T + 1,) and sequence.loss.shape == (T,)
        start = int(sequence.tokens[0]) % 10_000
        assert start % T == 0
        assert (np.diff(sequence.tokens) == 1).all()
        if sequence.tokens[0] >= 20_000:
            assert (sequence.loss == ((sequence.tokens[1:] - 20_000) % 3 == 0)).all()
        else:
            assert sequence.loss.all()
        seen.add(int(sequence.tokens[0]))
    assert len(seen) > 150


def test_marks_fall_on_the_first_step_at_or_past_them(shards: dict[str, Artefact], tmp_path: Path) -> None:
    _, stream = open_plan(config_of(), shards, tmp_path / "out")
    marks = stream.mark_steps(500)
    assert list(marks.values()) == [0, 500, 1000, 1500, 2000]
    for step, mark in marks.items():
        assert stream.progress(step).trained_tokens >= mark
        assert step == 0 or stream.progress(step - 1).trained_tokens < mark
    assert math.ceil(2000 / (T * B)) == max(marks)


def test_same_request_same_plan_other_seed_other_plan(shards: dict[str, Artefact], tmp_path: Path) -> None:
    first, one = open_plan(config_of(), shards, tmp_path / "a")
    again, two = open_plan(config_of(), shards, tmp_path / "b")
    other, three = open_plan(config_of("seed=1"), shards, tmp_path / "c")
    assert first.digest == again.digest != other.digest
    assert all((one[i].tokens == two[i].tokens).all() for i in range(len(one)))
    assert any((one[i].tokens != three[i].tokens).any() for i in range(len(one)))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["budget.tokens=200000"], ["repetitions", "max_repetition"]),
        (["parallel=ti_mixed", "budget.tokens=100"], ["the pairs alone", "budget.tokens"]),
        (["optim.sequence_length=200", "optim.global_batch_sequences=1"], []),
    ],
)
def test_impossible_plans_are_refused_and_leave_nothing(
    overrides: list[str], words: list[str], shards: dict[str, Artefact], tmp_path: Path
) -> None:
    if not words:
        shards["miniature_english"] = make_shard(tmp_path, "short", 150, first_id=0)
        words = ["miniature_english", "less than one sequence"]
    with pytest.raises(RequestError) as refused:
        build_plan(config_of(*overrides), shards, out=tmp_path / "out")
    for word in words:
        assert word in str(refused.value)
    assert not list((tmp_path / "out").rglob("plan.json"))
    assert find_artefact(tmp_path / "out") is None


GOLDEN = {  # digest of the plan, and of source.npy, index.npy, steps.npy: made before mixtures had groups
    "none": ("fc5deea2aada", "4ac3db690cdb", "e5758635d2a5", "f22790125904"),
    "ntp_mixed": ("e0205e206ac0", "501051cb50b0", "51c722b6752f", "f22790125904"),
    "ntp_two_staged": ("73a1c661b42c", "ff73e6db72cf", "5f079a99af89", "f22790125904"),
    "miniature_ti_mixed": ("11558c1f6de3", "89a4f3316153", "0e2e4996c278", "67bab75c7f67"),
}


@pytest.mark.parametrize("parallel", GOLDEN)
def test_plans_of_earlier_versions_stay_as_they_are(parallel: str, shards: dict[str, Artefact], tmp_path: Path) -> None:
    if not parallel.startswith("miniature_ti"):
        shards["miniature_pairs"] = make_shard(tmp_path / "plain", "pairs", 801, first_id=20_000)
    plan, _ = open_plan(config_of(f"parallel={parallel}"), shards, tmp_path / "out")
    arrays = [np.load(plan.folder / name) for name in ("source.npy", "index.npy", "steps.npy")]
    assert (plan.digest[:12], *(hashlib.sha256(array.tobytes()).hexdigest()[:12] for array in arrays)) == GOLDEN[parallel]


@pytest.mark.parametrize("order", ["mixed", "two_staged"])
def test_plan_records_its_stages(order: str, shards: dict[str, Artefact], tmp_path: Path) -> None:
    plan, stream = open_plan(config_of(f"parallel=ti_{order}"), shards, tmp_path / "out")
    facts = read_json(plan.folder / PLAN_NAME)
    source = np.load(plan.folder / "source.npy")
    assert [stage["name"] for stage in facts["stages"]] == (["parallel", "mixture"] if order == "two_staged" else ["mixture"])
    first = 0
    for stage in facts["stages"]:
        span = range(first, first + stage["sequences"])
        assert stage["positions"] == len(span) * T
        assert stage["trained_tokens"] == sum(int(stream[i].loss.sum()) for i in span)
        assert {facts["sources"][k]["stage"] for k in np.unique(source[span])} == {stage["name"]}
        assert stage["largest_prefix_deviation"] < 1
        first = span.stop
    assert first == len(stream) == facts["sequences"]
    assert (source[:100] == 2).all() == (order == "two_staged")


@pytest.mark.parametrize("parallel", ["ntp_mixed", "ntp_two_staged", "ti_mixed", "ti_two_staged"])
def test_every_sequence_of_the_pairs_comes_once_an_epoch(parallel: str, shards: dict[str, Artefact], tmp_path: Path) -> None:
    if parallel.startswith("ntp"):
        shards["miniature_pairs"] = make_shard(tmp_path, "plain", 801, first_id=20_000)
    plan, _ = open_plan(config_of(f"parallel={parallel}", "parallel.epochs=2", "budget.tokens=3000"), shards, tmp_path / "out")
    source, index = np.load(plan.folder / "source.npy"), np.load(plan.folder / "index.npy")
    first, second = index[source == 2][:100], index[source == 2][100:]
    assert sorted(first) == list(range(100))
    assert len(set(second)) == len(second)
    if parallel == "ti_mixed":  # the last step was not needed
        assert 100 - B < len(second) < 100
    else:
        assert sorted(second) == list(range(100))


@pytest.mark.parametrize("parallel", ["ntp_mixed", "ti_mixed", "ti_two_staged"])
def test_a_budget_of_positions_ends_by_positions(parallel: str, shards: dict[str, Artefact], tmp_path: Path) -> None:
    words = [f"parallel={parallel}", "mixture.max_repetition=9"]
    if parallel.startswith("ntp"):
        shards["miniature_pairs"] = make_shard(tmp_path, "plain", 801, first_id=20_000)
    _, trained = open_plan(config_of(*words), shards, tmp_path / "out")
    plan, counted = open_plan(config_of(*words, "budget.counts=positions"), shards, tmp_path / "out")
    end, before = counted.progress(counted.num_steps), counted.progress(counted.num_steps - 1)
    assert end.positions >= 2000 > before.positions
    assert plan.counts["positions"] == end.positions and plan.counts["trained_tokens"] == end.trained_tokens
    if parallel.startswith("ti"):
        assert end.trained_tokens < end.positions and len(counted) < len(trained)
    else:
        assert end.trained_tokens == end.positions and len(counted) == len(trained)
    for step, mark in counted.mark_steps(500).items():
        assert counted.progress(step).positions >= mark
        assert step == 0 or counted.progress(step - 1).positions < mark


def test_positions_of_the_pairs_alone_may_exceed_a_budget(shards: dict[str, Artefact], tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="800 positions"):
        build_plan(config_of("parallel=ti_mixed", "budget.tokens=700", "budget.counts=positions"), shards, out=tmp_path / "out")
    build_plan(config_of("parallel=ti_mixed", "budget.tokens=700"), shards, out=tmp_path / "out")


def test_attention_shares_the_plan(shards: dict[str, Artefact], tmp_path: Path) -> None:
    packed, _ = open_plan(config_of(), shards, tmp_path / "out")
    inside, _ = open_plan(config_of("mixture.attention=document"), shards, tmp_path / "out")
    assert packed.folder == inside.folder


def test_groups_are_planned_for_the_tokens_there_are(shards: dict[str, Artefact], tmp_path: Path) -> None:
    """The same level over a longer English shard (another tokenizer) gives another share of it, and another plan."""
    config = config_of()
    parts = {"miniature_english": PartConfig(full=True), "miniature_japanese": PartConfig(fill=True)}
    config.mixture.weights, config.mixture.groups = {}, {"all": GroupConfig(share=1.0, sources=parts)}
    planned = []
    for tokens in (401, 641):
        shards["miniature_english"] = make_shard(tmp_path / str(tokens), "en", tokens, first_id=10_000)
        plan, _ = open_plan(config, shards, tmp_path / "out")
        facts = {source["name"]: source for source in read_json(plan.folder / PLAN_NAME)["sources"]}
        assert facts["miniature_english"]["planned_sequences"] == facts["miniature_english"]["available_sequences"] == (tokens - 1) // T
        assert facts["miniature_english"]["group"] == "all" and facts["miniature_english"]["asked"] == "in full, 1x"
        planned.append((plan.digest, facts["miniature_english"]["share"]))
    assert planned[0][0] != planned[1][0]
    assert planned[1][1] / planned[0][1] == pytest.approx(640 / 400)
