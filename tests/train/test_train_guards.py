"""The judgement before every update: what is left out, what stops a run, and that training goes on as if the step had no update."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults import SPIKE, inject
from patience import PATIENCE_SECONDS
from test_train_losses import TOLERANCE, largest_difference, load_export, losses_of, start_of, stream_of
from tiny_run import GLOBAL_BATCH, NUM_STEPS, Train, make_run, plain_loop, tiny_config

from swallow_exp.checkpoint.index import read_checkpoints, resolve_export
from swallow_exp.checkpoint.state import find_states
from swallow_exp.config import NumericsConfig
from swallow_exp.record.events import read_events
from swallow_exp.record.status import read_status
from swallow_exp.train import guards
from swallow_exp.train.guards import SKIP, STOP, UPDATE, AgreedStop, Guards, find_suspects

LAUNCHER = (sys.executable, str(Path(__file__).with_name("fake_launch.py")))
# means of a published loss curve at these steps, and the noise of one step around it
CURVE = {100: 3.333, 200: 2.565, 500: 2.134, 1_000: 1.952, 2_000: 1.819, 5_000: 1.712, 10_000: 1.647, 15_000: 1.601, 25_000: 1.561}
NOISE = 0.0104


def synthetic_curve(seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    steps = np.arange(1, 25_001)
    mean = np.interp(np.log(steps), np.log([2, *CURVE]), [7.301, *CURVE.values()])
    return mean + np.random.default_rng(seed).normal(0.0, NOISE, len(steps))


def alarms(losses: np.ndarray[Any, np.dtype[np.float64]]) -> list[int]:
    judge = Guards(NumericsConfig()).judge
    return [step for step, loss in enumerate(losses, start=1) if judge(float(loss), 0.5).cause]


def test_a_curve_like_the_published_ones_raises_no_alarm_and_a_spike_does() -> None:
    losses = synthetic_curve(0)
    losses[18_116] += 4.2 * NOISE  # what all three published curves have there
    assert alarms(losses) == []
    losses[20_000] += 8.0 * NOISE
    assert alarms(losses) == [20_001]


def test_a_judgement_costs_microseconds() -> None:
    judge, losses = Guards(NumericsConfig()).judge, synthetic_curve(1)[:2_000].tolist()
    started = time.process_time()
    for loss in losses:
        judge(loss, 0.5)
    assert (time.process_time() - started) / len(losses) < 1e-3


def test_limits_in_a_row_and_in_all() -> None:
    three = Guards(NumericsConfig(max_skipped_in_a_row=3, max_skipped_updates=5))
    actions = [three.judge(loss, 1.0).action for loss in (1.0, math.nan, math.inf, 1.0, math.nan, math.nan, math.nan)]
    assert actions == [UPDATE, SKIP, SKIP, UPDATE, SKIP, SKIP, SKIP]
    over = three.judge(math.nan, 1.0)
    assert over.action == STOP and "after 3 updates left out (numerics.max_skipped_in_a_row=3)" in over.cause
    three.judge(1.0, 1.0)
    over = three.judge(1.0, math.nan)
    assert over.action == STOP and "after 5 updates left out (numerics.max_skipped_updates=5)" in over.cause
    assert "gradient is not finite" in over.cause and "a higher numerics.max_skipped_updates" in over.remedy
    none = Guards(NumericsConfig(max_skipped_in_a_row=0))
    assert none.judge(math.nan, 1.0).action == STOP and none.skipped == 0


def test_spikes_are_said_skipped_or_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def after_a_calm(**fields: Any) -> Guards:
        made = Guards(NumericsConfig(**fields))
        for number in range(guards.WINDOW_STEPS):
            assert made.judge(2.0 + 0.01 * (-1) ** number, 1.0).cause == ""
        return made

    assert after_a_calm().judge(1.5, 1.0).cause == ""  # a drop is no spike
    assert after_a_calm().judge(9.0, 1.0, trains=False).cause == ""
    warned = after_a_calm().judge(2.1, 1.0)
    assert warned.action == UPDATE and "is 10.0 standard deviations above the last 128 steps" in warned.cause
    assert after_a_calm(stop_at_loss_spike=True).judge(2.1, 1.0).action == STOP
    skipping = after_a_calm(skip_loss_spikes=True)
    assert [skipping.judge(2.1, 1.0).action for _ in range(4)] == [SKIP, SKIP, SKIP, STOP]  # left out of the window as well


def test_what_guards_remember_survives_a_state() -> None:
    first, second = Guards(NumericsConfig()), Guards(NumericsConfig())
    for number in range(200):
        first.judge(math.nan if number % 50 == 49 else 2.0 + 0.01 * math.sin(number), 1.0)
    second.restore(json.loads(json.dumps(first.state())))
    assert (second.skipped, second.skipped_in_a_row) == (4, 1)
    assert first.judge(2.2, 1.0) == second.judge(2.2, 1.0) != Guards(NumericsConfig()).judge(2.2, 1.0)


def test_suspects_are_counted_by_source() -> None:
    class Named:
        def source_name(self, position: int) -> str:
            return "pairs" if position % 4 == 0 else "docs"

    assert str(find_suspects(Named(), 2, batch=1000, bad=[])) == "sequences 2,000-2,999 of the stream (docs 750, pairs 250)"
    assert str(find_suspects(Named(), 2, batch=8, bad=[(20, 20), (17, 18)])) == "sequences 17-18, 20 of the stream (docs 2, pairs 1)"


@pytest.mark.parametrize("fault", ["nan_loss", "inf_gradient"])
def test_a_step_that_is_not_finite_is_trained_without_its_update(
    fault: str, tiny_out: Path, base_tokenizer: Path, train_here: Train, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config(machine={"micro_batch_sequences": 2})
    run, _, weights = make_run(tiny_out, f"skips_{fault}", config, tokenizer=base_tokenizer)
    inject(monkeypatch, {1: fault, 7: fault, 8: fault}, micro_batch=1)
    assert train_here(run) == 0
    losses, reference, _ = plain_loop(config, weights.folder, stream_of(run), left_out=frozenset({0, 6, 7}))
    rows = {row["step"]: row for row in read_events(run.events, "train")}
    lost = {1, 7, 8} if fault == "nan_loss" else set()
    assert rows.keys() == set(range(1, NUM_STEPS + 1)) - lost
    assert max(abs(row["loss"] - losses[step - 1]) for step, row in rows.items()) <= TOLERANCE
    assert (rows[6]["skipped_updates"], rows[20]["skipped_updates"]) == (1, 3)
    exported = load_export(resolve_export(run, read_checkpoints(run)[-1]))
    assert max(float((exported[name] - reference[name]).abs().max()) for name in reference) <= 1e-3
    found = list(read_events(run.events, "guard"))
    assert [(row["step"], row["action"]) for row in found] == [(1, "skip"), (7, "skip"), (8, "skip")]
    bad = [[50, 51]] if fault == "nan_loss" else [[48, 55]]  # a gradient says nothing of the micro-batch it comes from
    assert found[1]["sequences"] == bad and sum(found[1]["sources"].values()) == bad[0][1] - bad[0][0] + 1
    assert "train step 7: update left out: the " in capfd.readouterr().err


def test_too_many_end_the_run_before_the_weights_are_touched(
    tiny_out: Path, base_tokenizer: Path, train_here: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _, _ = make_run(tiny_out, "stops", tiny_config(machine={"micro_batch_sequences": 4}), tokenizer=base_tokenizer)
    with monkeypatch.context() as patch:
        inject(patch, {step: "nan_loss" for step in range(10, 21)}, micro_batch=1)
        with pytest.raises(AgreedStop) as stopped:
            train_here(run)
    first, second, third = str(stopped.value).splitlines()
    assert first == (
        "step 13: the loss is not finite (loss nan, gradient norm nan), after 3 updates left out (numerics.max_skipped_in_a_row=3)"
    )
    assert second.strip() == "sequences 100-103 of the stream (rare 4)"
    assert "lower optim.lr_peak" in third and "a higher numerics.max_skipped_in_a_row" in third
    assert [row["action"] for row in read_events(run.events, "guard")] == ["skip", "skip", "skip", "stop"]
    assert find_states(run)[-1].step == 12

    # the cause is gone: the same run goes on from its last state, and what was left out stays known
    assert train_here(run) == 0
    rows = {row["step"]: row for row in read_events(run.events, "train")}
    assert rows[20]["skipped_updates"] == 3 and all(math.isfinite(row["loss"]) for row in rows.values())


def test_a_spike_is_an_event_and_training_goes_on(
    tiny_out: Path, base_tokenizer: Path, train_here: Train, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(guards, "WINDOW_STEPS", 8)
    monkeypatch.setattr(guards, "SPIKE_SIGMAS", 5.0)
    inject(monkeypatch, {15: "spike"})
    run, _, _ = make_run(tiny_out, "spike", tiny_config(optim={"lr_peak": 1e-4}), tokenizer=base_tokenizer)
    assert train_here(run) == 0
    (row,) = read_events(run.events, "guard")
    assert (row["step"], row["action"], row["sequences"]) == (15, "update", [[112, 119]])
    assert row["loss"] > SPIKE
    assert re.search(r"train step 15: warning: the loss .* standard deviations above the last 8 steps", capfd.readouterr().err)

    other, _, _ = make_run(
        tiny_out, "spike_stop", tiny_config(optim={"lr_peak": 1e-4}, numerics={"stop_at_loss_spike": True}), tokenizer=base_tokenizer
    )
    with pytest.raises(AgreedStop, match=r"(?s)step 15: the loss .*numerics\.stop_at_loss_spike=false goes on all the same"):
        train_here(other)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="as the other tests of real processes")
def test_two_processes_agree_when_one_goes_wrong(tiny_out: Path, base_tokenizer: Path) -> None:
    config = tiny_config(strategy={"data_parallel": 2}, machine={"micro_batch_sequences": 2})
    run, _, weights = make_run(tiny_out, "two_guarded", config, tokenizer=base_tokenizer)
    faults = {3: "nan_loss", **{step: "nan_loss" for step in range(15, 21)}}
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    environment |= {"FAULTS": json.dumps(faults), "FAULT_RANK": "1"}
    command = [*LAUNCHER, str(run.folder), "2", "fault_worker.py"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("step 18: the loss is not finite") == 1  # both stopped there, one said it
    assert "train step 3: update left out: " in done.stderr and "Traceback" not in done.stderr
    guarded = list(read_events(run.events, "guard"))
    assert [(row["step"], row["action"]) for row in guarded] == [(3, "skip"), (15, "skip"), (16, "skip"), (17, "skip"), (18, "stop")]
    first = 2 * GLOBAL_BATCH + GLOBAL_BATCH // 2
    assert guarded[0]["sequences"] == [[first, first + 3]] and guarded[0]["sources"] == {"rare": 4}
    status = read_status(run.status)
    assert status["state"] == "failed" and status["cause"].startswith("step 18: the loss is not finite")
    losses, _, _ = plain_loop(config, weights.folder, stream_of(run), left_out=frozenset({2}))
    rows = {row["step"]: row["loss"] for row in read_events(run.events, "train")}
    assert rows.keys() == set(range(1, 15)) - {3}
    assert max(abs(loss - losses[step - 1]) for step, loss in rows.items()) <= TOLERANCE


class TestRecipe:
    """What the plain loop does not do by default."""

    def test_absolute_final_rate_no_warmup_and_micro_batches_without_loss(
        self, tiny_out: Path, base_tokenizer: Path, train_here: Train
    ) -> None:
        optim = {"lr_final_ratio": None, "lr_final": 3.3e-4, "warmup_steps": 0}
        config = tiny_config(optim=optim, machine={"micro_batch_sequences": 1})
        run, _, _ = make_run(tiny_out, "absolute", config, tokenizer=base_tokenizer)
        stream = stream_of(run)
        shares = [[int(stream[position].loss.sum()) for position in range(step * 8, step * 8 + 8)] for step in range(NUM_STEPS)]
        assert any(0 in share for share in shares)  # a micro-batch of one sequence in which nothing bears loss
        assert train_here(run) == 0
        losses, _, norms = plain_loop(config, start_of(run), stream)
        assert largest_difference(losses_of(run), losses) <= TOLERANCE
        rows = list(read_events(run.events, "train"))
        assert [row["grad_norm"] for row in rows] == pytest.approx(norms, abs=1e-4)
        assert rows[0]["learning_rate"] == 1e-2 and rows[-1]["learning_rate"] == pytest.approx(3.3e-4)

    def test_a_step_without_any_loss_has_no_row_and_does_no_harm(
        self, tiny_out: Path, base_tokenizer: Path, train_here: Train, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from swallow_exp.train import fit

        run, inputs, _ = make_run(tiny_out, "masked", tiny_config(), tokenizer=base_tokenizer)
        masked = MaskedStream(inputs["fake_stream"]["vocabulary_size"])
        monkeypatch.setattr(fit, "open_stream", lambda out, inputs, **_: masked)
        assert train_here(run) == 0
        rows = {row["step"]: row for row in read_events(run.events, "train")}
        assert rows.keys() == set(range(1, NUM_STEPS + 1)) - {5}
        assert all(math.isfinite(row["loss"]) for row in rows.values()) and rows[6]["loss"] < rows[1]["loss"]
        assert not list(read_events(run.events, "guard"))

    def test_the_last_step_is_reported_and_a_resumed_run_keeps_its_rates(
        self, tiny_out: Path, base_tokenizer: Path, train_here: Train
    ) -> None:
        config = tiny_config(tracking={"log_every_steps": 7})
        run, _, _ = make_run(tiny_out, "sparse", config, tokenizer=base_tokenizer)
        assert train_here(run, stop_at_once=True) == 75
        assert train_here(run) == 0
        rows = list(read_events(run.events, "train"))
        assert [row["step"] for row in rows] == [7, 14, 20]
        whole, _, _ = make_run(tiny_out, "sparse_whole", tiny_config(), tokenizer=base_tokenizer)
        assert train_here(whole) == 0
        expected = {row["step"]: row for row in read_events(whole.events, "train")}
        for row in rows:
            assert (row["loss"], row["learning_rate"]) == (expected[row["step"]]["loss"], expected[row["step"]]["learning_rate"])


class MaskedStream:
    """The fake stream whose fifth step bears no loss at all."""

    def __init__(self, vocabulary_size: int) -> None:
        from tiny_run import FakeStream

        self._inner = FakeStream(vocabulary_size)
        self.num_steps = self._inner.num_steps
        flags = [0 if step == 4 else self._tokens(step) for step in range(self.num_steps)]
        self._trained = [0, *np.cumsum(flags).tolist()]

    def _tokens(self, step: int) -> int:
        return self._inner.progress(step + 1).trained_tokens - self._inner.progress(step).trained_tokens

    def __len__(self) -> int:
        return len(self._inner)

    def __getitem__(self, position: int) -> Any:
        sequence = self._inner[position]
        if position // GLOBAL_BATCH == 4:
            sequence.loss[:] = False
        return sequence

    def source_name(self, position: int) -> str:
        return self._inner.source_name(position)

    def progress(self, step: int) -> Any:
        from tiny_run import FakeProgress

        inner = self._inner.progress(step)
        return FakeProgress(int(self._trained[step]), inner.positions, inner.text_bytes)

    def mark_steps(self, every_tokens: int) -> dict[int, int]:
        return {step: self._trained[step] for step in self._inner.mark_steps(every_tokens)}


def test_a_run_folder_of_before_the_guards_continues(tiny_out: Path, base_tokenizer: Path, train_here: Train) -> None:
    """A state without what guards remember is read as it is."""
    import torch

    run, _, _ = make_run(tiny_out, "older", tiny_config(), tokenizer=base_tokenizer)
    assert train_here(run, stop_at_once=True) == 75
    meta = find_states(run)[-1].folder / "meta.pt"
    facts = torch.load(meta, weights_only=True)
    assert facts.pop("guards") == {"skipped": 0, "skipped_in_a_row": 0, "losses": [pytest.approx(losses_of(run)[0])]}
    torch.save(facts, meta)
    assert train_here(run) == 0
    assert len(losses_of(run)) == NUM_STEPS
