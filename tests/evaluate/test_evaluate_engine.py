"""Shared prefixes change the time, not the numbers: against one sequence at a time, in any order, in any number of parts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from swallow_exp.artefact.errors import RequestError
from swallow_exp.evaluate.engine.windows import Budget, Window


@pytest.fixture
def engine(load: Callable[..., Any]) -> Any:
    """Packs of at most 40 tokens, so that small inputs have stems inside stems."""
    found = load().engine
    found.max_tokens = 40
    return found


def _family(seed: int = 0) -> list[Window]:
    """Shots; two paragraphs; questions; endings, one of them twice."""
    draw = random.Random(seed)

    def some(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(3, 700) for _ in range(count))

    shots, paragraphs = (1, *some(25)), [some(20), some(18)]
    stems = [(*shots, *paragraph, *some(3 + n)) for paragraph in paragraphs for n in range(4)]
    windows = [Window((*stem, *(ending := some(1 + n))), len(ending)) for stem in stems for n in range(3)]
    return [*windows, windows[4], Window((1, 5), 1), Window((1, *some(90)), 90)]


def _direct(model: Any, window: Window) -> float:
    import torch

    with torch.no_grad():
        table = model(torch.tensor([window.ids[:-1]])).logits[0].double().log_softmax(-1)
    start = len(window.ids) - 1 - window.num_targets
    return sum(float(table[start + i, token]) for i, token in enumerate(window.ids[-window.num_targets :]))


@contextmanager
def _counting(model: Any) -> Iterator[list[tuple[int, int]]]:
    """(rows, tokens) of every forward pass."""
    passes: list[tuple[int, int]] = []
    forward = model.forward

    def counted(ids: Any, **options: Any) -> Any:
        passes.append(tuple(ids.shape))
        return forward(ids, **options)

    model.forward = counted
    try:
        yield passes
    finally:
        model.forward = forward


def test_likelihoods_are_those_of_single_sequences(engine: Any) -> None:
    windows = _family()
    with _counting(engine.model) as passes:
        found = engine.score(windows)
    for window, (total, _) in zip(windows, found, strict=True):
        assert total == pytest.approx(_direct(engine.model, window), abs=1e-4)
    plain = sum(len(window.ids) - 1 for window in windows)
    assert sum(rows * tokens for rows, tokens in passes) < plain / 3, "what is shared was computed again"
    assert found[4] == found[-3]


def test_order_and_company_change_nothing(engine: Any) -> None:
    windows = _family()
    found = engine.score(windows)
    order = random.Random(5).sample(range(len(windows)), len(windows))
    assert [engine.score([windows[i] for i in order])[order.index(n)] for n in range(len(windows))] == found
    for limit in (1, 3, 10):
        for (some, is_greedy), (every, was_greedy) in zip(engine.score(windows[:limit]), found[:limit], strict=True):
            assert some == pytest.approx(every, abs=1e-4) and is_greedy == was_greedy
    assert engine.score([]) == []


def test_progress_of_a_question_adds_up(engine: Any) -> None:
    shares: list[float] = []
    engine.progress = shares.append
    engine.score(_family())
    assert len(shares) > 2 and sum(shares) == pytest.approx(1.0)
    shares.clear()
    engine.batch_size = 4
    engine.generate([window.ids for window in _family()], until=(), budget=Budget(2))
    assert len(shares) > 2 and sum(shares) == pytest.approx(1.0)


def _greedy(model: Any, context: tuple[int, ...], steps: int) -> list[int]:
    import torch

    answer: list[int] = []
    for step in range(steps):
        with torch.no_grad():
            logits = model(torch.tensor([[*context, *answer]])).logits[0, -1].clone()
        if step == 0:
            logits[2] = float("-inf")
        token = int(logits.argmax())
        if token == 2:
            break
        answer.append(token)
    return answer


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_answers_are_those_of_single_sequences(engine: Any, batch_size: int) -> None:
    contexts = [window.ids for window in _family()[::2]]
    engine.batch_size = batch_size
    assert engine.generate(contexts, until=(), budget=Budget(8)) == [_greedy(engine.model, context, 8) for context in contexts]


def test_rows_that_have_ended_leave_the_batch(engine: Any) -> None:
    contexts = [window.ids for window in _family()[:24]]
    whole = engine.generate(contexts, until=(), budget=Budget(30))
    # each answer ends with the piece that most others begin with, or early for another reason: lengths differ
    stop = next(engine.encoder._piece_texts[ids[3]] for ids in whole if len(ids) > 3 and engine.encoder._piece_texts[ids[3]].strip())
    with _counting(engine.model) as passes:
        stopped = engine.generate(contexts, until=(stop,), budget=Budget(30))
    ids_with = set(engine.encoder.ids_with((stop,)))
    for ids, other in zip(stopped, whole, strict=True):
        end = next((n + 1 for n, token in enumerate(other) if token in ids_with), len(other))
        assert ids == other[:end]
    assert len({len(ids) for ids in stopped}) > 1
    steps = [rows for rows, tokens in passes if tokens == 1]
    assert min(steps) < max(steps)


@pytest.mark.parametrize("parts", [2, 3, 50])
def test_parts_add_up_to_the_whole_bit_for_bit(engine: Any, parts: int) -> None:
    from swallow_exp.evaluate.engine.torch_engine import merge

    windows = _family()
    shares = [engine.score_part(windows, part, parts) for part in range(parts)]
    assert merge(len(windows), shares) == engine.score(windows)
    assert sum(len(share) for share in shares) == len(windows) and sum(map(bool, shares)) > 1
    contexts = [window.ids for window in windows]
    engine.batch_size = 4
    answers = [engine.generate_part(contexts, part, parts, until=(), budget=Budget(5)) for part in range(parts)]
    assert merge(len(contexts), answers) == engine.generate(contexts, until=(), budget=Budget(5))


def test_a_model_that_sees_only_so_far_back(tokenizer_folder: Path) -> None:
    import torch
    from tokenizers import Tokenizer
    from transformers import MistralConfig, MistralForCausalLM

    from swallow_exp.evaluate.engine.encoding import TextEncoder
    from swallow_exp.evaluate.engine.torch_engine import TorchEngine

    before = torch.get_rng_state()
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "vocab_size": 700,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    config = MistralConfig(**shape, num_key_value_heads=1, max_position_embeddings=128, sliding_window=20, initializer_range=0.3)
    model = MistralForCausalLM(config).eval()
    torch.set_rng_state(before)
    encoder = TextEncoder(Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json")), bos_id=1, eos_ids=(2,))
    engine = TorchEngine(model, encoder, batch_size=4, max_length=128)
    engine.max_tokens = 40
    windows = _family()
    for window, (total, _) in zip(windows, engine.score(windows), strict=True):
        assert total == pytest.approx(_direct(model, window), abs=1e-4)
    contexts = [window.ids for window in windows[::5]]
    assert engine.generate(contexts, until=(), budget=Budget(25)) == [_greedy(model, context, 25) for context in contexts]
    config.layer_types = ["sliding_attention", "full_attention"]
    with pytest.raises(RequestError, match="differently far"):
        TorchEngine(model, encoder, batch_size=4, max_length=128)
