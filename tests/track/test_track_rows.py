import random
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from swallow_exp.record.events import append_events
from swallow_exp.record.identity import IDENTITY_GROUPS
from swallow_exp.track.rows import MetricRow, config_of, metric_names, metric_values, outbox_digest, read_metric_rows, summary_of

TRAIN = {"kind": "train", "trained_tokens": 100, "step": 1, "loss": 2.5, "learning_rate": 1e-4, "positions": 120}
EVALUATION = {"kind": "evaluation", "trained_tokens": 100, "suite": "mini", "task": "qa", "metric": "f1", "profile": "both", "score": 12.5}


def test_train_row_has_what_the_event_has_and_nothing_else() -> None:
    assert metric_values(TRAIN) == {"train/loss": 2.5, "train/learning_rate": 1e-4, "trained_tokens": 100}
    full = {**TRAIN, "grad_norm": 0.0, "tokens_per_second": 7.0, "text_bytes": 400, "flops": 1e12}
    assert metric_values(full) == {
        "train/loss": 2.5,
        "train/learning_rate": 1e-4,
        "train/grad_norm": 0.0,  # zero is a value
        "train/tokens_per_second": 7.0,
        "trained_tokens": 100,
        "text_bytes": 400,
        "flops": 1e12,
    }
    assert metric_values({**TRAIN, "grad_norm": None}) == metric_values(TRAIN)


def test_evaluation_row_names_the_profile_only_where_profiles_differ() -> None:
    assert metric_values(EVALUATION) == {"eval/qa/f1": 12.5, "trained_tokens": 100}
    assert metric_values({**EVALUATION, "profile": "fair"}) == {"eval/qa/f1/fair": 12.5, "trained_tokens": 100}


def test_other_events_have_no_row() -> None:
    assert metric_values({"kind": "checkpoint", "trained_tokens": 100, "step": 1, "digest": "a"}) is None
    assert metric_values({"kind": "invented later", "trained_tokens": 100}) is None


def test_sequence_is_the_place_in_the_outbox_and_survives_a_torn_line(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    append_events(events, [TRAIN, {"kind": "checkpoint", "trained_tokens": 100}, EVALUATION])
    before = read_metric_rows(events)
    assert [row.sequence for row in before] == [0, 2]
    with events.open("ab") as handle:
        handle.write(b'{"kind": "train", "trained_to')
    assert read_metric_rows(events) == before
    append_events(events, [{**TRAIN, "trained_tokens": 200}])
    after = read_metric_rows(events)
    assert after[:2] == before
    assert [(row.sequence, row.values["trained_tokens"]) for row in after[2:]] == [(3, 200)]


def test_no_outbox_no_rows(tmp_path: Path) -> None:
    assert read_metric_rows(tmp_path / "events.jsonl") == []


def row(sequence: int, **values: float) -> MetricRow:
    return MetricRow(sequence, {name.replace("__", "/"): value for name, value in values.items()})


def test_summary_is_the_value_at_the_most_tokens_not_the_last_to_arrive() -> None:
    rows = [row(0, train__loss=3, trained_tokens=10), row(1, eval__a=40, trained_tokens=20), row(2, eval__a=20, trained_tokens=5)]
    assert summary_of(rows) == {"eval/a": 40, "train/loss": 3, "trained_tokens": 20}


def test_summary_of_a_repeated_mark_is_the_last_written() -> None:
    rows = [row(0, eval__a=40, trained_tokens=20), row(1, eval__a=41, trained_tokens=20)]
    assert summary_of(rows)["eval/a"] == 41


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50), st.floats(-1, 1)), unique_by=lambda x: x[:2]), st.randoms())
def test_summary_does_not_depend_on_order(entries: list[tuple[str, int, float]], shuffle: random.Random) -> None:
    rows = [MetricRow(i, {name: value, "trained_tokens": tokens}) for i, (name, tokens, value) in enumerate(entries)]
    expected = summary_of(rows)
    for name in {name for name, _, _ in entries}:
        assert expected[name] == max((tokens, value) for other, tokens, value in entries if other == name)[1]
    shuffled = list(rows)
    shuffle.shuffle(shuffled)
    assert summary_of(shuffled) == expected


def test_metric_names_leave_out_the_axis() -> None:
    assert metric_names([row(0, b=1, trained_tokens=1), row(1, a=1, text_bytes=2, trained_tokens=1)]) == ["a", "b", "text_bytes"]


def test_config_is_the_identity_with_flat_axes() -> None:
    identity: dict[str, Any] = {group: {"name": f"level_{group}", "x": 1} for group in IDENTITY_GROUPS} | {"seed": 3}
    config = config_of(identity)
    assert {key: config[key] for key in identity} == identity
    assert {key: value for key, value in config.items() if key not in identity} == {f"axis_{g}": f"level_{g}" for g in IDENTITY_GROUPS}


def test_outbox_digest_follows_the_first_row_only() -> None:
    first, second = row(0, a=1, trained_tokens=1), row(1, a=2, trained_tokens=2)
    assert outbox_digest([first]) == outbox_digest([first, second]) != outbox_digest([second])
